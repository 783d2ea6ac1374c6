import threading

import pytest

from gyroscope.data.parallel import FEW_VALUES, cores, in_threads


@pytest.mark.parametrize("values", [10, FEW_VALUES])
def test_results_come_in_the_order_of_the_items(values: int) -> None:
    assert in_threads(lambda number: number**2, range(50), values=values) == [
        number**2 for number in range(50)
    ]


def test_little_work_is_done_here() -> None:
    assert set(in_threads(lambda _: threading.get_ident(), [1, 2], values=10)) == {
        threading.get_ident()
    }


def test_an_error_of_one_item_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda number: 1 // number, [1, 0], values=FEW_VALUES)


def test_there_is_a_core() -> None:
    assert cores() >= 1
