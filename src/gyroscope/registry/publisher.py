"""Keeps the deployment files beside the servers equal to the aliases of the registry."""

from __future__ import annotations

from pathlib import Path

from gyroscope.bundle.deployment import Canary, Deployed, Deployment
from gyroscope.bundle.split import checked_percent
from gyroscope.errors import BundleError, NotFoundError, UsageError
from gyroscope.model import CANARY, CHAMPION, PREVIOUS
from gyroscope.registry.registry import Registry

CANARY_PERCENT = "canary_percent"  # tag of a version: the share it serves while it is the canary


class Publisher:
    """Publishes the versions of models that servers need into ``folder``/MODEL."""

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
        if champion is None:
            return False
        deployment = Deployment(self._folder / model)
        canary = self._canary(model, aliases)
        wanted = (champion, previous, _share(canary))
        if _published(deployment) == wanted:
            return False
        deployment.write(
            self._deployed(model, champion),
            None if previous is None else self._deployed(model, previous),
            canary,
        )
        return True

    def _canary(self, model: str, aliases: dict[str, int]) -> Canary | None:
        """The canary; one that has become champion, or cannot serve, is none any more."""
        version = aliases.get(CANARY)
        if version is None or version == aliases[CHAMPION]:
            return None
        try:
            tags = self._registry.version(model, version).tags
            percent = checked_percent(float(tags[CANARY_PERCENT]))
            return Canary(deployed=self._deployed(model, version), percent=percent)
        except (KeyError, ValueError, UsageError, NotFoundError):
            return None  # set elsewhere without a share; its bundle is gone

    def _deployed(self, model: str, version: int) -> Deployed:
        folder = self._registry.bundle_folder(model, version)
        return Deployed(model=model, version=version, bundle=str(folder))


_Share = tuple[int, float] | None


def _share(canary: Canary | None) -> _Share:
    return None if canary is None else (canary.deployed.version, canary.percent)


def _published(deployment: Deployment) -> tuple[int, int | None, _Share] | None:
    """The champion, previous version and canary that servers see; None if they see nothing."""
    try:
        versions = deployment.read()
    except BundleError:
        return None
    if versions is None:
        return None
    previous = versions.previous
    return (
        versions.champion.version,
        None if previous is None else previous.version,
        _share(versions.canary),
    )
