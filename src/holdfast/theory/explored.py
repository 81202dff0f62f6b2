"""An infinitely wide linear network, as far as training has explored it."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from holdfast.theory.problem import Problem


class Explored:
    """A finite linear network that moves as one of infinite width does.

    Of a layer's neurons only inner products matter, of the activations h and gradients g that pass
    through it at all times. A Gaussian matrix W takes a direction b that it has not met before to
    one that is orthogonal to all of the layer above, with the same mean square; so does its
    transpose, downward (Bolthausen, 2014). Hence each hidden layer has coordinates, with an axis
    for each direction that weights have brought into it:

    - W meets the new part of an activation, along b: an axis e above, and W += e b^T;
    - W^T meets the new part of a gradient, along b: an axis e below, and W += b e^T.

    Inner products of coordinates are averages over neurons, and gradient descent on the finite W is
    that of the network. In the terms of Bordelon & Pehlevan, 2022: the axes carry the
    fields u and r, and that both passes share one W makes the responses A and B.

    Args:
        problem: L hidden layers, K heads, C outputs, P points.
        tolerance: length of new parts that are left out, relative to the longest path.
    """

    def __init__(self, problem: Problem, tolerance: float) -> None:
        like, readouts = problem.kernel, problem.heads * problem.outputs
        self._momentum = problem.schedule.momentum
        self._decay = problem.schedule.weight_decay
        sizes = [problem.points, problem.points, *[0] * (problem.depth - 1), readouts]
        sizes[-2] += readouts
        self.weights = [like.new_zeros(above, below) for below, above in pairwise(sizes)]
        self.weights[0].fill_diagonal_(1)
        self.weights[-1][:, sizes[-2] - readouts :].fill_diagonal_(problem.readout_std)
        self._speeds = [torch.zeros_like(w) for w in self.weights]
        # What there is of the initial weights in the weights and in their speed.
        self._start, self._start_speed = 1.0, 0.0
        # What weights between hidden layers have met, of the layer below them and of that above.
        self._below = {i: Span(sizes[i], tolerance, like) for i in range(1, problem.depth)}
        self._above = {i + 1: Span(sizes[i + 1], tolerance, like) for i in range(1, problem.depth)}

    def forward(self, inputs: Float[Tensor, "points axes"]) -> list[Tensor]:
        """Activations of the inputs, of each hidden layer and of all readouts, a row a point."""
        paths = [inputs]
        for i, span in [(0, None), *self._below.items(), (len(self.weights) - 1, None)]:
            if span is not None:
                new = span.extend(paths[i])
                self._add_axes(i + 1, len(new))
                self._place(i, slice(len(self.weights[i]) - len(new), None), slice(None), new)
            paths.append(paths[i] @ self.weights[i].T)
        return paths

    def backward(self) -> list[Tensor]:
        """Gradients of all readouts by each hidden layer from the first on, a row a readout."""
        paths = [self.weights[-1].clone()]
        for layer in reversed(self._above):
            new = self._above[layer].extend(paths[0])
            self._add_axes(layer - 1, len(new))
            columns = slice(self.weights[layer - 1].shape[1] - len(new), None)
            self._place(layer - 1, slice(None), columns, new.T)
            paths.insert(0, paths[0] @ self.weights[layer - 1])
        return paths

    def step(
        self,
        activations: Sequence[Tensor],
        gradients: Sequence[Tensor],
        pull: Float[Tensor, "points readouts"],
        lr: float,
    ) -> None:
        """Gradient descent, torch's: the speed decays, takes the gradient, and moves the weights.

        Args:
            activations: of `forward`.
            gradients: of `backward`, called after it.
            pull: minus the derivative of the loss by the readouts.
            lr: learning rate.
        """
        ones = torch.eye(pull.shape[1], dtype=pull.dtype, device=pull.device)
        for i, (h, g) in enumerate(zip(activations[:-1], [*gradients, ones], strict=True)):
            weights, speed = self.weights[i], self._speeds[i]
            speed.mul_(self._momentum).sub_(weights, alpha=self._decay)
            speed += g.T @ (pull.T @ widened(h, weights.shape[1]))
            weights.add_(speed, alpha=lr)
        self._start_speed = self._momentum * self._start_speed - self._decay * self._start
        self._start += lr * self._start_speed

    def _place(self, i: int, rows: slice, columns: slice, directions: Tensor) -> None:
        self.weights[i][rows, columns] = self._start * directions
        self._speeds[i][rows, columns] = self._start_speed * directions

    def _add_axes(self, layer: int, count: int) -> None:
        if not count:
            return
        for matrices in (self.weights, self._speeds):
            matrices[layer] = pad(matrices[layer], (0, count))
            matrices[layer - 1] = pad(matrices[layer - 1], (0, 0, 0, count))
        for spans in (self._below, self._above):
            if layer in spans:
                spans[layer].widen(count)


class Span:
    """An orthonormal basis of all paths seen, without what is short of a tolerance.

    Args:
        axes: of the space, at the start.
        tolerance: relative to the longest path seen.
        like: a tensor of the precision and on the device to work in.
    """

    def __init__(self, axes: int, tolerance: float, like: Tensor) -> None:
        self.basis: Float[Tensor, "rank axes"] = like.new_zeros(0, axes)
        self._tolerance, self._longest = tolerance, 0.0

    def widen(self, count: int) -> None:
        """More axes, along which there is nothing yet."""
        self.basis = pad(self.basis, (0, count))

    def extend(self, paths: Float[Tensor, "rows axes"]) -> Float[Tensor, "new axes"]:
        """Add what is new in paths, the longest first, and return it."""
        rest = paths - (paths @ self.basis.T) @ self.basis
        self._longest = max(self._longest, float(paths.norm(dim=1).max()))
        least, rank = self._tolerance * self._longest, len(self.basis)
        while float((lengths := rest.norm(dim=1)).max()) > least:
            new = rest[int(lengths.argmax())] / lengths.max()
            new = new - (new @ self.basis.T) @ self.basis  # rest was short: rounding errors are not
            new = new / new.norm()
            rest = rest - (rest @ new).outer(new)
            self.basis = torch.cat([self.basis, new.unsqueeze(0)])
        return self.basis[rank:]


def widened(paths: Float[Tensor, "rows _"], axes: int) -> Float[Tensor, "rows axes"]:
    """Paths of a time at which there were fewer axes."""
    return pad(paths, (0, axes - paths.shape[1]))
