"""``gyro bundle`` and ``gyro keys``: exit codes, and the same for people and programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.estimator import EstimatorScorer, stored_estimator
from gyroscope.bundle.keys import Keys
from gyroscope.cli.commands import app
from gyroscope.data.training_set import load_training_set, save_snapshot
from gyroscope.errors import GyroscopeError
from gyroscope.model import CHAMPION
from gyroscope.testing.small_workspace import MODEL, register, small_workspace
from gyroscope.testing.worlds import CALM, CONTRACT, tiny_bundle, to_table

GOLDEN_KEY = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"  # RFC 8032, 7.1
LINEAR, TREES = tiny_bundle(), tiny_bundle(kind="trees")
FORMAT_1 = Path(__file__).parents[1] / "bundle" / "data" / "format-1" / "trees"


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    """The keys of a workspace without models in which the commands run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("gyroscope.yaml").write_text("workspace:\nmodels:\n")
    return Keys(tmp_path / ".gyroscope" / "keys")


@pytest.fixture
def signed(keys: Keys) -> str:
    """The path of a bundle that the workspace signed."""
    LINEAR.save(Path("signed"), signer=keys.signer(), run="some-run")
    return "./signed"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def exit_code(*arguments: str) -> int:
    """What the process would end with: main turns errors into a message and their exit code."""
    result = run(*arguments)
    if isinstance(result.exception, GyroscopeError):
        return result.exception.exit_code
    return result.exit_code


def told(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def refusal(*arguments: str) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, GyroscopeError)
    return str(result.exception)


# -- verify ---------------------------------------------------------------------------------------


def test_verify_ends_with_0_and_says_who_signed(signed: str, keys: Keys) -> None:
    result = run("bundle", "verify", signed)
    assert result.exit_code == 0
    assert "5 files" in result.stdout
    assert f"all as signed by this workspace (key {keys.signer().key})" in result.stdout
    found = told("bundle", "verify", signed)
    assert found["verified"]
    assert (found["signer"], found["run"]) == ("this workspace", "some-run")


def test_verify_ends_with_1_for_a_changed_file_and_names_it(signed: str) -> None:
    Path("signed/contract.json").write_bytes(b"{}")
    assert exit_code("bundle", "verify", signed) == 1
    assert "contract.json was altered" in refusal("bundle", "verify", signed)
    found = told("bundle", "verify", signed)
    assert not found["verified"]
    assert "contract.json was altered" in found["reason"]
    assert exit_code("bundle", "verify", signed, "--json") == 1


def test_verify_ends_with_1_for_what_is_unsigned_until_somebody_vouches_for_it(keys: Keys) -> None:
    shutil.copytree(FORMAT_1, "old")
    assert exit_code("bundle", "verify", "old") == 1
    assert "is unsigned" in refusal("bundle", "verify", "old")
    assert run("bundle", "sign", "old").exit_code == 0
    assert exit_code("bundle", "verify", "old") == 0
    Bundle.load(Path("old"), trusted=keys.trusted())
    assert exit_code("bundle", "sign", "old") == 2
    assert "is signed already" in refusal("bundle", "sign", "old")


def test_what_is_damaged_is_not_vouched_for(keys: Keys) -> None:
    shutil.copytree(FORMAT_1, "old")
    Path("old/reference.json").write_bytes(b"{}")
    assert exit_code("bundle", "sign", "old") == 1
    assert not Path("old/manifest.sig").exists()
    assert not keys.folder.exists()


def test_verify_takes_the_key_that_it_is_given(signed: str, keys: Keys) -> None:
    assert exit_code("bundle", "verify", signed, "--key", str(keys.public)) == 0
    assert exit_code("bundle", "verify", signed, "--key", keys.signer().key) == 0
    assert exit_code("bundle", "verify", signed, "--key", GOLDEN_KEY) == 1
    assert exit_code("bundle", "verify", signed, "--key", "no key") == 2


def test_without_workspace_verify_asks_for_a_key(signed: str, keys: Keys) -> None:
    Path("gyroscope.yaml").unlink()
    assert exit_code("bundle", "verify", signed) == 2
    assert exit_code("bundle", "verify", signed, "--key", str(keys.public)) == 0


