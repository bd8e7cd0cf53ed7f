"""Properties that hold for every input, tried on many: pairs, formats of a matrix, ties, and writing into AnnData."""

from __future__ import annotations

from itertools import permutations

import anndata as ad
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from planted import planted
from scprograms._anndata.transaction import write
from scprograms._core.matching import best_pairs
from scprograms._core.progress import is_look
from scprograms.programs.engine import NMF, OrthogonalNMF, SemiNMF
from scprograms.programs.engine._base import order_of_programs

similarities = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    # As rounding leaves them: ties differ in the last bits.
    elements=st.integers(-4, 4).flatmap(lambda tenths: st.floats(tenths / 4 - 1e-13, tenths / 4 + 1e-13)),
)


@given(similarities)
def test_best_pairs_have_the_largest_sum_and_are_in_order(similarity):
    rows, columns = best_pairs(similarity)
    wide = similarity if similarity.shape[0] <= similarity.shape[1] else similarity.T
    best = max(
        sum(wide[i, j] for i, j in enumerate(chosen)) for chosen in permutations(range(wide.shape[1]), len(wide))
    )
    found = similarity[rows, columns]
    assert len(set(rows)) == len(set(columns)) == len(rows) == min(similarity.shape)
    assert found.sum() == pytest.approx(best, abs=1e-6)
    assert (np.diff(found) <= 1e-9).all()


@given(similarities, st.integers(0, 2**32 - 1))
def test_last_bits_do_not_decide_on_pairs(similarity, seed):
    noise = np.random.default_rng(seed).uniform(-1e-13, 1e-13, similarity.shape)
    for a, b in zip(best_pairs(similarity), best_pairs(similarity + noise), strict=True):
        np.testing.assert_array_equal(a, b)


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_last_bits_do_not_decide_on_the_order_of_programs(k, seed):
    rng = np.random.default_rng(seed)
    variance, H = rng.choice([1.0, 2.0, 3.0], k), rng.standard_normal((k, 30))
    order = order_of_programs(variance, H)
    noise = 1 + rng.uniform(-1e-7, 1e-7, k)
    assert sorted(order) == list(range(k))
    assert (np.diff(variance[order]) <= 0).all()
    np.testing.assert_array_equal(order_of_programs(variance * noise, H * noise[:, None]), order)


@given(st.integers(1, 10**6))
def test_looks_are_never_far_apart(n):
    following = next(m for m in range(n, 2 * n + 1) if is_look(m))
    assert following <= 2 * n


@given(st.sampled_from([SemiNMF, NMF, OrthogonalNMF]), st.integers(0, 10**6), st.integers(2, 6))
def test_formats_agree(method, seed, k):
    X = planted(120, 50, k, noise=0.3, seed=seed)[0].astype(np.float32)
    model = method(k, random_state=0)
    W = model.fit_transform(X)
    for held in (sparse.csr_matrix(X), sparse.csc_array(X), X.astype(np.float64)):
        other = method(k, random_state=0)
        difference = np.abs(other.fit_transform(held) - W) / W.max()
        if method is not OrthogonalNMF:  # a last round that changes nothing may be asked for or not
            assert other.n_iter_ == model.n_iter_
        # Most agree to 1e-6; where programs are nearly alike, rounding is magnified (1.4e-4 in one entry of one fit).
        assert difference.max() < 5e-4


slots = st.sampled_from(["obs", "var", "obsm", "varm", "layers"])


@given(st.lists(slots, min_size=1, max_size=6), slots, st.data())
def test_a_write_that_fails_changes_nothing(good, bad, data):
    n = {"obs": 4, "obsm": 4, "layers": 4, "var": 3, "varm": 3}
    adata = ad.AnnData(np.arange(12.0).reshape(4, 3), obsm={"X_a": np.ones((4, 2))}, uns={"a": 1})

    def entry(slot, rows):
        return np.zeros(rows) if slot in {"obs", "var"} else np.zeros((rows, 3 if slot == "layers" else 2))

    entries = {slot: {f"good_{i}": entry(slot, n[slot]) for i, other in enumerate(good) if other == slot} for slot in n}
    entries[bad] = {**entries[bad], "bad": entry(bad, n[bad] + 1)}
    removed = {"obsm": ["X_a"], "uns": ["a"]} if data.draw(st.booleans()) else None
    with pytest.raises(ValueError, match=r"shape|[Ll]ength"):
        write(adata, X=np.zeros((4, 3)), **entries, uns={"b": 2}, remove=removed)
    assert adata.X.sum() == 66
    assert [len(getattr(adata, slot).keys()) for slot in ("obs", "var", "obsm", "varm")] == [0, 0, 1, 0]
    assert [name for name in adata.layers if name is not None] == []
    assert dict(adata.uns) == {"a": 1}
