from sklearn.utils.estimator_checks import parametrize_with_checks

from holdfast.estimator import ContinualClassifier


@parametrize_with_checks([ContinualClassifier(epochs=10)])
def test_scikit_learn_protocol(estimator, check):
    check(estimator)
