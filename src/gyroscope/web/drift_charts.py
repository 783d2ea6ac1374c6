"""Charts of single columns: the reference as grey bars, the current rows in blue."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from gyroscope.data.cells import ColumnSpec
from gyroscope.data.contract import ColumnType
from gyroscope.data.profile import ColumnProfile
from gyroscope.web.charts import CHAMPION, INK, LINE, REFERENCE, plain_axes, svg_element, visible
from gyroscope.web.histograms import Shares, category_shares, number_shares

_WIDTH, _HEIGHT = 5.6, 2.0  # inches
_MOST_LETTERS = 24
_DAY_S = 86_400


def column_chart(
    spec: ColumnSpec, old: ColumnProfile, new: ColumnProfile, sentence: str
) -> str | None:
    """The distribution of a column then and now, as SVG; None if it has no values.

    ``sentence`` says what there is to see to those who cannot.
    """
    of_column = category_shares if spec.categorical else number_shares
    shares = of_column(spec, old, new)
    if shares is None:
        return None
    return _bars(shares, sentence) if spec.categorical else _histogram(spec, shares, sentence)


def _histogram(spec: ColumnSpec, shares: Shares, sentence: str) -> str:
    assert shares.ends is not None  # numbers have bins
    figure, axes = plain_axes(_WIDTH, _HEIGHT)
    axes.stairs(100 * shares.reference, shares.ends, fill=True, color=REFERENCE, alpha=0.55)
    known = (shares.ends[1:] > spec.edges[0]) & (shares.ends[:-1] < spec.edges[-1])
    solid = np.where(known, 100 * shares.current, np.nan)
    axes.stairs(100 * shares.current, shares.ends, baseline=None, color=CHAMPION, ls=":")
    axes.stairs(solid, shares.ends, baseline=None, color=CHAMPION, linewidth=1.8)
    axes.set_xlim(shares.ends[0], shares.ends[-1])
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=LINE, linewidth=0.7)
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.locator_params(axis="y", nbins=4)
    if spec.type is ColumnType.DATETIME:
        at = np.linspace(shares.ends[0], shares.ends[-1], 5)[1:-1]
        axes.set_xticks(at, [_moment(x, shares.ends[-1] - shares.ends[0]) for x in at])
    elif spec.type is ColumnType.INTEGER:
        axes.locator_params(axis="x", integer=True)
    if spec.unit:
        axes.set_xlabel(_short(spec.unit), color=INK, fontsize=8, loc="right", parse_math=False)
    return svg_element(figure, sentence)


def _bars(shares: Shares, sentence: str) -> str:
    rows = np.arange(len(shares.names))
    figure, axes = plain_axes(_WIDTH, 0.4 + 0.3 * rows.size)
    axes.barh(rows - 0.2, 100 * shares.reference, 0.38, color=REFERENCE, alpha=0.7)
    axes.barh(rows + 0.2, 100 * shares.current, 0.38, color=CHAMPION)
    axes.set_yticks(rows, [_short(name) for name in shares.names], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(axis="x", color=LINE, linewidth=0.7)
    axes.xaxis.set_major_formatter("{x:g} %")
    axes.locator_params(axis="x", nbins=5)
    return svg_element(figure, sentence)


def _moment(seconds: float, span: float) -> str:
    form = "%Y-%m-%d" if span > 3 * _DAY_S else "%m-%d %H:%M"
    return datetime.fromtimestamp(seconds, UTC).strftime(form)


def _short(text: str) -> str:
    """A text on one line that fits beside a bar."""
    seen = visible(text).strip() or "(blank)"
    return seen if len(seen) <= _MOST_LETTERS else f"{seen[: _MOST_LETTERS - 1]}…"
