"""Orders of tasks: those that publications name, to lay results beside theirs, and drawn ones."""

import re
from collections.abc import Sequence

import torch

from holdfast.seeds import generator

ORDERS: dict[int, dict[str, tuple[int, ...]]] = {
    10: {
        "A": (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
        "B": (1, 7, 4, 5, 2, 0, 8, 6, 9, 3),
        "C": (7, 0, 5, 1, 8, 4, 3, 6, 2, 9),
        "D": (5, 8, 2, 9, 0, 4, 3, 7, 6, 1),
        "E": (2, 9, 5, 4, 8, 0, 6, 1, 3, 7),
    },
    20: {
        "A": (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19),
        "B": (15, 12, 5, 9, 7, 16, 18, 17, 1, 0, 3, 8, 11, 14, 10, 6, 2, 4, 13, 19),
        "C": (17, 1, 19, 18, 12, 7, 6, 0, 11, 15, 10, 5, 13, 3, 9, 16, 4, 14, 2, 8),
        "D": (11, 9, 6, 5, 12, 4, 0, 10, 13, 7, 14, 3, 15, 16, 8, 1, 2, 19, 18, 17),
        "E": (6, 14, 0, 11, 12, 17, 13, 4, 9, 1, 7, 19, 8, 10, 3, 15, 18, 5, 2, 16),
    },
}
"""The five orders of Yoon et al. (2020, *Scalable and Order-robust Continual Learning with Additive
Parameter Decomposition*), by number of tasks and letter.

With 10 tasks they number the tasks of split CIFAR-100, ten classes each in the order of their
labels. With 20 they number the superclasses of CIFAR-100 as its coarse labels do (0 is
aquatic_mammals, 19 vehicles_2: alphabetical), which is how the public implementations that use
these orders list them.
"""

Order = str | Sequence[int] | None
"""A letter of `ORDERS`; ``drawn N``, a permutation drawn by the seed N; a permutation of the task
positions; or `None` for 0, 1, 2, ..."""

_DRAWN = re.compile(r"drawn (\d{1,9})")


def task_order(order: Order, tasks: int) -> tuple[int, ...]:
    """The positions of the tasks in the asked order.

    >>> task_order("B", 10)
    (1, 7, 4, 5, 2, 0, 8, 6, 9, 3)
    >>> task_order("drawn 1", 4) == task_order("drawn 1", 4)
    True

    Raises:
        ValueError: no order of that name for so many tasks, or no permutation of them.
    """
    if order is None:
        return tuple(range(tasks))
    if isinstance(order, str):
        drawn = _DRAWN.fullmatch(order)
        if drawn is not None:
            by = generator(int(drawn[1]), "task order", tasks)
            return tuple(torch.randperm(tasks, generator=by).tolist())
        if order not in ORDERS.get(tasks, {}):
            known = "; ".join(f"{', '.join(named)} for {n} tasks" for n, named in ORDERS.items())
            raise ValueError(
                f"order {order!r} is not known for {tasks} tasks: there are {known}; "
                "'drawn N' draws one by the seed N, and any permutation may be given as numbers"
            )
        return ORDERS[tasks][order]
    if sorted(order) != list(range(tasks)):
        raise ValueError(f"order must be a permutation of 0..{tasks - 1}, got {list(order)}")
    return tuple(order)
