"""Deep networks of infinite width by iteration over whole histories: slow, and a reference."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.seeds import derive
from holdfast.theory.gaussian import initial_kernels, initial_tangent_kernel
from holdfast.theory.kept import kept_times
from holdfast.theory.memory import require_memory
from holdfast.theory.problem import Problem
from holdfast.theory.sampling import Draws
from holdfast.theory.solution import Progress, Solution, head_mask
from holdfast.theory.square_root import lower_factor


def fixed_point(
    problem: Problem,
    *,
    kept: int | Sequence[int] | None = None,
    damping: float = 0.3,
    iterations: int = 1000,
    tolerance: float = 1e-11,
    samples: int = 1024,
    seed: int = 0,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Solution:
    """Solve the equations of `causal` as a fixed point, by Picard iteration with damping.

    All of Phi^l, G^l, A^l, B^l over all times and the outputs f are guessed, the kernels as they
    are before training and f as they have it. What follows from the guess is computed, and each
    moves by `damping` of the way there (Bordelon & Pehlevan, 2022, do so). In linear networks what
    follows is algebra of covariances (inverses of T P x T P matrices); in others an average over
    sampled fields, the same ones in every iteration, with the responses by Stein's lemma. It shares
    no step with `causal` but the draws: with the seed of one of its sweeps, as many samples and no
    tolerance there, both have the same answer.

    Small problems alone: O(L (T P C)^3) time an iteration. For large steps or gamma_0, and more so
    in deep networks, the iteration diverges.

    Args:
        problem: of any depth and activation.
        kept: see `kept_times`.
        damping: share of the way, in (0, 1].
        iterations: at most.
        tolerance: largest change of outputs, kernels and responses at which it stops.
        samples: neurons a layer where the activation is not linear, a multiple of 4 and at least 4
            a point, output and time.
        seed: of the draws.
        memory: bytes allowed; what is available by default.
        progress: called with the iterations done and their number.

    Raises:
        ValueError: a damping outside (0, 1], too few samples, a readout that starts at 0 in a
            network that is not linear, or more memory needed than there is.
        ArithmeticError: the iteration diverged, or did not get there.
    """
    if not 0 < damping <= 1:
        raise ValueError(f"damping must lie in (0, 1], got {damping!r}")
    columns = (problem.steps + 1) * problem.points * problem.outputs
    if not problem.activation.linear and (samples % 4 or samples < 4 * columns):
        raise ValueError(
            f"samples must be a multiple of 4 and at least 4 (T + 1) P C = {4 * columns}, got "
            f"{samples}"
        )
    if not problem.activation.linear and problem.readout_std == 0:
        raise ValueError(
            "fixed_point needs readout_std above 0 where the activation is not linear: gradients "
            "that are 0 at the start have a singular covariance; take solver 'causal'"
        )
    times = kept_times(problem, kept)
    drawn = 0 if problem.activation.linear else samples

    def bytes_of(points: int) -> int:
        # As measured: what is held and what follows from it, and the fields that are drawn.
        n = (problem.steps + 1) * points * problem.outputs
        entries = n**2 * (24 * problem.depth + 12) + drawn * n * (2 * problem.depth + 5)
        return entries * problem.kernel.element_size()

    require_memory(
        bytes_of, problem.points, "points", "solver fixed_point", memory, problem.kernel.device,
        "Take fewer, or solver 'causal'",
    )  # fmt: skip
    follow = _Linear(problem) if problem.activation.linear else _Sampled(problem, samples, seed)
    now = _start(problem)
    scale = float(problem.kernel.diagonal().max())
    change = float("inf")
    for done in range(1, iterations + 1):
        after = follow(now)
        change = max(
            float((a - b).abs().max()) for a, b in zip(after.all(), now.all(), strict=True)
        )
        if not change < 1e8 * max(scale, 1.0):
            raise ArithmeticError(
                f"fixed_point diverged in iteration {done} (largest change {change:.2g}); take a "
                "smaller damping, or solver 'causal', which does not iterate"
            )
        now = now.towards(after, damping)
        if progress is not None:
            progress(done, iterations)
        if change <= tolerance:
            break
    else:
        raise ArithmeticError(
            f"fixed_point is not there after {iterations} iterations (largest change {change:.2g}, "
            f"tolerance {tolerance:g}); allow more"
        )
    rows = problem.steps + 1

    def shown(matrices: Sequence[Tensor], left: int, right: int) -> Tensor:
        whole = torch.stack([m.view(rows, left, rows, right) for m in matrices])
        return whole[:, list(times)][:, :, :, list(times)]

    p, pc = problem.points, problem.points * problem.outputs
    responses = {}
    if problem.depth > 1:
        pairs = zip(now.a[:-1], now.g[1:], now.b[1:], now.phi[:-1], strict=True)
        driven, driven_back = zip(*((a @ g, b @ phi) for a, g, b, phi in pairs), strict=True)
        responses = {
            "features": shown(driven, p, pc), "gradients": shown(driven_back, pc, p)
        }  # fmt: skip
    settings = {
        "damping": damping, "iterations": done, "tolerance": tolerance, "seed": seed,
        "samples": None if problem.activation.linear else samples,
    }  # fmt: skip
    return Solution(
        problem, "fixed_point", now.f, times, shown(now.phi, p, p), shown(now.g, pc, pc), None,
        responses, settings,
    )  # fmt: skip


@dataclass(frozen=True)
class _Order:
    """All that is iterated over: f, and of each layer Phi, G, A = <dphi/dr> and B = <dg/du>."""

    f: Float[Tensor, "times points outputs"]
    phi: list[Tensor]
    g: list[Tensor]
    a: list[Tensor]
    b: list[Tensor]

    def all(self) -> list[Tensor]:
        return [self.f, *self.phi, *self.g, *self.a, *self.b]

    def towards(self, other: "_Order", share: float) -> "_Order":
        moved = {
            field.name: [
                x.lerp(y, share)
                for x, y in zip(getattr(self, field.name), getattr(other, field.name), strict=True)
            ]
            for field in fields(self)
            if field.name != "f"
        }
        return replace(self, f=self.f.lerp(other.f, share), **moved)


def _start(problem: Problem) -> _Order:
    """Kernels as before training, no responses, and outputs as these kernels have them."""
    features, gradients = initial_kernels(problem)
    ones = problem.kernel.new_ones(problem.steps + 1, problem.steps + 1)
    phi = [torch.kron(ones, k) for k in features]
    outputs = torch.eye(problem.outputs).to(ones)
    g = [torch.kron(torch.kron(ones, k), outputs) for k in gradients]
    if not problem.activation.linear:  # constant in time they have no Cholesky factor
        phi = [k + torch.eye(len(k)).to(k) for k in phi]
        g = [k + torch.eye(len(k)).to(k) for k in g]
    k, schedule = initial_tangent_kernel(problem), problem.schedule
    f = problem.kernel.new_zeros(problem.steps + 1, problem.points, problem.outputs)
    for t in range(problem.steps):
        pull = schedule.lr[t] * schedule.weights[t].unsqueeze(1) * problem.error(f[t])
        f[t + 1] = f[t] + k @ pull
    a = phi[0].new_zeros(len(phi[0]), len(g[0]))
    return _Order(f, phi, g, [a] * problem.depth, [a.T] * problem.depth)


class _Equations:
    """What couples layers: C = A + Phi U of h = u + C g, and D = B + G U of z = r + D phi."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.rows, self.p, self.c = problem.steps + 1, problem.points, problem.outputs
        ones = problem.kernel.new_ones(self.rows, self.rows)
        self.input = torch.kron(ones, problem.kernel)
        self.mask = torch.kron(ones, head_mask(problem))
        reach, start = _reach(problem)
        self.reach = reach.view(self.rows, 1, self.rows, 1, 1)
        self.start, self.start_back = (
            start.repeat_interleave(n) for n in (self.p, self.p * self.c)
        )

    def coupling(self, now: _Order, layer: int) -> tuple[Tensor, Tensor]:
        """C and D of a layer counted from 0."""
        rows, p, c = self.rows, self.p, self.c
        top = layer == self.problem.depth - 1
        phi = now.phi[layer - 1] if layer else self.input
        g = self.mask if top else now.g[layer + 1]
        weights = self.problem.schedule.weights
        u = self.problem.gamma0 * weights.unsqueeze(-1) * self.problem.error(now.f[:-1])
        u = torch.cat([u, torch.zeros_like(u[:1])])
        up = self.reach * phi.view(rows, p, rows, p, 1) * u
        down = (self.reach * g.view(rows, p * c, rows, p, c) * u).sum(-1)
        forward, backward = up.reshape(rows * p, -1), down.reshape(rows * p * c, -1)
        if layer:
            forward = forward + self.start[:, None] * now.a[layer - 1]
        if not top:
            backward = backward + self.start_back[:, None] * now.b[layer + 1]
        return forward, backward

    def covariances(self, now: _Order, layer: int) -> tuple[Tensor, Tensor]:
        """Of u and r."""
        top = layer == self.problem.depth - 1
        r = self.problem.readout_std**2 * self.mask if top else now.g[layer + 1]
        return now.phi[layer - 1] if layer else self.input, r

    def output(self, cross: Float[Tensor, "columns rows"]) -> Tensor:
        """The outputs, of <z phi>."""
        blocks = cross.view(self.rows, self.p, self.c, self.rows, self.p)
        at = torch.arange(self.rows)
        mu = torch.arange(self.p)
        same_time = blocks[at, :, :, at]
        return same_time[:, mu, :, mu].transpose(0, 1) / self.problem.gamma0


