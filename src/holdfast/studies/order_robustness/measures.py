"""What a study of orders measures of one method."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from holdfast.records.intervals import Interval, mean_interval
from holdfast.studies.findings import LEVEL, RESAMPLES
from holdfast.studies.order_robustness.components import Components, components
from holdfast.studies.order_robustness.disparity import Disparities, Disparity, disparities
from holdfast.studies.order_robustness.finals import Finals
from holdfast.studies.order_robustness.places import Places, not_first, places

DRAWS = 2000
"""Draws of noise and permutations behind a floor and its intervals."""


@dataclass(frozen=True)
class Robustness:
    """How much the order matters to one method.

    Args:
        finals: what all is computed from.
        disparities: over all orders.
        learned: the same where a task does not count at the order that begins with it.
        components: of the variance of final accuracies.
        places: what the place in the order does.
    """

    finals: Finals
    disparities: Disparities
    learned: Disparities
    components: Components
    places: Places

    def as_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        finals, tasks = self.finals, self.finals.tasks
        pairs = zip(tasks, self.disparities.tasks, self.learned.tasks, strict=True)
        means = dict(zip(finals.orders, finals.means.tolist(), strict=True))
        return {
            "orders": list(finals.orders),
            "seeds": list(finals.seeds),
            "left_out": finals.left_out,
            "aopd": _disparity(self.disparities.average),
            "mopd": _disparity(self.disparities.maximum),
            "not_first": {
                "aopd": _disparity(self.learned.average),
                "mopd": _disparity(self.learned.maximum),
            },
            "variance": {
                "task": self.components.task,
                "order": self.components.order,
                "task_by_order": self.components.task_by_order,
                "seed": self.components.seed,
                "parts": dict(self.components.parts),
            },
            "places": {
                "first": self.places.first._asdict(),
                "slope": self.places.slope._asdict(),
            },
            "tasks": {
                task: {
                    "opd": _disparity(found),
                    "opd_not_first": _disparity(later),
                    "finals": {order: means[order][t] for order in finals.orders},
                }
                for t, (task, found, later) in enumerate(pairs)
            },
        }


def robustness(finals: Finals) -> Robustness:
    """All measures of one method."""
    accuracy = finals.accuracy
    return Robustness(
        finals=finals,
        disparities=disparities(accuracy, level=LEVEL, resamples=DRAWS),
        learned=disparities(accuracy, not_first(finals), LEVEL, DRAWS),
        components=components(accuracy),
        places=places(finals, LEVEL, RESAMPLES),
    )


def over_orders(values: Mapping[str, Mapping[int, float]], finals: Finals) -> Interval:
    """Mean of a metric over these orders, its interval from the seeds.

    Args:
        values: by order and seed; seeds that `finals` leaves out are left out.
        finals: of the same runs.
    """
    table: Float[np.ndarray, "orders seeds"] = np.array(
        [
            [values.get(order, {}).get(seed, float("nan")) for seed in finals.seeds]
            for order in finals.orders
        ]
    )
    return mean_interval(table.mean(axis=0), LEVEL, RESAMPLES)


def _disparity(found: Disparity) -> dict[str, Any]:
    return {
        "value": found.value._asdict(),
        "floor": found.floor,
        "excess": found.excess._asdict(),
        "chance": found.chance,
    }
