"""``gyro predict``: a file of rows to a file of predictions, however many there are."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gyroscope.cli import data as files
from gyroscope.cli.data import ModelOption, Row, UrlOption
from gyroscope.cli.options import HERE, WorkspaceOption, console, opened
from gyroscope.data.remarks import are, counted
from gyroscope.errors import DataError, RequestError, UsageError

if TYPE_CHECKING:
    from gyroscope.bundle.trust import Trust
    from gyroscope.client import Client
    from gyroscope.data.chunks import Chunks
    from gyroscope.data.contract import Contract
    from gyroscope.errors import FieldProblem

CHUNK_ROWS = 10_000  # kept together; what a killed command has to do again, at most

_MOST_CELLS = 25_000  # in a request, so that wide rows keep to the size of body that is accepted
_CONFLICT = 409  # status
_MOST_VERSIONS = 20  # that may have come and gone between two tries of one command

Predictor = Callable[[int, int, Any], dict[str, list[Any]]]  # number and first row of a chunk, rows


def predict(
    data: Annotated[Path, typer.Argument(help="CSV or Parquet file with rows to predict.")],
    output: Annotated[Path, typer.Argument(help="CSV or Parquet file for the predictions.")],
    *,
    model: ModelOption = None,
    workspace: WorkspaceOption = HERE,
    url: UrlOption = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Folder of a bundle to predict with; no server, nothing on record."),
    ] = None,
    unsigned: Annotated[
        bool,
        typer.Option(
            "--unsigned",
            help="Take that bundle even if no key that the workspace trusts has signed it; never "
            "an estimator of somebody's own.",
        ),
    ] = False,
) -> None:
    """Predict the rows of a file, by the running server or by a bundle.

    A command that was killed goes on where it was when it is given again.
    """
    from gyroscope.bundle.trust import trust_in
    from gyroscope.loop.locks import locked

    _check_output(data, output)
    lock = output.with_name(f".{output.name}.lock")
    with locked(lock, wait_s=0, doing=f"writing {output}"):
        try:
            if bundle is None:
                n = _by_server(data, output, model, workspace, url)
            else:
                n = _by_bundle(data, output, bundle, None if unsigned else trust_in(workspace))
        finally:
            lock.unlink()
    console().print(f"{counted(n, 'prediction')} {are(n)} in {output}")


def _check_output(data: Path, output: Path) -> None:
    from gyroscope.data.sources import PARQUET_SUFFIXES, TEXT_SUFFIXES

    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file for the predictions")
    if not output.parent.is_dir():
        raise UsageError(f"no folder {output.parent} to write {output.name} to; make it first")
    if output.exists() and data.exists() and output.samefile(data):
        raise UsageError(f"{output} is the file with the rows; name another for the predictions")
    if not output.name.lower().endswith((*TEXT_SUFFIXES, *PARQUET_SUFFIXES)):
        raise UsageError(f"{output}: predictions can be written to a .csv or a .parquet file")


def _by_server(
    data: Path, output: Path, model: str | None, workspace: Path, url: str | None
) -> int:
    with opened(workspace) as space:
        name = space.model(model)
        with files.client(space, url) as server:
            job = _Job(data, output, files.contract_of(server, name), {"model": name})
            return job.run(_Asking(server, name, job))


class _Asking:
    """Predictions from a server, in requests of a sensible size."""

    def __init__(self, server: Client, model: str, job: _Job) -> None:
        self._server, self._model, self._job = server, model, job
        self._size = max(1, min(files.MOST_ROWS, _MOST_CELLS // len(job.contract.columns)))
        self._requests = count()

    def __call__(self, number: int, first: int, table: Any) -> dict[str, list[Any]]:
        from gyroscope.data.rows import json_rows

        self._requests = count()
        self._prefix = f"{self._job.chunks.job}-{number}"
        made: list[dict[str, Any]] = []
        for rows in json_rows(table, self._job.contract, batch=self._size):
            numbers = range(first + len(made), first + len(made) + len(rows))
            parts = files.sent(self._send, rows, numbers, self._job.data)
            made += [one for part in parts for one in part]
        ids = {"prediction_id": [one["prediction_id"] for one in made]}
        if self._job.contract.task == "regression":
            return ids | {"prediction": [one["value"] for one in made]}
        return {
            **ids,
            "probability": [one["probability"] for one in made],
            "prediction": [one["label"] for one in made],
            **_of_classes(self._job.contract, [one.get("probabilities") for one in made]),
        }

    def _send(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        # The same each time that the command is given, so that the server knows what it did; with
        # another ending each time that the version which answered then serves no longer.
        request_id = f"{self._prefix}-{next(self._requests)}"
        for ending in ("", *(f"-again-{n}" for n in range(1, _MOST_VERSIONS))):
            try:
                return self._server.predict(self._model, rows, request_id=f"{request_id}{ending}")
            except RequestError as refused:
                if refused.status != _CONFLICT:
                    raise
        folder = self._job.chunks.folder
        raise DataError(
            f"{_MOST_VERSIONS} versions have begun to answer these rows, and none serves any "
            f"longer: remove {folder} to begin the file anew"
        )


def _by_bundle(data: Path, output: Path, bundle: Path, trust: Trust | None) -> int:
    """Without ``trust`` the bundle may be anybody's."""
    from gyroscope.bundle.bundle import Bundle
    from gyroscope.bundle.verified import MANIFEST

    if trust is None:
        loaded = Bundle.load(bundle)
    else:
        loaded = Bundle.load(bundle, trusted=trust.keys, trusted_types=trust.types)
    contract = loaded.contract

    def predictions(number: int, first: int, table: Any) -> dict[str, list[Any]]:
        scores = loaded.scores(loaded.encoder.encode_table(table).X).tolist()
        if contract.task == "regression":
            return {"prediction": scores}
        labels = [loaded.label(score) for score in scores]
        if contract.task == "binary":
            return {"probability": scores, "prediction": labels}
        of_rows = [dict(zip(contract.classes, score, strict=True)) for score in scores]
        return {
            "probability": [max(score) for score in scores],
            "prediction": labels,
            **_of_classes(contract, of_rows),
        }

    manifest = (bundle / MANIFEST).read_text(encoding="utf-8")
    return _Job(data, output, contract, {"bundle": manifest}).run(predictions)


