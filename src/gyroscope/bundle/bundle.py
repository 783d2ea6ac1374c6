"""The bundle: everything that scores and explains a model, as arrays and JSON.

No code is stored in it and none runs when it is loaded. Signature and files are checked before any
of it is parsed, see :mod:`gyroscope.bundle.verified`.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

import gyroscope
from gyroscope.bundle.additive import AdditiveScorer
from gyroscope.bundle.base import Arrays, Contributions, Matrix, Scorer, Vector
from gyroscope.bundle.environment import Environment
from gyroscope.bundle.estimator import EstimatorScorer, estimator_types
from gyroscope.bundle.explanation import Space, in_probability
from gyroscope.bundle.links import Link, LinkKind
from gyroscope.bundle.reference import Reference
from gyroscope.bundle.safe_arrays import checked_arrays
from gyroscope.bundle.signature import SIGNATURE, Signer, signature_file
from gyroscope.bundle.trees import TreeScorer
from gyroscope.bundle.verified import (
    MANIFEST,
    FileEntry,
    Verified,
    each_name_once,
    read_verified,
)
from gyroscope.bundle.wording import Wording
from gyroscope.data.contract import Contract
from gyroscope.data.encoder import Encoder
from gyroscope.data.framing import array_in, array_out
from gyroscope.errors import BundleError, ContractError

FORMAT = 2  # 1 had no signature and no environment
_CONTRACT, _ARRAYS, _REFERENCE = "contract.json", "arrays.safetensors", "reference.json"
_FILES = (_CONTRACT, _ARRAYS, _REFERENCE)
# What reading rubbish raises: malformed JSON, missing or odd arrays, a contract against itself.
_UNREADABLE = (
    msgspec.MsgspecError,
    ContractError,
    ArithmeticError,
    AttributeError,  # of an estimator that another release of its library has fitted
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
_SCORERS: dict[str, type[AdditiveScorer] | type[TreeScorer] | type[EstimatorScorer]] = {
    AdditiveScorer.kind: AdditiveScorer,
    TreeScorer.kind: TreeScorer,
    EstimatorScorer.kind: EstimatorScorer,
}


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself. Equal training results give equal bytes."""

    format: int = FORMAT
    model: str
    family: str  # e.g. "lightgbm"
    scorer: str  # kind of the scorer
    link: LinkKind
    threshold: float  # a probability at or above it is labelled positive
    metrics: dict[str, float]  # on the test rows, e.g. "roc_auc"
    snapshot: str  # digest of the training data
    trained_from: str | None = None  # event time of the first row fitted or chosen on, ISO 8601
    trained_until: str | None = None  # event time of the last of those rows
    gyroscope: str = gyroscope.__version__
    environment: Environment | None = None  # where it was trained; None in format 1
    files: dict[str, FileEntry] = {}


