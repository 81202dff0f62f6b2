import pytest

from holdfast.streams import ORDERS, task_order


@pytest.mark.parametrize("tasks", ORDERS)
def test_each_published_order_is_a_permutation_of_its_own(tasks: int) -> None:
    assert list(ORDERS[tasks]) == list("ABCDE")
    assert len(set(ORDERS[tasks].values())) == 5
    for name, order in ORDERS[tasks].items():
        assert sorted(order) == list(range(tasks))
        assert task_order(name, tasks) == order


def test_given_orders() -> None:
    assert task_order(None, 3) == (0, 1, 2)
    assert task_order([2, 0, 1], 3) == (2, 0, 1)


def test_drawn_orders() -> None:
    drawn = [task_order(f"drawn {n}", 100) for n in range(5)]
    assert all(sorted(order) == list(range(100)) for order in drawn)
    assert len(set(drawn)) == 5
    assert task_order("drawn 1", 100) == drawn[1]
    # Each task has each place alike: the mean place of the first of five over many draws is 2.
    first = [task_order(f"drawn {n}", 5).index(0) for n in range(400)]
    assert sum(first) / 400 == pytest.approx(2, abs=4 * (2 / 400) ** 0.5)
    with pytest.raises(ValueError, match="'drawn N' draws one by the seed N"):
        task_order("drawn -1", 5)


def test_refuses() -> None:
    with pytest.raises(ValueError, match="order 'A' is not known for 5 tasks"):
        task_order("A", 5)
    with pytest.raises(ValueError, match="order 'F' is not known for 20 tasks: there are A, B"):
        task_order("F", 20)
    with pytest.raises(ValueError, match=r"order must be a permutation of 0\.\.2, got \[0, 1, 1\]"):
        task_order([0, 1, 1], 3)
