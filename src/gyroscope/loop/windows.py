"""Examining windows of the prediction log: from rows to findings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from gyroscope.bundle.bundle import Bundle
from gyroscope.config import Settings
from gyroscope.data.profile import profile
from gyroscope.errors import NotFoundError
from gyroscope.findings import Finding, Window
from gyroscope.loop.clock import logged_span, row_counts
from gyroscope.loop.logged import LoggedRows, labelled_rows
from gyroscope.loop.world import World
from gyroscope.monitor.drift import DriftRules, drift_findings, score_drift_findings
from gyroscope.monitor.labels import label_drift_finding
from gyroscope.monitor.performance import estimated_performance, realised_performance
from gyroscope.monitor.quality import constant_score_finding, quality_findings
from gyroscope.monitor.rows import row_count_finding
from gyroscope.promote.promotion import champion_of


def check_unlabelled(
    bundle: Bundle, rows: LoggedRows, window: Window, settings: Settings, history: list[int]
) -> list[Finding]:
    """What a window shows before its labels: quality, drift, scores, estimated performance.

    Args:
        bundle: the champion.
        rows: the predictions of the window, encoded by its contract.
        window: the window.
        settings: of the model.
        history: row counts of the windows before, oldest first.
    """
    reference, min_rows = bundle.reference, settings["min_rows"]
    rules = DriftRules(material_psi=settings["material_psi"], min_rows=min_rows)
    fit = rows.X[rows.fits]
    columns = profile(fit, reference.columns.spec)
    score = rows.score[rows.fits]
    scores = profile(score, reference.scores.spec)
    return [
        row_count_finding(len(rows), history, window),
        *quality_findings(reference.columns, columns, window, min_rows=min_rows),
        constant_score_finding(reference.scores, scores, window, min_rows=min_rows),
        *drift_findings(reference.columns, columns, window, rules),
        *score_drift_findings(reference.scores, scores, window, rules),
        *estimated_performance(
            score, bundle.threshold, window, reference=reference.metrics, min_rows=min_rows
        ),
    ]


def check_labelled(
    bundle: Bundle, rows: LoggedRows, window: Window, settings: Settings
) -> list[Finding]:
    """What a window shows once its labels are in: label drift and realised performance."""
    reference, min_rows = bundle.reference, settings["min_rows"]
    known = rows.labelled & rows.fits
    y, p = rows.y[known], rows.score[known]
    return [
        label_drift_finding(
            reference.positives,
            reference.n,
            int(y.sum()),
            len(y),
            window,
            material_psi=settings["material_psi"],
            min_rows=min_rows,
        ),
        *realised_performance(
            y,
            p,
            bundle.threshold,
            window,
            reference=reference.metrics,
            excess=reference.excess,
            ranking=reference.ranking,
            min_rows=min_rows,
        ),
    ]


def check_now(world: World, model: str, last: timedelta | None) -> list[Finding]:
    """Check the newest ``last`` of the log (all of it if None) at once, on demand.

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
    rows = labelled_rows(log, bundle.contract, window)
    return [
        *check_unlabelled(bundle, rows, window, settings, row_counts(log, window)),
        *check_labelled(bundle, rows, window, settings),
    ]


def served_by(rows: LoggedRows, version: int) -> LoggedRows:
    """Only the rows that a version served."""
    mine = rows.version == version
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
