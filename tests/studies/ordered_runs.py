"""Runs over tasks in several orders, with effects of order and seed put in."""

import numpy as np

from holdfast.records import Record

CYCLES = {"A": "abcd", "B": "bcda", "C": "cdab", "D": "dabc"}


def record(names: str, finals: dict[str, float], seed: int = 0) -> Record:
    """A run over tasks in this order that ends at these accuracies, and forgot nothing."""
    made = Record.empty(list(names), "task_incremental", seed)
    row = [finals[name] for name in names]
    made.accuracy[:] = np.where(np.tri(len(row)) > 0, row, np.nan)
    made.status = "complete"
    made.seconds = made.cpu_seconds = [1.0] * len(row)
    return made


def arms(
    table: np.ndarray, orders: dict[str, str] = CYCLES, seeds: int | None = None
) -> dict[str, list[Record]]:
    """Records of accuracies (orders, seeds, tasks), the tasks by letter."""
    return {
        label: [
            record(names, dict(zip(sorted(names), table[o, s], strict=True)), s)
            for s in range(table.shape[1])
        ]
        for o, (label, names) in enumerate(orders.items())
    }


def crossed(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    effect: np.ndarray | float = 0.0,
    noise: np.ndarray | float = 0.01,
    seed: float = 0.02,
) -> np.ndarray:
    """Runs with an effect of order and task, own noise, and what seeds do to all orders."""
    shared = seed * rng.standard_normal((1, *shape[1:]))
    effects = np.broadcast_to(effect, (shape[0], shape[2]))[:, None]
    return 0.5 + effects + shared + noise * rng.standard_normal(shape)
