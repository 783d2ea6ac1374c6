"""Small synthetic worlds in which everything is known: who churns, why, and what changes when.

The cast is fixed: :data:`CALM`, in which nothing changes; :data:`COVARIATE_DRIFT`, in which other
customers come but behave as before; :data:`CONCEPT_DRIFT`, in which the same customers behave
differently; :data:`LATE_LABELS`, calm, but the outcomes become known late and some never.

    events = CALM.events(0, 30)            # a month of rows with their outcomes
    table = to_table(events)               # as a CSV file would hold them
    bundle = tiny_bundle()                 # knows the chances of the calm world exactly
    predictions, labels = logged(events, bundle, version=1)

Every day of a world has a seed of its own, so any stretch of days can be had without the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from gyroscope.bundle.additive import AdditiveScorer
from gyroscope.bundle.base import Scorer
from gyroscope.bundle.bundle import Bundle, Manifest
from gyroscope.bundle.links import Link, expit
from gyroscope.bundle.trees import TreeScorer
from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.encoder import Encoder
from gyroscope.data.training_set import load_training_set
from gyroscope.findings import Window
from gyroscope.model import Label, Prediction, Value
from gyroscope.stats.metrics import metrics
from gyroscope.train.families.node_table import NodeTable
from gyroscope.train.reference import make_reference

DAY_0 = datetime(2026, 1, 1, tzinfo=UTC)  # on which every world begins
CHANGE_DAY = 30  # on which the drifts set in
THRESHOLD = 0.5
_DAY = timedelta(days=1)
_REFERENCE_DAYS = 10  # of the calm world, that the reference of a tiny bundle is made from

CONTRACT = Contract(
    columns=(
        Column(name="age", type=ColumnType.INTEGER, limits=(0, 120), seen=(18, 90), unit="years"),
        Column(name="balance", type=ColumnType.NUMBER, nullable=True, missing=("?",)),
        Column(name="plan", type=ColumnType.CATEGORY, categories=("basic", "plus", "pro")),
        Column(
            name="region",
            type=ColumnType.CATEGORY,
            categories=("north", "south: coast"),
            unknown="other",
        ),
        Column(name="active", type=ColumnType.BOOLEAN, true=("yes",), false=("no",)),
        Column(name="joined", type=ColumnType.DATETIME, nullable=True),
        Column(name="at", type=ColumnType.DATETIME, role=Role.TIME),
        Column(name="customer", type=ColumnType.TEXT, role=Role.ID),
        Column(name="sex", type=ColumnType.CATEGORY, role=Role.SENSITIVE, categories=("f", "m")),
        Column(name="note", type=ColumnType.TEXT, role=Role.IGNORED),
        Column(name="churned", type=ColumnType.CATEGORY, role=Role.TARGET),
    ),
    positive=("yes",),
    negative=("no",),
)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A row as a client sends it, and what became of it."""

    id: str
    time: datetime
    row: dict[str, Value]
    chance: float  # true probability of the positive class, before the outcome is known
    label: str
    labelled: datetime | None  # when the outcome became known; None if it never does


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A stream of customers; equal worlds give equal events."""

    name: str
    seed: int = 0
    rows_per_day: int = 200
    older: float = 0.0  # years that customers are older from the change on
    reversed: bool = False  # balance and activity work the other way from the change on
    lag: timedelta = timedelta(hours=6)  # mean time until an outcome is known
    unknown: float = 0.0  # share of outcomes that never become known

    def events(self, first: int, last: int) -> list[Event]:
        """The events of the days ``first`` to before ``last``, in order of time."""
        return [event for number in range(first, last) for event in self._day(number)]

    def _day(self, number: int) -> list[Event]:
        n, start = self.rows_per_day, day(number).start
        random = np.random.default_rng([self.seed, abs(number), number < 0])
        times = [start + share * _DAY for share in np.sort(random.uniform(size=n)).tolist()]
        rows = _rows(random, times, self.older if number >= CHANGE_DAY else 0.0)
        truth = _scorer(reverse=self.reversed and number >= CHANGE_DAY)
        chances = expit(truth.margins(_ENCODER.encode_rows(rows)))
        positive = random.uniform(size=n) < chances
        lags = [lag * self.lag for lag in random.exponential(size=n).tolist()]
        never = random.uniform(size=n) < self.unknown
        return [
            Event(
                id=f"{self.name}-{number}-{i}",
                time=times[i],
                row=rows[i],
                chance=float(chances[i]),
                label="yes" if positive[i] else "no",
                labelled=None if never[i] else times[i] + lags[i],
            )
            for i in range(n)
        ]


CALM = World(name="calm")
COVARIATE_DRIFT = World(name="covariate_drift", older=12.0)
CONCEPT_DRIFT = World(name="concept_drift", reversed=True)
LATE_LABELS = World(name="late_labels", lag=timedelta(days=6), unknown=0.15)
CAST = (CALM, COVARIATE_DRIFT, CONCEPT_DRIFT, LATE_LABELS)


def day(number: int) -> Window:
    """The window of one day of a world."""
    return Window(DAY_0 + number * _DAY, DAY_0 + (number + 1) * _DAY)


def to_table(events: Sequence[Event]) -> Any:
    """The events as a ``pyarrow.Table`` of texts, outcome included, as a CSV file holds them."""
    import pyarrow as pa

    rows = [{**event.row, "note": "", "churned": event.label} for event in events]
    names = [column.name for column in CONTRACT.columns]
    return pa.table({name: pa.array([_text(row[name]) for row in rows]) for name in names})


def logged(
    events: Sequence[Event], bundle: Bundle, *, version: int
) -> tuple[list[Prediction], list[Label]]:
    """What the prediction log holds once a bundle has served the events, with all outcomes known.

    Labels come in the order in which they arrive.
    """
    encoder = bundle.encoder
    rows = [event.row for event in events]
    scores = bundle.probabilities(encoder.encode_rows(rows)).tolist()
    predictions = [
        Prediction(
            id=event.id,
            version=version,
            time=event.time,
            arrival=event.time,
            columns=encoder.logged_columns,
            row=encoder.logged(event.row),
            score=score,
            entity=entity,
        )
        for event, score, entity in zip(events, scores, encoder.entities(rows), strict=True)
    ]
    labels = [
        Label(
            prediction_id=event.id, label=event.label, time=event.labelled, arrival=event.labelled
        )
        for event in events
        if event.labelled is not None
    ]
    return predictions, sorted(labels, key=lambda label: label.arrival)


def tiny_bundle(
    *, model: str = "churn", kind: str = "additive", noise: float = 0.0, seed: int = 0
) -> Bundle:
    """A small bundle for the contract of the worlds, made without any training library.

    Args:
        model: name of the model in the manifest.
        kind: "additive" knows the chances of the calm world exactly, so it is calibrated there;
            "trees" is a handful of trees made by hand, of no skill to speak of.
        noise: standard deviation of random changes to the effects of the additive scorer, in
            log-odds for a usual change of a column: the larger, the worse the model.
        seed: of those changes.
    """
    scorer: Scorer = _trees() if kind == "trees" else _scorer(noise=noise, seed=seed)
    rows = load_training_set(to_table(CALM.events(-_REFERENCE_DAYS, 0)), CONTRACT).rows
    p = expit(scorer.margins(rows.X))
    found = metrics(rows.y, p, THRESHOLD)
    return Bundle(
        manifest=Manifest(
            model=model,
            family="logistic_regression" if kind == "additive" else "lightgbm",
            scorer=scorer.kind,
            link="logistic",
            threshold=THRESHOLD,
            metrics={name: estimate.value for name, estimate in found.items() if estimate.defined},
            snapshot=rows.digest,
            trained_from=(DAY_0 - _REFERENCE_DAYS * _DAY).isoformat(),
            trained_until=(DAY_0 - timedelta(microseconds=1)).isoformat(),
        ),
        contract=CONTRACT,
        scorer=scorer,
        link=Link(kind="logistic"),
        reference=make_reference(CONTRACT, rows, rows, p, threshold=THRESHOLD, window=_DAY),
    )


# -- what makes customers churn -------------------------------------------------------------------

_ENCODER = Encoder(CONTRACT)
_TYPICAL_JOINED = datetime(2022, 1, 1, tzinfo=UTC).timestamp()
_CENTRES = np.array([45.0, 1500.0, 0.0, 0.0, 0.5, _TYPICAL_JOINED])
_SCALES = np.array([12.0, 800.0, 1.0, 1.0, 0.5, 3e7])  # a usual change of each column
_EFFECTS = np.array([0.5, -0.6, 0.0, 0.0, -0.7, -0.2])  # of a usual change, in log-odds
_REVERSED = np.array([1.0, -1.0, 1.0, 1.0, -1.0, 1.0])
_MISSING = np.array([0.0, 0.8, 0.0, 0.0, 0.0, 0.3])
_PLAN = np.array([0.5, 0.0, -0.8, 0.0])
_REGION = np.array([0.2, -0.2, 0.0])
_INTERCEPT = -0.6
_REGION_MIX = (0.6, 0.39, 0.01)  # the last is no category of the contract


def _scorer(*, reverse: bool = False, noise: float = 0.0, seed: int = 0) -> AdditiveScorer:
    """The chances of a world, or something like them."""
    effects = _EFFECTS * (_REVERSED if reverse else 1.0)
    if noise:
        effects = effects + np.random.default_rng(seed).normal(0, noise, len(effects))
    slopes = np.where(_EFFECTS == 0, 0.0, effects / _SCALES)
    means = slopes * _CENTRES
    means[[2, 3]] = _PLAN[:3].mean(), _REGION[:2].mean()
    return AdditiveScorer(
        intercept=_INTERCEPT - float((slopes * _CENTRES).sum()),
        slopes=slopes,
        missing=_MISSING + slopes * _CENTRES,
        expected=means,
        tables=[None, None, _PLAN, _REGION, None, None],
    )


def _trees() -> TreeScorer:
    """Two trees with every kind of split: on a number, a category and one met twice on a path."""
    table = NodeTable()
    left, right = table.split(
        table.add_root(), feature=0, threshold=40.0, missing_left=True, cover=100.0
    )
    table.leaf(left, value=-0.4, cover=40.0)
    low, high = table.split(right, feature=0, threshold=60.0, missing_left=False, cover=60.0)
    table.leaf(low, value=0.1, cover=45.0)
    table.leaf(high, value=0.7, cover=15.0)
    basic = np.array([True, False, False, False])
    left, right = table.split(
        table.add_root(),
        feature=2,
        threshold=0.0,
        missing_left=False,
        cover=100.0,
        left_codes=basic,
    )
    table.leaf(left, value=0.5, cover=50.0)
    poor, rich = table.split(right, feature=1, threshold=1500.0, missing_left=True, cover=50.0)
    table.leaf(poor, value=0.0, cover=25.0)
    table.leaf(rich, value=-0.6, cover=25.0)
    return TreeScorer(table.nodes(), base=_INTERCEPT, single=False)


def _rows(
    random: np.random.Generator, times: Sequence[datetime], older: float
) -> list[dict[str, Value]]:
    """Customers as a client sends them."""
    n = len(times)
    columns: dict[str, list[Any]] = {
        "age": np.clip(np.rint(random.normal(45 + older, 12, n)), 18, 90).astype(int).tolist(),
        "balance": np.round(random.normal(1500, 800, n), 2).tolist(),
        "plan": random.choice(["basic", "plus", "pro"], n, p=[0.5, 0.3, 0.2]).tolist(),
        "region": random.choice(["north", "south: coast", "abroad"], n, p=_REGION_MIX).tolist(),
        "active": (random.uniform(size=n) < 0.5).tolist(),
        "joined": [_iso(s) for s in random.uniform(-5e7, 5e7, n) + _TYPICAL_JOINED],
        "at": [time.isoformat() for time in times],
        "customer": [f"c{number:04d}" for number in random.integers(0, 5000, n)],
        "sex": random.choice(["f", "m"], n).tolist(),
    }
    for name, share in (("balance", 0.08), ("joined", 0.05)):
        for i in np.flatnonzero(random.uniform(size=n) < share):
            columns[name][i] = None
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def _text(value: Value) -> str:
    """A value as a CSV file holds it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
