"""Keeps the deployment files beside the servers equal to the aliases of the registry."""

from __future__ import annotations

from pathlib import Path

from gyroscope.bundle.deployment import Deployed, Deployment
from gyroscope.errors import BundleError
from gyroscope.model import CHAMPION, PREVIOUS
from gyroscope.registry.registry import Registry


class Publisher:
    """Publishes the champion and the previous version of models into ``folder``/MODEL."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self._registry, self._folder = registry, folder

    def publish(self, model: str) -> bool:
        """Write the deployment file if the aliases have moved; whether it was written.

        A damaged file is written anew. While there is no champion the file is left as it is.

        Raises:
            NotFoundError: the bundle of an alias is gone.
        """
        aliases = self._registry.aliases(model)
        champion, previous = aliases.get(CHAMPION), aliases.get(PREVIOUS)
        deployment = Deployment(self._folder / model)
        if champion is None or _versions(deployment) == (champion, previous):
            return False
        deployment.write(
            self._deployed(model, champion),
            None if previous is None else self._deployed(model, previous),
        )
        return True

    def _deployed(self, model: str, version: int) -> Deployed:
        folder = self._registry.bundle_folder(model, version)
        return Deployed(model=model, version=version, bundle=str(folder))


def _versions(deployment: Deployment) -> tuple[int, int | None] | None:
    """The champion and previous version that servers see; None if they see nothing."""
    try:
        deployed = deployment.read()
    except BundleError:
        return None
    if deployed is None:
        return None
    champion, previous = deployed
    return champion.version, None if previous is None else previous.version