class _Linear(_Equations):
    """h = R_hu u + R_hr r and g = R_gu u + R_gg r, with all moments in closed form."""

    def __call__(self, now: _Order) -> _Order:
        made: dict[str, list[Tensor]] = {"phi": [], "g": [], "a": [], "b": []}
        f = now.f
        for layer in range(self.problem.depth):
            c, d = self.coupling(now, layer)
            gg = torch.linalg.inv(torch.eye(len(d)).to(d) - d @ c)
            gu, hr = gg @ d, c @ gg
            hu = torch.eye(len(c)).to(c) + c @ gu
            hu, gu = hu * self.start, gu * self.start
            hr, gg = hr * self.start_back, gg * self.start_back
            u, r = self.covariances(now, layer)
            made["phi"].append(hu @ u @ hu.T + hr @ r @ hr.T)
            made["g"].append(gu @ u @ gu.T + gg @ r @ gg.T)
            made["a"].append(hr)
            made["b"].append(gu)
            if layer == self.problem.depth - 1:
                f = self.output(gu @ u @ hu.T + gg @ r @ hr.T)
        return _Order(f, **made)


class _Sampled(_Equations):
    """The same by averages over fields that are drawn once."""

    def __init__(self, problem: Problem, samples: int, seed: int) -> None:
        super().__init__(problem)
        self.samples, top = samples, problem.depth - 1
        head = torch.nn.functional.one_hot(problem.head, problem.heads).to(problem.kernel)
        readout = problem.readout_std * torch.kron(head, torch.eye(self.c).to(head))
        self.xi, self.zeta = [], []
        for layer in range(problem.depth):
            draws = Draws(
                samples, derive(seed, layer), problem.kernel,
                layer < top or problem.readout_std > 0,
            )  # fmt: skip
            xi = draws.draw("forward", self.rows * self.p if layer else self.p)
            self.xi.append(
                xi if layer else (lower_factor(problem.kernel) @ xi).repeat(self.rows, 1)
            )
            count = self.rows * self.p * self.c if layer < top else readout.shape[1]
            zeta = draws.draw("backward", count)
            self.zeta.append(zeta if layer < top else (readout @ zeta).repeat(self.rows, 1))
        of = torch.arange(self.rows)
        self.time, self.time_back = (of.repeat_interleave(n) for n in (self.p, self.p * self.c))

    def __call__(self, now: _Order) -> _Order:
        made: dict[str, list[Tensor]] = {"phi": [], "g": [], "a": [], "b": []}
        f, top = now.f, self.problem.depth - 1
        for layer in range(top + 1):
            u_cov, r_cov = self.covariances(now, layer)
            u_factor, r_factor = lower_factor(u_cov), lower_factor(r_cov)
            u = u_factor @ self.xi[layer] if layer else self.xi[0]
            r = r_factor @ self.zeta[layer] if layer < top else self.zeta[top]
            phi, z, g = self.fields(u, r, *self.coupling(now, layer))
            made["phi"].append(phi @ phi.T / self.samples)
            made["g"].append(g @ g.T / self.samples)
            a, b = torch.zeros_like(now.a[0]), torch.zeros_like(now.b[0])
            if layer < top:  # what fields of later times correlate with is no response
                a = phi @ self.zeta[layer].T / self.samples
                a = a * (self.time[:, None] > self.time_back)
                a = torch.linalg.solve_triangular(r_factor, a, upper=False, left=False)
            if layer:
                b = g @ self.xi[layer].T / self.samples
                b = b * (self.time_back[:, None] >= self.time)
                b = torch.linalg.solve_triangular(u_factor, b, upper=False, left=False)
            made["a"].append(a)
            made["b"].append(b)
            if layer == top:
                f = self.output(z @ phi.T / self.samples)
        return _Order(f, **made)

    def fields(self, u: Tensor, r: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """phi, z and g from the first time on, each from those before it."""
        act, p, pc = self.problem.activation, self.p, self.p * self.c
        phi, z, g = torch.zeros_like(u), torch.zeros_like(r), torch.zeros_like(r)
        for t in range(self.rows):
            now, back = slice(t * p, (t + 1) * p), slice(t * pc, (t + 1) * pc)
            h = self.start[now, None] * u[now] + c[now, : t * pc] @ g[: t * pc]
            phi[now] = act.value(h)
            z[back] = (
                self.start_back[back, None] * r[back] + d[back, : (t + 1) * p] @ phi[: (t + 1) * p]
            )
            g[back] = act.slope(h).repeat_interleave(self.c, 0) * z[back]
        return phi, z, g


def _reach(problem: Problem) -> tuple[Tensor, Tensor]:
    """How much of the gradient of step s is in the weights at time t, and how much of the start."""
    schedule, steps = problem.schedule, problem.steps
    place = schedule.lr.new_zeros(steps + 2)
    place[-1] = 1
    speed, rows = torch.zeros_like(place), []
    for t in range(steps + 1):
        rows.append(place.clone())
        if t < steps:
            speed = schedule.momentum * speed - schedule.weight_decay * place
            speed[t] += 1
            place += schedule.lr[t] * speed
    every = torch.stack(rows).to(problem.kernel)
    return every[:, :-1], every[:, -1]
