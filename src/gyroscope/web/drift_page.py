"""What a comparison of two tables found, as a page of its own or as a part of a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gyroscope
from gyroscope.data.files import write_atomically
from gyroscope.data.profile import ColumnProfile
from gyroscope.findings import SEVERITY, Kind, Verdict
from gyroscope.monitor.comparison import Change, DriftReport
from gyroscope.monitor.wording import percent
from gyroscope.web.charts import visible
from gyroscope.web.drift_charts import column_chart

_MOST_CHARTS = 12
_MOST_ROWS = 20  # of the table in a notebook
_ICONS = {
    Verdict.OK: "✓",
    Verdict.NOTICE: "i",
    Verdict.WARNING: "!",
    Verdict.ALARM: "✕",
    Verdict.NOT_ENOUGH_DATA: "?",
}


def drift_fragment(report: DriftReport) -> str:
    """The summary and the table as HTML for a notebook, without charts and scripts."""
    changes = report.changes
    return _rendered(
        "drift_fragment.html.j2",
        report=report,
        changes=changes[:_MOST_ROWS],
        more=len(changes) - _MOST_ROWS,
    )


def write_drift_page(report: DriftReport, path: Path) -> None:
    """Write the page to ``path``, whole or not at all; it asks for nothing from anywhere."""
    write_atomically(path, render_drift_page(report).encode("utf-8", "replace"))


def render_drift_page(report: DriftReport) -> str:
    """The page: summary, table, and charts of the columns that changed most."""
    return _rendered(
        "drift.html.j2",
        report=report,
        changes=[c for c in report.changes if c.verdict is not Verdict.OK],
        calm=[c for c in report.changes if c.verdict is Verdict.OK],
        stats=_stats(report),
        charts=_charts(report),
        together=[f for f in report.findings if f.kind is Kind.JOINT_DRIFT],
        release=gyroscope.__version__,
    )


def _rendered(template: str, **values: Any) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gyroscope.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    return environment.get_template(template).render(icons=_ICONS, **values)


def _stats(report: DriftReport) -> list[tuple[str, str]]:
    columns = [c for c in report.changes if c.psi is not None or c.verdict is not Verdict.OK]
    flagged = sum(_is_at_least(change, Verdict.WARNING) for change in columns)
    return [
        ("Reference rows", f"{report.reference.n:,}"),
        ("Current rows", f"{report.current.n:,}"),
        ("Columns compared", f"{len(report.reference.columns):,}"),
        ("Flagged", f"{flagged:,}"),
    ]


def _charts(report: DriftReport) -> list[dict[str, Any]]:
    """The chart of each column that changed, the worst first, with what stands around it."""
    from markupsafe import Markup

    spec = report.reference.spec
    places = {column.name: place for place, column in enumerate(spec.columns)}
    shown: list[dict[str, Any]] = []
    for change in report.changes:
        place = places.get(change.subject)
        if place is None or not _is_at_least(change, Verdict.NOTICE):
            continue
        old, new = report.reference.columns[place], report.current.columns[place]
        chart = column_chart(spec.columns[place], old, new, change.what)
        if chart is not None:
            shown.append({"change": change, "chart": Markup(chart), "gaps": _gaps(old, new)})
        if len(shown) == _MOST_CHARTS:
            break
    return shown


def _is_at_least(change: Change, level: Verdict) -> bool:
    return SEVERITY.index(change.verdict) >= SEVERITY.index(level)


def _gaps(old: ColumnProfile, new: ColumnProfile) -> str:
    """What a chart of values cannot show: how many are missing."""
    shares = [
        (column.missing + column.unreadable) / max(column.n + column.missing + column.unreadable, 1)
        for column in (old, new)
    ]
    then, now = (percent(share) for share in shares)
    return f"Missing or unreadable: {then} of the reference, {now} now." if any(shares) else ""
