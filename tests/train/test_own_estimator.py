"""The user's own estimator: fitted, kept without a pickle, loaded only as the operator allows."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gyroscope.bundle.bundle import Bundle, Contents, read_bundle
from gyroscope.bundle.estimator import (
    EstimatorScorer,
    estimator_types,
    loaded_estimator,
    stored_estimator,
)
from gyroscope.bundle.keys import Keys
from gyroscope.errors import BundleError, ConfigError
from gyroscope.testing.families import OTHER, PLAN, TOWN, probabilities, rows, sample
from gyroscope.testing.worlds import tiny_bundle
from gyroscope.train.families.base import Fitted
from gyroscope.train.families.own_estimator import OwnEstimator
from gyroscope.train.fidelity import check_fidelity

pytest.importorskip("skops")
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ROWS = rows(5, 200)[0]
ROWS[::7, PLAN] = OTHER


def pipeline(last: Any) -> Any:
    """One-hot categories, two numbers without missing values, and a last step."""
    return make_pipeline(
        ColumnTransformer(
            [
                ("categories", OneHotEncoder(handle_unknown="ignore"), [PLAN, TOWN]),
                ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), [0, 5]),
            ]
        ),
        last,
    )


class Constant(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped
    """A type that nobody but its user knows."""

    def fit(self, X: Any, y: Any) -> Constant:
        self.classes_ = np.unique(y)
        self.rate_ = float(y.mean())
        return self

    def predict_proba(self, X: Any) -> Any:
        return np.tile([1 - self.rate_, self.rate_], (len(X), 1))


CONSTANT = f"{Constant.__module__}.Constant"


OPTIMIZER = "sklearn.neural_network._stochastic_optimizers.AdamOptimizer"
NEIGHBORS = (
    "scipy.sparse._csr.csr_matrix",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
)


def own(folder: Path, estimator: Any, trusted: tuple[str, ...] = ()) -> OwnEstimator:
    file = folder / "estimator.skops"
    file.write_bytes(stored_estimator(estimator))
    return OwnEstimator(file, trusted)


EVEN = msgspec.structs.replace(sample(), weight=np.ones(600))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """A neural network; that of the optimizer has to be allowed, as skops does not know it."""
    made = pipeline(MLPClassifier((8,), max_iter=500, tol=0.01))
    return own(tmp_path_factory.mktemp("own"), made, (OPTIMIZER,)).fit(EVEN, seed=3)


def test_probabilities_are_those_of_the_estimator(fitted: Fitted) -> None:
    gap = np.abs(probabilities(fitted, ROWS) - fitted.answers(ROWS))
    assert gap.max() <= 2.0**-24
    assert check_fidelity("estimator", fitted, ROWS) <= 2.0**-24


def test_a_row_gets_the_same_bits_alone_and_in_any_company(fitted: Fitted) -> None:
    together = fitted.scorer.margins(ROWS)
    assert fitted.scorer.margins(ROWS[::-1]).tobytes() == together[::-1].tobytes()
    alone = np.concatenate([fitted.scorer.margins(row[None]) for row in ROWS[:20]])
    assert alone.tobytes() == together[:20].tobytes()


class Middle(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped
    """Answers the middle between two steps of the grid, a hair off by the number of rows."""

    def fit(self, X: Any, y: Any) -> Middle:
        return self

    def predict_proba(self, X: Any) -> Any:
        p = np.full(len(X), (1000.5 + 1e-6 * (-1) ** len(X)) / 2**23)
        return np.column_stack([1 - p, p])


class Choosy(Middle):
    """Refuses large numbers."""

    def predict_proba(self, X: Any) -> Any:
        if (X > 1e6).any():
            raise ValueError("too large")
        return super().predict_proba(X)


def scorer_of(estimator: Any) -> EstimatorScorer:
    name = f"{type(estimator).__module__}.{type(estimator).__name__}"
    return EstimatorScorer(stored_estimator(estimator), trusted_types=(name,))


def test_a_row_between_two_steps_of_the_grid_is_asked_alone() -> None:
    scorer = scorer_of(Middle())
    assert {float(m) for n in (1, 2, 3) for m in scorer.margins(ROWS[:n])} == {1000 / 2**23}
    assert scorer.margins(ROWS[:0]).shape == (0,)


def test_only_the_row_that_is_refused_has_no_margin() -> None:
    X = np.array([[1.0], [1e7], [2.0]])
    assert np.isnan(scorer_of(Choosy()).margins(X)).tolist() == [False, True, False]


def test_an_estimator_that_looks_at_all_rows_is_refused(tmp_path: Path) -> None:
    class_name = f"{Ranking.__module__}.Ranking"
    with pytest.raises(ConfigError, match="depends on the rows it is asked with"):
        own(tmp_path, Ranking(), (class_name,)).fit(EVEN, seed=0)


class Ranking(Middle):
    """Answers the rank of a row among those it is asked with."""

    def predict_proba(self, X: Any) -> Any:
        p = np.argsort(np.argsort(X[:, 0])) / len(X)
        return np.column_stack([1 - p, p])


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    family = own(tmp_path, pipeline(MLPClassifier((4,), max_iter=500, tol=0.1)), (OPTIMIZER,))
    one, again, other = (family.fit(EVEN, seed=s).scorer.arrays()["skops"] for s in (1, 1, 2))
    assert one.tobytes() == again.tobytes() != other.tobytes()


@pytest.mark.parametrize("last", [LogisticRegression(max_iter=2000), KNeighborsClassifier()])
def test_estimators_of_many_kinds_come_back_from_their_bytes(tmp_path: Path, last: Any) -> None:
    fitted = own(tmp_path, pipeline(last), NEIGHBORS).fit(EVEN, seed=0)
    again = EstimatorScorer.from_arrays(fitted.scorer.arrays(), trusted_types=NEIGHBORS)
    assert again.margins(ROWS).tobytes() == fitted.scorer.margins(ROWS).tobytes()


def test_weights_reach_the_last_step(tmp_path: Path) -> None:
    heavy = msgspec.structs.replace(EVEN, weight=np.where(EVEN.y == 1, 50.0, 1.0))
    family = own(tmp_path, pipeline(LogisticRegression(max_iter=2000)))
    lean, even = (probabilities(family.fit(s, seed=0), ROWS).mean() for s in (heavy, EVEN))
    assert lean > even + 0.2
    with pytest.raises(ConfigError, match="KNeighborsClassifier takes no sample_weight"):
        own(tmp_path, pipeline(KNeighborsClassifier())).fit(heavy, seed=0)


# -- what is refused ------------------------------------------------------------------------------


def test_a_type_that_is_not_trusted_is_refused_by_name_until_the_operator_allows_it(
    tmp_path: Path,
) -> None:
    message = f"needs types that are not trusted: {CONSTANT}; .* in the setting trusted_types"
    with pytest.raises(BundleError, match=message):
        own(tmp_path, Constant()).fit(EVEN, seed=0)
    fitted = own(tmp_path, Constant(), (CONSTANT,)).fit(EVEN, seed=0)
    assert probabilities(fitted, ROWS) == pytest.approx(EVEN.y.mean())
    with pytest.raises(BundleError, match=message):
        EstimatorScorer.from_arrays(fitted.scorer.arrays())


def test_a_list_of_other_types_allows_nothing(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not trusted"):
        own(tmp_path, Constant(), ("collections.Counter",)).fit(EVEN, seed=0)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"\x80\x04K\x01.", stored_estimator(GaussianNB())[:-60]]
)
def test_bytes_that_are_no_skops_file_are_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="cannot be read by skops"):
        loaded_estimator(content, ())


def test_an_estimator_without_probabilities_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="RidgeClassifier without predict_proba; wrap it in"):
        own(tmp_path, RidgeClassifier()).fit(EVEN, seed=0)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"setting estimator: .*mine\.skops: No such file"):
        OwnEstimator(tmp_path / "mine.skops", ()).fit(EVEN, seed=0)


def test_an_estimator_that_refuses_rows_of_the_contract_is_refused(tmp_path: Path) -> None:
    whole = np.nan_to_num(EVEN.X, posinf=0, nan=0.5)
    given = msgspec.structs.replace(EVEN, X=whole, X_stop=whole[:300])
    with pytest.raises(ConfigError, match="refuses a missing value in spread, which the contract"):
        own(tmp_path, KNeighborsClassifier()).fit(given, seed=0)


# -- in a bundle ----------------------------------------------------------------------------------

LOAD = """
import sys
import zipfile
from pathlib import Path
from gyroscope.bundle.bundle import Bundle
Bundle.load(Path(sys.argv[1]), trusted={sys.argv[2]: "ours"})
print(*[name for name in ("sklearn", "skops") if name in sys.modules])
"""


@pytest.fixture
def bundle() -> Bundle:
    """A bundle of the small world with an estimator in it."""
    tiny = tiny_bundle()
    X = np.random.default_rng(0).normal(size=(50, len(tiny.contract.features)))
    estimator = GaussianNB().fit(X, X[:, 0] > 0)
    return Bundle(
        manifest=msgspec.structs.replace(tiny.manifest, scorer="estimator", link="identity"),
        contract=tiny.contract,
        scorer=EstimatorScorer(stored_estimator(estimator), trusted_types=()),
        link=msgspec.structs.replace(tiny.link, kind="identity"),
        reference=tiny.reference,
    )


def test_a_bundle_with_an_estimator_comes_back_and_explains_nothing(
    bundle: Bundle, tmp_path: Path
) -> None:
    keys = Keys(tmp_path / "keys")
    bundle.save(tmp_path / "bundle", signer=keys.signer())
    loaded = Bundle.load(tmp_path / "bundle", trusted=keys.trusted())
    X = np.random.default_rng(1).normal(size=(20, len(bundle.contract.features)))
    assert loaded.probabilities(X).tobytes() == bundle.probabilities(X).tobytes()
    assert not loaded.explains
    with pytest.raises(NotImplementedError):
        loaded.contributions(X)


@pytest.mark.parametrize("signed", [True, False])
def test_an_estimator_that_no_trusted_key_signed_is_told_of_but_never_built(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signed: bool
) -> None:
    bundle.save(tmp_path / "bundle", signer=Keys(tmp_path / "other").signer() if signed else None)
    monkeypatch.setattr("skops.io.loads", None)  # whoever builds it fails
    hint = "gyro keys add NAME" if signed else "gyro bundle sign"
    with pytest.raises(BundleError, match=f"built only if a trusted key signed it.*{hint}"):
        Bundle.load(tmp_path / "bundle")
    anyones = read_bundle(tmp_path / "bundle", trusted={"0" * 64: "ours"}, anyone=True)
    with pytest.raises(BundleError, match="built only if a trusted key signed it"):
        Bundle.parse(anyones, tmp_path / "bundle")
    types = Contents.read(anyones, tmp_path / "bundle").own_types
    assert "sklearn.naive_bayes.GaussianNB" in types
    assert types == sorted(set(types))


@pytest.mark.slow  # to import skops is to import all of scikit-learn
@pytest.mark.parametrize("own_one", [True, False])
def test_scikit_learn_is_imported_only_for_a_bundle_that_needs_it(
    bundle: Bundle, tmp_path: Path, own_one: bool
) -> None:
    signer = Keys(tmp_path / "keys").signer()
    (bundle if own_one else tiny_bundle()).save(tmp_path / "bundle", signer=signer)
    command = [sys.executable, "-c", LOAD, str(tmp_path / "bundle"), signer.key]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == (["sklearn", "skops"] if own_one else [])


def zipped(schema: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("schema.json", schema)
    return written.getvalue()


@pytest.mark.parametrize("schema", ["[]", "5", "{", "[" * 100_000 + "]" * 100_000])
def test_a_file_that_skops_stumbles_over_is_a_bundle_error(schema: str) -> None:
    with pytest.raises(BundleError, match="cannot be read by skops"):
        loaded_estimator(zipped(schema), ())


@pytest.mark.parametrize("content", [b"", b"nonsense", zipped("{"), zipped("[" * 100_000)])
def test_types_are_not_told_of_what_is_no_skops_file(content: bytes) -> None:
    with pytest.raises(BundleError, match="the estimator cannot be read"):
        estimator_types(content)


def test_a_description_that_unpacks_without_end_is_refused() -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", bytes(65 << 20))
    with pytest.raises(BundleError, match="more than 67,108,864 bytes"):
        estimator_types(written.getvalue())
