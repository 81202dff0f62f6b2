"""A linear classifier by scikit-learn's protocol that knows its data by their statistics alone."""

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from holdfast.estimator.closed_form import ClosedForm, HeadForm, Solution
from holdfast.estimator.constructor import stores_anything
from holdfast.estimator.known import Known
from holdfast.estimator.labels import Labels
from holdfast.estimator.saving import read, write
from holdfast.starts.moments import Weighting
from holdfast.starts.statistics import FeatureStatistics
from holdfast.training.options import Training

_FORMAT = "holdfast-linear-classifier-1"
_INPUTS = {"accept_sparse": "csr", "dtype": [np.float64, np.float32], "order": "C"}


class ContinualLinearClassifier(ClassifierMixin, BaseEstimator):
    """A linear classifier in closed form whose `partial_fit` takes classes it has never seen.

    Nothing is trained and no sample is kept. Samples are added to sums (of each class, and of
    products of features); the first prediction after that solves for the rows. So the result does
    not depend on the order of the samples or on how they were cut into chunks, up to rounding:
    `partial_fit` on two halves is `fit` on the whole. What was learned elsewhere is merged by
    addition, and samples are forgotten by subtraction, as if they had never come.

    With C classes and d features it holds 8 (d^2 + C d) bytes (8 C d^2 for ``balanced``), whatever
    the number of samples. Meant for features of a few thousand dimensions at most.

    ``least_squares`` minimises, over one-hot targets y and with w_i the weights of the samples,

        sum_i w_i |W h_i + b - y_i|^2 + ridge |W|_F^2,

    on standardised features h where `standardize`. For two classes and without `standardize` this
    is scikit-learn's `RidgeClassifier` of alpha = n ridge, and for more it predicts the same
    classes. ``lda`` gives the posterior of Gaussian classes with one covariance,

        w_c = (Sigma_W + ridge I)^-1 mu_c,    b_c = -mu_c . w_c / 2 + log p_c.

    Args:
        head: ``least_squares`` or ``lda``.
        ridge: on the scale of mean squares, at least 0; or ``gcv``: the one of least generalised
            cross-validation error of least squares, for both heads.
        weighting: ``frequency``: each sample counts the same; ``balanced``: each class does.
        standardize: solve on features of mean 0 and variance 1, which makes the ridge, and so the
            result, independent of the units of the features. From the sums themselves, hence the
            mean and variance of all samples, not those of a first chunk.
        temperature: probabilities are softmax(scores / temperature). A positive number; or
            ``auto``: 1 for ``lda``, and for ``least_squares``, whose scores lie about [0, 1], the
            one that `holdfast.estimator.temperature.expected_temperature` expects to give the least
            cross-entropy, taking the classes for Gaussian: no sample is there to fit it to.
        device: where the sums lie and are solved, in float64: ``cpu``, ``cuda`` or ``auto`` (CUDA
            where there is one).

    Options of the solution that are changed hold from the next prediction on, without the data.
    `weighting` and `device` hold from the next `fit`. Sample weights are not supported: a count of
    samples is kept for each class.

    Attributes:
        classes_: the labels known so far, ascending.
        n_features_in_: number of features.
        feature_names_in_: their names, where the first X had them.
        coef_: (classes, features), in the units of X; (1, features) for two classes.
        intercept_: (classes,), or (1,).
        ridge_: that was used: chosen, or raised where the one asked for could not be solved with.
        condition_: condition number of the matrix solved with.
        temperature_: that was used.
        statistics_: a copy of the `FeatureStatistics`; class number c is the c-th label met.

    >>> from sklearn.datasets import load_wine
    >>> X, y = load_wine(return_X_y=True)
    >>> model = ContinualLinearClassifier()
    >>> model.partial_fit(X[y < 2], y[y < 2]).classes_
    array([0, 1])
    >>> model.partial_fit(X[y == 2], y[y == 2]).score(X, y)
    1.0
    >>> whole = ContinualLinearClassifier().fit(X, y)
    >>> np.allclose(model.coef_, whole.coef_, rtol=1e-10)
    True
    """

    @stores_anything
    def __init__(
        self,
        head: HeadForm = "least_squares",
        *,
        ridge: float | Literal["gcv"] = "gcv",
        weighting: Weighting = "frequency",
        standardize: bool = True,
        temperature: float | Literal["auto"] = "auto",
        device: str = "cpu",
    ) -> None:
        self.head = head
        self.ridge = ridge
        self.weighting = weighting
        self.standardize = standardize
        self.temperature = temperature
        self.device = device

    def fit(self, X: Any, y: Any) -> "ContinualLinearClassifier":
        """Forget everything and learn these samples. A call that fails changes nothing.

        Args:
            X: (n, features), dense or sparse (made dense a block at a time).
            y: (n,) labels: numbers, booleans or strings.

        Raises:
            ValueError, TypeError: an option or the data is not as it must be.
        """
        return self._learn(X, y, None, first=True)

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> "ContinualLinearClassifier":
        """Learn more samples, one or many. A call that fails changes nothing.

        Args:
            X: as in `fit`.
            y: (n,) labels of the same kind in each call, known or new.
            classes: not needed. Labels given here are known from now on, whether or not samples
                of them have come.

        Raises:
            ValueError, TypeError: as `fit`; or `y` holds labels that are not among `classes`,
                where these are given.
        """
        return self._learn(X, y, classes, first=not hasattr(self, "_known"))

    def forget(self, X: Any, y: Any) -> "ContinualLinearClassifier":
        """Unlearn samples: what is left is what never having met them would have left.

        Exactly so but for rounding, about 1e-16 of the sums before. A label keeps its column when
        its last sample goes. A call that fails changes nothing.

        Args:
            X: (n, features) as they were learned.
            y: (n,) their labels.

        Raises:
            NotFittedError: nothing has been learned yet.
            ValueError: more samples of a class than were learned, or such as cannot have been
                among them.
        """
        check_is_fitted(self)
        X, y = self._checked(X, y, first=False)
        self._known.forget(X, y)
        return self

    def merge(self, other: "ContinualLinearClassifier") -> "ContinualLinearClassifier":
        """Learn all that another has learned, as if its samples had come here; returns self.

        The other is not changed, and its options do not matter, but for `weighting`.

        Raises:
            NotFittedError: one of the two has learned nothing yet.
            TypeError: `other` is something else.
            ValueError: it knows other features, labels of another kind or another `weighting`.
        """
        if not isinstance(other, ContinualLinearClassifier):
            raise TypeError(
                f"other must be a ContinualLinearClassifier, got {type(other).__name__}"
            )
        for each in (self, other):
            check_is_fitted(each)
        names = [list(getattr(each, "feature_names_in_", [])) for each in (self, other)]
        if names[0] != names[1]:
            raise ValueError(
                f"the two were given features of different names: {names[0][:5]} and {names[1][:5]}"
            )
        self._show(self._known.merged(other._known))
        return self

    def predict(self, X: Any) -> Shaped[np.ndarray, " n"]:
        """The class of the largest score of each sample.

        Raises:
            NotFittedError: nothing has been learned yet.
            ValueError: samples of another width than those learned, NaN or infinity.
        """
        best = self._scores(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> Float64[np.ndarray, "n classes"]:
        """softmax(scores / `temperature_`), one column for each of `classes_`."""
        scores = torch.from_numpy(self._scores(X) / self.temperature_)
        return scores.softmax(dim=1).numpy()

    def decision_function(self, X: Any) -> Float64[np.ndarray, "n *classes"]:
        """The scores, one column for each of `classes_`; of two, the second's less the first's."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    @property
    def coef_(self) -> Float64[np.ndarray, "rows features"]:
        """The weights in the units of X; one row for two classes."""
        return self._shown()[:, :-1]

    @property
    def intercept_(self) -> Float64[np.ndarray, " rows"]:
        """The intercepts."""
        return self._shown()[:, -1]

    @property
    def ridge_(self) -> float:
        """The ridge that was used, on the scale of mean squares."""
        return self._solution().solved.ridge

    @property
    def condition_(self) -> float:
        """Condition number of the matrix that was solved with."""
        return self._solution().solved.condition

    @property
    def temperature_(self) -> float:
        """What scores are divided by in `predict_proba`."""
        return self._solution().temperature

    @property
    def statistics_(self) -> FeatureStatistics:
        """A copy of what was learned."""
        check_is_fitted(self)
        held = self._known.statistics
        return FeatureStatistics.from_state(held.state_dict(), held.device)

    def save(self, path: str | Path) -> None:
        """Write all that later calls depend on into one file of tensors and JSON (safetensors).

        The file is whole or as it was before.

        Raises:
            NotFittedError: nothing has been learned yet.
            OSError: the file could not be written.
        """
        check_is_fitted(self)
        shown = {"features": self.n_features_in_}
        if hasattr(self, "feature_names_in_"):
            shown["names"] = self.feature_names_in_.tolist()
        params = self.get_params(deep=False)
        write(Path(path), _FORMAT, params, {**shown, "known": self._known.state_dict()})

    @classmethod
    def load(cls, path: str | Path, **params: Any) -> "ContinualLinearClassifier":
        """Read what `save` wrote; `partial_fit` then goes on as if nothing had happened.

        Nothing is unpickled.

        Args:
            path: of the file.
            params: constructor arguments in place of the file's, such as ``device="cpu"``.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is truncated, damaged or none that `save` wrote.
        """
        known = list(cls().get_params(deep=False))
        arguments, state = read(Path(path), _FORMAT, cls.__name__, params, known)
        loaded = cls(**arguments)
        loaded._form()
        loaded.n_features_in_ = state["features"]
        if "names" in state:
            loaded.feature_names_in_ = np.array(state["names"], dtype=object)
        loaded._show(Known.restored(state["known"], Training(device=loaded.device).place()))
        return loaded

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _learn(self, X: Any, y: Any, classes: Any, first: bool) -> "ContinualLinearClassifier":
        before = dict(vars(self))
        try:
            form = self._form()
            X, y = self._checked(X, y, first)
            if classes is not None:
                classes = column_or_1d(classes)
            if first:
                balanced = form.weighting == "balanced"
                place = Training(device=self.device).place()
                statistics = FeatureStatistics(X.shape[1], per_class=balanced, device=place)
                known = Known(statistics, Labels())
            else:
                known = self._known
            known.learn(X, y, classes)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        self._show(known)
        return self

    def _checked(self, X: Any, y: Any, first: bool) -> tuple[Any, np.ndarray]:
        X, y = validate_data(self, X, y, reset=first, **_INPUTS)
        check_classification_targets(y)
        return X, y

    def _show(self, known: Known) -> None:
        self._known = known
        self.classes_ = known.labels.ascending

    def _form(self) -> ClosedForm:
        return ClosedForm.checked({f.name: getattr(self, f.name) for f in fields(ClosedForm)})

    def _solution(self) -> Solution:
        check_is_fitted(self)
        return self._known.solution(self._form())

    def _shown(self) -> Float64[np.ndarray, "rows inputs"]:
        check_is_fitted(self)
        rows = self._known.rows(self._form())
        return rows[1:] - rows[:1] if len(rows) == 2 else rows

    def _scores(self, X: Any) -> Float64[np.ndarray, "n classes"]:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, **_INPUTS)
        rows = self._known.rows(self._form())
        return X @ rows[:, :-1].T + rows[:, -1]
