from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gyroscope.stats.heavy_hitters import KEPT, heavy_hitters, merged_hitters

words = st.lists(st.integers(0, 90).map(str), max_size=300)


def test_few_values_are_all_kept_and_exact() -> None:
    found = heavy_hitters({"a": 3, "b": 5})
    assert found.counts == (("b", 5), ("a", 3))
    assert found.error == 0


@given(st.lists(words, min_size=1, max_size=5))
def test_counts_are_too_low_by_no_more_than_the_error_says(parts: list[list[str]]) -> None:
    found = merged_hitters(heavy_hitters(Counter(part)) for part in parts)
    truth = Counter(word for part in parts for word in part)
    held = dict(found.counts)
    assert len(held) <= KEPT
    assert found.error <= (sum(truth.values()) - sum(held.values())) / (KEPT + 1)
    for word, count in truth.items():
        assert count - found.error <= held.get(word, 0) <= count
