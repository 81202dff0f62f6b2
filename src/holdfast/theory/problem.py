"""What is asked of the theory: tasks, network and training at infinite width."""

import math
from dataclasses import dataclass, field
from numbers import Real
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from holdfast.theory.activation import Activation, activation
from holdfast.theory.schedule import Schedule

Loss = Literal["mse", "cross_entropy"]
BASE_WIDTH = 64

PROBE = -1
"""The task of points that are never trained on."""


def absolute_gamma0(gamma0: float, base_width: int = BASE_WIDTH) -> float:
    """gamma_0 in absolute units, gamma = gamma_0 sqrt(N), of one in units of a base width.

    There gamma = gamma_0 sqrt(N / N_0), so absolute is gamma_0 / sqrt(N_0), an eighth for 64.

    >>> absolute_gamma0(0.8)
    0.1
    """
    return gamma0 / math.sqrt(base_width)


def base_width_gamma0(gamma0: float, base_width: int = BASE_WIDTH) -> float:
    """The inverse of `absolute_gamma0`."""
    return gamma0 * math.sqrt(base_width)


def number(name: str, value: object) -> float:
    """A number given as Python's or numpy's.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)


@dataclass(frozen=True, eq=False)
class Problem:
    """A network of infinite width and the tasks it is trained on, one after the other.

    With P points, of all tasks and probes together, C outputs and T steps. The network has L hidden
    layers and raw weights N(0, 1):

        h^1 = D^(-1/2) W^0 x,   h^(l+1) = N^(-1/2) W^l phi(h^l),   f = (gamma_0 N)^(-1) w phi(h^L),

    trained with the rate eta(t) gamma_0^2 N on the weighted loss sum_mu m_mu(t) l(f_mu, y_mu),
    l half the squared error or the cross-entropy. Make one with `holdfast.theory.problem`.

    Args:
        kernel: (P, P) K^x_mu,nu = x_mu . x_nu / D.
        targets: (P, C) what f should be; one-hot (or a distribution) for cross-entropy.
        task: (P,) of each point, 0, 1, ...; -1 for probes, which have targets but no weight.
        head: (P,) the readout that answers for each point.
        schedule: weights, rates and their rules over time.
        gamma0: absolute (see `absolute_gamma0`).
        depth: L, hidden layers.
        activation: phi.
        readout_std: of the raw readout weights at the start, sigma_w.
        loss: ``mse`` or ``cross_entropy``.
        inputs: (P, D), where they are known; kept for you, for the kernel says all.

    Raises:
        TypeError, ValueError: naming the argument, its value and what is allowed.
    """

    kernel: Float[Tensor, "points points"]
    targets: Float[Tensor, "points outputs"]
    task: Int64[Tensor, " points"]
    head: Int64[Tensor, " points"]
    schedule: Schedule
    gamma0: float
    depth: int = 1
    activation: Activation = field(default_factory=lambda: activation("linear"))
    readout_std: float = 1.0
    loss: Loss = "mse"
    inputs: Float[Tensor, "points features"] | None = None

    def __post_init__(self) -> None:
        self._check_shapes()
        if not 0 < number("gamma0", self.gamma0) < math.inf:
            raise ValueError(f"gamma0 must be positive and finite, got {self.gamma0!r}")
        if type(self.depth) is not int or self.depth < 1:
            raise ValueError(f"depth must be a positive integer, got {self.depth!r}")
        if not 0 <= number("readout_std", self.readout_std) < math.inf:
            raise ValueError(f"readout_std must be 0 or more, got {self.readout_std!r}")
        if self.loss not in get_args(Loss):
            raise ValueError(f"loss must be one of {get_args(Loss)}, got {self.loss!r}")
        if not bool(torch.isfinite(self.targets).all()):
            raise ValueError("targets holds values that are not finite")
        if self.loss == "cross_entropy":
            _check_distribution(self.targets)
        if int(self.head.min()) < 0:
            raise ValueError("head must be 0 or more for each point")
        self._check_kernel()
        self._check_tasks()

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return int(self.task.max()) + 1

    @property
    def heads(self) -> int:
        """Number of readouts."""
        return int(self.head.max()) + 1

    @property
    def steps(self) -> int:
        """T."""
        return len(self.schedule.lr)

    @property
    def points(self) -> int:
        """P."""
        return len(self.kernel)

    @property
    def outputs(self) -> int:
        """C."""
        return int(self.targets.shape[1])

    @property
    def ends(self) -> tuple[int, ...]:
        """The time after the last step of each task."""
        last = [
            int((self.schedule.weights[:, self.of_task(k)] != 0).any(1).nonzero().max())
            for k in range(self.tasks)
        ]
        return tuple(step + 1 for step in last)

    def of_task(self, task: int) -> Int64[Tensor, " own"]:
        """Positions of a task's points."""
        return (self.task == task).nonzero().flatten()

    def error(self, f: Float[Tensor, "*time points outputs"]) -> Tensor:
        """Delta = -dl/df: y - f, or y - softmax(f)."""
        return self.targets - (f if self.loss == "mse" else torch.softmax(f, dim=-1))

    def losses(self, f: Float[Tensor, "*time points outputs"]) -> Float[Tensor, "*time tasks"]:
        """Mean loss of each task's points, half the squared error or the cross-entropy."""
        if self.loss == "mse":
            each = (self.targets - f).square().sum(-1) / 2
        else:
            each = -(self.targets * torch.log_softmax(f, dim=-1)).sum(-1)
        return torch.stack([each[..., self.of_task(k)].mean(-1) for k in range(self.tasks)], -1)

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> "Problem":
        """The same problem in another precision or on another device."""
        return Problem(
            self.kernel.to(device, dtype), self.targets.to(device, dtype), self.task.to(device),
            self.head.to(device), self.schedule.to(dtype, device), self.gamma0, self.depth,
            self.activation, self.readout_std, self.loss,
            None if self.inputs is None else self.inputs.to(device, dtype),
        )  # fmt: skip

    def _check_shapes(self) -> None:
        kernel, schedule, points = self.kernel, self.schedule, len(self.kernel)
        if kernel.shape != (points, points):
            raise ValueError(f"kernel must be (points, points), got {tuple(kernel.shape)}")
        if kernel.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"kernel must be float32 or float64, got {kernel.dtype}")
        if self.targets.ndim != 2:
            raise ValueError(f"targets must be (points, outputs), got {tuple(self.targets.shape)}")
        real = {"targets": self.targets, "inputs": self.inputs}
        for name, values in {**real, "task": self.task, "head": self.head}.items():
            if values is not None and len(values) != points:
                raise ValueError(f"{name} has {len(values)} points, kernel has {points}")
        if schedule.weights.shape[1] != points:
            raise ValueError(
                f"schedule weighs {schedule.weights.shape[1]} points, kernel has {points}"
            )
        real |= {"schedule.weights": schedule.weights, "schedule.lr": schedule.lr}
        for name, values in real.items():
            if values is not None and values.dtype != kernel.dtype:
                raise TypeError(
                    f"{name} is {values.dtype}, kernel {kernel.dtype}; give all in one precision"
                )

    def _check_kernel(self) -> None:
        k = self.kernel
        if not bool(torch.isfinite(k).all()):
            raise ValueError("kernel holds values that are not finite")
        scale = float(k.diagonal().abs().max())
        if not torch.allclose(k, k.T, rtol=0, atol=1e-6 * scale):
            raise ValueError(
                f"kernel must be symmetric; it differs from its transpose by up to "
                f"{float((k - k.T).abs().max()):.2g}"
            )
        least = float(torch.linalg.eigvalsh(k.double())[0])
        tolerance = 1e-8 if k.dtype == torch.float64 else 1e-4
        if least < -tolerance * max(scale, 1e-30):
            raise ValueError(
                f"kernel must be positive semidefinite; its least eigenvalue is {least:.3g}. "
                f"Adding {-1.005 * least:.3g} to its diagonal would mend it"
            )

    def _check_tasks(self) -> None:
        if self.tasks < 1:
            raise ValueError("task names no task: every point is a probe (-1)")
        for k in range(self.tasks):
            own = self.of_task(k)
            if not len(own):
                raise ValueError(f"task {k} has no points; number tasks 0, 1, ... without gaps")
            if not bool((self.schedule.weights[:, own] != 0).any()):
                raise ValueError(
                    f"task {k} is never trained on: the schedule has {self.steps} steps, none of "
                    "which weighs its points; give it steps, or make its points probes (-1)"
                )
        if bool((self.schedule.weights[:, self.task == PROBE] != 0).any()):
            raise ValueError("schedule weighs probes (task -1), which are never trained on")


def _check_distribution(targets: Tensor) -> None:
    sums = targets.sum(-1)
    off = (sums - 1).abs() > 1e-6
    if bool((targets < 0).any()) or bool(off.any()):
        worst = targets[int(off.int().argmax())].tolist()
        raise ValueError(
            "targets of cross-entropy must be distributions over the outputs (one-hot): 0 or more "
            f"with sum 1, got {worst}"
        )
    if targets.shape[1] < 2:
        raise ValueError("targets of cross-entropy need two or more outputs, got 1")
