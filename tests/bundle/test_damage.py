"""A corpus of damaged and hostile bundles: each is refused with a BundleError, and nothing else.

Two kinds of sender: one who can change files but cannot sign, whose files must never reach a
parser; and one whose signature counts, by mistake or in bad faith, whose files are parsed and must
still do no harm.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import sys
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.keys import Keys
from gyroscope.bundle.signature import signature_file
from gyroscope.errors import BundleError
from gyroscope.testing.worlds import tiny_bundle

FILES = ("manifest.json", "manifest.sig", "contract.json", "arrays.safetensors", "reference.json")
PARSED = FILES[2:]
BUNDLES = {kind: tiny_bundle(kind=kind) for kind in ("additive", "trees")}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


def saved(kind: str, keys: Keys, folder: Path) -> dict[str, bytes]:
    BUNDLES[kind].save(folder, signer=keys.signer())
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def content(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a signed bundle."""
    return saved("trees", keys, tmp_path_factory.mktemp("whole") / "bundle")


def lay_out(folder: Path, content: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, file in content.items():
        (folder / name).write_bytes(file)
    return folder


def signed(content: dict[str, bytes], keys: Keys, **changed: bytes) -> dict[str, bytes]:
    """The bundle with files replaced, and with a manifest and a signature that agree."""
    named = {name.replace("_", "."): file for name, file in changed.items()}
    manifest = json.loads(content["manifest.json"])
    for name, file in named.items():
        entry = {"sha256": hashlib.sha256(file).hexdigest(), "bytes": len(file)}
        manifest["files"][name] = entry
    return resigned({**content, **named}, keys, json.dumps(manifest).encode())


def resigned(content: dict[str, bytes], keys: Keys, manifest: bytes) -> dict[str, bytes]:
    signature = signature_file(manifest, keys.signer())
    return {**content, "manifest.json": manifest, "manifest.sig": signature}


@contextmanager
def nothing_parsed() -> Iterator[None]:
    """No function of a parser may be called inside."""
    called: list[str] = []

    def look(frame: Any, event: str, argument: Any) -> None:
        if event == "c_call":
            module = str(getattr(argument, "__module__", "") or "")
            if module.startswith(("msgspec", "_json", "safetensors", "_safetensors")):
                called.append(f"{module}.{argument.__name__}")

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)
    assert called == []


@contextmanager
def little_memory(most: int = 60_000_000) -> Iterator[None]:
    """No more than so many bytes may be held at once inside."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def refused(folder: Path, keys: Keys, match: str = ".") -> None:
    with pytest.raises(BundleError, match=match) as caught:
        Bundle.load(folder, trusted=keys.trusted())
    assert "\n" not in str(caught.value)


# -- somebody who cannot sign ---------------------------------------------------------------------


def test_the_probe_for_parsers_sees_them(tmp_path: Path, keys: Keys, content: Any) -> None:
    folder = lay_out(tmp_path / "bundle", content)
    with pytest.raises(AssertionError), nothing_parsed():
        Bundle.load(folder, trusted=keys.trusted())


@pytest.mark.parametrize("name", FILES)
def test_a_bit_that_flipped_is_found_before_its_file_is_parsed(
    tmp_path: Path, keys: Keys, content: dict[str, bytes], name: str
) -> None:
    chance = random.Random(name)
    folder, trusted = lay_out(tmp_path / "bundle", content), keys.trusted()
    whole = content[name]
    for _ in range(25):
        bits = bytearray(whole)
        bits[chance.randrange(len(bits))] ^= 1 << chance.randrange(8)
        (folder / name).write_bytes(bits)
        with pytest.raises(BundleError):
            Bundle.load(folder, trusted=trusted)
    if name in ("manifest.json", "manifest.sig"):
        with nothing_parsed():
            refused(folder, keys)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("length", [0, 8, 100, -1])
def test_a_truncated_file_is_refused(
    tmp_path: Path, keys: Keys, content: dict[str, bytes], name: str, length: int
) -> None:
    folder = lay_out(tmp_path / "bundle", {**content, name: content[name][:length]})
    refused(folder, keys, name)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("more", [b"\0", b"\n", b"x" * 1_000_000])
def test_appended_bytes_are_refused(
    tmp_path: Path, keys: Keys, content: dict[str, bytes], name: str, more: bytes
) -> None:
    refused(lay_out(tmp_path / "bundle", {**content, name: content[name] + more}), keys, name)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_terabyte_is_not_read(
    tmp_path: Path, keys: Keys, content: dict[str, bytes], name: str
) -> None:
    folder = lay_out(tmp_path / "bundle", content)
    os.truncate(folder / name, 10**12)  # takes no room on the disk
    with little_memory():
        refused(folder, keys, name)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("target", ["kept", "/dev/zero", "nowhere", "."])
def test_links_are_not_followed(
    tmp_path: Path, keys: Keys, content: dict[str, bytes], name: str, target: str
) -> None:
    folder = lay_out(tmp_path / "bundle", content)
    if target == "kept":  # what it leads to is just what was signed
        target = str((folder / name).rename(tmp_path / "kept"))
    else:
        (folder / name).unlink()
    (folder / name).symlink_to(target)
    refused(folder, keys, f"{name} was altered: it is a link")


@pytest.mark.parametrize("name", FILES)
def test_nobody_waits_at_a_pipe(
    tmp_path: Path, keys: Keys, content: dict[str, bytes], name: str
) -> None:
    folder = lay_out(tmp_path / "bundle", content)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, keys, f"{name} was altered")


@pytest.mark.parametrize("extra", ["model.pkl", "__init__.py", ".hidden", "contract.json.bak"])
def test_a_file_beside_those_of_the_manifest_is_named(
    tmp_path: Path, keys: Keys, content: dict[str, bytes], extra: str
) -> None:
    folder = lay_out(tmp_path / "bundle", {**content, extra: b"x"})
    refused(folder, keys, f"has a file that is not in its manifest: '{extra}'")


def test_files_of_two_signed_bundles_do_not_mix(tmp_path: Path, keys: Keys) -> None:
    kept = [saved(kind, keys, tmp_path / kind) for kind in BUNDLES]
    for name in FILES:
        if kept[0][name] != kept[1][name]:
            folder = lay_out(tmp_path / "mixed", {**kept[0], name: kept[1][name]})
            refused(folder, keys, "was altered")


def test_the_pickles_of_the_corpus_would_do_something() -> None:
    pickle.loads(RUBBISH["a pickle"])
    assert MARK.exists()
    MARK.unlink()


# -- somebody whose signature counts --------------------------------------------------------------


MARK = Path(tempfile.gettempdir(), f"unpickled-{os.getpid()}")


class Runs:
    """A pickle that leaves a file behind when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return MARK.touch, ()


