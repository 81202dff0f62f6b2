import copy
import math

import numpy as np
import pytest
import torch
from chunks import LastTwo, chunk, linear, quick, same, weights
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, train_test_split

import holdfast
from holdfast import ContinualClassifier, Split, Stream, Task, Training
from holdfast.methods import Joint, Replay
from holdfast.nets import mlp

METHODS = ("finetune", "joint", "replay", "derpp", "ewc", "lwf", "agem")


def in_pairs(model, X, y):
    for first in range(0, 10, 2):
        rows = (y == first) | (y == first + 1)
        model.partial_fit(X[rows], y[rows])
    return model


def test_digits_at_once_and_in_five_chunks():
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, train_size=600, stratify=y, random_state=0)
    model = ContinualClassifier(epochs=15, random_state=0)
    assert model.fit(X, y).score(X_test, y_test) > 0.92
    assert in_pairs(clone(model), X, y).score(X_test, y_test) > 0.88
    forgetful = in_pairs(clone(model).set_params(method="finetune"), X, y)
    assert forgetful.score(X_test, y_test) < 0.3


def test_classes_arrive_at_any_call_and_stay_sorted():
    model = quick(epochs=30, net="mlp").partial_fit(*chunk("m", "x"))
    assert model.classes_.tolist() == ["m", "x"]
    assert model.decision_function(chunk("m")[0]).shape == (20,)
    model.partial_fit(*chunk("a", "zebra"))
    assert model.classes_.tolist() == ["a", "m", "x", "zebra"]
    assert model.learner_.heads.known.tolist() == [0, 1, 2, 3]
    for label in ("m", "x", "a", "zebra"):
        X, y = chunk(label, seed=1)
        assert (model.predict(X) == y).all()
        best = model.predict_proba(X).argmax(axis=1)
        assert (model.classes_[best] == y).all()
        assert (model.decision_function(X).argmax(axis=1) == best).all()
    assert model.n_tasks_ == 2
    assert len(model.loss_curve_) == 60


def test_probabilities_are_the_softmax_of_the_logits():
    model = quick().partial_fit(*chunk(3, 1, 2))
    X, _ = chunk(1, 2, seed=2)
    logits = model.decision_function(X).astype(np.float64)
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), wanted, rtol=1e-5)
    two = quick().partial_fit(*chunk(3, 1))
    p = 1 / (1 + np.exp(-two.decision_function(X).astype(np.float64)))
    np.testing.assert_allclose(two.predict_proba(X)[:, 1], p, rtol=1e-4)


def test_a_single_class_is_a_chunk():
    model = quick().partial_fit(*chunk("only"))
    assert set(model.predict(chunk("only")[0])) == {"only"}
    assert set(model.partial_fit(*chunk("next")).classes_) == {"only", "next"}


@pytest.mark.parametrize("method", METHODS)
def test_classes_come_again_with_new_ones(method):
    model = quick(method=method).partial_fit(*chunk(0, 1)).partial_fit(*chunk(1, 2))
    model.partial_fit(*chunk(0, 1)).partial_fit(*chunk(3))
    assert model.classes_.tolist() == [0, 1, 2, 3]
    assert model.predict_proba(chunk(0)[0]).shape == (20, 4)


def test_named_classes_have_columns_before_samples_come():
    model = quick().partial_fit(*chunk(1, 2), classes=[0, 1, 2, 5])
    assert model.classes_.tolist() == [0, 1, 2, 5]
    assert model.partial_fit(*chunk(5)).classes_.tolist() == [0, 1, 2, 5]
    assert model.partial_fit(*chunk(4)).classes_.tolist() == [0, 1, 2, 4, 5]
    with pytest.raises(ValueError, match=r"y holds labels \[7\] .* leave classes out"):
        model.partial_fit(*chunk(1, 7), classes=[1, 2])


