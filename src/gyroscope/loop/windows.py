"""Examining windows of the prediction log: from rows to findings."""

from __future__ import annotations

from collections.abc import Set
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.reference import Reference
from gyroscope.config import Settings, metric_of
from gyroscope.data.framing import framed, unframed
from gyroscope.data.performance import promises
from gyroscope.data.profile import Profile, joint_summary, merge_all, profile
from gyroscope.data.training_set import load_snapshot
from gyroscope.errors import NotFoundError
from gyroscope.findings import Finding, Kind, Window
from gyroscope.loop.canaries import canaries_beside
from gyroscope.loop.clock import logged_span
from gyroscope.loop.logged import LoggedRows, Mask, Vector, labelled_rows
from gyroscope.loop.world import World
from gyroscope.monitor.association import association_findings
from gyroscope.monitor.budget import YEAR, Budget, Spent, spending
from gyroscope.monitor.changes import DriftRules
from gyroscope.monitor.drift import drift_findings, score_drift_findings
from gyroscope.monitor.joint import domain_finding
from gyroscope.monitor.labels import label_coverage_finding, label_drift_finding
from gyroscope.monitor.performance import EXCESS, estimated_performance, realised_performance
from gyroscope.monitor.price import priced
from gyroscope.monitor.quality import constant_score_finding, quality_findings
from gyroscope.monitor.rows import duplicate_rows_finding, row_count_finding
from gyroscope.monitor.segments import segment_findings
from gyroscope.promote.promotion import champion_of
from gyroscope.stats.duplicates import duplicate_share

_COVERAGE_WINDOWS = 28  # past windows that say which share of predictions usually gets a label
_ALL = 10_000_000  # findings
_CHECKS_A_COLUMN = 5  # of data quality


class WindowProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The predictions of a window on the cells of a version's reference; those of two merge."""

    columns: Profile
    scores: Profile


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    columns: bytes
    scores: bytes


def budget_of(settings: Settings) -> Budget:
    """The budget of false alarms that the settings of a model give."""
    return Budget(
        false_alarms_per_year=settings["false_alarms_per_year"], window=settings["window"]
    )


def year_of(world: World, model: str) -> list[Spent]:
    """How the budget of a model was used in the year up to its newest finding."""
    findings = world.store.findings(model, limit=_ALL)
    newest = max((f.window.end for f in findings if f.window is not None), default=None)
    if newest is None:
        return spending(budget_of(world.config.model(model).settings), [])
    year = [f for f in findings if f.window is not None and f.window.end > newest - YEAR]
    return spending(budget_of(world.config.model(model).settings), year)


# -- profiles -------------------------------------------------------------------------------------


def profiled(rows: LoggedRows, reference: Reference, canaries: Set[int]) -> WindowProfile:
    """Count the rows that fit the contract in the cells of a reference.

    Inputs are of all rows, whoever served them; scores only of those that no canary served.
    """
    fit = rows.X[rows.fits]
    columns = profile(fit, reference.columns.spec)
    if reference.columns.joint is not None:
        joint = joint_summary(fit, reference.columns)
        columns = msgspec.structs.replace(columns, joint=joint)
    return WindowProfile(
        columns=columns, scores=profile(scores_of(rows, canaries), reference.scores.spec)
    )


def scores_of(rows: LoggedRows, canaries: Set[int]) -> Vector:
    """The scores of rows that fit the contract and that none of the canaries served."""
    return rows.score[rows.fits & ~np.isin(rows.version, list(canaries))]


def merged(parts: list[WindowProfile]) -> WindowProfile:
    """The profile of several windows, at least one."""
    return WindowProfile(
        columns=merge_all([part.columns for part in parts]),
        scores=merge_all([part.scores for part in parts]),
    )


def stored(found: WindowProfile) -> bytes:
    """A window's profile as the store keeps it."""
    parts = _Stored(columns=found.columns.to_bytes(), scores=found.scores.to_bytes())
    return framed(b"wind", parts)


def recalled(body: bytes, reference: Reference) -> WindowProfile:
    """What :func:`stored` wrote, with the reference it was counted by; raises DataError."""
    parts = unframed(b"wind", body, _Stored)
    return WindowProfile(
        columns=Profile.from_bytes(parts.columns, reference.columns.spec),
        scores=Profile.from_bytes(parts.scores, reference.scores.spec),
    )


# -- checks ---------------------------------------------------------------------------------------


