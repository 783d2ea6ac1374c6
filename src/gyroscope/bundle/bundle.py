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
from typing import cast, get_args

import msgspec
import numpy as np

import gyroscope
from gyroscope.bundle.additive import AdditiveScorer
from gyroscope.bundle.base import Arrays, Contributions, Matrix, Scorer, Vector
from gyroscope.bundle.class_link import ClassLink, ClassLinkKind
from gyroscope.bundle.class_scorers import ClassContributions, ClassScorers, Integers
from gyroscope.bundle.environment import Environment
from gyroscope.bundle.estimator import EstimatorScorer, estimator_types
from gyroscope.bundle.explanation import Space, in_class_probability, in_probability
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
_NEWEST = 3  # as 2, of models with several classes or with values, which earlier releases lack
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
    link: LinkKind | ClassLinkKind
    threshold: float | None  # a probability at or above it is labelled positive; binary only
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
        scorer: Scorer | ClassScorers,
        link: Link | ClassLink,
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
        """A probability at or above it is labelled positive; only binary models have one."""
        threshold = self.manifest.threshold
        assert threshold is not None  # the caller knows the task
        return threshold

    @property
    def explains(self) -> bool:
        """Whether there are contributions; only estimators of the user's own have none."""
        return self.scorer.explains

    @property
    def unit(self) -> str:
        """What margins and contributions are measured in."""
        if self.contract.task != "regression":
            return self.link.unit
        target = self.contract.target
        return target.unit or f"units of {target.name}"

    def margins(self, X: Matrix) -> Vector:
        """Margins of encoded rows ``float64[n, p]``, in ``unit``: ``float64[n]``, or with several
        classes ``float64[n, classes]``."""
        return self.link.margin(self.scorer.margins(X))

    def scores(self, X: Matrix) -> Vector:
        """What goes on record of encoded rows ``float64[n, p]``, by the task of the contract: the
        probability of the positive class, ``float64[n]``; that of each class, ``float64[n,
        classes]``; or the value predicted, ``float64[n]``.

        The same row gets the same bits whatever rows it comes with.
        """
        return self.link.probability(self.margins(X))

    def probabilities(self, X: Matrix) -> Vector:
        """The scores of a model that has probabilities, in [0, 1]."""
        return self.scores(X)

    def label(self, score: float | Sequence[float]) -> str:
        """The class that the score of a row speaks for; a model of values has none."""
        contract = self.contract
        if isinstance(score, float):
            return (contract.positive if score >= self.threshold else contract.negative)[0]
        return contract.classes[max(range(len(score)), key=score.__getitem__)]

    def labels(self, scores: Sequence[float]) -> list[str]:
        """What :meth:`label` says of each of many scores of a binary model."""
        yes, no, threshold = self.contract.positive[0], self.contract.negative[0], self.threshold
        return [yes if score >= threshold else no for score in scores]

    def contributions(self, X: Matrix, *, space: Space = "margin") -> Contributions:
        """Exact Shapley values of the margins, or their share of the probabilities.

        Of a model with several classes see :meth:`class_contributions`.
        """
        assert isinstance(self.link, Link)
        assert not isinstance(self.scorer, ClassScorers)
        raw = self.scorer.contributions(X)
        found = Contributions(
            values=raw.values * self.link.scale, base=raw.base * self.link.scale + self.link.shift
        )
        return found if space == "margin" else in_probability(found, self.margins(X), self.link)

    def class_contributions(
        self, X: Matrix, classes: Integers, *, space: Space = "margin"
    ) -> ClassContributions:
        """The same for one class of each row, ``intp[n]``, of a model with several."""
        assert isinstance(self.link, ClassLink)
        assert isinstance(self.scorer, ClassScorers)
        scale, shifts = self.link.scale, np.array(self.link.shifts)
        if space == "probability" and self.link.kind != "shares":
            raw = self.scorer.contributions(X)
            found = ClassContributions(values=raw.values * scale, base=raw.base * scale + shifts)
            return in_class_probability(found, classes, self.link)
        raw = self.scorer.contributions_to(X, classes)
        base = raw.base * scale + shifts[classes]
        if space == "probability":  # which the margin of a share is already
            base = np.clip(base, 0.0, 1.0)
        return ClassContributions(values=raw.values * scale, base=base)

    @cached_property
    def class_bases(self) -> Vector:
        """The probability of each of several classes before anything is known of a row."""
        assert isinstance(self.scorer, ClassScorers)
        none = np.empty((0, len(self.contract.features)))
        raw = self.scorer.contributions(none).base
        bases: Vector = self.link.probability(self.link.margin(raw[None]))[0]
        return bases

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
        format = FORMAT if self.contract.task == "binary" else _NEWEST
        manifest = msgspec.structs.replace(self.manifest, format=format, files=entries)
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
            scorer = _scorer(manifest, said.contract, _part(said.arrays, "scorer"), trusted_types)
            bundle = cls(
                manifest=manifest,
                contract=said.contract,
                scorer=scorer,
                link=_link(manifest, said.contract, _part(said.arrays, "link")),
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
        margins = self.margins(X)
        shape = (len(X), len(self.contract.classes)) if self.contract.classes else (len(X),)
        if margins.shape != shape or not np.isfinite(margins).all():
            raise ValueError("it does not score rows of its own contract")
        if not np.isfinite(self.link.probability(margins)).all():
            raise ValueError("it does not score rows of its own contract")
        if (self.contract.task == "binary") != (self.manifest.threshold is not None):
            raise ValueError("a binary model has a threshold, and no other has one")
        if not self.explains:
            return
        if self.contract.task == "multiclass":
            self.class_contributions(X, np.zeros(len(X), dtype=np.intp), space="probability")
        else:
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
    return read_verified(folder, names=_FILES, newest=_NEWEST, trusted=trusted, anyone=anyone)


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


def _scorer(
    manifest: Manifest, contract: Contract, arrays: Arrays, trusted_types: Sequence[str]
) -> Scorer | ClassScorers:
    if manifest.scorer == EstimatorScorer.kind:
        return EstimatorScorer.from_arrays(arrays, trusted_types=trusted_types, task=contract.task)
    kind = _SCORERS[manifest.scorer]
    if contract.task == "multiclass":
        return ClassScorers.from_arrays(kind, arrays, len(contract.classes))
    return kind.from_arrays(arrays)


def _link(manifest: Manifest, contract: Contract, arrays: Arrays) -> Link | ClassLink:
    """The link, which must be one for the task of the contract; raises ValueError."""
    kind = manifest.link
    if kind in get_args(ClassLinkKind):
        fits = contract.task == "multiclass"
        link: Link | ClassLink = ClassLink.from_arrays(cast(ClassLinkKind, kind), arrays)
    else:
        fits = contract.task == ("regression" if kind == "value" else "binary")
        link = Link.from_arrays(cast(LinkKind, kind), arrays)
    if not fits:
        raise ValueError(f"a link {kind!r} is none for a {contract.task} model")
    return link


def _pretty(record: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=1)
