"""Keeps the deployment files beside the servers equal to the aliases of the registry."""

from __future__ import annotations

from pathlib import Path

from gyroscope.bundle.deployment import Deployed, Deployment
from gyroscope.model import CHAMPION, PREVIOUS
from gyroscope.registry.registry import Registry


class Publisher:
    """Publishes the champion and the previous version of models into ``folder``/MODEL."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self._registry, self._folder = registry, folder

    def publish(self, model: str) -> bool:
        """Write the deployment file if the aliases have moved; whether it was written."""
        champion = self._deployed(model, CHAMPION)
        if champion is None:
            return False
        deployment = Deployment(self._folder / model)
        wanted = (champion, self._deployed(model, PREVIOUS))
        if deployment.read() == wanted:
            return False
        deployment.write(*wanted)
        return True

    def _deployed(self, model: str, alias: str) -> Deployed | None:
        holder = self._registry.holder(model, alias)
        if holder is None:
            return None
        folder = self._registry.bundle_folder(model, holder.version)
        return Deployed(model=model, version=holder.version, bundle=str(folder))
