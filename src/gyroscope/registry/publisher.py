"""Keeps the deployment files beside the servers equal to the aliases of the registry."""

from __future__ import annotations

from pathlib import Path

from gyroscope.bundle.deployment import Canary, Deployed, Deployment
from gyroscope.bundle.split import checked_percent
from gyroscope.errors import BundleError, NotFoundError, UsageError
from gyroscope.model import CANARY, CHALLENGER, CHAMPION, PREVIOUS, ModelVersion
from gyroscope.registry.registry import Registry

CANARY_PERCENT = "canary_percent"  # tag of a version: the share it serves while it is the canary


def aliases_in_words(version: ModelVersion) -> list[str]:
    """The aliases of a version; that of a canary with its share."""
    share = version.tags.get(CANARY_PERCENT)
    shown = {CANARY: f"{CANARY} ({float(share):g} %)"} if share else {}
    return [shown.get(alias, alias) for alias in version.aliases]


class Publisher:
    """Publishes the versions of models that servers need into ``folder``/MODEL."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self._registry, self._folder = registry, folder

    def publish(self, model: str, aliases: dict[str, int] | None = None) -> bool:
        """Write the deployment file if the aliases have moved; whether it was written.

        A damaged file is written anew. While there is no champion the file is left as it is.

        Raises:
            NotFoundError: the bundle of the champion is gone.
        """
        if aliases is None:
            aliases = self._registry.aliases(model)
        champion = aliases.get(CHAMPION)
        if champion is None:
            return False
        # Equal in the middle of a rollback or promotion.
        previous, challenger = (
            None if aliases.get(alias) == champion else aliases.get(alias)
            for alias in (PREVIOUS, CHALLENGER)
        )
        deployment = Deployment(self._folder / model)
        canary = self._canary(model, aliases)
        published = _published(deployment)
        if published == (champion, previous, _share(canary), challenger):
            return False
        before, on_trial = self._lesser(model, previous), self._lesser(model, challenger)
        if published == (champion, _number(before), _share(canary), _number(on_trial)):
            return False
        deployment.write(self._deployed(model, champion), before, canary, on_trial)
        return True

    def _lesser(self, model: str, version: int | None) -> Deployed | None:
        """A version that the champion can do without; none if its bundle is gone."""
        try:
            return None if version is None else self._deployed(model, version)
        except NotFoundError:
            return None

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


def _published(
    deployment: Deployment,
) -> tuple[int, int | None, _Share, int | None] | None:
    """Champion, previous version, canary and challenger that servers see; None for nothing."""
    try:
        versions = deployment.read()
    except BundleError:
        return None
    if versions is None:
        return None
    return (
        versions.champion.version,
        _number(versions.previous),
        _share(versions.canary),
        _number(versions.challenger),
    )


def _number(deployed: Deployed | None) -> int | None:
    return None if deployed is None else deployed.version