class Bundle:
    """A model ready to serve."""

    def __init__(
        self,
        *,
        manifest: Manifest,
        contract: Contract,
        scorer: Scorer,
        link: Link,
        reference: Reference,
    ) -> None:
        self.manifest = manifest
        self.contract = contract
        self.encoder = Encoder(contract)
        self.scorer = scorer
        self.link = link
        self.reference = reference

    @property
    def threshold(self) -> float:
        """A probability at or above it is labelled positive."""
        return self.manifest.threshold

    @property
    def explains(self) -> bool:
        """Whether there are contributions; only estimators of the user's own have none."""
        return self.scorer.explains

    def margins(self, X: Matrix) -> Vector:
        """Margins ``float64[n]`` of encoded rows ``float64[n, p]``, in ``link.unit``."""
        return self.link.margin(self.scorer.margins(X))

    def probabilities(self, X: Matrix) -> Vector:
        """Calibrated probabilities of the positive class, ``float64[n]`` in [0, 1].

        The same row gets the same bits whatever rows it comes with.
        """
        return self.link.probability(self.margins(X))

    def contributions(self, X: Matrix, *, space: Space = "margin") -> Contributions:
        """Exact Shapley values of the margins, or their share of the probabilities."""
        raw = self.scorer.contributions(X)
        found = Contributions(
            values=raw.values * self.link.scale, base=raw.base * self.link.scale + self.link.shift
        )
        return found if space == "margin" else in_probability(found, self.margins(X), self.link)

    @cached_property
    def wording(self) -> Wording:
        """Puts predictions into words."""
        return Wording(self.contract, self.reference.columns)

    def save(self, folder: Path, *, signer: Signer | None = None, run: str = "") -> None:
        """Write the bundle to ``folder``, all of it or nothing; raises OSError if there is one.

        ``run`` is the MLflow run that made it, which the signature names. Without a signer the
        bundle is unsigned, and no server takes it.
        """
        from safetensors.numpy import save

        arrays = {f"scorer.{name}": array for name, array in self.scorer.arrays().items()}
        arrays |= {f"link.{name}": array for name, array in self.link.arrays().items()}
        contents = {
            _CONTRACT: _pretty(self.contract),
            _ARRAYS: save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}),
            _REFERENCE: msgspec.json.encode(self.reference, enc_hook=array_out),
        }
        entries = {
            name: FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
            for name, content in contents.items()
        }
        manifest = msgspec.structs.replace(self.manifest, format=FORMAT, files=entries)
        contents[MANIFEST] = _pretty(manifest)
        if signer is not None:
            contents[SIGNATURE] = signature_file(contents[MANIFEST], signer, run)
        temporary = folder.with_name(f".bundle-{uuid.uuid4().hex}")
        temporary.mkdir(parents=True)
        try:
            for name, content in contents.items():
                (temporary / name).write_bytes(content)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)  # gone already if all went well

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        trusted: Mapping[str, str] | None = None,
        trusted_types: Sequence[str] = (),
    ) -> Bundle:
        """Verify and read the bundle in ``folder``.

        ``trusted`` has the names of the keys that may have signed it, by key, as
        :meth:`gyroscope.bundle.keys.Keys.trusted` gives them. Servers always pass it; without it
        the bundle must be intact, but may be anybody's or unsigned; one with an estimator of the
        user's own is refused then. ``trusted_types`` are those of the setting of that name, for
        such estimators.

        Raises:
            BundleError: the bundle is absent, damaged, made by a newer release, unsigned or signed
                by a key that is not trusted.
        """
        verified = read_bundle(folder, trusted=trusted)
        return cls.parse(verified, folder, trusted_types=trusted_types)

    @classmethod
    @np.errstate(all="ignore")  # what does not work out is not finite, and refused
    def parse(
        cls, verified: Verified, folder: Path, *, trusted_types: Sequence[str] = ()
    ) -> Bundle:
        """Read the bundle from verified files; raises BundleError if they make none.

        An estimator of the user's own is built only if a trusted key signed it: crafted arrays can
        make the process read where it must not, whatever their types are.
        """
        said = Contents.read(verified, folder)
        manifest = said.manifest
        if manifest.scorer == EstimatorScorer.kind and not verified.signer:
            raise BundleError(
                f"bundle {folder} holds an estimator of somebody's own, which is built only if a "
                "trusted key signed it; see what is in it with: gyro bundle inspect, then, if you "
                f"know who made it: gyro {_vouching(verified, folder)}"
            )
        with _readable(folder):
            bundle = cls(
                manifest=manifest,
                contract=said.contract,
                scorer=_scorer(manifest.scorer, _part(said.arrays, "scorer"), trusted_types),
                link=Link.from_arrays(manifest.link, _part(said.arrays, "link")),
                reference=said.reference,
            )
            bundle._try_out()
        return bundle

    def _try_out(self) -> None:
        """Score and explain rows at the ends of what can be encoded, before any request does.

        A scorer made for other columns or categories fails here; raises ValueError or IndexError.
        """
        codes = [len(column.categories) for column in self.contract.features]
        X = np.array([np.full(len(codes), np.nan), codes])
        if not self.explains:  # the user's own need not take what is no row of the contract
            X = np.zeros((1, len(codes)))
        if not (np.isfinite(self.margins(X)).all() and np.isfinite(self.probabilities(X)).all()):
            raise ValueError("it does not score rows of its own contract")
        if self.explains:
            self.contributions(X)


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What the files of a bundle say, before anything is built of it."""

    manifest: Manifest
    contract: Contract
    reference: Reference
    arrays: dict[str, np.ndarray]

    @classmethod
    def read(cls, verified: Verified, folder: Path) -> Contents:
        """Read the verified files of the bundle in ``folder``; raises BundleError."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        contents = verified.contents
        try:
            manifest = msgspec.json.decode(contents[MANIFEST], type=Manifest)
        except _UNREADABLE as error:
            raise BundleError(f"{folder / MANIFEST} is not a manifest: {error}") from None
        if manifest.scorer not in _SCORERS:
            raise BundleError(
                f"bundle {folder} needs a scorer {manifest.scorer!r}, unknown to this release; "
                f"known: {', '.join(_SCORERS)}"
            )
        try:
            with _readable(folder):
                return cls(
                    manifest=manifest,
                    contract=msgspec.json.decode(
                        each_name_once(contents[_CONTRACT]), type=Contract
                    ),
                    reference=msgspec.json.decode(
                        each_name_once(contents[_REFERENCE]), type=Reference, dec_hook=array_in
                    ),
                    arrays=load(checked_arrays(contents[_ARRAYS])),
                )
        except SafetensorError as error:
            raise BundleError(f"{folder / _ARRAYS} holds no arrays: {error}") from None

    @property
    def own_types(self) -> list[str]:
        """Types that an estimator of the user's own asks for; none of any other model.

        Raises:
            BundleError: it cannot be read.
        """
        if self.manifest.scorer != EstimatorScorer.kind:
            return []
        content = self.arrays.get("scorer.skops")
        if content is None:
            raise BundleError("the bundle lacks the estimator that its manifest speaks of")
        return estimator_types(content.tobytes())


def read_bundle(
    folder: Path, *, trusted: Mapping[str, str] | None = None, anyone: bool = False
) -> Verified:
    """Verify the files of the bundle in ``folder``; raises BundleError like :meth:`Bundle.load`.

    With ``anyone`` one that no key of ``trusted`` signed is read as well, and has no signer.
    """
    return read_verified(folder, names=_FILES, newest=FORMAT, trusted=trusted, anyone=anyone)


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise BundleError(f"bundle {folder} cannot be read: {error}") from None


def _vouching(verified: Verified, folder: Path) -> str:
    """The command that makes the bundle one of a trusted key."""
    signature = verified.signature
    return f"bundle sign {folder}" if signature is None else f"keys add NAME {signature.key}"


def _part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    start = f"{prefix}."
    return {n.removeprefix(start): array for n, array in arrays.items() if n.startswith(start)}


def _scorer(kind: str, arrays: Arrays, trusted_types: Sequence[str]) -> Scorer:
    if kind == EstimatorScorer.kind:
        return EstimatorScorer.from_arrays(arrays, trusted_types=trusted_types)
    return _SCORERS[kind].from_arrays(arrays)


def _pretty(record: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=1)
