"""The models of this server, and the watch for new champions and canaries.

Another process keeps the deployment files equal to the registry's aliases. This one looks at them,
loads and verifies a new bundle beside the old one, and changes one reference.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.deployment import Canary, Deployed, Deployment
from gyroscope.bundle.keys import Keys, keys_folder
from gyroscope.bundle.split import Split
from gyroscope.errors import BundleError, GyroscopeError, NotFoundError, RequestError, UsageError
from gyroscope.model import checked_model_name
from gyroscope.serve.claims import Claim
from gyroscope.serve.requests import RequestReader

_RETRY_S = 5.0  # until a refused bundle is looked at again
_RECALLED = 2  # versions that serve no longer, kept to answer as they did: champion and canary

logger = logging.getLogger(__name__)


class Champion(msgspec.Struct, frozen=True, kw_only=True):
    """A version in memory, ready to score."""

    deployed: Deployed
    bundle: Bundle
    features: tuple[str, ...]  # names, in the order of the encoded vector
    reader: RequestReader
    since: datetime  # UTC

    @property
    def version(self) -> int:
        """Its version in the registry."""
        return self.deployed.version


class ServedCanary(msgspec.Struct, frozen=True, kw_only=True):
    """A version in memory that serves a share beside the champion."""

    canary: Canary
    loaded: Champion
    split: Split


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """The versions that answer. A request is answered by one and the same."""

    champion: Champion
    canary: ServedCanary | None = None


class ServedModel:
    """One model: what serves it, the version before, and why a newer one was refused."""

    def __init__(
        self, name: str, folder: Path, keys: Keys, trusted_types: Sequence[str] = ()
    ) -> None:
        self.name = name
        self._keys, self._trusted_types = keys, trusted_types
        self.serving: Serving | None = None
        self._previous = _Beside(name, "no version to roll back to", self._loaded)
        self._challenger = _Beside(name, "challenger not loaded", self._loaded)
        self._recalled: tuple[Champion, ...] = ()
        self.refused = ""  # why the deployed version does not serve; empty if it does
        self.canary_refused = ""  # the same of the canary
        self._deployment = Deployment(folder)
        self._refused_version: Deployed | None = None
        self._retry_at = 0.0
        self._refused_canary: Canary | None = None
        self._retry_canary_at = 0.0

    @property
    def champion(self) -> Champion | None:
        """The champion; None if there is none yet."""
        serving = self.serving
        return None if serving is None else serving.champion

    @property
    def previous(self) -> Champion | None:
        """The version before, so that a rollback needs nothing from the disk."""
        return self._previous.version

    @property
    def challenger(self) -> Champion | None:
        """The version on trial, to explain by it and to be quick to promote it."""
        return self._challenger.version

    def current(self) -> Champion:
        """The champion; raises RequestError with status 503 if there is none yet."""
        return self.answering().champion

    def answering(self) -> Serving:
        """What serves; raises RequestError with status 503 if there is nothing yet."""
        serving = self.serving
        if serving is None:
            reason = self.refused or "train one with gyro train"
            raise RequestError(503, f"model {self.name} has no champion yet: {reason}")
        return serving

    def answering_as(self, claim: Claim) -> Serving:
        """What served when a request was claimed; loads what is not in memory any more.

        Raises:
            RequestError: status 409, it cannot be loaded.
        """
        champion = self._recall(claim.version, claim.bundle)
        if claim.canary is None or claim.percent is None:
            return Serving(champion=champion)
        canary = self._recall(claim.canary, claim.canary_bundle)
        return Serving(champion=champion, canary=_beside(canary, claim.percent))

    def _recall(self, version: int, bundle: str | None) -> Champion:
        for known in (*self._in_memory(), *self._recalled):
            if known.version == version:
                return known
        try:
            if bundle is None:
                raise BundleError("where its bundle lies was not noted then")
            found = self._loaded(Deployed(model=self.name, version=version, bundle=bundle))
        except (GyroscopeError, OSError) as error:
            raise RequestError(
                409,
                f"version {version}, which served when this request came first, serves no longer "
                f"and cannot be loaded: {error}; send the request with a new Idempotency-Key",
            ) from None
        self._recalled = (found, *self._recalled)[:_RECALLED]
        return found

    def explaining(self, version: int) -> Serving:
        """One version for all rows, whether it serves or not.

        Raises:
            NotFoundError: it is not in memory.
        """
        self.answering()
        known = {one.version: one for one in self._in_memory()}
        if version not in known:
            kept = ", ".join(map(str, sorted(known)))
            raise NotFoundError(
                f"version {version} of {self.name} is neither champion, previous, canary nor "
                f"challenger; this server can explain by: {kept}"
            )
        return Serving(champion=known[version])

    def written(self) -> tuple[int, int] | None:
        """What changes with every write of its deployment file."""
        return _stamp(self._deployment.path)

    def refresh(self) -> None:
        """Serve what is deployed; go on with the old champion if that cannot be loaded.

        A canary that cannot be loaded serves nothing, and the champion everything.
        """
        try:
            deployed = self._deployment.read()
        except (GyroscopeError, OSError) as error:
            self._refuse(None, str(error))
            return
        if deployed is None:
            return
        champion = deployed.champion
        if self.champion is not None and self.champion.deployed == champion:
            self.refused = ""
        elif champion != self._refused_version or time.monotonic() >= self._retry_at:
            self._switch(champion, deployed.previous)
        if self.serving is not None:
            self._split(self.serving, deployed.canary)
            self._challenger.keep(deployed.challenger)
            if self.champion is not None and self.champion.deployed == champion:
                self._previous.keep(deployed.previous)

    def _switch(self, champion: Deployed, previous: Deployed | None) -> None:
        try:
            loaded = self._loaded(champion)
        except (GyroscopeError, OSError) as error:
            self._refuse(champion, str(error))
            return
        self._previous.keep(previous)  # while the champion of before is in memory
        self.serving = Serving(champion=loaded)  # from here on it answers every new request
        self.refused, self._refused_version = "", None
        logger.info("model %s: version %d serves", self.name, champion.version)

    def _split(self, serving: Serving, canary: Canary | None) -> None:
        """Give the canary its share of new requests, or end that."""
        served = serving.canary
        if (None if served is None else served.canary) == canary:
            self.canary_refused = ""
            return
        if canary is None:
            self.serving = Serving(champion=serving.champion)
            self.canary_refused, self._refused_canary = "", None
            logger.info("model %s: no canary any more", self.name)
        elif canary != self._refused_canary or time.monotonic() >= self._retry_canary_at:
            self._add(canary, serving.champion)

    def _add(self, canary: Canary, champion: Champion) -> None:
        try:
            added = _beside(self._loaded(canary.deployed), canary.percent)
            if champion.bundle.explains and not added.loaded.bundle.explains:
                raise BundleError(
                    f"version {added.loaded.version} is not explained, and the champion is: what "
                    "a request may ask for must not depend on who answers it"
                )
        except (GyroscopeError, OSError) as error:
            if str(error) != self.canary_refused:
                logger.error("model %s: canary refused: %s", self.name, error)
            self.serving = Serving(champion=champion)
            self.canary_refused, self._refused_canary = str(error), canary
            self._retry_canary_at = time.monotonic() + _RETRY_S
            return
        self.serving = Serving(champion=champion, canary=added)
        self.canary_refused, self._refused_canary = "", None
        logger.info(
            "model %s: version %d serves %g %%", self.name, added.loaded.version, canary.percent
        )

    def _in_memory(self) -> list[Champion]:
        """The versions that need not be loaded."""
        canary = None if self.serving is None else self.serving.canary
        known = (
            self.champion,
            self.previous,
            None if canary is None else canary.loaded,
            self.challenger,
        )
        return [version for version in known if version is not None]

    def _loaded(self, deployed: Deployed) -> Champion:
        for known in self._in_memory():
            if known.deployed == deployed:
                return msgspec.structs.replace(known, since=datetime.now(UTC))
        bundle = Bundle.load(
            Path(deployed.bundle), trusted=self._keys.trusted(), trusted_types=self._trusted_types
        )
        if bundle.manifest.model != self.name:
            raise BundleError(
                f"bundle {deployed.bundle} is of model {bundle.manifest.model}, not {self.name}"
            )
        if not bundle.explains:
            logger.warning(
                "model %s: version %d is an estimator of your own: scikit-learn scores it, about a "
                "hundred times slower than the families of Gyroscope, and it is not explained",
                self.name,
                deployed.version,
            )
        return Champion(
            deployed=deployed,
            bundle=bundle,
            features=tuple(column.name for column in bundle.contract.features),
            reader=RequestReader(bundle.encoder),
            since=datetime.now(UTC),
        )

    def _refuse(self, deployed: Deployed | None, reason: str) -> None:
        if reason != self.refused:
            logger.error("model %s: new champion refused: %s", self.name, reason)
        self.refused, self._refused_version = reason, deployed
        self._retry_at = time.monotonic() + _RETRY_S


class _Beside:
    """A version that is in memory beside the champion, and tried again if it cannot be loaded."""

    def __init__(self, model: str, failed: str, load: Callable[[Deployed], Champion]) -> None:
        self.version: Champion | None = None
        self._model, self._failed, self._load = model, failed, load
        self._refused: Deployed | None = None
        self._retry_at = 0.0

    def keep(self, deployed: Deployed | None) -> None:
        """Have this version in memory, or none."""
        if deployed == (None if self.version is None else self.version.deployed):
            return
        if deployed is None:
            self.version = self._refused = None
            return
        if deployed == self._refused and time.monotonic() < self._retry_at:
            return
        try:
            self.version, self._refused = self._load(deployed), None
        except (GyroscopeError, OSError) as error:
            if deployed != self._refused:
                logger.warning("model %s: %s: %s", self._model, self._failed, error)
            self.version, self._refused = None, deployed
            self._retry_at = time.monotonic() + _RETRY_S


def _beside(loaded: Champion, percent: float) -> ServedCanary:
    deployed = loaded.deployed
    return ServedCanary(
        canary=Canary(deployed=deployed, percent=percent),
        loaded=loaded,
        split=Split(deployed.model, deployed.version, percent),
    )


class ModelTable:
    """All models of this server.

    ``refresh`` runs in one thread at a time; everything else may be called from the event loop
    meanwhile, since a model is added by replacing the whole mapping.
    """

    def __init__(
        self, state: Path, names: Sequence[str] | None, trusted_types: Sequence[str] = ()
    ) -> None:
        self._serving = state / "serving"
        self._keys, self._trusted_types = Keys(keys_folder(state)), trusted_types
        self._named = names is not None
        self._models = {name: self._model(checked_model_name(name)) for name in names or ()}

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def __getitem__(self, name: str) -> ServedModel:
        """The model called ``name``.

        Raises:
            NotFoundError: this server has no such model.
        """
        model = self._models.get(name)
        if model is None:
            known = ", ".join(sorted(self._models)) or "none yet"
            raise NotFoundError(f"no such model; this server has: {known}")
        return model

    def written(self) -> list[tuple[int, int] | None]:
        """What tells whether anything was deployed since: changes with every write."""
        return [_stamp(self._serving), *(model.written() for model in self)]

    def refresh(self) -> None:
        """Pick up new models, if none were named, and new champions."""
        if not self._named:
            for name in self._found():
                if name not in self._models:
                    self._models = {**self._models, name: self._model(name)}
        for model in self:
            model.refresh()

    def _found(self) -> list[str]:
        """Models with a deployment folder; other folders there are none of ours."""
        try:
            names = sorted(entry.name for entry in self._serving.iterdir() if entry.is_dir())
        except OSError:
            return []  # made by the first deployment
        return [name for name in names if _is_model_name(name)]

    def _model(self, name: str) -> ServedModel:
        return ServedModel(name, self._serving / name, self._keys, self._trusted_types)


def _stamp(path: Path) -> tuple[int, int] | None:
    """When a file was written and which one it is; None while there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _is_model_name(name: str) -> bool:
    try:
        return bool(checked_model_name(name))
    except UsageError:
        return False