@pytest.mark.parametrize("start", ["calibrated", "carry_on"])
@pytest.mark.parametrize("method", METHODS)
def test_training_is_that_of_run(method, start):
    pairs = [chunk(0, 1), chunk(2, 3), chunk(4, 5)]
    model = quick(method=method, start=start, standardize=False, random_state=7)
    tasks = []
    for i, (X, y) in enumerate(pairs):
        model.partial_fit(X, y)
        split = Split(torch.from_numpy(X.astype(np.float32)), torch.from_numpy(y))
        tasks.append(Task(str(i), train=split, test=split))
    learner = holdfast.build_learner(mlp((3,), hidden=(8,), seed=7), stream := Stream(
        tasks, "class_incremental"
    ), seed=7)  # fmt: skip
    training = Training(epochs=2, batch_size=8, optimizer="adam", lr=2e-3)
    made = holdfast.config.make_part("method", method)
    began = holdfast.config.make_part("start", start)
    record = holdfast.run(stream, learner, made, training, start=began, seed=7)
    assert record.status == "complete"
    assert model.loss_curve_ == [entry["loss"] for entry in record.curve]
    for ours, theirs in zip(weights(model), learner.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_new_classes_begin_where_their_samples_say():
    X, y = load_digits(return_X_y=True)
    old, new = y < 5, y >= 5
    model = ContinualClassifier(epochs=5, random_state=0).partial_fit(X[old], y[old])
    assert model.growth_ is None
    growth = model.set_params(epochs=1).partial_fit(X[new], y[new]).growth_
    assert (growth["asked"], growth["start"]) == ("calibrated", "calibrated")
    assert growth["after"]["all"]["loss"] < 0.4 * growth["before"]["all"]["loss"]
    assert growth["after"]["new"]["accuracy"] > 0.5 > growth["before"]["new"]["accuracy"]
    assert growth["after"]["old"]["accuracy"] > 0.9
    assert model.partial_fit(X[new], y[new]).growth_["notes"] == ["the task brings no new class"]


@pytest.mark.parametrize("method", ["finetune", "ewc"])
def test_without_old_samples_the_start_says_what_it_did(method):
    model = quick(method=method).partial_fit(*chunk(0, 1)).partial_fit(*chunk(2, 3))
    assert model.growth_["start"] == "calibrated"  # statistics of the first chunk are fresh
    growth = model.partial_fit(*chunk(4)).growth_
    assert any("of 2 of 4 old classes no sample is" in note for note in growth["notes"])


def test_other_starts_have_nothing_to_tell():
    model = quick(start="carry_on").partial_fit(*chunk(0, 1)).partial_fit(*chunk(2, 3))
    assert model.growth_ is None


def test_the_seed_decides_everything_and_no_other_draw():
    state = torch.get_rng_state()
    options = {"net": {"name": "mlp", "hidden": [8], "dropout": 0.5}}
    a, b = (quick(**options).fit(*chunk(0, 1)).partial_fit(*chunk(2)) for _ in range(2))
    assert same(a, b)
    assert torch.equal(torch.get_rng_state(), state)
    c = quick(**options, random_state=1).fit(*chunk(0, 1)).partial_fit(*chunk(2))
    assert not same(a, c)
    draws = [quick(random_state=np.random.RandomState(0)).fit(*chunk(0, 1)) for _ in range(2)]
    assert same(*draws)


def test_inputs_keep_the_scaling_of_the_first_chunk():
    X, y = chunk(0, 1)
    model = quick().partial_fit(X, y).partial_fit(X * 3 + 5, y + 2)
    np.testing.assert_allclose(model._learned.scaling.mean, X.mean(axis=0), rtol=1e-12)
    model.fit(X * 3 + 5, y)
    np.testing.assert_allclose(model._learned.scaling.mean, X.mean(axis=0) * 3 + 5, rtol=1e-12)


def test_fit_forgets():
    once = quick().fit(*chunk("a", "b"))
    again = quick().fit(np.ones((4, 7)), [0, 1, 0, 1]).fit(*chunk("a", "b"))
    assert same(once, again)
    assert again.classes_.tolist() == ["a", "b"]
    assert again.n_features_in_ == 3


def test_a_call_that_fails_changes_nothing():
    model = quick(optimizer="sgd", lr=0.1).fit(*chunk(0, 1))
    before, shown = copy.deepcopy(weights(model)), dict(vars(model))
    X, y = chunk(2, 3)
    model.lr = 1e30
    with pytest.raises(ValueError, match=r"training diverged at step \d+ .* lower lr"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match="diverged"):
        model.fit(X[:, :2], y)
    model.lr = 0.1
    assert vars(model) == shown
    assert all(torch.equal(a, b) for a, b in zip(weights(model), before, strict=True))
    other = quick(optimizer="sgd", lr=0.1).fit(*chunk(0, 1)).partial_fit(X, y)
    assert same(model.partial_fit(X, y), other)


def test_parts_given_as_objects_are_copied():
    method, net = Replay(memory=5), linear((3,))
    start = [p.clone() for p in net.parameters()]
    model = quick(method=method, net=net).partial_fit(*chunk(0, 1)).partial_fit(*chunk(2))
    twin = clone(model).fit(*chunk(0, 1)).partial_fit(*chunk(2))
    assert same(model, twin)
    assert len(method._memory) == 0
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), start, strict=True))
    assert model.get_params()["method"] is method


