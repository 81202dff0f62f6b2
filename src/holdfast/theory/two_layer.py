"""Two-layer networks of infinite width: neurons that are independent given the outputs."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from holdfast.theory.problem import Problem


class Trained(NamedTuple):
    """What came of an ensemble of neurons: see `Solution`."""

    outputs: Float[Tensor, "times points outputs"]
    features: Float[Tensor, "1 kept points kept points"]
    gradients: Float[Tensor, "1 kept columns kept columns"]


def train(
    problem: Problem,
    fields: Float[Tensor, "points neurons"],
    readouts: Float[Tensor, "heads outputs neurons"],
    share: float,
    kept: tuple[int, ...],
    progress: Callable[[int], None] | None = None,
) -> Trained:
    """Gradient descent on the preactivations h and readout weights z of a hidden layer's neurons.

    An average over the layer, <.>, is the sum over `neurons` times `share`. In the coordinates of
    the inputs a step is, with U_mu,c = gamma_0 m_mu Delta_mu,c and k(mu) the head of a point,

        f_mu,c = <z_k(mu),c phi(h_mu)> / gamma_0,
        h_mu += eta sum_a K_mu,a phi'(h_a) sum_c U_a,c z_k(a),c,
        z_k,c += eta sum_(a of head k) U_a,c phi(h_a),

    all right-hand sides old; momentum and weight decay as `Schedule` has them, since h and z are
    linear in the weights. Bordelon & Pehlevan, 2022, with discrete steps and the output
    read from the neurons.

    Args:
        problem: of depth 1.
        fields: h at the start.
        readouts: z at the start.
        share: weight of a neuron in an average.
        kept: times whose kernels are kept.
        progress: called with the steps done.
    """
    schedule, phi = problem.schedule, problem.activation
    heads = [problem.head == k for k in range(problem.heads)]
    own = [places(head) for head in heads]
    h, z = fields.clone(), readouts.clone()
    speed_h, speed_z = torch.zeros_like(h), torch.zeros_like(z)
    outputs = h.new_empty(problem.steps + 1, problem.points, problem.outputs)
    seen: list[Tensor] = []
    seen_back: list[Tensor] = []
    for t in range(problem.steps + 1):
        value = phi.value(h)
        for k, rows in enumerate(own):
            outputs[t, rows] = value[rows] @ z[k].T * (share / problem.gamma0)
        if t in kept:
            seen.append(value)
            seen_back.append((phi.slope(h).unsqueeze(1) * z[problem.head]).flatten(0, 1))
        if t == problem.steps:
            break
        weights, lr = schedule.weights[t], float(schedule.lr[t])
        pull = problem.gamma0 * weights.unsqueeze(1) * problem.error(outputs[t])
        # Torch's order: the velocity decays, takes the gradient in, and moves the weights.
        speed_h.mul_(schedule.momentum).sub_(h, alpha=schedule.weight_decay)
        speed_z.mul_(schedule.momentum).sub_(z, alpha=schedule.weight_decay)
        for k, head in enumerate(heads):
            rows = places(head & (weights != 0))
            if phi.linear:  # the other order of products costs less
                speed_h += (problem.kernel[:, rows] @ pull[rows]) @ z[k]
            else:
                speed_h += problem.kernel[:, rows] @ (phi.slope(h[rows]) * (pull[rows] @ z[k]))
            speed_z[k] += pull[rows].T @ value[rows]
        h = h.add(speed_h, alpha=lr)
        z = z.add(speed_z, alpha=lr)
        if progress is not None:
            progress(t + 1)
    return Trained(outputs, _second_moments(seen, share), _second_moments(seen_back, share))


def places(chosen: Bool[Tensor, " points"]) -> slice | Tensor:
    """The positions that are chosen, as a slice (which copies nothing) where they are in a row."""
    found = chosen.nonzero().flatten()
    if not len(found):
        return slice(0, 0)
    first, last = int(found[0]), int(found[-1])
    return slice(first, last + 1) if last - first + 1 == len(found) else found


def _second_moments(paths: list[Tensor], share: float) -> Tensor:
    rows = torch.cat(paths)
    times, each = len(paths), len(paths[0])
    return (rows @ rows.T * share).view(1, times, each, times, each)
