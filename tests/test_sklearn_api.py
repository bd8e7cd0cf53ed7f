"""SemiNMF keeps scikit-learn's contract for estimators."""

from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from scprograms.factorization import SemiNMF


@parametrize_with_checks([SemiNMF(n_components=1, random_state=0), SemiNMF(n_components=2, solver="mu", random_state=0)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)
