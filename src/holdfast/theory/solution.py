"""What the theory answers: outputs, losses and kernels over time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.theory.activation import Given
from holdfast.theory.problem import Problem
from holdfast.theory.stored import problem_of, problem_parts, read, write
from holdfast.theory.words import aligned, problem_words

Progress = Callable[[int, int], None]
"""Called with the steps done and their number."""

_RESPONSE = "responses/"


@dataclass(frozen=True, eq=False)
class Solution:
    """The training of a network of infinite width.

    With T steps, P points, C outputs, L hidden layers, and kernels kept at R of the times 0 .. T
    (time t is before step t, T the end).

    Args:
        problem: that was solved.
        solver: its name, and after a colon why it was taken where it was chosen for the caller.
        outputs: (T + 1, P, C) f.
        kept: (R,) the times at which kernels are kept.
        features: (L, R, P, R, P) Phi^l(t, s) = <phi(h^l(t)) phi(h^l(s))>.
        gradients: (L, R, P C, R, P C) G^l(t, s) = <g^l(t) g^l(s)>, g = dh^L.../dh^l of the scaled
            output, the output running fastest; None where a solver does not give it.
        loss_error: (T + 1, tasks) Monte-Carlo standard error of `losses`; None without sampling.
        responses: what A^l and B^l do to fields, among the kept times and by name, where a solver
            gives them (see `causal`).
        settings: what the solver was told, as JSON holds it.
    """

    problem: Problem
    solver: str
    outputs: Float[Tensor, "times points outputs"]
    kept: tuple[int, ...]
    features: Tensor
    gradients: Tensor | None
    loss_error: Tensor | None
    responses: dict[str, Tensor]
    settings: dict[str, Any]

    @property
    def losses(self) -> Float[Tensor, "times tasks"]:
        """Mean loss of each task over time."""
        return self.problem.losses(self.outputs)

    @property
    def errors(self) -> Float[Tensor, "times points outputs"]:
        """Delta = -dl/df of each point over time."""
        return self.problem.error(self.outputs)

    @property
    def ends(self) -> tuple[int, ...]:
        """The time after the last step of each task."""
        return self.problem.ends

    @property
    def loss_matrix(self) -> Float[Tensor, "tasks tasks"]:
        """L[i, j], the loss on task j at the end of task i."""
        return self.losses[list(self.ends)]

    @property
    def forgetting(self) -> Float[Tensor, " tasks"]:
        """F_j = L_j(end) - L_j(end of task j), negative where later tasks help; 0 for the last."""
        losses = self.loss_matrix
        return losses[-1] - losses.diagonal()

    def tangent_kernel(self, kept: int) -> Float[Tensor, "columns columns"]:
        """sum_l G^(l+1) * Phi^l at a kept time, (P C, P C), with G^(L+1) the mask of heads.

        Points times outputs, the output running fastest; df/dt = K (m Delta) eta in continuous
        time.

        Raises:
            ValueError: the solver gave no gradient kernels.
        """
        if self.gradients is None:
            raise ValueError(f"solver {self.solver} gives no gradient kernels")
        own, outputs = self.problem, self.problem.outputs
        previous = [own.kernel, *self.features[:, kept, :, kept]]
        above = [*self.gradients[:, kept, :, kept], head_mask(own)]
        ones = torch.ones(outputs, outputs, dtype=own.kernel.dtype, device=own.kernel.device)
        total = torch.zeros_like(above[-1])
        for phi, g in zip(previous, above, strict=True):
            total += torch.kron(phi, ones) * g
        return total

    def instantaneous_forgetting(self, task: int, kept: int) -> float:
        """d/dt of the loss of a task in continuous time, -(1/P_k) Delta_k K_k. (eta m Delta).

        Graldi et al., 2025, eq. 12, with the weights of the step at that time: what the points at
        hand do to the loss of `task`. Positive is forgetting. At the end of training, that of the
        last step's points.

        Args:
            task: 0, 1, ...
            kept: a place in `Solution.kept`.

        Raises:
            ValueError: no such task or place, or the solver gave no gradient kernels.
        """
        own = self._own(task)
        if not -len(self.kept) <= kept < len(self.kept):
            raise ValueError(
                f"kept must be a place among the {len(self.kept)} times that kernels are kept at, "
                f"got {kept}"
            )
        time = self.kept[kept]
        step = min(time, self.problem.steps - 1)
        schedule, error = self.problem.schedule, self.errors[time]
        pull = schedule.lr[step] * schedule.weights[step].unsqueeze(1) * error
        moved = (self.tangent_kernel(kept) @ pull.flatten()).view_as(error)
        return -float((error[own] * moved[own]).sum() / len(own))

    def _own(self, task: int) -> Tensor:
        if not 0 <= task < self.problem.tasks:
            raise ValueError(f"task must lie in 0 .. {self.problem.tasks - 1}, got {task}")
        return self.problem.of_task(task)

    def text(self) -> str:
        """What was asked, which solver answered, and the losses at the end of each task."""
        rows = [["end of task", *(f"loss on {k}" for k in range(self.problem.tasks))]]
        for k, losses in enumerate(self.loss_matrix.tolist()):
            rows.append([str(k), *(f"{loss:.4g}" for loss in losses)])
        rows.append(["forgetting", *(f"{lost:.4g}" for lost in self.forgetting.tolist())])
        if self.loss_error is not None:
            errors = self.loss_error[-1].tolist()
            rows.append(["standard error", *(f"{error:.2g}" for error in errors)])
        return "\n".join([problem_words(self.problem), f"solved by {self.solver}", aligned(rows)])

    def __str__(self) -> str:
        return self.text()

    def save(self, path: str | Path) -> None:
        """Write problem and solution to a file, which is whole or as it was before.

        Tensors as safetensors, the rest as JSON. An activation is kept by its name.

        Raises:
            OSError: it could not be written.
        """
        tensors, header = problem_parts(self.problem)
        own = {
            "outputs": self.outputs, "features": self.features, "gradients": self.gradients,
            "loss_error": self.loss_error,
        }  # fmt: skip
        own |= {_RESPONSE + name: values for name, values in self.responses.items()}
        tensors |= {name: values for name, values in own.items() if values is not None}
        answer = {"solver": self.solver, "kept": self.kept, "settings": self.settings}
        write(path, tensors, {"problem": header, **answer})

    @classmethod
    def load(
        cls,
        path: str | Path,
        activation: Given | None = None,
    ) -> "Solution":
        """Read a solution, on the CPU. Nothing is unpickled.

        Args:
            path: of a file that `save` wrote.
            activation: the function that was used, where it was one of the user's own.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is truncated or no solution, or its activation is missing or another.
        """
        tensors, header = read(path)
        if "solver" not in header:
            raise ValueError(f"{path} holds no solution")
        responses = {
            name.removeprefix(_RESPONSE): values
            for name, values in tensors.items()
            if name.startswith(_RESPONSE)
        }
        return cls(
            problem_of(tensors, header["problem"], activation), header["solver"],
            tensors["outputs"], tuple(header["kept"]), tensors["features"],
            tensors.get("gradients"), tensors.get("loss_error"), responses, header["settings"],
        )  # fmt: skip

    def cka(self, layer: int, task: int | None = None) -> Float[Tensor, "kept kept"]:
        """Linear CKA of a hidden layer's features between kept times, on the points of a task.

        Args:
            layer: 1 .. L.
            task: whose points; all by default.

        Raises:
            ValueError: no such layer or task.
        """
        if not 1 <= layer <= self.problem.depth:
            raise ValueError(f"layer must lie in 1 .. {self.problem.depth}, got {layer}")
        rows = torch.arange(self.problem.points) if task is None else self._own(task)
        phi = self.features[layer - 1]
        grams = torch.stack([_centred(phi[r][rows][:, r][:, rows]) for r in range(len(self.kept))])
        flat = grams.flatten(1)
        norms = flat.norm(dim=1)
        return (flat @ flat.T) / (norms[:, None] * norms)


def head_mask(problem: Problem) -> Float[Tensor, "columns columns"]:
    """1 where two outputs of two points share readout and output, else 0: (P C, P C)."""
    dtype, device = problem.kernel.dtype, problem.kernel.device
    same = (problem.head[:, None] == problem.head[None, :]).to(device, dtype)
    return torch.kron(same, torch.eye(problem.outputs, dtype=dtype, device=device))


def _centred(gram: Tensor) -> Tensor:
    gram = gram - gram.mean(0, keepdim=True)
    return gram - gram.mean(1, keepdim=True)
