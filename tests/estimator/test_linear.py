import copy
import pickle

import numpy as np
import pytest
import torch
from chunks import chunk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from holdfast import ContinualLinearClassifier
from holdfast.estimator.closed_form import ClosedForm

X, Y = load_iris(return_X_y=True)
UNEVEN = np.r_[0:50, 50:80, 100:115]
HEADS = ("least_squares", "lda")


def agree(a, b, rtol=1e-10):
    assert a.classes_.tolist() == b.classes_.tolist()
    for name in ("coef_", "intercept_"):
        ours, theirs = np.atleast_2d(getattr(a, name)), np.atleast_2d(getattr(b, name))
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())


def test_two_classes_are_those_of_ridge_classifier():
    x, y = X[:100], Y[:100]
    model = ContinualLinearClassifier(ridge=0.03, standardize=False).fit(x, y)
    theirs = RidgeClassifier(alpha=3.0).fit(x, y)
    agree(model, theirs)
    np.testing.assert_allclose(model.decision_function(x), theirs.decision_function(x), atol=1e-10)
    assert model.coef_.shape == (1, 4)


def test_standardised_rows_are_those_of_a_pipeline():
    x, y = X[UNEVEN], Y[UNEVEN]
    model = ContinualLinearClassifier(ridge=0.1).fit(x, y)
    theirs = make_pipeline(StandardScaler(), RidgeClassifier(alpha=0.1 * len(x))).fit(x, y)
    # Their targets are -1 and 1.
    scores = 2 * model.decision_function(x) - 1
    np.testing.assert_allclose(scores, theirs.decision_function(x), atol=1e-10)
    assert (model.predict(x) == theirs.predict(x)).all()


def test_balanced_weights_are_those_of_weighted_ridge():
    x, y = X[UNEVEN], Y[UNEVEN]
    model = ContinualLinearClassifier(ridge=0.1, weighting="balanced", standardize=False).fit(x, y)
    weights = 1 / (3 * np.bincount(y)[y])
    theirs = Ridge(alpha=0.1).fit(x, np.eye(3)[y], sample_weight=weights)
    agree(model, type("Theirs", (), {**vars(theirs), "classes_": model.classes_}))


@pytest.mark.parametrize(("weighting", "priors"), [("frequency", None), ("balanced", [1 / 3] * 3)])
@pytest.mark.parametrize("standardize", [True, False])
def test_gaussian_classes_are_those_of_discriminant_analysis(weighting, priors, standardize):
    x, y = X[UNEVEN], Y[UNEVEN]
    model = ContinualLinearClassifier(
        "lda", ridge=0.0, weighting=weighting, standardize=standardize
    ).fit(x, y)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", priors=priors).fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x), theirs.predict_proba(x), atol=1e-8)
    assert model.temperature_ == 1.0


def test_the_ridge_of_least_generalised_error_is_found():
    x, y = load_digits(return_X_y=True)
    x, y = StandardScaler().fit_transform(x[:100]), np.eye(10)[y[:100]]
    model = ContinualLinearClassifier().fit(x, y.argmax(axis=1))

    def error(ridge):
        hat = x @ np.linalg.solve(x.T @ x + 100 * ridge * np.eye(64), x.T) + 1 / 100
        return np.square(y - hat @ y).sum() / (1 - np.trace(hat) / 100) ** 2

    found = error(model.ridge_)
    assert all(found <= error(model.ridge_ * f) for f in (0.1, 0.5, 0.9, 1.1, 2.0, 10.0))


@settings(max_examples=20, deadline=None)
@given(
    st.permutations(range(20)),
    st.lists(st.integers(1, 19), max_size=6),
    st.sampled_from(HEADS),
    st.sampled_from(["frequency", "balanced"]),
)
def test_neither_order_nor_chunks_matter(order, cuts, head, weighting):
    x, y = X[::7][:20], np.array(["c", "a", "b"])[Y[::7][:20]]
    options = {"head": head, "weighting": weighting}
    whole = ContinualLinearClassifier(**options).fit(x, y)
    model = ContinualLinearClassifier(**options)
    for rows in np.split(np.array(order), sorted(set(cuts))):
        model.partial_fit(x[rows], y[rows])
    agree(model, whole)
    np.testing.assert_allclose(model.predict_proba(x), whole.predict_proba(x), rtol=1e-8)


