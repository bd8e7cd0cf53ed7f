"""SemiNMF keeps scikit-learn's contract for estimators."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from scprograms.programs.engine import SemiNMF

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ESTIMATORS = [
    SemiNMF(n_components=1, random_state=0),
    SemiNMF(n_components=3, random_state=0),
    SemiNMF(n_components=2, init="svd", random_state=0),
    SemiNMF(n_components=2, init="kmeans", l1=0, random_state=0),
    SemiNMF(n_components=2, fit_intercept=True, random_state=0),
    SemiNMF(n_components=2, center="mean", scale=True, random_state=0),
    SemiNMF(n_components=2, solver="mu", random_state=0),
]

LAST_ITERATE = (
    "The multiplicative solver returns its last iterate, for parity with the published workflow, "
    "while transform() solves the usages to convergence: fit(X).transform(X) is not fit_transform(X)."
)


def expected_failures(estimator: SemiNMF) -> dict[str, str]:
    if estimator.solver != "mu":
        return {}
    return dict.fromkeys(("check_transformer_general", "check_transformer_data_not_an_array"), LAST_ITERATE)


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
