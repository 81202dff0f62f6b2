"""The mean-field equations of linear networks as they stand, by plain iteration with inverses."""

from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.theory import Problem


class Fields(NamedTuple):
    outputs: Tensor  # (T + 1, P, C)
    features: Tensor  # (L, T + 1, P, T + 1, P)
    gradients: Tensor  # (L, T + 1, P C, T + 1, P C)


def shares(problem: Problem) -> tuple[Tensor, Tensor]:
    """What is left of initial weights at each time, and what each step's gradient has done.

    One weight trained by hand, as torch.optim.SGD does it, for each.
    """
    schedule, steps = problem.schedule, problem.steps

    def trained(weight: float, kicked: int) -> list[float]:
        speed, path = 0.0, [weight]
        for t in range(steps):
            gradient = schedule.weight_decay * weight - (t == kicked)
            speed = schedule.momentum * speed + gradient
            weight = weight - float(schedule.lr[t]) * speed
            path.append(weight)
        return path

    left = torch.tensor(trained(1.0, -1), dtype=torch.float64)
    done = torch.tensor([trained(0.0, s) for s in range(steps)], dtype=torch.float64).T
    return left, torch.cat([done, torch.zeros(steps + 1, 1, dtype=torch.float64)], 1)


def field_theory(problem: Problem) -> Fields:
    """All times, points and outputs in one index; every equation as a matrix.

    With rows (t, mu) for h and (t, mu, c) for g, left(t) and done(t, s) of `shares`,

        h = left (u + A g) + (done Phi V) g,   g = left (r + B h) + (done G V) h,

    which is solved for the responses to u and r; then kernels and responses of all layers are put
    in again. Each time is right once those before it are, so one step more is let act only when
    what came before has been through all layers and back.
    """
    steps, points, outputs, depth = problem.steps, problem.points, problem.outputs, problem.depth
    left, done = shares(problem)
    n, m = (steps + 1) * points, (steps + 1) * points * outputs
    left_h, left_g = left.repeat_interleave(points), left.repeat_interleave(points * outputs)
    heads = (problem.head[:, None] == problem.head).double()
    same = torch.kron(heads, torch.eye(outputs).double())  # (P C, P C)
    every = torch.ones(steps + 1, steps + 1).double()
    below = torch.kron(every, problem.kernel)
    top = torch.kron(every, same)
    features = [torch.zeros(n, n).double() for _ in range(depth)]
    gradients = [torch.zeros(m, m).double() for _ in range(depth)]
    ahead = [torch.zeros(n, m).double() for _ in range(depth)]  # A^l = dh^l / dr^l
    back = [torch.zeros(m, n).double() for _ in range(depth)]  # B^l = dg^l / du^l
    f = torch.zeros(steps + 1, points, outputs).double()
    for turn in range((2 * depth + 1) * (steps + 1)):
        acting = turn // (2 * depth + 1)
        pull = torch.zeros(steps + 1, points, outputs).double()
        delta = problem.error(f)[:acting]
        pull[:acting] = problem.gamma0 * problem.schedule.weights[:acting].unsqueeze(-1) * delta
        spread = torch.zeros(n, m).double()  # V: (s, a) to (s, a, c)
        spread[torch.arange(m) // outputs, torch.arange(m)] = pull.flatten()
        done_hg = torch.kron(done, torch.ones(points, points * outputs).double())
        done_gh = torch.kron(done, torch.ones(points * outputs, points).double())
        for layer in range(depth):
            covariance_u = features[layer - 1] if layer else below
            last = layer == depth - 1
            covariance_r = problem.readout_std**2 * top if last else gradients[layer + 1]
            c = done_hg * (covariance_u @ spread)
            d = done_gh * ((top if last else gradients[layer + 1]) @ spread.T)
            if layer:
                c = c + left_h[:, None] * ahead[layer - 1]
            if not last:
                d = d + left_g[:, None] * back[layer + 1]
            gg = torch.linalg.inv(torch.eye(m).double() - d @ c)
            gr, gu = gg * left_g, gg @ d * left_h
            hu, hr = torch.diag(left_h) + c @ gu, c @ gr
            features[layer] = hu @ covariance_u @ hu.T + hr @ covariance_r @ hr.T
            gradients[layer] = gu @ covariance_u @ gu.T + gr @ covariance_r @ gr.T
            ahead[layer], back[layer] = hr, gu
            if last:
                cross = hu @ covariance_u @ gu.T + hr @ covariance_r @ gr.T
        cross = cross.view(steps + 1, points, steps + 1, points, outputs)
        f = torch.einsum("tptpc->tpc", cross) / problem.gamma0
    return Fields(
        f,
        torch.stack(features).view(depth, steps + 1, points, steps + 1, points),
        torch.stack(gradients).view(depth, steps + 1, points * outputs, steps + 1, -1),
    )
