"""Finite networks of the same parametrization, many at once, to hold the theory against."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from holdfast.seeds import generator
from holdfast.theory.kept import kept_times
from holdfast.theory.memory import require_memory
from holdfast.theory.problem import Problem
from holdfast.theory.solution import Progress, Solution
from holdfast.theory.square_root import lower_factor
from holdfast.theory.stacked import Stack, train


@dataclass(frozen=True, eq=False)
class Networks:
    """The training of S networks of width N, one a seed.

    As a `Solution` has it, with the networks first.

    Args:
        problem: they were trained on.
        width: N.
        seeds: (S,) of their weights.
        centred: whether the output at the start is subtracted.
        outputs: (S, T + 1, P, C) f.
        kept: (R,) the times at which kernels are kept.
        features: (S, L, R, P, R, P) Phi^l(t, s), means over the neurons of a layer.
        gradients: (S, L, R, P C, R, P C) G^l(t, s).
    """

    problem: Problem
    width: int
    seeds: tuple[int, ...]
    centred: bool
    outputs: Float[Tensor, "seeds times points outputs"]
    kept: tuple[int, ...]
    features: Tensor
    gradients: Tensor

    @property
    def losses(self) -> Float[Tensor, "seeds times tasks"]:
        """Mean loss of each task over time."""
        return self.problem.losses(self.outputs)

    @property
    def loss_matrix(self) -> Float[Tensor, "seeds tasks tasks"]:
        """L[i, j], the loss on task j at the end of task i."""
        return self.losses[:, list(self.problem.ends)]

    @property
    def forgetting(self) -> Float[Tensor, "seeds tasks"]:
        """F_j = L_j(end) - L_j(end of task j)."""
        losses = self.loss_matrix
        return losses[:, -1] - losses.diagonal(dim1=1, dim2=2)

    def of(self, place: int) -> Solution:
        """One of the networks, in the form of a solution."""
        settings = {"width": self.width, "seed": self.seeds[place], "centred": self.centred}
        return Solution(
            self.problem, "network", self.outputs[place], self.kept, self.features[place],
            self.gradients[place], None, {}, settings,
        )  # fmt: skip


def networks(
    problem: Problem,
    width: int,
    seeds: int | Sequence[int] = 10,
    *,
    centred: bool = True,
    kept: int | Sequence[int] | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Networks:
    """Train networks of a finite width on a problem, by the gradient descent that it prescribes.

    Raw weights start as N(0, 1), those of the readout as N(0, sigma_w^2), with L hidden layers of
    N neurons,

        h^1 = D^(-1/2) W^0 x,   h^(l+1) = N^(-1/2) W^l phi(h^l),   f = (gamma_0 N)^(-1) w phi(h^L),

    and all move at eta gamma_0^2 N along the gradient of sum_mu m_mu l(f_mu, y_mu). These are the
    networks of `holdfast.richness.parametrize(model, "mup", gamma0=gamma_0, base_width=1,
    gain=1.0, readout_std=1)`, without biases and with the rates of `param_groups`.

    Of W^0 only the images of the P inputs matter, which are normal with covariance K^x and move
    within the span of the inputs. They are what is drawn and trained, so that no inputs are needed
    and hidden layers alone cost N^2.

    At width N and with sigma_w > 0 an output starts at random, of size 1 / (gamma_0 sqrt(N)),
    where that of infinite width starts at 0; for small gamma_0 a task is then learned from another
    start. `centred` networks are f(x) - f_0(x), each output less its own at the start, which
    changes no gradient of f. Neurons in pairs of opposite readouts would give f_0 = 0 too, but in
    deep networks also cancel the gradients that go to lower layers at the start, which is
    another limit.

    Args:
        problem: whose `gamma0` is absolute.
        width: N, neurons of each hidden layer.
        seeds: of the weights, or their number; networks of another width are drawn independently.
        centred: see above.
        kept: see `kept_times`; by default 0 and the ends of tasks.
        memory: bytes allowed; what is available by default.
        progress: called with the steps done and their number.

    Raises:
        TypeError, ValueError: a width or seeds out of range, or more memory needed than there is.
    """
    if type(width) is not int or width < 1:
        raise ValueError(f"width must be a positive integer, got {width!r}")
    drawn = seed_list(seeds)
    times = kept_times(problem, 1 if kept is None else kept)
    require_room(problem, width, len(drawn), len(times), memory)
    made = train(problem, _draw(problem, width, drawn), times, centred, progress)
    return Networks(problem, width, drawn, centred, made.outputs, times, *made[1:])


def require_room(
    problem: Problem, width: int, seeds: int, times: int, memory: int | None = None
) -> None:
    """Refuse (`ValueError`) networks of a width that would not fit, kernels at some times too."""
    require_memory(
        lambda count: count * _bytes(problem, width, times),
        seeds, "seeds", f"training at width {width}", memory, problem.kernel.device,
    )  # fmt: skip


def seed_list(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """The seeds that a number of them, or a list, stands for.

    Raises:
        ValueError: none, one twice, or something that is no seed.
    """
    found = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not found or any(type(s) is not int or s < 0 for s in found):
        raise ValueError(f"seeds must be a positive number of seeds or a list of them, got {seeds}")
    if len(set(found)) < len(found):
        raise ValueError(f"seeds holds a seed twice: {list(found)}")
    return found


def _draw(problem: Problem, width: int, seeds: Sequence[int]) -> Stack:
    like, readouts = problem.kernel, problem.heads * problem.outputs
    factor = lower_factor(like)
    shapes = [(problem.points, width), *[(width, width)] * (problem.depth - 1), (readouts, width)]
    stacked = [like.new_empty(len(seeds), *shape) for shape in shapes]
    for place, seed in enumerate(seeds):
        for layer, weights in enumerate(stacked):
            draws = generator(seed, "network", width, layer, device=like.device)
            weights[place].normal_(generator=draws)
    first, *hidden, last = stacked
    return Stack(factor @ first, hidden, problem.readout_std * last)


def _bytes(problem: Problem, width: int, times: int) -> int:
    """Of a network, with what training holds beside it."""
    plain = problem.schedule.momentum == 0 == problem.schedule.weight_decay
    points, columns = problem.points, problem.points * problem.outputs
    entries = (problem.depth - 1) * width**2 * (1 if plain else 2)
    entries += width * (points * (4 * problem.depth + 6) + problem.heads * problem.outputs)
    entries += times * problem.depth * width * (points + columns)
    entries += problem.depth * times**2 * (points**2 + columns**2) * 2
    entries += (problem.steps + 1) * columns
    return math.ceil(entries * problem.kernel.element_size())