@pytest.mark.parametrize("head", HEADS)
def test_samples_may_come_one_by_one(head):
    model, order = ContinualLinearClassifier(head), np.random.default_rng(0).permutation(150)
    for seen, i in enumerate(order):
        model.partial_fit(X[[i]], Y[[i]])
        if seen in (0, 1, 2, 5):
            assert np.isfinite(model.predict_proba(X)).all()
            assert model.predict(X[[i]]) == Y[i] or seen > 0
    agree(model, ContinualLinearClassifier(head).fit(X, Y))


@pytest.mark.parametrize("weighting", ["frequency", "balanced"])
def test_workers_are_merged_by_addition(weighting):
    y = np.array(["setosa", "versicolor", "virginica"])[Y]
    parts = [Y == 2, (Y < 2) & (np.arange(150) % 2 == 0), (Y < 2) & (np.arange(150) % 2 == 1)]
    make = ContinualLinearClassifier(weighting=weighting)
    first, *others = (clone(make).fit(X[rows], y[rows]) for rows in parts)
    before = copy.deepcopy(others[0].coef_)
    for other in others:
        assert first.merge(other) is first
    agree(first, clone(make).fit(X, y))
    assert (others[0].coef_ == before).all()
    agree(first.partial_fit(X[:9], ["new"] * 9), clone(make).fit([*X, *X[:9]], [*y, *["new"] * 9]))


@pytest.mark.parametrize("weighting", ["frequency", "balanced"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_what_is_forgotten_was_never_there(weighting, form):
    model = ContinualLinearClassifier(weighting=weighting).fit(form(X), Y)
    rows = np.arange(150) % 3 == 0
    agree(model.forget(form(X[rows]), Y[rows]), clone(model).fit(X[~rows], Y[~rows]))


@pytest.mark.parametrize("head", HEADS)
def test_a_label_keeps_its_column_without_samples(head):
    model = ContinualLinearClassifier(head).fit(X, Y).forget(X[Y == 1], Y[Y == 1])
    named = ContinualLinearClassifier(head).partial_fit(X[Y != 1], Y[Y != 1], classes=[0, 1, 2])
    for each in (model, named):
        assert each.classes_.tolist() == [0, 1, 2]
        assert set(each.predict(X)) == {0, 2}
        assert each.predict_proba(X)[:, 1].max() < 0.1
        agree(each.partial_fit(X[Y == 1], Y[Y == 1]), ContinualLinearClassifier(head).fit(X, Y))


def test_units_of_features_do_not_matter():
    units = np.array([1e-3, 1.0, 40.0, 1e6])
    model = ContinualLinearClassifier().fit(X * units + 3 * units, Y)
    plain = ContinualLinearClassifier().fit(X, Y)
    np.testing.assert_allclose(model.coef_ * units, plain.coef_, rtol=1e-8)
    np.testing.assert_allclose(
        model.predict_proba(X * units + 3 * units), plain.predict_proba(X), rtol=1e-7
    )


@pytest.mark.parametrize("head", HEADS)
def test_features_that_do_not_vary_count_for_nothing(head):
    wide = np.c_[np.full(150, 0.1), X, np.zeros(150)]
    model = ContinualLinearClassifier(head).fit(wide, Y)
    assert (model.coef_[:, [0, 5]] == 0).all()
    plain = ContinualLinearClassifier(head).fit(X, Y)
    np.testing.assert_allclose(model.decision_function(wide), plain.decision_function(X), rtol=1e-7)
    same = ContinualLinearClassifier(head).fit(np.ones((6, 2)), [0, 1, 1, 1, 2, 2])
    assert (same.coef_ == 0).all()
    assert set(same.predict(X[:, :2])) == {1}


def test_probabilities_fit_samples_to_come():
    x, x_test, y, y_test = train_test_split(
        *load_digits(return_X_y=True), train_size=300, random_state=0
    )
    model = ContinualLinearClassifier().fit(x, y)
    auto = log_loss(y_test, model.predict_proba(x_test))
    losses = [
        log_loss(y_test, model.set_params(temperature=t).predict_proba(x_test))
        for t in np.geomspace(0.01, 1, 41)
    ]
    assert auto < 1.4 * min(losses)
    assert losses[-1] > 5 * auto


def test_it_solves_when_asked_and_once(monkeypatch):
    calls, solve = [], ClosedForm.solve
    monkeypatch.setattr(ClosedForm, "solve", lambda *a: calls.append(a[0].ridge) or solve(*a))
    model = ContinualLinearClassifier().partial_fit(X[:90], Y[:90]).partial_fit(X[90:], Y[90:])
    assert calls == []
    _ = model.predict(X), model.predict_proba(X), model.coef_, model.condition_
    assert calls == ["gcv"]
    model.set_params(ridge=0.5).predict(X)
    assert calls == ["gcv", 0.5]
    agree(model, ContinualLinearClassifier(ridge=0.5).fit(X, Y))


def test_the_ridge_and_the_condition_are_told():
    model = ContinualLinearClassifier(ridge=0.0, standardize=False)
    model.fit(np.c_[X, X[:, 0]], Y)
    assert 0 < model.ridge_ < 1e-8
    assert model.condition_ > 1e8
    assert model.set_params(ridge=0.25).ridge_ == 0.25


def test_statistics_are_a_copy_of_what_was_learned():
    model = ContinualLinearClassifier().fit(X, Y)
    statistics = model.statistics_
    assert statistics.total == 150
    statistics.update(torch.zeros(1, 4), torch.tensor([7]))
    assert model.statistics_.total == 150


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.coo_matrix, sparse.csc_array])
def test_sparse_samples_are_samples(form):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9000, 5)) * (rng.random((9000, 5)) < 0.3), rng.integers(3, size=9000)
    model = ContinualLinearClassifier().fit(form(x), y)
    agree(model, ContinualLinearClassifier().fit(x, y))
    np.testing.assert_allclose(
        model.decision_function(form(x)), model.decision_function(x), atol=1e-12
    )