def zipped(size: int) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", b"\0" * size)
    return out.getvalue()


def header(text: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with this header."""
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def array(shape: list[int], place: tuple[int, int], dtype: str = "F64") -> bytes:
    record = {"dtype": dtype, "shape": shape, "data_offsets": place}
    return json.dumps({"scorer.intercept": record}).encode()


RUBBISH: dict[str, bytes] = {
    "a pickle": pickle.dumps(Runs()),
    "an old pickle": pickle.dumps(Runs(), protocol=0),
    "a zip bomb": zipped(50_000_000),
    "nothing": b"",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 200_000,
    "a long number": b"1" * 1_000_000,
    "a number beyond all": b"1e999999",
    "not a number": b"NaN",
    "half a pair": b'"\\ud800"',
    "no text": bytes(range(256)),
}
HEADERS: dict[str, bytes] = {
    "a header longer than the file": header(b"{}", length=2**40),
    "a header of all addresses": header(b"{}", length=2**64 - 1),
    "a header of negative length": header(b"{}", length=2**63),
    "a header of a gigabyte": header(b"{}", b" " * 100, length=10**9),
    "a terabyte of numbers": header(array([10**12], (0, 8 * 10**12))),
    "a size that overflows": header(array([2**32, 2**32], (0, 0))),
    "a size that overflows to 8": header(array([2**61 + 1], (0, 8)), b"\0" * 8),
    "many rows of nothing": header(array([0, 10**15], (0, 0))),
    "a negative shape": header(array([-1], (0, 8)), b"\0" * 8),
    "a place before the data": header(array([1], (-8, 0)), b"\0" * 8),
    "a place behind the data": header(array([1], (8, 16)), b"\0" * 8),
    "objects": header(array([1], (0, 8), "OBJECT"), b"\0" * 8),
    "half floats": header(array([4], (0, 8), "BF16"), b"\0" * 8),
    "sixty-five dimensions": header(array([1] * 65, (0, 8)), b"\0" * 8),
    "an array twice": header(array([1], (0, 8))[:-1] + b"," + array([1], (0, 8))[1:], b"\0" * 8),
}


HOSTILE = [(name, what, file) for name in PARSED for what, file in RUBBISH.items()]
HOSTILE += [("arrays.safetensors", what, file) for what, file in HEADERS.items()]


@pytest.mark.parametrize(
    ("name", "file"), [case[::2] for case in HOSTILE], ids=[" ".join(case[:2]) for case in HOSTILE]
)
def test_a_hostile_file_is_refused_though_it_is_signed(
    tmp_path: Path, keys: Keys, content: dict[str, bytes], name: str, file: bytes
) -> None:
    changed = signed(content, keys, **{name.replace(".", "_"): file})
    with little_memory():
        refused(lay_out(tmp_path / "bundle", changed), keys)
    assert not MARK.exists()


@pytest.mark.parametrize("file", RUBBISH.values(), ids=RUBBISH)
def test_a_hostile_manifest_is_refused_though_it_is_signed(
    tmp_path: Path, keys: Keys, content: dict[str, bytes], file: bytes
) -> None:
    with little_memory():
        refused(lay_out(tmp_path / "bundle", resigned(content, keys, file)), keys, "manifest")


def twice(text: bytes) -> bytes:
    """JSON whose first name stands twice, the second time with the value it had."""
    name = json.dumps(next(iter(json.loads(text)))).encode()
    return b"{" + name + b":5," + text.lstrip()[1:]


@pytest.mark.parametrize("name", ["contract.json", "reference.json", "manifest.json"])
def test_a_name_that_stands_twice_is_refused(
    tmp_path: Path, keys: Keys, content: dict[str, bytes], name: str
) -> None:
    file = twice(content[name])
    if name == "manifest.json":
        changed = resigned(content, keys, file.replace(b'"format":5', b'"format": 1'))
    else:
        changed = signed(content, keys, **{name.replace(".", "_"): file})
    refused(lay_out(tmp_path / "bundle", changed), keys, "a name stands twice")


NAMES = ["../contract.json", "/etc/hostname", "sub/contract.json", "manifest.sig", "manifest.json",
         "a\0b", "", ".", "..", "contract.json/", "CONTRACT.JSON", "x" * 10_000]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:20]))
def test_a_name_that_leads_elsewhere_is_refused(
    tmp_path: Path, keys: Keys, content: dict[str, bytes], name: str
) -> None:
    manifest = json.loads(content["manifest.json"])
    manifest["files"][name] = manifest["files"]["contract.json"]
    changed = resigned(content, keys, json.dumps(manifest).encode())
    refused(lay_out(tmp_path / "bundle", changed), keys, "which is no file of a bundle")


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(inner, (*path, key))


ODD: list[Callable[[random.Random], Any]] = [
    lambda chance: chance.choice([None, True, "", "x", [], {}, [[]], {"a": 1}]),
    lambda chance: chance.choice([0, -1, 10**9, 2**53, 2**63, 2**64, 10**30, -(10**30)]),
    lambda chance: chance.choice([1e308, -1e308, 5e-324, 0.5]),
]


def odd(content: dict[str, bytes], keys: Keys, chance: random.Random) -> dict[str, bytes]:
    """The bundle with one odd value somewhere, or a few odd bytes in the arrays, and signed."""
    name = chance.choice(FILES[2:] + FILES[:1])
    if name == "arrays.safetensors":
        file = bytearray(content[name])
        for _ in range(chance.randint(1, 4)):
            file[chance.randrange(len(file))] = chance.choice([0, 127, 128, 255])
        return signed(content, keys, arrays_safetensors=bytes(file))
    document = json.loads(content[name])
    *way, last = chance.choice([path for path in _paths(document) if path])
    at = document
    for step in way:
        at = at[step]
    if isinstance(at, dict) and chance.random() < 0.2:
        del at[last]
    else:
        at[last] = chance.choice(ODD)(chance)
    text = json.dumps(document).encode()
    if name == "manifest.json":
        return resigned(content, keys, text)
    return signed(content, keys, **{name.replace(".", "_"): text})


def load_odd_bundles(kind: str, keys: Keys, folder: Path, rounds: int) -> tuple[int, int]:
    """How many of so many odd bundles loaded, and how many were refused."""
    chance, content = random.Random(kind), saved(kind, keys, folder / "whole")
    trusted, loaded, refused = keys.trusted(), 0, 0
    for _ in range(rounds):
        laid_out = lay_out(folder / "odd", odd(content, keys, chance))
        try:
            Bundle.load(laid_out, trusted=trusted)
            loaded += 1
        except BundleError:
            refused += 1
    return loaded, refused


@pytest.mark.parametrize("kind", BUNDLES)
def test_odd_values_that_are_signed_load_or_are_refused(
    tmp_path: Path, keys: Keys, kind: str
) -> None:
    with little_memory():
        loaded, refusals = load_odd_bundles(kind, keys, tmp_path, 12)
    assert loaded + refusals == 12
    assert refusals > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", BUNDLES)
def test_odd_values_that_are_signed_load_or_are_refused_many_times(
    tmp_path: Path, keys: Keys, kind: str
) -> None:
    loaded, refusals = load_odd_bundles(kind, keys, tmp_path, 600)
    assert loaded > 60
    assert refusals > 200
