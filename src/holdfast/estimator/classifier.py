"""Continual learning by scikit-learn's protocol."""

from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import nn

from holdfast.estimator.constructor import stores_anything
from holdfast.estimator.learned import Learned
from holdfast.estimator.parts import part
from holdfast.estimator.progress import Parts
from holdfast.estimator.saving import read, write
from holdfast.methods.method import Method
from holdfast.starts.start import Start
from holdfast.training.options import OptimizerName, Training

Schedule = Literal["constant", "cosine", "one_cycle"]

_FORMAT = "holdfast-classifier-2"
_TRAINING = (
    *("epochs", "batch_size", "optimizer", "lr", "momentum", "weight_decay", "schedule"),
    *("clip", "device"),
)


class ContinualClassifier(ClassifierMixin, BaseEstimator):
    """A neural network whose `partial_fit` takes classes it has never seen.

    Each call of `partial_fit` brings a chunk of data as the next task of a class-incremental
    stream: its new classes get rows in a growing head, the start prepares the weights, and the
    network trains on the chunk for `epochs` while the method protects what it knew. Classes may
    come again in later chunks. Of a chunk only what the method remembers is kept. `fit` forgets
    everything and learns its data as the first task.

    Args:
        method: what protects earlier classes: a name (``replay``, ``derpp``, ``ewc``, ``lwf``,
            ``agem``, ``joint``, ``finetune``) or import path; a mapping of that ``name`` and
            options such as ``{"name": "replay", "memory": 1000}``; or a `Method`, of which a copy
            is used.
        net: the backbone in the same forms (``mlp``, ``cnn``, ``resnet18`` ...), or a module
            (n, ...) -> (n, width), of which a copy is trained from the weights it has.
        start: where training on a chunk begins, in the same forms: ``calibrated`` sets the rows of
            new classes by least squares in the scale of the old ones, see `LeastSquaresHead`;
            ``carry_on`` leaves them random, ``fresh`` begins anew.
        epochs: passes over each chunk.
        batch_size: samples a step.
        optimizer: ``adam``, ``adamw`` or ``sgd``, begun anew with each chunk.
        lr: learning rate.
        momentum: of ``sgd``.
        weight_decay: added to the gradient, or decoupled for ``adamw``.
        schedule: of the learning rate within a chunk: ``constant``, ``cosine`` or ``one_cycle``,
            see `Training`.
        clip: largest norm of the gradient.
        standardize: subtract the mean and divide by the standard deviation of each feature, or of
            each channel of images (n, channels, ...), and hold the result to +-5. Mean and
            deviation are those of the first chunk and never change: the network's weights rest on
            what its inputs mean.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` ...
        random_state: an integer makes all results repeatable, on the CPU bit for bit. A net that
            draws nothing as it runs (dropout does) comes to the weights that `holdfast.run` gives
            it with that seed. Drawn from when learning starts.

    Options of the training that are changed between two calls of `partial_fit` hold from the next
    one on, the other arguments from the next `fit`. Sample weights are not supported.

    Attributes:
        classes_: the labels known so far, ascending; the columns of `predict_proba` follow them.
        n_features_in_: number of features, or of channels of images.
        feature_names_in_: names of the features, where the first X had them.
        n_tasks_: chunks learned.
        loss_curve_: mean training loss of each epoch, over all chunks.
        growth_: what the start did before the last chunk, with loss and accuracy on old and new
            classes before and after, and in ``notes`` what it did otherwise than asked; `None`
            where it had nothing to do. See `LeastSquaresHead`.
        learner_: the `Learner`.

    >>> from sklearn.datasets import load_wine
    >>> X, y = load_wine(return_X_y=True)
    >>> model = ContinualClassifier(random_state=0)
    >>> model.partial_fit(X[y < 2], y[y < 2]).classes_
    array([0, 1])
    >>> model.partial_fit(X[y == 2], y[y == 2]).classes_
    array([0, 1, 2])
    >>> model.score(X, y) > 0.9
    True
    """

    @stores_anything
    def __init__(
        self,
        method: str | Mapping[str, Any] | Method = "replay",
        net: str | Mapping[str, Any] | nn.Module = "mlp",
        start: str | Mapping[str, Any] | Start = "calibrated",
        *,
        epochs: int = 30,
        batch_size: int = 32,
        optimizer: OptimizerName = "adam",
        lr: float = 2e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        schedule: Schedule = "constant",
        clip: float | None = None,
        standardize: bool = True,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.method = method
        self.net = net
        self.start = start
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.clip = clip
        self.standardize = standardize
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "ContinualClassifier":
        """Forget everything and learn a first chunk. A call that fails changes nothing.

        Args:
            X: (n, features) vectors, or (n, ...) samples of any shape the net takes.
            y: (n,) labels: numbers, booleans or strings.

        Raises:
            ValueError, TypeError: an option or the data is not as it must be, before training; or
                training diverged.
        """
        return self._learn(X, y, None, first=True)

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> "ContinualClassifier":
        """Learn one more chunk, as the next task. A call that fails changes nothing.

        Args:
            X: as in `fit`, samples of the same shape in each call.
            y: (n,) labels of the same kind in each call, known or new.
            classes: not needed. Labels given here have a column from now on, whether or not
                samples of them have come.

        Raises:
            ValueError, TypeError: as `fit`; or `y` holds labels that are not among `classes`,
                where these are given.
        """
        return self._learn(X, y, classes, first=not hasattr(self, "_learned"))

    def predict(self, X: Any) -> Shaped[np.ndarray, " n"]:
        """The most probable class of each sample among those known.

        Raises:
            NotFittedError: nothing has been learned yet.
            ValueError: samples of another shape than those learned from, NaN or infinity.
        """
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Float32[np.ndarray, "n classes"]:
        """The softmax of the logits, one column for each of `classes_`; raises as `predict`."""
        # In float64: rounding must not reorder what decision_function tells apart.
        logits = torch.from_numpy(self._logits(X))
        return logits.double().softmax(dim=1).float().numpy()

    def decision_function(self, X: Any) -> Float32[np.ndarray, "n *classes"]:
        """The logits, one column for each of `classes_`; raises as `predict`.

        As long as two classes are known, the second's logit less the first's, (n,).
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def save(self, path: str | Path) -> None:
        """Write all that later calls depend on into one file of tensors and JSON (safetensors).

        The file is whole or as it was before. A net, method or start given as an object is not
        written, but what it has learned is; see `load`.

        Raises:
            NotFittedError: nothing has been learned yet.
            OSError: the file could not be written.
        """
        check_is_fitted(self)
        shown = {"features": self.n_features_in_}
        if hasattr(self, "feature_names_in_"):
            shown["names"] = self.feature_names_in_.tolist()
        params = self.get_params(deep=False)
        write(Path(path), _FORMAT, params, {**shown, **self._learned.state_dict()})

    @classmethod
    def load(cls, path: str | Path, **params: Any) -> "ContinualClassifier":
        """Read what `save` wrote; `partial_fit` then goes on as if nothing had happened.

        Nothing is unpickled, and nothing imported that the file names and Holdfast does not know.

        Args:
            path: of the file.
            params: constructor arguments in place of the file's, such as ``device="cpu"``. A net,
                method or start that was given as an object or an import path is given again.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is truncated, damaged or none that `save` wrote; it does not fit
                `params`; or these lack an argument.
        """
        known = list(cls().get_params(deep=False))
        arguments, state = read(Path(path), _FORMAT, cls.__name__, params, known)
        loaded = cls(**arguments)
        try:
            loaded.n_features_in_ = state["features"]
            if "names" in state:
                loaded.feature_names_in_ = np.array(state["names"], dtype=object)
            loaded._show(Learned.restored(state, loaded._parts, loaded._training().place()))
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged or does not fit the arguments given: {error}"
            ) from error
        return loaded

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _learn(self, X: Any, y: Any, classes: Any, first: bool) -> "ContinualClassifier":
        before = dict(vars(self))
        try:
            training = self._training()
            X, y = validate_data(self, X, y, reset=first, allow_nd=True)
            check_classification_targets(y)
            if classes is not None:
                classes = column_or_1d(classes)
            learned = self._nothing(X) if first else self._learned
            self._show(learned.after(X, y, classes, training))
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    def _nothing(self, X: np.ndarray) -> Learned:
        seed: Any = self.random_state
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        return Learned.nothing(X, self.standardize, self._parts, int(seed))

    def _parts(self, input_shape: tuple[int, ...], seed: int) -> Parts:
        return Parts(
            part("net", self.net, nn.Module, input_shape=input_shape, seed=seed),
            part("method", self.method, Method),
            part("start", self.start, Start),
        )

    def _training(self) -> Training:
        if self.schedule not in get_args(Schedule):
            raise ValueError(
                f"schedule must be one of {', '.join(get_args(Schedule))}; got {self.schedule!r}"
            )
        options = {name: getattr(self, name) for name in _TRAINING}
        return Training(
            **{k: v.item() if isinstance(v, np.generic) else v for k, v in options.items()}
        )

    def _show(self, learned: Learned) -> None:
        self._learned = learned
        self.classes_ = learned.labels.ascending
        self.learner_ = learned.progress.learner
        self.n_tasks_ = len(learned.progress.stream)
        self.loss_curve_ = list(learned.losses)
        self.growth_ = learned.growth

    def _logits(self, X: Any) -> Float32[np.ndarray, "n classes"]:
        check_is_fitted(self)
        return self._learned.logits(validate_data(self, X, reset=False, allow_nd=True))
