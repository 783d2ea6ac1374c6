import pytest

from gyroscope.errors import DataError
from gyroscope.stats.binary import cluster_codes, labels_and_scores, scores


def test_booleans_and_integers_are_labels() -> None:
    y, p = labels_and_scores([True, False], [1, 0])
    assert y.tolist() == [1.0, 0.0]
    assert p.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 2], [0.1, 0.2], "labels must be 0 or 1, got 2.0 at row 1"),
        ([0, float("nan")], [0.1, 0.2], "labels must be 0 or 1, got nan at row 1"),
        ([0, 1], [0.1, 1.5], r"scores must lie in \[0, 1\], got 1.5 at row 1"),
        ([0, 1], [0.1, float("nan")], r"scores must lie in \[0, 1\], got nan at row 1"),
        ([0, 1, 1], [0.1, 0.2], "every score needs one label"),
    ],
)
def test_unusable_labels_and_scores_are_named(y: list[float], p: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        labels_and_scores(y, p)


def test_scores_have_one_dimension() -> None:
    with pytest.raises(DataError, match="one dimension, got 2"):
        scores([[0.1], [0.2]])


def test_clusters_are_numbered_whatever_their_ids() -> None:
    assert cluster_codes(["b", "a", "b"], 3).tolist() == [1, 0, 1]
    with pytest.raises(DataError, match="one cluster id"):
        cluster_codes([1, 2], 3)