@pytest.mark.parametrize("what", ["verify", "inspect", "sign"])
def test_a_folder_without_bundle_ends_with_1(keys: Keys, what: str) -> None:
    assert exit_code("bundle", what, "./nowhere") == 1
    assert "no bundle in nowhere" in refusal("bundle", what, "./nowhere")


# -- inspect --------------------------------------------------------------------------------------


def test_inspect_shows_who_what_and_how(signed: str, keys: Keys) -> None:
    found = told("bundle", "inspect", signed)
    assert found["signature"] == {
        "key": keys.signer().key,
        "signer": "this workspace",
        "run": "some-run",
    }
    assert found["manifest"]["format"] == 2
    assert found["manifest"]["files"]["contract.json"]["bytes"] > 0
    assert found["contract"]["columns"][0]["name"] == "age"
    shown = run("bundle", "inspect", signed).stdout
    assert "logistic_regression" in shown
    assert "some-run" in shown
    assert "3 categories" in shown


def test_inspect_shows_a_bundle_of_anybody_but_says_so(signed: str) -> None:
    shutil.rmtree(".gyroscope")
    assert "a key that is not trusted here" in run("bundle", "inspect", signed).stdout
    Path("gyroscope.yaml").unlink()
    assert told("bundle", "inspect", signed)["signature"]["signer"] is None
    assert "nobody" in run("bundle", "inspect", str(FORMAT_1)).stdout


# -- estimators of somebody's own ----------------------------------------------------------------


@pytest.fixture
def own(keys: Keys) -> str:
    """The path of an unsigned bundle with an estimator of a type that has to be allowed."""
    pytest.importorskip("skops")
    from sklearn.tree import DecisionTreeClassifier

    X = np.random.default_rng(0).normal(size=(50, len(LINEAR.contract.features)))
    fitted = DecisionTreeClassifier(max_depth=2).fit(X, X[:, 0] > 0)
    tree = "sklearn.tree._tree.Tree"
    scorer = EstimatorScorer(stored_estimator(fitted), trusted_types=[tree])
    Bundle(
        manifest=msgspec.structs.replace(LINEAR.manifest, scorer="estimator", link="identity"),
        contract=LINEAR.contract,
        scorer=scorer,
        link=msgspec.structs.replace(LINEAR.link, kind="identity"),
        reference=LINEAR.reference,
    ).save(Path("own"))
    return "./own"


def test_inspect_names_the_types_of_an_estimator_that_nobody_vouched_for(own: str) -> None:
    assert "sklearn.tree._tree.Tree" in told("bundle", "inspect", own)["own_types"]
    assert "sklearn.tree._tree.Tree" in run("bundle", "inspect", own).stdout
    assert told("bundle", "inspect", str(FORMAT_1))["own_types"] == []


def test_sign_verify_and_diff_go_by_the_types_that_the_workspace_trusts(own: str) -> None:
    assert "built only if a trusted key signed it" in refusal("bundle", "diff", own, own)
    assert "needs types that are not trusted: sklearn" in refusal("bundle", "sign", own)
    assert not Path("own/manifest.sig").exists()
    allowed = "workspace:\n  trusted_types: [sklearn.tree._tree.Tree]\nmodels:\n"
    Path("gyroscope.yaml").write_text(allowed)
    assert run("bundle", "sign", own).exit_code == 0
    assert exit_code("bundle", "verify", own) == 0
    assert exit_code("bundle", "diff", own, own) == 0
    Path("gyroscope.yaml").write_text("workspace:\nmodels:\n")
    assert "needs types that are not trusted" in refusal("bundle", "verify", own)
    assert "needs types that are not trusted" in refusal("bundle", "diff", own, own)


# -- diff -----------------------------------------------------------------------------------------


def test_diff_ends_with_0_for_the_same_result_whoever_signed_it(signed: str, keys: Keys) -> None:
    LINEAR.save(Path("again"))
    assert exit_code("bundle", "diff", signed, "again") == 0
    assert "hold the same training result" in run("bundle", "diff", signed, "again").stdout
    assert told("bundle", "diff", signed, "again")["same"]