def check_unlabelled(
    bundle: Bundle,
    rows: LoggedRows,
    found: WindowProfile,
    window: Window,
    *,
    settings: Settings,
    history: list[int],
    canaries: Set[int],
) -> list[Finding]:
    """What a window shows before its labels: quality, drift, scores, estimated performance.

    Args:
        bundle: the champion.
        rows: the predictions of the window, encoded by its contract.
        found: their profile.
        window: the window.
        settings: of the model.
        history: row counts of the windows before, oldest first.
        canaries: versions whose scores are not the champion's business.
    """
    reference, min_rows = bundle.reference, settings["min_rows"]
    return [
        row_count_finding(len(rows), history, window),
        duplicate_rows_finding(
            reference.duplicates,
            duplicate_share(rows.X[rows.fits]),
            int(rows.fits.sum()),
            window,
            min_rows=min_rows,
        ),
        *_check_profile(bundle, found, scores_of(rows, canaries), window, settings),
    ]


def _check_profile(
    bundle: Bundle,
    found: WindowProfile,
    scores: Vector,
    window: Window,
    settings: Settings,
) -> list[Finding]:
    """What profiles and scores show, whatever they were merged from."""
    reference, min_rows = bundle.reference, settings["min_rows"]
    budget = budget_of(settings)
    checks = _CHECKS_A_COLUMN * len(found.columns.columns)
    metric = metric_of(settings, bundle.contract.task)
    lacking = np.isnan(scores).any(axis=tuple(range(1, scores.ndim)))  # of another task
    scores = scores[~lacking]
    expected = estimated_performance(
        scores,
        bundle.manifest.threshold,
        window,
        task=bundle.contract.task,
        reference=reference.metrics,
        calibration=reference.calibration,
        losses=reference.losses,
        score=reference.scores.spec.columns[0],
        min_rows=min_rows,
    )
    drift = [
        *drift_findings(
            reference.columns, found.columns, window, _rules(settings, budget.alpha("columns"))
        ),
        *score_drift_findings(
            reference.scores, found.scores, window, _rules(settings, budget.alpha("scores"))
        ),
    ]
    return [
        *quality_findings(
            reference.columns,
            found.columns,
            window,
            min_rows=min_rows,
            certain=budget.alpha("data quality") / checks,
        ),
        constant_score_finding(reference.scores, found.scores, window, min_rows=min_rows),
        *priced(
            drift,
            reference,
            found.columns,
            next((f for f in expected if f.check == metric), None),
            metric=metric,
            harmless=_harmless(settings, metric, reference),
        ),
        *expected,
    ]


def _harmless(settings: Settings, metric: str, reference: Reference) -> float:
    """The worsening of a metric that is none: of errors, which have a unit, as a share of them."""
    unit = reference.metrics.get(metric) if metric in ("rmse", "mae") else None
    cost: float = settings["material_cost"]
    return cost if unit is None else cost * unit.value


def _rules(settings: Settings, alpha: float) -> DriftRules:
    return DriftRules(
        material_psi=settings["material_psi"], alpha=alpha, min_rows=settings["min_rows"]
    )


def check_labelled(
    bundle: Bundle,
    rows: LoggedRows,
    window: Window,
    settings: Settings,
    past: list[Finding],
) -> list[Finding]:
    """What a window shows once its labels are in: labels, association, performance, segments.

    Args:
        bundle: the champion.
        rows: the predictions of the window that it served.
        window: the window.
        settings: of the model.
        past: findings of the windows before.
    """
    reference, min_rows, budget = bundle.reference, settings["min_rows"], budget_of(settings)
    known = rows.labelled & rows.fits
    X, y, p = rows.X[known], rows.y[known], rows.score[known]
    spec, varied = reference.columns.spec, reference.label_dispersions
    alpha = budget.alpha("labels") / 2  # of two checks
    task = bundle.contract.task
    kept, chance = promises(task, y, p, reference.usual_error)
    tested = reference.outcomes or reference.losses
    return [
        *(
            score_drift_findings(
                reference.labels,
                profile(y[:, None], reference.labels.spec),
                window,
                _rules(settings, alpha),
                kind=Kind.LABEL_DRIFT,
            )
            if reference.labels is not None
            else [
                label_drift_finding(
                    reference.positives,
                    reference.n,
                    int(y.sum()),
                    len(y),
                    window,
                    material_psi=settings["material_psi"],
                    dispersion=varied.rate if varied else (),
                    alpha=alpha,
                    min_rows=min_rows,
                )
            ]
        ),
        label_coverage_finding(
            _past_coverage(past, window),
            int(rows.labelled.sum()),
            len(rows),
            window,
            alpha=alpha,
            min_rows=min_rows,
        ),
        *(
            association_findings(
                tested.labels,
                X,
                y,
                spec,
                window,
                label=reference.labels.spec.columns[0] if reference.labels else None,
                dispersions=varied,
                rules=_rules(settings, budget.alpha("association")),
            )
            if tested is not None
            else []
        ),
        *realised_performance(
            y,
            p,
            bundle.manifest.threshold,
            window,
            task=task,
            usual_error=reference.usual_error,
            reference=reference.metrics,
            excess=reference.excess,
            ranking=reference.ranking,
            min_rows=min_rows,
        ),
        *segment_findings(X, kept, chance, spec, window, alpha=budget.alpha("segments")),
    ]


