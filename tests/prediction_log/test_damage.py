"""What becomes of a segment that was torn by a kill or damaged by a disk."""

from __future__ import annotations

import random
import struct
from itertools import count, pairwise
from pathlib import Path
from zlib import crc32

import pytest

from gyroscope.errors import LogError
from gyroscope.prediction_log import FileLog
from gyroscope.prediction_log.segments import HEADER_BYTES, frame, header
from gyroscope.testing.prediction_log import prediction

ENDS = list[tuple[int, set[str]]]  # size of the segment after each append, ids written until then


def written(folder: Path) -> tuple[Path, ENDS]:
    """A segment with six appends: of one row and of several, and with two sets of columns."""
    log = FileLog(folder, fsync=False)
    ends: ENDS = [(0, set())]
    for number, rows in enumerate((1, 3, 2, 1, 2, 1)):
        row = {"age": number} if number in (2, 4) else {"city": "x" * 20}
        names = [f"{number}-{i}" for i in range(rows)]
        log.append([prediction(name, row=row) for name in names])
        (segment,) = folder.iterdir()
        ends.append((segment.stat().st_size, ends[-1][1].union(names)))
    log.close()
    return segment, ends


def until(size: int, ends: ENDS) -> set[str]:
    """The ids of the appends that lie whole in the first ``size`` bytes."""
    return max((end for end in ends if end[0] <= size), key=lambda end: end[0])[1]


def read(folder: Path) -> tuple[set[str], list[tuple[int, int]]]:
    """The ids in the log, and offset and length of what is damaged."""
    log = FileLog(folder)
    found = {p.id for p in log.read().predictions}
    damage = [(damage.offset, damage.length) for damage in log.damage()]
    log.close()
    return found, damage


def test_a_segment_torn_at_any_byte_keeps_all_appends_before(tmp_path: Path) -> None:
    segment, ends = written(tmp_path)
    whole = segment.read_bytes()
    for size in range(len(whole)):
        segment.write_bytes(whole[:size])
        assert read(tmp_path) == (until(size, ends), [])


def test_after_a_torn_segment_the_log_goes_on(tmp_path: Path) -> None:
    segment, ends = written(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-3])
    log = FileLog(tmp_path)
    log.append([prediction("after")])
    log.close()
    assert read(tmp_path) == (ends[-2][1] | {"after"}, [])


def test_a_torn_append_of_several_records_is_not_there_at_all(tmp_path: Path) -> None:
    log = FileLog(tmp_path, fsync=False)
    log.append([prediction("whole")])
    (segment,) = tmp_path.iterdir()
    before = segment.stat().st_size
    log.append([prediction(f"{i}") for i in range(5000)])
    log.close()
    data = segment.read_bytes()
    rng = random.Random(1)
    for size in [before, len(data) - 1, *(rng.randrange(before, len(data)) for _ in range(20))]:
        segment.write_bytes(data[:size])
        assert read(tmp_path) == ({"whole"}, [])


def test_a_flipped_bit_loses_its_append_alone_and_is_reported(tmp_path: Path) -> None:
    segment, ends = written(tmp_path)
    whole = segment.read_bytes()
    appends = [after - before for (_, before), (_, after) in pairwise(ends)]
    rng = random.Random(2)
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 1 << rng.randrange(8)
        segment.write_bytes(data)
        hit = next(i for i, (end, _) in enumerate(ends[1:]) if position < end)
        found, damage = read(tmp_path)
        assert found >= ends[-1][1] - appends[hit]
        assert any(offset <= position < offset + length for offset, length in damage)


def test_overwritten_stretches_lose_only_the_appends_they_touch(tmp_path: Path) -> None:
    segment, ends = written(tmp_path)
    whole = segment.read_bytes()
    rng = random.Random(3)
    for _ in range(200):
        start = rng.randrange(HEADER_BYTES, len(whole))
        length = rng.randrange(1, 60)
        rubbish = rng.choice([bytes(length), rng.randbytes(length)])
        segment.write_bytes((whole[:start] + rubbish + whole[start + length :])[: len(whole)])
        found, damage = read(tmp_path)
        touched = [
            after - before
            for (begin, before), (end, after) in pairwise(ends)
            if begin < start + length and start < end
        ]
        assert found >= ends[-1][1].difference(*touched)
        assert found == ends[-1][1] or damage


