from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gyroscope.config import FILE, load_config
from gyroscope.data.contract import Column, ColumnType, Contract, Role, contract_from_mapping
from gyroscope.data.infer import Inferred
from gyroscope.data.workspace_file import portable_path, write_model
from gyroscope.errors import ConfigError, UsageError


def inferred(*features: str) -> Inferred:
    columns = [Column(name=name, type=ColumnType.NUMBER) for name in features or ("x",)]
    target = Column(name="y", type=ColumnType.CATEGORY, role=Role.TARGET)
    contract = Contract(columns=(*columns, target), positive=("yes",), negative=("no",))
    return Inferred(contract=contract, remarks=())


def add(root: Path, name: str, *features: str, overwrite: bool = False) -> str:
    write_model(root, name, root / "data.csv", inferred(*features), overwrite=overwrite)
    return (root / FILE).read_text()


def features(root: Path, name: str) -> list[str]:
    config = load_config(root).model(name)
    return [c.name for c in contract_from_mapping(config.contract, where=name).features]


EXISTING = """\
# mine
workspace:
    port: 9000   # ours

models:
    # the first
    first:   {data: a.csv}
    second:
        data: b.csv
        # about the second
"""


def test_a_new_file_is_read_back_by_the_configuration(tmp_path: Path) -> None:
    root = tmp_path / "new" / "folder"
    write_model(root, "churn", root / "data" / "c.csv", inferred("x", "z"))
    assert features(root, "churn") == ["x", "z"]
    assert load_config(root).model(None).data == (root / "data" / "c.csv").resolve()
    assert "  churn:\n    data: data/c.csv\n" in (root / FILE).read_text()


def test_further_models_come_after_those_there(tmp_path: Path) -> None:
    first = add(tmp_path, "first")
    second = add(tmp_path, "second")
    assert second.startswith(first)
    assert list(load_config(tmp_path).models) == ["first", "second"]


def test_what_is_in_the_file_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(EXISTING)
    text = add(tmp_path, "third")
    assert text.startswith(EXISTING)
    assert "\n\n    third:\n      data: data.csv\n" in text
    assert list(load_config(tmp_path).models) == ["first", "second", "third"]


def test_models_may_stand_before_other_keys(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(
        "models:\n  a: {data: a.csv}\n\n# about it\nworkspace:\n  port: 1\n"
    )
    text = add(tmp_path, "b")
    assert text.startswith("models:\n  a: {data: a.csv}\n\n  b:\n")
    assert text.endswith("\n\n# about it\nworkspace:\n  port: 1\n")


@pytest.mark.parametrize(
    "text",
    ["models:\n", "models:", "workspace:\n", "workspace: {port: 1}", "models:\n  a: {data: a.csv}"],
)
def test_models_may_be_empty_or_absent(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert add(tmp_path, "b").startswith(text)
    assert features(tmp_path, "b") == ["x"]


def test_a_model_is_replaced_only_if_told_to_and_alone(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        add(tmp_path, name)
    before = (tmp_path / FILE).read_text()
    with pytest.raises(ConfigError, match=r"has a model 'two' already; .* with --force"):
        add(tmp_path, "two", "z")
    assert (tmp_path / FILE).read_text() == before
    after = add(tmp_path, "two", "z", overwrite=True)
    assert features(tmp_path, "two") == ["z"]
    assert after.replace("        z: {", "        x: {") == before
    assert add(tmp_path, "two", overwrite=True) == before


def test_comments_before_the_next_model_survive_a_replacement(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(
        "models:\n  a:\n    data: a.csv\n    # old\n\n  # of b\n  b: {data: b}\n"
    )
    text = add(tmp_path, "a", overwrite=True)
    assert "# old" not in text
    assert text.endswith("\n\n  # of b\n  b: {data: b}\n")


def test_windows_line_breaks_are_kept(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"models:\r\n  a: {data: a.csv}\r\n")
    add(tmp_path, "b")
    content = (tmp_path / FILE).read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n") > 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: {}\n", "'models' is not written with one model below the other"),
        ("models: {a: {data: a.csv}}\n", "'models' is not written with one model below the other"),
        ("models: [", "is not valid YAML"),
        ("other: 1\n", "unknown key 'other'"),
        ("models:\n  a: 1\n", "expected fields"),
    ],
)
def test_a_file_that_cannot_be_extended_is_left_alone(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match=message):
        add(tmp_path, "b")
    assert (tmp_path / FILE).read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_key_that_stands_twice_is_refused_since_only_one_could_be_heeded(tmp_path: Path) -> None:
    text = "models:\n  a:\n    data: a.csv\n    settings: {seed: 1}\n    settings: {min_rows: 5}\n"
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match="'settings' stands twice, in lines 4 and 5"):
        load_config(tmp_path)


def test_a_model_that_another_one_refers_to_is_not_replaced(tmp_path: Path) -> None:
    text = "models:\n  a:\n    data: &same a.csv\n  b:\n    data: *same\n"
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match="cannot be extended by 'a': found undefined alias"):
        add(tmp_path, "a", overwrite=True)
    assert (tmp_path / FILE).read_text() == text


def test_a_wrong_model_name_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="use 1 to 64 letters"):
        add(tmp_path, "a b")
    assert not list(tmp_path.iterdir())


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "shared.yaml").write_text("models:\n")
    (tmp_path / FILE).symlink_to(tmp_path / "shared.yaml")
    add(tmp_path, "a")
    assert (tmp_path / FILE).is_symlink()
    assert "a:" in (tmp_path / "shared.yaml").read_text()


def test_data_outside_the_workspace_keep_their_whole_path(tmp_path: Path) -> None:
    assert portable_path(tmp_path / "a" / ".." / "d.csv", tmp_path) == "d.csv"
    assert portable_path(tmp_path / "d.csv", tmp_path / "work") == str(tmp_path / "d.csv")


names = st.sampled_from(["yes", "null", "1e5", "123", "a-b", "True", "models", "x_1"])


@settings(max_examples=15)
@given(st.lists(st.tuples(names, st.booleans()), min_size=2, max_size=4))
def test_any_order_of_adding_and_replacing_keeps_all_models(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, bool]]
) -> None:
    root = tmp_path_factory.mktemp("workspace")
    expected: dict[str, list[str]] = {}
    for name, wide in steps:
        columns = ["x", "z"] if wide else ["x"]
        add(root, name, *columns, overwrite=True)
        expected[name] = columns
    assert {name: features(root, name) for name in load_config(root).models} == expected
    assert yaml.safe_load((root / FILE).read_text())["workspace"] is None
