"""The page of a comparison, and its part in a notebook."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import gyroscope
from gyroscope.data.cells import ColumnSpec
from gyroscope.data.contract import ColumnType
from gyroscope.data.profile import ColumnProfile
from gyroscope.data.table_profile import reference_profile, table_profile
from gyroscope.web.charts import visible
from gyroscope.web.drift_page import render_drift_page
from gyroscope.web.histograms import category_shares, number_shares

N = 600
ODD = '<b>$x_{1}$</b> & "東京"\n\u202e'


class Elements(HTMLParser):
    """Tags with their attributes, and texts, as a browser would have them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def columns(seed: int, shift: float) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shares = (0.8, 0.1, 0.1) if shift else (0.4, 0.3, 0.3)
    made = {f"number {k}": rng.normal(shift, 1, N) for k in range(13)}
    return made | {
        ODD: rng.normal(2 * shift, 1, N),
        "plan": rng.choice(["<script>alert(1)</script>", "$a^2$", "L" * 200], N, p=shares),
        "visits": rng.poisson(3 + shift, N),
        "when": np.arange(N) * 86_400_000_000 + int(shift * 86_400e6) * N,
        "gaps": np.where(rng.random(N) < 0.3 * shift, np.nan, rng.normal(0, 1, N)),
        "calm": rng.normal(0, 1, N),
    }


def table(seed: int, shift: float) -> pa.Table:
    made = columns(seed, shift)
    when = pa.array(made.pop("when")).cast(pa.timestamp("us"))
    return pa.table(made).append_column("when", when)


@pytest.fixture(scope="module")
def changed() -> Any:
    return gyroscope.drift(table(1, 0.0), table(2, 1.0))


@pytest.fixture(scope="module")
def page(changed: Any) -> str:
    return render_drift_page(changed.report)


def test_the_page_stands_alone_and_is_small(page: str) -> None:
    elements = Elements(page)
    names = {tag for tag, _ in elements.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "base"}
    for _, attributes in elements.tags:
        for name in ("src", "href", "xlink:href", "style"):
            assert not re.search(r"//|url\(", attributes.get(name) or "")
    assert "@import" not in page
    assert len(page.encode()) < 1_000_000


def test_what_comes_from_data_is_text_and_nothing_else(page: str) -> None:
    text = Elements(page).text
    assert '<b>$x_{1}$</b> & "東京"' in text
    assert "<script>alert(1)</scrip" in text
    assert "\u202e" not in page
    assert not {"b", "script"} & {tag for tag, _ in Elements(page).tags}


def test_the_columns_that_changed_most_have_charts_that_are_described(
    page: str, changed: Any
) -> None:
    charts = [attributes for tag, attributes in Elements(page).tags if tag == "svg"]
    assert len(charts) == 12
    assert all(chart["role"] == "img" for chart in charts)
    told = {visible(change.what) for change in changed.report.changes[:13]}
    assert {chart["aria-label"] for chart in charts} <= told


def test_no_two_elements_of_the_page_have_one_id(page: str) -> None:
    ids = [attributes["id"] for _, attributes in Elements(page).tags if "id" in attributes]
    drawn = [name for name in ids if name and not re.fullmatch(r"[mp][0-9a-f]{10}", name)]
    assert len(drawn) == len(set(drawn))


def test_the_page_tells_rows_verdict_missing_values_and_columns_without_a_change(page: str) -> None:
    text = Elements(page).text
    assert "! warning" in text
    assert "600" in text
    assert "No sure change of calm." in text
    shown = render_drift_page(
        gyroscope.drift({"x": [*range(500)]}, {"x": [*range(250), *[None] * 250]}).report
    )
    assert "Missing or unreadable: 0 % of the reference, 50 % now." in Elements(shown).text


def test_a_changed_relation_is_told_in_words() -> None:
    rng = np.random.default_rng(3)
    x, noise = rng.normal(size=(2, 2000))
    before, after = {"x": x, "y": x + noise}, {"x": x, "y": noise - x}
    text = Elements(render_drift_page(gyroscope.drift(before, after).report)).text
    assert re.search(r"correlation of ranks down from \+0\.\d\d to -0\.\d\d", text)