def test_damage_that_loses_the_only_copy_of_the_column_names_raises(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    log.append([prediction("a")])
    (segment,) = tmp_path.iterdir()
    data = bytearray(segment.read_bytes())
    data[data.index(b"city")] ^= 1
    segment.write_bytes(data)
    with pytest.raises(LogError, match=r"\.segment, offset \d+: the names of the columns"):
        FileLog(tmp_path).read()
    log.append([prediction("b")])  # which repeats the names
    assert read(tmp_path)[0] == {"a", "b"}


def test_damage_after_the_first_look_raises_with_file_and_offset(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    log.append([prediction("a")])
    assert len(log.read().predictions) == 1
    (segment,) = tmp_path.iterdir()
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    with pytest.raises(LogError, match=r"\.segment, offset \d+: this record was whole"):
        log.read()


def test_damage_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    segment, _ = written(tmp_path)
    data = bytearray(segment.read_bytes())
    data[HEADER_BYTES + 1] ^= 1
    segment.write_bytes(data)
    log = FileLog(tmp_path)
    log.read()
    log.read()
    (record,) = caplog.records
    assert f"{segment}: " in record.message
    assert f"damaged bytes at offset {HEADER_BYTES}" in record.message


def test_a_segment_of_a_later_format_is_refused(tmp_path: Path) -> None:
    segment, _ = written(tmp_path)
    later = header(b"12345678")[:-4].replace(struct.pack("<I", 1), struct.pack("<I", 2))
    segment.write_bytes(later + struct.pack("<I", crc32(later)))
    with pytest.raises(LogError, match="has format 2 and this release reads format 1"):
        FileLog(tmp_path).read()


def test_a_record_of_an_unknown_kind_is_refused_each_time(tmp_path: Path) -> None:
    segment, _ = written(tmp_path)
    marker = b"12345678"
    segment.write_bytes(header(marker) + frame(b"\x91\x09", marker, ends_append=True))
    log = FileLog(tmp_path)
    for _ in range(2):
        with pytest.raises(LogError, match=r"\.segment, offset 45: a record of an unknown kind"):
            log.read()


def test_bytes_still_on_their_way_are_read_when_they_are_there(tmp_path: Path) -> None:
    segment, ends = written(tmp_path / "source")
    whole = segment.read_bytes()
    target = tmp_path / "copy" / segment.name
    target.parent.mkdir()
    log = FileLog(target.parent)
    for size in range(0, len(whole) + 1, 7):
        target.write_bytes(whole[:size])
        assert log.known([*ends[-1][1]]) == until(size, ends)
    assert log.damage() == ()


def test_removed_segments_are_forgotten(tmp_path: Path) -> None:
    log = FileLog(tmp_path, segment_bytes=1)
    log.append([prediction("a")])
    log.append([prediction("b")])
    assert log.known(["a", "b"]) == {"a", "b"}
    min(tmp_path.iterdir()).unlink()
    assert log.known(["a", "b"]) == {"b"}
    assert [p.id for p in log.read().predictions] == ["b"]


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    segment, ends = written(tmp_path / "log")
    (tmp_path / "log" / f"{segment.name}.bak").write_bytes(segment.read_bytes())
    assert read(tmp_path / "log") == (ends[-1][1], [])


def test_a_client_who_writes_frames_into_a_field_forges_no_record(tmp_path: Path) -> None:
    frames = (frame(b"%d" % n, b"12345678", ends_append=True) for n in count())
    forged = next(data for data in frames if data.isascii()).decode()
    log = FileLog(tmp_path)
    log.append([prediction("a", row={"text": forged * 50})])
    log.append([prediction("b", row={"text": forged})])
    (segment,) = tmp_path.iterdir()
    data = bytearray(segment.read_bytes())
    data[data.index(b"12345678") - 1] ^= 1  # a reader has to look for the next frame
    segment.write_bytes(data)
    assert read(tmp_path)[0] == {"b"}