def test_options_of_parts_can_be_searched():
    X, y = chunk(0, 1, 2, rows=30)
    grid = {"method": ["finetune", {"name": "replay", "memory": 4}], "epochs": np.array([1, 2])}
    search = GridSearchCV(quick(), grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_estimator_.score(X, y) >= 0


def test_images_pass_through_image_nets():
    rng = np.random.default_rng(0)
    y = np.arange(12) % 3
    X = (rng.integers(0, 50, size=(12, 3, 32, 32)) + 80 * y[:, None, None, None]).astype(np.uint8)
    model = quick(net="cnn").partial_fit(X[y < 2], y[y < 2]).partial_fit(X[y == 2], y[y == 2])
    assert model.predict(X).shape == (12,)
    assert model.n_features_in_ == 3
    with pytest.raises(ValueError, match=r"shape \(3, 16, 16\), those learned .* \(3, 32, 32\)"):
        model.predict(X[:, :, :16, :16])
    with pytest.raises(ValueError, match=r"input_shape must be .* for cnn"):
        quick(net="cnn").fit(X[:, 0, 0], y)


def test_only_what_the_method_asks_for_is_kept():
    pairs = [chunk(0, 1), chunk(2, 3), chunk(4, 5)]
    kept = {}
    for method in ("finetune", Joint(), LastTwo()):
        model = quick(method=method)
        for pair in pairs:
            model.partial_fit(*pair)
        tasks = model._learned.progress.stream.tasks
        kept[type(method).__name__] = [i for i, t in enumerate(tasks) if "train" in vars(t)]
        assert [t.classes for t in tasks] == [(0, 1), (2, 3), (4, 5)]
    assert kept == {"str": [], "Joint": [0, 1, 2], "LastTwo": [2]}


def test_predictions_leave_no_trace():
    model = quick(net={"name": "mlp", "hidden": [8], "norm": "batch", "dropout": 0.5})
    model.fit(*chunk(0, 1))
    before = copy.deepcopy(weights(model))
    X, _ = chunk(0, 1, seed=3)
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))
    np.testing.assert_allclose(model.predict_proba(X)[:3], model.predict_proba(X[:3]), rtol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(weights(model), before, strict=True))
    assert all(p.grad is None for p in model.learner_.parameters())


X, Y = chunk(0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "repaly"}, "method 'repaly' is unknown .*did you mean 'replay'"),
        ({"method": {"name": "replay", "memroy": 3}}, "no key 'memroy' .*did you mean 'memory'"),
        ({"method": {"name": "replay", "memory": 0}}, "memory must be a positive integer, got 0"),
        ({"method": "single_task"}, "SingleTask .* class_incremental"),
        ({"net": "mpl"}, "net 'mpl' is unknown .*did you mean 'mlp'"),
        ({"start": "afresh"}, "start 'afresh' is unknown .*did you mean 'fresh'"),
        ({"epochs": 0}, "epochs must be a positive integer; got 0"),
        ({"lr": -1.0}, "lr must be a positive number; got -1.0"),
        ({"lr": math.nan}, "lr must be a positive number; got nan"),
        ({"schedule": "step"}, "schedule must be one of constant, cosine, one_cycle; got 'step'"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not there"),
        ({"random_state": -1}, "seed must be a non-negative integer, got -1"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        quick(**options).fit(X, Y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": 3}, "method must be a name, a mapping .* or a Method; got 3"),
        ({"net": "holdfast.methods:Joint"}, "net 'holdfast.methods:Joint' makes a Joint"),
        ({"start": Joint()}, "start must be a name, a mapping .* or a Start"),
        ({"epochs": 2.5}, "epochs"),
        ({"lr": "high"}, "lr"),
        ({"optimizer": "lion"}, "optimizer"),
    ],
)
def test_options_of_the_wrong_type(options, message):
    with pytest.raises(TypeError, match=message):
        quick(**options).fit(X, Y)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.where(X.max() - 1e-9 < X, np.nan, X), Y, "NaN"),
        (X[:, :2], Y, "X has 2 features, but ContinualClassifier is expecting 3 features"),
        (X[:0], Y[:0], r"0 sample\(s\)"),
        (X[:3], Y, "inconsistent numbers of samples"),
        (X, Y.astype(str), "y holds strings .* the labels known are numbers"),
        (X, Y == 1, "y holds booleans .* the labels known are numbers"),
        (X, Y + 0.5, "Unknown label type"),
    ],
    ids=str,
)
def test_chunks_that_do_not_fit(x, y, message):
    model = quick().fit(X, Y)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(x, y)


def test_numbers_beyond_float32():
    with pytest.raises(ValueError, match="too large for float32"):
        quick(standardize=False).fit(X * 1e300, Y)
    with pytest.raises(ValueError, match="too large to be standardised"):
        quick().fit(X * 1e300, Y)


@pytest.mark.parametrize("call", ["predict", "predict_proba", "decision_function", "score", "save"])
def test_nothing_before_fit(call):
    arguments = {"score": (X, Y), "save": ("nowhere",)}.get(call, (X,))
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(quick(), call)(*arguments)