def test_diff_ends_with_1_and_shows_what_changed(signed: str) -> None:
    TREES.save(Path("trees"))
    result = run("bundle", "diff", signed, "trees")
    assert result.exit_code == 1
    assert "Scores were not compared: the workspace has not kept the rows" in result.stdout
    found = told("bundle", "diff", signed, "trees")
    change = {"part": "model", "what": "scorer", "before": "additive", "after": "trees"}
    assert change in found["changes"]
    assert found["scores"] is None


def test_diff_scores_both_on_the_training_rows_that_the_workspace_kept(
    signed: str, keys: Keys
) -> None:
    other = TREES
    other.save(Path("other"))
    rows = load_training_set(to_table(CALM.events(-10, 0)), CONTRACT).rows
    assert save_snapshot(rows, Path(".gyroscope/snapshots")) == other.manifest.snapshot
    found = told("bundle", "diff", signed, "other")["scores"]
    gap = np.abs(other.probabilities(rows.X) - LINEAR.probabilities(rows.X))
    assert found["rows"] == len(rows)
    assert found["mean_absolute"] == pytest.approx(gap.mean())
    assert found["largest"] == pytest.approx(gap.max())
    assert "Scores on 2,000 training rows" in run("bundle", "diff", signed, "other").stdout


def test_diff_ends_with_2_if_there_is_nothing_to_compare(signed: str) -> None:
    assert exit_code("bundle", "diff", signed, "./nowhere") == 2
    Path("signed/contract.json").write_bytes(b"{}")
    assert exit_code("bundle", "diff", signed, signed) == 2


# -- export ---------------------------------------------------------------------------------------


def test_the_export_is_written_outside_the_bundle_and_only_for_one_that_is_trusted(
    signed: str, keys: Keys
) -> None:
    assert exit_code("bundle", "export-signature", signed, "signed/model.sig") == 2
    assert exit_code("bundle", "export-signature", signed, "model.sig") == 0
    assert json.loads(Path("model.sig").read_bytes())["dsseEnvelope"]
    assert exit_code("bundle", "export-signature", str(FORMAT_1), "old.sig") == 1
    assert not Path("old.sig").exists()
    assert exit_code("bundle", "verify", signed) == 0


# -- keys -----------------------------------------------------------------------------------------


def test_keys_are_listed_added_and_removed(keys: Keys) -> None:
    assert told("keys", "list") == {"keys": []}
    assert "no key of its own yet" in run("keys", "list").stdout
    own = keys.signer().key
    assert run("keys", "add", "berlin", GOLDEN_KEY).exit_code == 0
    assert told("keys", "list")["keys"] == [
        {"name": "berlin", "key": GOLDEN_KEY},
        {"name": "this workspace", "key": own},
    ]
    assert str(keys.public.name) in run("keys", "list").stdout
    assert exit_code("keys", "remove", "berlin") == 0
    assert exit_code("keys", "remove", "berlin") == 1
    assert exit_code("keys", "add", "../berlin", GOLDEN_KEY) == 2


def test_every_command_of_a_group_is_documented() -> None:
    for name in ("bundle", "keys"):
        group: Any = typer.main.get_group(app).commands[name]
        assert all(command.help for command in group.commands.values())


@pytest.mark.slow
def test_versions_are_named_by_model_alias_or_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = small_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    for kind in ("additive", "trees"):
        register(space.world, tiny_bundle(kind=kind))
    space.registry.set_alias(MODEL, CHAMPION, 2)
    for target in (MODEL, f"{MODEL}@2", f"{MODEL}@{CHAMPION}"):
        assert exit_code("bundle", "verify", target) == 0
        assert told("bundle", "inspect", target)["version"] == 2
    assert exit_code("bundle", "diff", f"{MODEL}@1", MODEL) == 1
    assert exit_code("bundle", "diff", f"{MODEL}@1", f"{MODEL}@3") == 2
    assert refusal("bundle", "verify", f"{MODEL}@nobody") == (
        f"no version of {MODEL} has alias 'nobody'; see: gyro versions {MODEL}"
    )
    space.close()
