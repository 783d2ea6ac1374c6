from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from gyroscope.bundle.bundle import Bundle, read_bundle
from gyroscope.bundle.links import Link
from gyroscope.errors import BundleError
from gyroscope.testing.worlds import CALM, tiny_bundle

BUNDLES = {kind: tiny_bundle(kind=kind) for kind in ("additive", "trees")}
TREES = BUNDLES["trees"]
X = TREES.encoder.encode_rows([event.row for event in CALM.events(0, 1)])
FILES = ("manifest.json", "contract.json", "arrays.safetensors", "reference.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a saved bundle of trees."""
    TREES.save(tmp_path / "bundle")
    return tmp_path / "bundle"


# -- what a bundle says ---------------------------------------------------------------------------


@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
@given(positions=st.lists(st.integers(0, len(X) - 1), min_size=1, max_size=50))
def test_the_probability_of_a_row_has_the_same_bits_in_any_company(
    bundle: Bundle, positions: list[int]
) -> None:
    together = bundle.probabilities(X)[positions]
    assert bundle.probabilities(X[positions]).tobytes() == together.tobytes()


@pytest.mark.parametrize("link", [
    Link(kind="logistic", scale=1.5, shift=-0.25),
    Link(kind="identity"),
    Link(kind="isotonic", margins=(-1.0, 1.0), probabilities=(0.2, 0.9)),
])  # fmt: skip
def test_contributions_add_up_to_the_margin_that_is_explained(link: Link) -> None:
    manifest = msgspec.structs.replace(TREES.manifest, link=link.kind)
    bundle = Bundle(manifest=manifest, contract=TREES.contract, scorer=TREES.scorer, link=link,
                    reference=TREES.reference)  # fmt: skip
    found = bundle.contributions(X)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), bundle.margins(X), atol=1e-12)
    assert bundle.probabilities(X).tobytes() == link.probability(bundle.margins(X)).tobytes()


# -- save and load --------------------------------------------------------------------------------


@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
def test_a_bundle_comes_back_as_it_was_saved(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "new" / "bundle")
    loaded = Bundle.load(tmp_path / "new" / "bundle")
    assert loaded.probabilities(X).tobytes() == bundle.probabilities(X).tobytes()
    assert loaded.contributions(X).values.tobytes() == bundle.contributions(X).values.tobytes()
    assert loaded.contract == bundle.contract
    assert loaded.reference == bundle.reference
    assert loaded.link == bundle.link
    assert msgspec.structs.replace(loaded.manifest, files={}) == bundle.manifest
    assert sorted(file.name for file in (tmp_path / "new" / "bundle").iterdir()) == sorted(FILES)


SAVE = "from pathlib import Path; import sys; from gyroscope.testing.worlds import tiny_bundle; "
SAVE += "tiny_bundle(kind='trees').save(Path(sys.argv[1]))"


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_equal_bundles_are_equal_bytes_whatever_process_saves_them(
    folder: Path, tmp_path: Path, hash_seed: str
) -> None:
    other = tmp_path / "other"
    command = [sys.executable, "-c", SAVE, str(other)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed})
    for name in FILES:
        assert (other / name).read_bytes() == (folder / name).read_bytes()


def test_a_folder_that_exists_is_left_as_it_is(folder: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(OSError, match="Directory not empty"):
        tiny_bundle().save(folder)
    assert (folder / "manifest.json").read_bytes() == before
    assert [entry.name for entry in folder.parent.iterdir()] == ["bundle"]


REFUSED = """
import resource, signal, sys
from pathlib import Path
from gyroscope.testing.worlds import tiny_bundle
bundle = tiny_bundle()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    bundle.save(Path(sys.argv[1]))
except OSError as error:
    print(error.errno)
"""


def test_a_disk_that_refuses_leaves_nothing_half_written(tmp_path: Path) -> None:
    command = [sys.executable, "-c", REFUSED, str(tmp_path / "bundle")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "27"  # EFBIG
    assert list(tmp_path.iterdir()) == []


# -- what is not loaded ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name):
        Bundle.load(folder)


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("position", [0, 100, -1])
def test_an_altered_byte_is_found(folder: Path, name: str, position: int) -> None:
    content = bytearray((folder / name).read_bytes())
    content[position] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} was altered: it is not the file its manifest"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("length", [0, 1, 100])
def test_a_truncated_file_is_found(folder: Path, name: str, length: int) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:length])
    with pytest.raises(BundleError, match=name):
        Bundle.load(folder)


def test_a_file_may_not_be_a_folder(folder: Path) -> None:
    (folder / "contract.json").unlink()
    (folder / "contract.json").mkdir()
    with pytest.raises(BundleError, match=r"contract\.json was altered"):
        Bundle.load(folder)


def test_a_folder_without_a_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=f"no bundle in {tmp_path}: No such file"):
        Bundle.load(tmp_path)


def write_manifest(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_a_newer_format_says_what_made_it_and_what_to_do(folder: Path) -> None:
    write_manifest(folder, format=4, gyroscope="9.1.0", files="arranged otherwise")
    message = (
        f"bundle {folder} has format 4, made by a later release (gyroscope 9.1.0); "
        "this release reads up to 3: upgrade gyroscope"
    )
    with pytest.raises(BundleError) as caught:
        read_bundle(folder)
    assert str(caught.value) == message


def test_a_newer_format_is_seen_wherever_it_stands(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["format"]
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 4}))
    with pytest.raises(BundleError, match="has format 4, made by a later release"):
        read_bundle(folder)