def test_single_precision_is_summed_in_double():
    x = X.astype(np.float32)
    agree(
        ContinualLinearClassifier().fit(x, Y),
        ContinualLinearClassifier().fit(x.astype(np.float64), Y),
    )
    x.setflags(write=False)
    ContinualLinearClassifier().fit(x[::-1], Y)


def test_scikit_learn_takes_it_as_its_own():
    model = ContinualLinearClassifier(head="lda", ridge=0.1).fit(X, Y)
    agree(pickle.loads(pickle.dumps(model)), model, rtol=0)
    assert not hasattr(clone(model), "classes_")
    assert not hasattr(clone(model), "coef_")
    grid = {"ridge": [np.float64(0.1), "gcv"], "head": HEADS, "standardize": np.array([True])}
    search = GridSearchCV(ContinualLinearClassifier(), grid, cv=2, error_score="raise").fit(X, Y)
    assert search.best_score_ > 0.9
    assert make_pipeline(StandardScaler(), ContinualLinearClassifier()).fit(X, Y).score(X, Y) > 0.8


@pytest.mark.parametrize("weighting", ["frequency", "balanced"])
def test_going_on_after_load_is_going_on(weighting, tmp_path):
    import pandas as pd

    x, y = chunk("cat", "dog")
    frame = pd.DataFrame(x, columns=["x", "y", "z"])
    model = ContinualLinearClassifier(weighting=weighting).fit(frame, y)
    model.save(tmp_path / "model")
    loaded = ContinualLinearClassifier.load(tmp_path / "model")
    agree(loaded, model, rtol=0)
    assert loaded.get_params() == model.get_params()
    assert loaded.feature_names_in_.tolist() == ["x", "y", "z"]
    for each in (model, loaded):
        each.partial_fit(frame, np.array(["ant"] * 20))
    agree(loaded, model, rtol=0)
    assert ContinualLinearClassifier.load(tmp_path / "model", ridge=0.5).ridge_ == 0.5


