"""What a tool examines of the trials, and what is told of it."""

import json
import math
from pathlib import Path

import pytest
from benchmarks.drift.measuring import Peer, main

PEER = Peer(
    distribution="numpy",
    libraries=(),
    read=lambda path: path.parent.name,
    prepare=None,
    check=lambda reference, current: {"first": [reference] if reference == "0" else []},
)


@pytest.mark.parametrize(("seconds", "flagged"), [(math.inf, [["0"], [], []]), (0, [["0"]])])
def test_trials_are_examined_in_order_until_the_time_is_over(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seconds: float,
    flagged: list[list[str]],
) -> None:
    for number in (2, 0, 1):
        (tmp_path / str(number)).mkdir()
    monkeypatch.setattr("sys.argv", ["peer", str(tmp_path), str(seconds)])
    main(PEER)
    measured = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [pair["flags"]["first"] for pair in measured["pairs"]] == flagged