MANIFESTS: list[tuple[dict[str, Any], str]] = [
    ({"format": 0}, "is not a manifest"),
    ({"format": "1"}, "is not a manifest"),
    ({"model": 5}, r"is not a manifest: .*\$\.model"),
    ({"threshold": "high"}, r"is not a manifest: .*\$\.threshold"),
    ({"link": "probit"}, r"is not a manifest: .*\$\.link"),
    ({"scorer": "pickle"}, "needs a scorer 'pickle', unknown to this release; known: additive, "),
    ({"scorer": "additive"}, "cannot be read: 'tables'"),
    ({"files": {}}, "does not list contract.json"),
    ({"files": {"../../etc/passwd": {"sha256": "0", "bytes": 1}}}, "does not list contract.json"),
    ({"files": {"contract.json": {"sha256": "0", "bytes": -1}}}, "is not a manifest"),
    ({"files": {"contract.json": {"sha256": "0", "bytes": 10**30}}}, "does not list arrays"),
    ({"files": []}, "is not a manifest"),
]


@pytest.mark.parametrize(("changes", "message"), MANIFESTS)
def test_a_manifest_that_makes_no_sense_is_refused(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    write_manifest(folder, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["../../nowhere", "/dev/zero", "extra.json", "", ".", "a\0b"])
def test_names_of_files_that_no_bundle_has_are_refused(folder: Path, name: str) -> None:
    entries = json.loads((folder / "manifest.json").read_bytes())["files"]
    write_manifest(folder, files={**entries, name: {"sha256": "0", "bytes": 1}})
    with pytest.raises(BundleError, match="which is no file of a bundle"):
        Bundle.load(folder)


@pytest.mark.parametrize("size", [10**9, 10**12, 2**63, 10**30])
def test_a_size_that_is_only_claimed_is_not_believed(folder: Path, size: int) -> None:
    entries = json.loads((folder / "manifest.json").read_bytes())["files"]
    entries["contract.json"]["bytes"] = size
    write_manifest(folder, files=entries)
    with pytest.raises(BundleError, match=r"contract\.json was altered"):
        Bundle.load(folder)


RUBBISH = [b"", b"null", b"[]", b"5", b"{", b"\xff\xfe", b'{"format": 1}', b'{"a":' * 100_000,
           b'{"format": 1, "model": "\xff"}', b"\0" * 100, b" " * (2 << 20)]  # fmt: skip


@pytest.mark.parametrize("content", RUBBISH, ids=lambda content: repr(content[:12]))
def test_rubbish_is_no_manifest(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest"):
        Bundle.load(folder)


def forge(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and make the manifest agree, as somebody with bad intentions would."""
    (folder / name).write_bytes(content)
    entries = json.loads((folder / "manifest.json").read_bytes())["files"]
    digest = hashlib.sha256(content).hexdigest()
    entries[name] = {"sha256": digest, "bytes": len(content)}
    write_manifest(folder, files=entries)


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("content", RUBBISH, ids=lambda content: repr(content[:12]))
def test_rubbish_with_the_right_digest_is_refused_too(
    folder: Path, name: str, content: bytes
) -> None:
    forge(folder, name, content)
    with pytest.raises(BundleError):
        Bundle.load(folder)


def test_a_contract_that_contradicts_itself_is_refused(folder: Path) -> None:
    contract = json.loads((folder / "contract.json").read_bytes())
    contract["negative"] = contract["positive"]
    forge(folder, "contract.json", json.dumps(contract).encode())
    with pytest.raises(BundleError, match="the target needs values for positive and for negative"):
        Bundle.load(folder)


def without_features(contract: dict[str, Any]) -> None:
    contract["columns"] = [
        c
        for c in contract["columns"]
        if c["name"] not in ("balance", "plan", "region", "active", "joined")
    ]


def with_more_categories(contract: dict[str, Any]) -> None:
    plan = next(c for c in contract["columns"] if c["name"] == "plan")
    plan["categories"] = [f"plan {k}" for k in range(20)]


@pytest.mark.parametrize("change", [without_features, with_more_categories])
@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
def test_a_contract_of_another_model_is_refused(
    tmp_path: Path, bundle: Bundle, change: Callable[[dict[str, Any]], None]
) -> None:
    bundle.save(tmp_path / "bundle")
    contract = json.loads((tmp_path / "bundle" / "contract.json").read_bytes())
    change(contract)
    forge(tmp_path / "bundle", "contract.json", json.dumps(contract).encode())
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle.load(tmp_path / "bundle")


ARRAYS: list[tuple[str, Any]] = [
    ("scorer.left", np.zeros(1, np.int32)),
    ("scorer.value", np.full(10, np.nan)),
    ("scorer.threshold", np.zeros(10, np.float32)),
    ("scorer.base", np.array([])),
    ("scorer.base", np.array([np.nan])),
    ("link.affine", np.array([1.0])),
    ("link.affine", np.array([np.inf, 0.0])),
    ("link.margins", np.array([1.0])),
]


@pytest.mark.parametrize(("name", "array"), ARRAYS)
def test_arrays_that_do_not_fit_together_are_refused(folder: Path, name: str, array: Any) -> None:
    arrays = load((folder / "arrays.safetensors").read_bytes())
    forge(folder, "arrays.safetensors", save({**arrays, name: array}))
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle.load(folder)


@given(st.data())
def test_forged_arrays_never_bring_down_the_process_that_loads_them(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("forged") / "bundle"
    TREES.save(folder)
    content = bytearray((folder / "arrays.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    forge(folder, "arrays.safetensors", bytes(content))
    try:
        loaded = Bundle.load(folder)
    except BundleError:
        return
    assert loaded.probabilities(X).shape == (len(X),)