def _past_coverage(past: list[Finding], window: Window) -> list[tuple[int, int]]:
    """How many predictions of each past window had a label when judged, and how many had none."""
    before = [f for f in past if f.window is not None and f.window.end <= window.start]
    labelled = {f.window: f.n for f in before if f.check == EXCESS and f.kind is Kind.PERFORMANCE}
    rows = {f.window: f.n for f in before if f.check == "label_coverage"}
    judged = [w for w in rows if w in labelled][-_COVERAGE_WINDOWS:]
    return [(min(labelled[w], rows[w]), max(rows[w] - labelled[w], 0)) for w in judged]


def check_now(
    world: World, model: str, last: timedelta | None, *, joint: bool = False
) -> list[Finding]:
    """Check the newest ``last`` of the log (all of it if None) at once, on demand.

    Windows that the pilot has checked are merged from their profiles; only newer rows, and those
    with labels, are read. The span begins where the first of these windows does.

    Args:
        world: the workspace.
        model: name of the model.
        last: span up to the newest prediction.
        joint: whether to train a classifier that tells the rows from those of the training too.

    Raises:
        NotFoundError: no champion, or nothing logged.
    """
    champion, log = champion_of(world.registry, model), world.log(model)
    span = logged_span(log, datetime.now(UTC))
    if champion is None:
        raise NotFoundError(f"model {model} has no champion; train one with: gyro train {model}")
    if span is None:
        raise NotFoundError(f"no prediction of {model} is logged yet")
    window = span if last is None else Window(max(span.start, span.end - last), span.end)
    bundle, settings = world.bundle(model, champion), world.config.model(model).settings
    kept = world.store.profiles(model, champion, window)
    start, until = (kept[0][0].start, kept[-1][0].end) if kept else (window.start, window.start)
    window = Window(start, window.end)
    fresh = labelled_rows(log, bundle.contract, Window(until, max(until, window.end)))
    parts = [recalled(body, bundle.reference) for _, body in kept]
    canaries = canaries_beside(world, model, champion)
    found = merged([*parts, profiled(fresh, bundle.reference, canaries)])
    rows = labelled_rows(log, bundle.contract, window)
    binary = bundle.contract.task == "binary"
    scores = typical_scores(found.scores) if binary else scores_of(rows, canaries)
    findings = [
        *_check_profile(bundle, found, scores, window, settings),
        *check_labelled(
            bundle, without(rows, canaries), window, settings, world.store.findings(model)
        ),
    ]
    if joint:
        findings.append(_check_jointly(world, model, rows, window))
    return findings


def typical_scores(scores: Profile) -> Vector:
    """The scores of a profile to within a cell: as many of each cell's middle as it holds."""
    (spec,), (column,) = scores.spec.columns, scores.columns
    ends = np.clip([column.low or 0.0, *spec.edges, column.high or 1.0], 0.0, 1.0)
    return np.repeat((ends[:-1] + ends[1:]) / 2, column.counts)


def _check_jointly(world: World, model: str, rows: LoggedRows, window: Window) -> Finding:
    champion = world.registry.holder(model, "champion")
    assert champion is not None  # the caller has seen that there is one
    settings = world.config.model(model).settings
    trained = load_snapshot(champion.tags["snapshot"], world.snapshots)
    features = world.bundle(model, champion.version).contract.features
    return domain_finding(
        trained.X,
        rows.X[rows.fits],
        [column.name for column in features],
        window,
        _rules(settings, budget_of(settings).alpha("columns")),
        seed=settings["seed"],
    )


def served_by(rows: LoggedRows, version: int) -> LoggedRows:
    """Only the rows that a version served."""
    return _where(rows, rows.version == version)


def without(rows: LoggedRows, versions: Set[int]) -> LoggedRows:
    """Only the rows that none of some versions served, nor one of another task."""
    scored = ~np.isnan(rows.score).any(axis=tuple(range(1, rows.score.ndim)))
    return _where(rows, scored & ~np.isin(rows.version, list(versions)))


def _where(rows: LoggedRows, mine: Mask) -> LoggedRows:
    return msgspec.structs.replace(
        rows,
        X=rows.X[mine],
        fits=rows.fits[mine],
        time=rows.time[mine],
        score=rows.score[mine],
        version=rows.version[mine],
        y=rows.y[mine],
        entity=[e for e, keep in zip(rows.entity, mine, strict=True) if keep],
    )