def test_files_of_others_are_refused(tmp_path):
    from chunks import quick

    quick().fit(*chunk(0, 1)).save(tmp_path / "network")
    with pytest.raises(ValueError, match="holds no ContinualLinearClassifier of this version"):
        ContinualLinearClassifier.load(tmp_path / "network")
    ContinualLinearClassifier().fit(X, Y).save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"no key 'rigde' .*did you mean 'ridge'"):
        ContinualLinearClassifier.load(tmp_path / "model", rigde=1.0)
    whole = (tmp_path / "model").read_bytes()
    (tmp_path / "model").write_bytes(whole[:-5])
    with pytest.raises(ValueError, match="truncated or no checkpoint"):
        ContinualLinearClassifier.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"head": "svm"}, ValueError, "head must be one of least_squares, lda; got 'svm'"),
        ({"ridge": -1.0}, ValueError, "ridge must be a number of at least 0, got -1.0"),
        ({"ridge": "loo"}, ValueError, "ridge must be a number or 'gcv', got 'loo'"),
        ({"ridge": None}, TypeError, "ridge|value"),
        ({"weighting": "equal"}, ValueError, "weighting must be one of frequency, balanced"),
        ({"temperature": 0.0}, ValueError, "temperature must be a number above 0, got 0.0"),
        ({"temperature": "fit"}, ValueError, "temperature must be a number or 'auto', got 'fit'"),
        ({"standardize": "yes"}, TypeError, "standardize must be true or false, got 'yes'"),
        ({"device": "abacus"}, ValueError, "device 'abacus' is not there"),
    ],
)
def test_options_that_are_none(options, error, message):
    model = ContinualLinearClassifier(**options)
    with pytest.raises(error, match=message):
        model.fit(X, Y)
    assert not hasattr(model, "n_features_in_")


@pytest.mark.parametrize("call", ["partial_fit", "forget"])
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.where(X > 7, np.nan, X), Y, "NaN"),
        (X[:, :2], Y, "X has 2 features, but ContinualLinearClassifier is expecting 4"),
        (X[:3], Y, "inconsistent numbers of samples"),
        (X, Y.astype(str), "y holds (strings|labels .* never learned)"),
        (X, Y + 0.5, "Unknown label type"),
        (X * 1e160, Y, "must be finite and within 1e.150"),
        (sparse.csr_array(X * 1e160), Y, "X holds numbers beyond 1e.150"),
    ],
    ids=str,
)
def test_a_call_that_fails_changes_nothing(call, x, y, message):
    model = ContinualLinearClassifier().fit(X, Y)
    before, rows = dict(vars(model)), model.coef_
    with pytest.raises(ValueError, match=message):
        getattr(model, call)(x, y)
    assert vars(model) == before
    assert (model.coef_ == rows).all()
    with pytest.raises(ValueError, match=r"y holds labels \[7\] .* leave classes out"):
        model.partial_fit(X[:2], [1, 7], classes=[1, 2])
    assert model.classes_.tolist() == [0, 1, 2]


def test_what_cannot_be_forgotten():
    model = ContinualLinearClassifier().fit(X[:60], Y[:60])
    with pytest.raises(ValueError, match=r"labels \[2\] that were never learned; known are \[0, 1"):
        model.forget(X[-1:], Y[-1:])
    with pytest.raises(ValueError, match=r"cannot remove 50 samples of class 1: .* hold 10"):
        model.forget(X[50:100], Y[50:100])
    with pytest.raises(ValueError, match="cannot have been among those taken in"):
        model.forget(X[:1] + 100, Y[:1])
    model.forget(X[:60], Y[:60])
    with pytest.raises(ValueError, match="hold no samples yet"):
        model.predict(X)


def test_what_cannot_be_merged():
    model = ContinualLinearClassifier().fit(X, Y)
    with pytest.raises(TypeError, match="other must be a ContinualLinearClassifier, got dict"):
        model.merge({})
    with pytest.raises(NotFittedError):
        model.merge(ContinualLinearClassifier())
    with pytest.raises(ValueError, match=r"of \[2, 4\] features cannot be added"):
        model.merge(ContinualLinearClassifier().fit(X[:, :2], Y))
    with pytest.raises(ValueError, match="labels known are numbers"):
        model.merge(ContinualLinearClassifier().fit(X, Y.astype(str)))
    with pytest.raises(ValueError, match="the same per_class"):
        model.merge(ContinualLinearClassifier(weighting="balanced").fit(X, Y))
    with pytest.raises(ValueError, match="make the statistics with per_class=True"):
        ContinualLinearClassifier().fit(X[:80], Y[:80]).set_params(weighting="balanced").predict(X)


@pytest.mark.parametrize("call", ["predict", "predict_proba", "decision_function", "score", "save"])
def test_nothing_before_fit(call):
    arguments = {"score": (X, Y), "save": ("nowhere",)}.get(call, (X,))
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(ContinualLinearClassifier(), call)(*arguments)
