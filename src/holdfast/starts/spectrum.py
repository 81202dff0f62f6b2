"""Ridge solutions for every ridge from one eigendecomposition."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from holdfast.starts.moments import Moments
from holdfast.starts.ridge import BiasForm


@dataclass(frozen=True)
class Spectrum:
    """The matrix of `solve_ridge` as V diag(l) V^T, where one lambda costs what scaling l costs.

    The penalised form is taken as ridge on [h, 1], the free one as ridge on h less its mean.

    Args:
        values: l, none below 0.
        vectors: V, a column an eigenvalue.
        cross: (C, ...) the right-hand side in the basis V.
        centre: (d,) what is taken from features first; zero but for the free form.
        weights: of the classes.
        samples: N.
        bias: the form of the bias.
    """

    values: Float64[Tensor, " inputs"]
    vectors: Float64[Tensor, "inputs inputs"]
    cross: Float64[Tensor, "classes inputs"]
    centre: Float64[Tensor, " d"]
    weights: Float64[Tensor, " classes"]
    samples: int
    bias: BiasForm

    @classmethod
    def of(cls, moments: Moments, bias: BiasForm) -> "Spectrum":
        """Decompose the moments: the one expensive step, O(d^3)."""
        matrix, cross, mean = moments.gram, moments.cross, moments.gram[:-1, -1]
        centre = torch.zeros_like(mean)
        if bias != "penalised":
            matrix, cross = matrix[:-1, :-1], cross[:, :-1]
        if bias == "free":
            centre = mean
            matrix = matrix - mean.outer(mean)
            cross = cross - moments.weights.outer(mean)
        values, vectors = torch.linalg.eigh(matrix)
        values = values.clamp_min(0)
        return cls(values, vectors, cross @ vectors, centre, moments.weights, moments.samples, bias)

    def project(self, features: Float64[Tensor, "n d"]) -> Float64[Tensor, "n inputs"]:
        """Features in the basis V."""
        inputs = features - self.centre
        if self.bias == "penalised":
            inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], 1)
        return inputs @ self.vectors

    def scores(
        self, projected: Float64[Tensor, "n inputs"], ridge: float
    ) -> Float64[Tensor, "n classes"]:
        """Scores of projected features at one lambda."""
        found = (projected / (self.values + ridge)) @ self.cross.T
        return found + self.weights if self.bias == "free" else found

    def leverages(self, projected: Float64[Tensor, "n inputs"], ridge: float) -> Tensor:
        """h~^T (G + lambda I)^-1 h~ of each; times the sample's weight, its leverage."""
        found = projected.square() @ (1 / (self.values + ridge))
        return found + 1 if self.bias == "free" else found

    def rows(self, ridge: float) -> Float64[Tensor, "classes inputs_and_bias"]:
        """The rows that `solve_ridge` finds at one lambda, bias last."""
        found = (self.cross / (self.values + ridge)) @ self.vectors.T
        if self.bias == "penalised":
            return found
        bias = self.weights - found @ self.centre if self.bias == "free" else 0 * self.weights
        return torch.cat([found, bias.unsqueeze(1)], 1)

    def gcv(self, ridges: Float64[Tensor, " tried"]) -> Float64[Tensor, " tried"]:
        """Generalised cross-validation at each lambda.

        In terms that are all positive: a difference of nearly equal sums would lose the error of
        features that fit almost exactly.
        """
        rounding = len(self.values) * torch.finfo(torch.float64).eps
        used = self.values > rounding * self.values.max()
        values, power = self.values[used], self.cross[:, used].square().sum(0)
        lam = ridges.to(values.device).unsqueeze(1)
        total = self.weights.sum()
        constant = 0
        if self.bias == "free":
            total, constant = total - self.weights.square().sum(), 1
        beyond_reach = (total - (power / values).sum()).clamp_min(0)
        shrunk = (lam / (values + lam)).square() @ (power / values)
        spare = max(self.samples - constant - int(used.sum()), 0)
        free = (spare + (lam / (values + lam)).sum(1)) / self.samples
        return (beyond_reach + shrunk) / free.square()
