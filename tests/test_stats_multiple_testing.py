"""Benjamini-Hochberg with missing tests."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from scprograms._core.multiple_testing import benjamini_hochberg


@pytest.mark.parametrize("n", [1, 2, 50])
def test_equals_statsmodels(n):
    p = np.random.default_rng(n).random(n) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], rtol=1e-14)


def test_missing_p_values_stay_out_of_the_family_57():
    p = np.array([0.01, np.nan, 0.2, 0.03, np.nan])
    q = benjamini_hochberg(p)
    np.testing.assert_array_equal(np.isnan(q), np.isnan(p))
    np.testing.assert_array_equal(q[~np.isnan(p)], benjamini_hochberg(p[~np.isnan(p)]))


def test_nothing_to_adjust():
    assert np.isnan(benjamini_hochberg(np.full(3, np.nan))).all()
    assert benjamini_hochberg(np.zeros(0)).shape == (0,)
    assert benjamini_hochberg(np.zeros((2, 0))).shape == (2, 0)
    assert benjamini_hochberg(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("with_nan", [False, True])
def test_rows_of_a_matrix_are_families(with_nan):
    p = np.random.default_rng(0).random((4, 30)) ** 2
    if with_nan:
        p[1, 3] = np.nan
    np.testing.assert_array_equal(benjamini_hochberg(p), [benjamini_hochberg(row) for row in p])


def test_not_a_p_value():
    with pytest.raises(ValueError, match="1 values outside 0 to 1"):
        benjamini_hochberg(np.array([0.5, 1.5]))
