"""Charts of a model's history as SVG text, without scripts or external references."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any

import numpy as np

from gyroscope.decisions import Action, Decision
from gyroscope.findings import Finding, Kind, Window

CHAMPION, REFERENCE, INK, MUTE, LINE = "#1f66d0", "#9aa5b4", "#18202c", "#5b6675", "#e3e7ec"
_MARKS = {  # decisions that charts show: colour and line
    Action.QUARANTINE: ("#8f5a00", ":"),
    Action.ALARM: ("#c22a2a", "-"),
    Action.RETRAIN: ("#5b6675", "--"),
    Action.PROMOTE: ("#14733f", "-"),
    Action.ROLL_BACK: ("#b04a06", "-"),
}
_HEAT = ("#f1f4f7", "#fbe7bd", "#f7bf72", "#ea7f45", "#c43f3f", "#7d1638")
_HEAT_STEPS = (0.05, 0.1, 0.2, 0.3, 0.4)  # PSI
_MOST_COLUMNS = 20
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")
_WIDTH, _DPI = 10.0, 72  # inches
_SLACK = timedelta(days=30)  # after the last window, for decisions on late labels


def metric_chart(
    findings: Sequence[Finding], decisions: Sequence[Decision], metric: str, title: str
) -> str | None:
    """A metric over time: realised solid with its interval, estimated dashed; None without data."""
    realised = _series(findings, Kind.PERFORMANCE, metric)
    if len(realised) < 2:
        return None
    figure, axes = _axes(title, 2.9)
    times, values, low, high = _lines(realised)
    axes.fill_between(times, low, high, color=CHAMPION, alpha=0.15, linewidth=0)
    axes.plot(times, values, color=CHAMPION, label="realised, 95 % interval")
    estimated = _lines(_series(findings, Kind.ESTIMATED_PERFORMANCE, metric))
    axes.plot(*estimated[:2], color=CHAMPION, ls="--", linewidth=1, label="estimated before labels")
    _mark(axes, decisions, times)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    return svg_element(figure, title)


def detector_chart(findings: Sequence[Finding], decisions: Sequence[Decision]) -> str | None:
    """The evidence for a loss of performance against the limit of its alarm."""
    steps = _series(findings, Kind.PERFORMANCE, "detector")
    if len(steps) < 2:
        return None
    figure, axes = _axes("Evidence that performance was lost", 2.3)
    times, values, _, _ = _lines(steps)
    axes.plot(times, values, color=CHAMPION, label="evidence (log scale)")
    limits = [f.threshold for f in steps if f.threshold is not None]
    if limits:
        axes.axhline(limits[-1], color="#c22a2a", linewidth=1, label="limit of the alarm")
    _mark(axes, decisions, times)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    return svg_element(figure, "Evidence that performance was lost, against the limit of the alarm")


def drift_chart(findings: Sequence[Finding]) -> str | None:
    """PSI of every column in every window as a heat map, the most drifted column first."""
    drifted = [f for f in findings if f.kind is Kind.COLUMN_DRIFT and f.check == "psi"]
    windows = sorted({f.window for f in drifted if f.window})
    if len(windows) < 2:
        return None
    worst: dict[str, float] = {}
    for finding in drifted:
        worst[finding.subject] = max(worst.get(finding.subject, 0.0), finding.value or 0.0)
    columns = sorted(worst, key=lambda name: -worst[name])[:_MOST_COLUMNS]
    cells = np.full((len(columns), len(windows)), np.nan)
    for f in drifted:
        if f.subject in columns and f.window and f.value is not None:
            cells[columns.index(f.subject), windows.index(f.window)] = f.value
    return _heat(cells, columns, windows)


def _heat(cells: Any, columns: Sequence[str], windows: Sequence[Window]) -> str:
    from matplotlib.colors import BoundaryNorm, ListedColormap

    title = "Drift of the inputs (PSI)"
    figure, axes = _axes(title, 0.8 + 0.26 * len(columns))
    colours = ListedColormap(list(_HEAT))
    norm = BoundaryNorm([0, *_HEAT_STEPS, 1e9], colours.N)
    edges = [*(w.start for w in windows), windows[-1].end]
    rows = np.arange(len(columns) + 1)
    mesh = axes.pcolormesh(edges, rows, cells, cmap=colours, norm=norm, edgecolors="white", lw=0.3)
    axes.set_yticks(rows[:-1] + 0.5, [_plain(name) for name in columns], fontsize=8)
    axes.invert_yaxis()
    axes.grid(visible=False)
    bar = figure.colorbar(mesh, ax=axes, ticks=_HEAT_STEPS, pad=0.01, fraction=0.03)
    bar.ax.set_yticklabels([str(step) for step in _HEAT_STEPS], fontsize=7)
    bar.outline.set_visible(False)
    return svg_element(figure, "Population stability index of each column in each window")


def _series(findings: Sequence[Finding], kind: Kind, check: str) -> list[Finding]:
    found = [f for f in findings if f.kind is kind and f.check == check]
    return sorted((f for f in found if f.window and f.value is not None), key=_start)


def _lines(
    series: Sequence[Finding],
) -> tuple[list[datetime], list[float], list[float], list[float]]:
    """Times, values, and the ends of the intervals; NaN where windows are missing in between."""
    rows: list[tuple[datetime, float, float, float]] = []
    end: datetime | None = None
    for finding in series:
        window, value = finding.window, finding.value
        if window is None or value is None:
            continue
        if end is not None and window.start > end:
            rows.append((end, np.nan, np.nan, np.nan))
        interval = finding.interval
        low, high = (value, value) if interval is None else (interval.low, interval.high)
        rows.append((_middle(window), value, low, high))
        end = window.end
    times, values, lows, highs = zip(*rows, strict=True) if rows else ((), (), (), ())
    return list(times), list(values), list(lows), list(highs)


def _start(finding: Finding) -> datetime:
    assert finding.window is not None
    return finding.window.start


def _middle(window: Window | None) -> datetime:
    assert window is not None
    return window.start + window.length / 2


def _mark(axes: Any, decisions: Sequence[Decision], times: Sequence[datetime]) -> None:
    """Vertical lines where something was done, one legend entry an action."""
    named = set()
    for decision in decisions:
        if decision.action in _MARKS and times[0] <= decision.at <= times[-1] + _SLACK:
            colour, line = _MARKS[decision.action]
            label = None if decision.action in named else str(decision.action)
            named.add(decision.action)
            axes.axvline(decision.at, color=colour, linestyle=line, linewidth=1, label=label)


def _axes(title: str, height: float) -> tuple[Any, Any]:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    figure, axes = plain_axes(_WIDTH, height)
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.grid(axis="y", color=LINE, linewidth=0.7)
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    return figure, axes


def visible(text: str) -> str:
    """A text without what a page would obey, not show: controls and changes of direction."""
    return _OBEYED.sub(" ", text)


def plain_axes(width: float, height: float) -> tuple[Any, Any]:
    """A figure of so many inches and its axes, in the manner of all charts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=MUTE, labelsize=8)
    axes.set_axisbelow(True)
    return figure, axes


def svg_element(figure: Any, described: str) -> str:
    """The figure as an SVG element that a page can hold, described for those who cannot see it."""
    import matplotlib as mpl

    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": described}
    with mpl.rc_context(settings), warnings.catch_warnings():
        # Fonts of this machine without the glyph do not matter: the reader's draw the text.
        warnings.filterwarnings("ignore", message="Glyph ")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, dpi=_DPI)
    text = buffer.getvalue()
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*">', "<g>", body)  # the same in every figure of a page
    return body.replace("<svg ", f'<svg role="img" aria-label="{escape(visible(described))}" ', 1)


def _plain(name: str) -> str:
    """A column name that matplotlib does not take for mathematics."""
    return (name if len(name) <= 28 else name[:27] + "…").replace("$", r"\$")