def _of_classes(contract: Contract, made: Sequence[Any]) -> dict[str, list[Any]]:
    """A column with the probability of each class, if there are several."""
    return {f"probability_{name}": [one[name] for one in made] for name in contract.classes}


class _Job:
    """Rows of a file to predictions in another, chunk by chunk."""

    def __init__(
        self, data: Path, output: Path, contract: Contract, inputs: dict[str, str]
    ) -> None:
        from gyroscope.data.encoder import Encoder
        from gyroscope.data.sources import files_of

        self.data, self.contract = data, contract
        self._output = output
        self._encoder = Encoder(contract)
        self._inputs: dict[str, str | int] = {**inputs, "chunk_rows": CHUNK_ROWS}
        for file in files_of(data):
            found = file.stat()
            self._inputs[str(file.resolve())] = f"{found.st_size} {found.st_mtime_ns}"
        self.chunks: Chunks

    def run(self, predictions: Predictor) -> int:
        """Predict all rows and write the output in one step; the number of rows."""
        from gyroscope.data.chunks import Chunks

        n = self._checked()
        folder = self._output.with_name(f"{self._output.name}.part")
        self.chunks = Chunks(folder, self._inputs)
        with _progress("predicting", n) as advance:
            for number, table in enumerate(self._parts()):
                if number not in self.chunks:
                    made = predictions(number, number * CHUNK_ROWS + 1, table)
                    self.chunks.write(number, self._result(table, made))
                advance(table.num_rows)
        _write(self._output, folder / "output", self.chunks.tables(-(-n // CHUNK_ROWS)))
        self.chunks.remove()
        return n

    def _checked(self) -> int:
        """The number of rows, after all were looked at: half of a file stays on record."""
        from gyroscope.data.sources import read_parts

        n = 0
        problems: dict[str, FieldProblem] = {}
        with _progress("checking", None) as advance:
            for table in read_parts(self.data):
                for problem in self._encoder.encode_table(table).problems:
                    problems.setdefault(problem.field, _moved(problem, n))
                n += table.num_rows
                advance(table.num_rows)
        if n == 0:
            raise DataError(f"{self.data} has no rows")
        if problems:
            told = files.told(self.data, list(problems.values()), range(1, n + 1))
            raise DataError(f"nothing was sent: {told}")
        return n

    def _parts(self) -> Iterator[Any]:
        """The rows in tables of CHUNK_ROWS, the last of which may be smaller."""
        import pyarrow as pa

        from gyroscope.data.sources import read_parts

        held: Any = None
        for part in read_parts(self.data):
            held = part if held is None else pa.concat_tables([held, part])
            while held.num_rows >= CHUNK_ROWS:
                yield held.slice(0, CHUNK_ROWS)
                held = held.slice(CHUNK_ROWS)
        if held is not None and held.num_rows:
            yield held

    def _result(self, table: Any, made: dict[str, list[Any]]) -> Any:
        """What stands in the output: the id column of the rows, if there is one, and predictions.

        An id column called like one of the predictions' is renamed.
        """
        import pyarrow as pa

        column = self.contract.id
        kept = {}
        if column is not None and column.name in table.column_names:
            name = f"given_{column.name}" if column.name in made else column.name
            kept[name] = table.column(column.name)
        return pa.table({**kept, **made})


def _moved(problem: FieldProblem, first: int) -> FieldProblem:
    import msgspec

    assert problem.row is not None
    return msgspec.structs.replace(problem, row=problem.row + first)


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar of rows."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda rows: bar.advance(task, rows)


def _write(output: Path, temporary: Path, tables: Iterator[Any]) -> None:
    """Write all chunks to a file and put it in its place in one step."""
    import pyarrow.parquet as pq

    from gyroscope.data.sources import PARQUET_SUFFIXES

    first = next(tables)
    if output.name.lower().endswith(PARQUET_SUFFIXES):
        with pq.ParquetWriter(temporary, first.schema) as writer:
            writer.write_table(first)
            for table in tables:
                writer.write_table(table.cast(first.schema))
    else:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file, delimiter="\t" if output.suffix == ".tsv" else ",")
            lines.writerow(first.column_names)
            for table in chain([first], tables):
                lines.writerows(_lines(table))
    with temporary.open("rb") as file_written:
        os.fsync(file_written.fileno())
    temporary.replace(output)


def _lines(table: Any) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)
