"""Is a table fit to train on? Findings for everything that is not, before time is spent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.arrow import encode_column
from gyroscope.data.codec import Codec, label_text, shorten
from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.distinct import Distinct, distinct_values
from gyroscope.data.remarks import counted, percent, quoted
from gyroscope.findings import Finding, Kind, Verdict

ROWS_OF_A_CLASS = 34  # 5 in the smallest part (15 %) of a split, below which nothing is learnt
COMFORTABLE_ROWS_OF_A_CLASS = 200  # below, metrics come with wide intervals
REPEATED_SHARE = 0.01  # of the rows, from which repetitions are no accident

Mask = NDArray[np.bool_]  # bool[n], one for each row


def check_table(table: Any, contract: Contract) -> list[Finding]:
    """Hold a ``pyarrow.Table`` against its contract.

    An alarm means that training cannot succeed; a warning, that rows will be left out or that
    something looks wrong. Where nothing is found the verdict is ok. Rows are counted from 1.

    Args:
        table: columns of text as from CSV, or typed ones.
        contract: what the table should be.

    Returns:
        One finding for each thing wrong, or one that all is well, for each column that is used;
        then findings about the target and about the table as a whole.
    """
    values = {name: distinct_values(name, table.column(name)) for name in table.column_names}
    used = [column for column in contract.columns if column.role is not Role.IGNORED]
    usable = np.ones(table.num_rows, dtype=bool)
    findings = []
    for column in used:
        if column.name not in values:
            findings.append(_absent(column, table.num_rows))
        elif column.role not in (Role.TARGET, Role.ID):
            found, left_out = _column(column, table.column(column.name), values[column.name])
            findings += found
            usable &= ~left_out
    if contract.target.name in values:
        name = contract.target.name
        found, y = _target(contract, table.column(name), values[name])
        findings += [*found, _enough_rows(contract, y[usable])]
    findings.append(_repeated_rows(list(values.values()), table.num_rows))
    return findings


def _finding(
    check: str,
    subject: str,
    verdict: Verdict,
    detail: str,
    *,
    n: int,
    value: float | None = None,
    threshold: float | None = None,
) -> Finding:
    return Finding(
        kind=Kind.DATA_QUALITY,
        check=check,
        subject=subject,
        verdict=verdict,
        detail=detail,
        n=n,
        value=value,
        threshold=threshold,
    )


def _absent(column: Column, n: int) -> Finding:
    needed = column.role not in (Role.ID, Role.SENSITIVE)
    return _finding(
        "column_present",
        column.name,
        Verdict.ALARM if needed else Verdict.WARNING,
        f"the data have no column {column.name!r}, which the contract lists as {column.role}",
        n=n,
    )


# -- one column -----------------------------------------------------------------------------------


def _column(column: Column, array: Any, values: Distinct) -> tuple[list[Finding], Mask]:
    """What is wrong with a feature, or a column for time, weight or fairness; rows to leave out."""
    encoded = encode_column(Codec(column), array)
    n = values.codes.size
    bad = np.zeros(n, dtype=bool)
    bad[encoded.bad] = True
    absent = _without_value(column, values)
    needed = column.role in (Role.TIME, Role.WEIGHT)  # missing or not, every row must have one
    missing = (bad | needed) & absent
    found = [
        *_missing(column, missing),
        *_misfits(column, bad & ~absent, array),
        *_without_weight(column, encoded.values),
        *_useless(column, encoded.values),
    ]
    left_out = bad | missing
    if column.role is Role.WEIGHT:
        left_out |= encoded.values <= 0
    if column.role is Role.SENSITIVE:
        left_out = np.zeros(n, dtype=bool)
    return found or [_finding("fits", column.name, Verdict.OK, "every value fits", n=n)], left_out


def _without_value(column: Column, values: Distinct) -> Mask:
    """Rows that have no value, or one that the contract says means missing."""
    if not column.missing:
        return values.codes < 0
    missing = map(Codec(column).is_missing, values.values.to_pylist())
    absent: Mask = np.array([*missing, True])[values.codes]
    return absent


def _missing(column: Column, rows: Mask) -> Iterator[Finding]:
    if not rows.any():
        return
    count, first = int(rows.sum()), int(rows.argmax()) + 1
    yield _finding(
        "missing",
        column.name,
        Verdict.WARNING,
        f"{counted(count, 'row')} ({percent(count / rows.size)}) have no value, first row {first}, "
        f"though the contract does not say `nullable: true`; {_consequence(column)}",
        n=rows.size,
        value=count / rows.size,
    )


def _misfits(column: Column, rows: Mask, array: Any) -> Iterator[Finding]:
    if not rows.any():
        return
    count, first = int(rows.sum()), int(rows.argmax())
    unknown = column.type is ColumnType.CATEGORY
    yield _finding(
        "known_categories" if unknown else "fits",
        column.name,
        Verdict.WARNING,
        f"{counted(count, 'row')} ({percent(count / rows.size)}) do not fit, first row "
        f"{first + 1}: given {shorten(array[first].as_py())}, expected {Codec(column).expected}; "
        f"{_consequence(column)}",
        n=rows.size,
        value=count / rows.size,
    )


def _consequence(column: Column) -> str:
    if column.role is Role.SENSITIVE:
        return "fairness checks leave them out"
    return "training leaves them out"


def _without_weight(column: Column, weights: NDArray[np.float64]) -> Iterator[Finding]:
    count = int((weights <= 0).sum()) if column.role is Role.WEIGHT else 0
    if count:
        yield _finding(
            "positive_weight",
            column.name,
            Verdict.WARNING,
            f"the weight of {counted(count, 'row')} is not positive; training leaves such rows out",
            n=weights.size,
            value=count / weights.size,
        )


def _useless(column: Column, numbers: NDArray[np.float64]) -> Iterator[Finding]:
    """Features from which nothing can be learnt."""
    if column.role is not Role.FEATURE or not numbers.size:
        return
    known = numbers[~np.isnan(numbers)]
    if known.size == 0:
        detail = "no row has a value that fits, so nothing can be learnt from it"
    elif known.size == numbers.size and known.min() == known.max():
        detail = "all rows have the same value, so nothing can be learnt from it"
    else:
        return
    yield _finding(
        "constant", column.name, Verdict.WARNING, f"{detail}; use `role: ignored`", n=numbers.size
    )


# -- the target -----------------------------------------------------------------------------------


def _target(
    contract: Contract, array: Any, values: Distinct
) -> tuple[list[Finding], NDArray[np.float64]]:
    """Findings about the target, and the label of each row; NaN for none."""
    if contract.task == "regression":
        return _amounts(contract.target, array, values)
    known = {label_text(text): 1.0 for text in contract.positive}
    known |= {label_text(text): 0.0 for text in contract.negative}
    known |= {label_text(text): float(k) for k, text in enumerate(contract.classes)}
    of_value = [known.get(label_text(text), np.nan) for text in values.texts()]
    absent = _without_value(contract.target, values)
    y = np.where(absent, np.nan, np.array([*of_value, np.nan])[values.codes])
    found = [
        *_unknown_classes(contract, values, np.isnan(y) & ~absent),
        *_without_target(contract.target, absent),
    ]
    ok = _finding("known_classes", values.name, Verdict.OK, "every value is in a class", n=y.size)
    return found or [ok], y


def _unknown_classes(contract: Contract, values: Distinct, rows: Mask) -> Iterator[Finding]:
    if not rows.any():
        return
    texts = values.texts()
    strange = quoted([texts[code] for code in np.unique(values.codes[rows])])
    listed = quoted(list(contract.labels))
    into = "`positive` or `negative`" if contract.task == "binary" else "`classes`"
    yield _finding(
        "known_classes",
        values.name,
        Verdict.ALARM,
        f"{strange} in {counted(int(rows.sum()), 'row')}, first row {int(rows.argmax()) + 1}, "
        f"but the contract lists only {listed}; add them to {into}, or to `missing` of the target",
        n=rows.size,
        value=float(rows.mean()),
    )


def _without_target(target: Column, rows: Mask) -> Iterator[Finding]:
    if not rows.any():
        return
    yield _finding(
        "missing",
        target.name,
        Verdict.WARNING,
        f"{counted(int(rows.sum()), 'row')} ({percent(float(rows.mean()))}) have no target; "
        "training leaves them out",
        n=rows.size,
        value=float(rows.mean()),
    )


def _amounts(
    target: Column, array: Any, values: Distinct
) -> tuple[list[Finding], NDArray[np.float64]]:
    """Findings about a target of numbers, and the numbers."""
    lacking = msgspec.structs.replace(target, nullable=True)
    encoded = encode_column(Codec(lacking), array)
    bad = np.zeros(values.codes.size, dtype=bool)
    bad[encoded.bad] = True
    found = [
        *_without_target(target, np.isnan(encoded.values) & ~bad),
        *(
            msgspec.structs.replace(one, verdict=Verdict.ALARM)
            for one in _misfits(target, bad, array)
        ),
    ]
    ok = _finding("fits", target.name, Verdict.OK, "every value is a number", n=bad.size)
    return found or [ok], encoded.values


def _enough_rows(contract: Contract, y: NDArray[np.float64]) -> Finding:
    """Whether there are enough rows of every class, or in all, among those to train on."""
    of_a_class = " of each"
    if contract.task == "binary":
        positives, negatives = int((y == 1).sum()), int((y == 0).sum())
        fewest = min(positives, negatives)
        fact = (
            f"{counted(positives, 'positive row')} and {counted(negatives, 'negative row')} to use"
        )
    elif contract.task == "multiclass":
        rows = np.bincount(y[~np.isnan(y)].astype(np.intp), minlength=len(contract.classes))
        fewest = int(rows.min())
        rarest = contract.classes[int(rows.argmin())]
        fact = f"{counted(fewest, 'row')} of the rarest class {rarest!r} to use"
    else:
        fewest, of_a_class = int((~np.isnan(y)).sum()), ""
        fact = f"{counted(fewest, 'row')} to use"
    if fewest < ROWS_OF_A_CLASS:
        verdict, threshold = Verdict.ALARM, ROWS_OF_A_CLASS
        fact += f"; at least {ROWS_OF_A_CLASS}{of_a_class} are needed to train, validate and test"
    elif fewest < COMFORTABLE_ROWS_OF_A_CLASS:
        verdict, threshold = Verdict.WARNING, COMFORTABLE_ROWS_OF_A_CLASS
        fact += f"; with fewer than {COMFORTABLE_ROWS_OF_A_CLASS}{of_a_class}, metrics are rough"
    else:
        verdict, threshold = Verdict.OK, COMFORTABLE_ROWS_OF_A_CLASS
    return _finding(
        "enough_rows",
        contract.target.name,
        verdict,
        fact,
        n=y.size,
        value=float(fewest),
        threshold=float(threshold),
    )


# -- the table ------------------------------------------------------------------------------------


def _repeated_rows(columns: list[Distinct], n: int) -> Finding:
    """Rows that repeat an earlier one in every column, found by a 64-bit hash of each row."""
    hashes = np.zeros(n, dtype=np.uint64)
    for column in columns:
        hashes = _mixed(hashes ^ column.codes.astype(np.int64).view(np.uint64))
    repeated = n - np.unique(hashes).size
    if not repeated:
        return _finding("repeated_rows", "rows", Verdict.OK, "no row repeats another", n=n)
    share = repeated / n
    return _finding(
        "repeated_rows",
        "rows",
        Verdict.WARNING if share >= REPEATED_SHARE else Verdict.NOTICE,
        f"{counted(repeated, 'row')} ({percent(share)}) repeat an earlier one in every column; if "
        "they are the same case recorded twice, models look better than they are",
        n=n,
        value=share,
        threshold=REPEATED_SHARE,
    )


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number scrambled: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
