"""Rows of a linear classifier from the statistics of features alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from holdfast.estimator.centring import Centring
from holdfast.estimator.temperature import expected_temperature
from holdfast.methods.arguments import check_choice, check_number
from holdfast.seeds import generator
from holdfast.starts.lda import within_scatter
from holdfast.starts.moments import Moments, Weighting
from holdfast.starts.ridge import Ridge, solve_ridge, solve_scatter
from holdfast.starts.ridge_choice import choose_ridge
from holdfast.starts.statistics import FeatureStatistics

HeadForm = Literal["least_squares", "lda"]

_MOST_LEVERAGE = 0.999


@dataclass(frozen=True)
class ClosedForm:
    """What is solved for; `ContinualLinearClassifier` says what the arguments mean."""

    head: HeadForm
    ridge: float | Literal["gcv"]
    weighting: Weighting
    standardize: bool
    temperature: float | Literal["auto"]

    @classmethod
    def checked(cls, options: Mapping[str, Any]) -> "ClosedForm":
        """From arguments as a person gives them.

        Raises:
            TypeError, ValueError: one is none of what is allowed.
        """
        given = {k: v.item() if isinstance(v, np.generic) else v for k, v in options.items()}
        check_choice("head", given["head"], HeadForm)
        check_choice("weighting", given["weighting"], Weighting)
        for name, word in (("ridge", "gcv"), ("temperature", "auto")):
            value = given[name]
            if isinstance(value, str) and value != word:
                raise ValueError(f"{name} must be a number or {word!r}, got {value!r}")
            if value != word:
                check_number(name, value, positive=name == "temperature")
                given[name] = float(value)
        if not isinstance(given["standardize"], bool):
            raise TypeError(f"standardize must be true or false, got {given['standardize']!r}")
        return cls(**given)

    def solve(self, statistics: FeatureStatistics, classes: Sequence[int]) -> "Solution":
        """The rows of all classes of the statistics, in the order given.

        Raises:
            ValueError: there are no samples, or balanced weights were not provided for.
        """
        moments = statistics.moments(classes or None, self.weighting)
        centring = Centring.of(moments, self.standardize)
        moments = centring.of_moments(moments)
        if not centring.varies.any():
            ridge = 1.0  # all rows are 0, whatever the ridge
        elif self.ridge == "gcv":
            ridge = choose_ridge(moments, "gcv", bias="free").ridge
        else:
            ridge = self.ridge
        solve = gaussian_rows if self.head == "lda" else least_squares_rows
        return Solution(self, moments, centring, solve(moments, ridge))


def least_squares_rows(moments: Moments, ridge: float) -> Ridge:
    """W = cross (G + ridge I)^-1 of centred features; the intercepts are the weights p."""
    return solve_ridge(moments, ridge, bias="free")


def gaussian_rows(moments: Moments, ridge: float) -> Ridge:
    """w_c = (Sigma_W + ridge I)^-1 mu_c and b_c = -mu_c . w_c / 2 + log p_c."""
    scatter, means = within_scatter(moments)
    return solve_scatter(scatter, ridge, means, moments.weights)


@dataclass(frozen=True, eq=False)
class Solution:
    """The rows found, and what follows from them when it is asked for.

    Args:
        form: what was solved for.
        moments: of the centred features.
        centring: of the features.
        solved: rows for the centred features.
    """

    form: ClosedForm
    moments: Moments
    centring: Centring
    solved: Ridge

    @cached_property
    def rows(self) -> Float64[Tensor, "classes inputs"]:
        """(C, d+1), for features as they come, the intercept last."""
        return self.centring.undone(self.solved.weight)

    @cached_property
    def temperature(self) -> float:
        """What scores are divided by to become logarithms of probabilities, but for a constant."""
        if self.form.temperature != "auto":
            return self.form.temperature
        if self.form.head == "lda":
            return 1.0
        leverage = min(self._degrees_of_freedom() / self.moments.samples, _MOST_LEVERAGE)
        draws = generator(0, "temperature")
        return expected_temperature(self.solved.weight, self.moments, leverage, draws)

    def _degrees_of_freedom(self) -> float:
        """1 + trace of G (G + ridge I)^-1."""
        values = torch.linalg.eigvalsh(self.moments.gram[:-1, :-1]).clamp_min(0)
        return 1 + float((values / (values + self.solved.ridge)).nan_to_num(0).sum())
