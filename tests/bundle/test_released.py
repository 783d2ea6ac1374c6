"""Bundles as released versions made them load for ever, and score what they scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.bundle.released import KINDS, contributions, make

from gyroscope.bundle.bundle import Bundle, read_bundle
from gyroscope.bundle.keys import Keys
from gyroscope.errors import BundleError

DATA = Path(__file__).parent / "data"  # format-2 and later made by tests/bundle/released.py
FORMAT_1 = DATA / "format-1"  # unsigned; made by a 0.1.0 before signing
ANSWERS = json.loads((FORMAT_1 / "answers.json").read_bytes())
LATER = [(format_, name) for format_, kinds in KINDS.items() for name in kinds]


@pytest.mark.parametrize(("format_", "name"), LATER)
def test_a_bundle_scores_and_explains_as_when_it_was_made(format_: int, name: str) -> None:
    answers = json.loads((DATA / f"format-{format_}" / "answers.json").read_bytes())
    signer = {answers["key"]: "its release"}
    bundle = Bundle.load(DATA / f"format-{format_}" / name, trusted=signer)
    assert (bundle.manifest.format, bundle.contract.task) == (format_, KINDS[format_][name][0])
    X = bundle.encoder.encode_rows(answers["rows"])
    np.testing.assert_allclose(bundle.scores(X), answers["scores"][name], rtol=1e-14)
    np.testing.assert_allclose(
        contributions(bundle, X), answers["contributions"][name], rtol=1e-9, atol=1e-9
    )


@pytest.mark.slow
def test_bundles_for_later_releases_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        make(tmp_path / folder)
    files = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")}
    assert len(files) == 2 + 5 * len(LATER)
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


@pytest.mark.parametrize("kind", ["additive", "trees"])
def test_a_bundle_of_format_1_scores_as_it_did(kind: str) -> None:
    bundle = Bundle.load(FORMAT_1 / kind)
    X = bundle.encoder.encode_rows(ANSWERS["rows"])
    assert bundle.probabilities(X).tolist() == pytest.approx(
        ANSWERS["probabilities"][kind], abs=1e-15
    )
    assert bundle.manifest.format == 1
    assert bundle.manifest.environment is None
    assert read_bundle(FORMAT_1 / kind).signature is None


def test_where_keys_count_a_bundle_of_format_1_needs_somebody_to_vouch_for_it(
    tmp_path: Path,
) -> None:
    keys = Keys(tmp_path / "keys")
    keys.signer()
    with pytest.raises(BundleError, match="is unsigned; if you know who made it, vouch for it"):
        Bundle.load(FORMAT_1 / "trees", trusted=keys.trusted())


def test_a_bundle_of_format_1_saved_again_is_of_the_present_format(tmp_path: Path) -> None:
    Bundle.load(FORMAT_1 / "trees").save(tmp_path / "bundle")
    again = Bundle.load(tmp_path / "bundle")
    assert again.manifest.format == 2
    kept = (FORMAT_1 / "trees" / "arrays.safetensors").read_bytes()
    assert (tmp_path / "bundle" / "arrays.safetensors").read_bytes() == kept


def test_a_damaged_bundle_of_format_1_is_refused(tmp_path: Path) -> None:
    shutil.copytree(FORMAT_1 / "trees", tmp_path / "bundle")
    with (tmp_path / "bundle" / "arrays.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(BundleError, match=r"arrays\.safetensors was altered"):
        Bundle.load(tmp_path / "bundle")