def test_a_comparison_without_a_change_has_a_page_too() -> None:
    report = gyroscope.drift(table(1, 0.0), table(1, 0.0)).report
    text = Elements(render_drift_page(report)).text
    assert "no sure change" in text
    assert "Without a sure change: 19" in text


def test_a_notebook_shows_summary_and_table_with_styles_of_its_own(changed: Any) -> None:
    shown = changed._repr_html_()
    elements = Elements(shown)
    assert changed.report.summary.split(":")[0] in elements.text
    assert "script" not in {tag for tag, _ in elements.tags}
    rules = re.findall(r"([^{}]+)\{", shown.split("<style>")[1].split("</style>")[0])
    assert all(part.strip().startswith(".gyroscope-drift") for r in rules for part in r.split(","))
    assert len(shown) < 20_000


def test_a_page_is_written_whole_over_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "page.html"
    same = gyroscope.drift({"x": [*range(200)]}, {"x": [*range(200)]})
    same.to_html(path)
    same.to_html(str(path))
    assert path.read_text(encoding="utf-8").endswith("</html>")
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_frames_tables_and_dicts_tell_the_same() -> None:
    pandas = pytest.importorskip("pandas")
    before, after = columns(1, 0.0), columns(2, 1.0)
    told = [
        gyroscope.drift(make(before), make(after)).report.changes
        for make in (dict, pa.table, pandas.DataFrame)
    ]
    assert told[0] == told[1] == told[2]


# -- shares ---------------------------------------------------------------------------------------


def profiled(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[ColumnSpec, ColumnProfile, ColumnProfile]:
    """The first column of two tables."""
    spec, reference = reference_profile(before)
    current = table_profile(after, spec)
    return spec.columns[0], reference.columns[0], current.columns[0]


@pytest.mark.parametrize("seed", range(3))
def test_the_histogram_of_a_number_is_near_that_of_its_values(seed: int) -> None:
    before, after = np.random.default_rng(seed).gamma(2.0, size=(2, 20_000))
    shares = number_shares(*profiled({"x": before}, {"x": after}))
    assert shares is not None
    assert shares.ends is not None
    ends = np.concatenate([[-np.inf], shares.ends[1:-1], [np.inf]])
    for share, values in ((shares.reference, before), (shares.current, after)):
        assert share.sum() == pytest.approx(1.0)
        assert np.abs(share - np.histogram(values, ends)[0] / values.size).max() < 0.01


def test_whole_numbers_have_bins_of_their_own_that_count_exactly() -> None:
    before, after = np.repeat([1, 2, 3, 7], 100), np.repeat([2, 3], 150)
    shares = number_shares(*profiled({"x": before}, {"x": after}))
    assert shares is not None
    assert shares.ends is not None
    assert shares.ends.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]
    assert shares.reference == pytest.approx([0.25, 0.25, 0.25, 0, 0, 0, 0.25])
    assert shares.current == pytest.approx([0, 0.5, 0.5, 0, 0, 0, 0])


def test_one_value_beyond_the_reference_is_shown_where_it_is() -> None:
    shares = number_shares(*profiled({"year": [2015] * 200}, {"year": [2016] * 200}))
    assert shares is not None
    assert shares.reference == pytest.approx([1, 0])
    assert shares.current == pytest.approx([0, 1])


def test_rare_categories_are_shown_together() -> None:
    before = [f"c{k}" for k in range(20) for _ in range(20 - k)]
    shares = category_shares(*profiled({"c": before}, {"c": [*before, *["new"] * 50]}))
    assert shares is not None
    assert shares.names == (*(f"c{k}" for k in range(8)), "other", "not listed")
    assert shares.reference.sum() == pytest.approx(1.0)
    assert shares.current.sum() == pytest.approx(1.0)
    assert shares.current[-1] == pytest.approx(50 / (len(before) + 50))


@pytest.mark.parametrize("values", [[None, None], [float("inf")] * 3, [1e308, -1e308, 5e-324]])
def test_a_column_without_finite_numbers_or_of_huge_ones_does_no_harm(
    values: list[float | None],
) -> None:
    column = pa.array(values, pa.float64())
    spec, old, new = profiled({"x": column}, {"x": column})
    assert spec.type is ColumnType.NUMBER
    shares = number_shares(spec, old, new)
    assert shares is None or np.isfinite(shares.reference).all()
