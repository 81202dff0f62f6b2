from sklearn.utils.estimator_checks import parametrize_with_checks

from holdfast.estimator import ContinualClassifier, ContinualLinearClassifier

ESTIMATORS = [
    ContinualClassifier(epochs=10),
    ContinualLinearClassifier(),
    ContinualLinearClassifier("lda", weighting="balanced"),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_protocol(estimator, check):
    check(estimator)
