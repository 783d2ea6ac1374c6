"""``gyro drift``: two tables against each other, without a workspace or a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gyroscope.cli.options import STYLES, JsonOption, application, console, print_json, table
from gyroscope.errors import GyroscopeError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from gyroscope.monitor.comparison import Change, DriftReport

# The defaults are those of gyroscope.drift, which is not imported before it is needed.
_MATERIAL_PSI, _ALPHA, _NOTICE_ALPHA, _MIN_ROWS = 0.02, 1e-4, 0.2, 100


def drift(
    reference: Annotated[
        str, typer.Argument(help="CSV or Parquet file, or a pattern in quotes, of the rows before.")
    ],
    current: Annotated[str, typer.Argument(help="The same, of the rows to be judged.")],
    *,
    json: JsonOption = False,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page with charts to this file.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show also the columns without a sure change.")
    ] = False,
    columns: Annotated[
        str | None, typer.Option(help="Compare only these: a,b,c.", show_default=False)
    ] = None,
    ignore: Annotated[
        str | None, typer.Option(help="Leave these out: a,b,c.", show_default=False)
    ] = None,
    material_psi: Annotated[
        float, typer.Option(help="Size (PSI) that a change must surely pass to be flagged.")
    ] = _MATERIAL_PSI,
    alpha: Annotated[
        float, typer.Option(help="Chance of any warning if nothing has changed.")
    ] = _ALPHA,
    notice_alpha: Annotated[
        float, typer.Option(help="Chance of any notice if nothing has changed.")
    ] = _NOTICE_ALPHA,
    min_rows: Annotated[
        int, typer.Option(help="Rows below which the answer is: not enough data.")
    ] = _MIN_ROWS,
    in_time_order: Annotated[
        bool | None,
        typer.Option(
            "--in-time-order/--any-order",
            help="Whether the rows of the reference stand in order of time; "
            "default: judged by the rows.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare two tables: what is broken, what has changed.

    Exit code 0 if no column is flagged, 1 if one is, 2 if trouble.
    """
    _spare_pandas()
    from gyroscope.web.comparison import drift as compared

    try:
        report = compared(
            reference,
            current,
            material_psi=material_psi,
            alpha=alpha,
            notice_alpha=notice_alpha,
            min_rows=min_rows,
            in_time_order=in_time_order,
            columns=None if columns is None else _names(columns),
            ignore=_names(ignore or ""),
        ).report
    except GyroscopeError as error:  # a damaged file is no change
        raise UsageError(str(error)) from None
    if html is not None:
        from gyroscope.web.drift_page import write_drift_page

        try:
            write_drift_page(report, html)
        except OSError as error:
            raise UsageError(f"the page cannot be written to {html}: {error.strerror}") from None
    if json:
        print_json(_record(report))
    else:
        _print(report, everything)
    if report.flagged:
        raise typer.Exit(1)


class _NoPandas:
    """Finds modules, and of pandas that there is none."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _spare_pandas() -> None:
    """Let Arrow find no pandas, which it would import, taking half a second, and not use.

    It looks once, when it makes its first array. A process that has either already is left alone.
    """
    if {"pandas", "pyarrow"} & sys.modules.keys():
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        import pyarrow as pa

        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


def _names(given: str) -> list[str]:
    return [name.strip() for name in given.split(",") if name.strip()]


def _record(report: DriftReport) -> dict[str, object]:
    return {
        "verdict": report.verdict,
        "flagged": report.flagged,
        "summary": report.summary,
        "rows": {"reference": report.reference.n, "current": report.current.n},
        "changes": report.changes,
        "remarks": report.remarks,
        "findings": report.findings,
    }


def _print(report: DriftReport, everything: bool) -> None:
    out = console()
    shown = [c for c in report.changes if everything or c.verdict != "ok"]
    if shown:
        out.print(_changes_table(shown))
    for sentence in (*report.remarks, report.summary):
        out.print(_line(sentence))


def _changes_table(changes: list[Change]) -> Table:
    from rich.text import Text

    heads = ("verdict", "column", "what happened", "PSI", "share")
    shown = table("", heads, numbers=("PSI", "share"))
    for change in changes:
        shown.add_row(
            Text(change.verdict, style=STYLES.get(change.verdict, "dim")),
            _line(change.subject),
            _line(change.what),
            "" if change.psi is None else f"{change.psi:.3f}",
            "" if change.share is None else f"{100 * change.share:.0f} %",
        )
    return shown


def _line(text: str) -> str:
    """A text in one line, whatever the names of columns hold."""
    return text.replace("\n", "\\n")


app = application()  # for this command alone
app.command()(drift)


@app.callback()
def _gyro() -> None:  # without it Typer would not ask for the name of the only command
    pass
