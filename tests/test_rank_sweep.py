"""The choice of the number of programs: honest held-out errors, one compression, a rule, and its picture."""

from __future__ import annotations

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import scprograms as scp
from factorized import factorized_screen
from planted import least_error, planted
from scprograms._core.operators.dispatch import as_operator
from scprograms._core.svd import compress
from scprograms.programs.engine import OrthogonalNMF, SemiNMF, sweep_ranks
from scprograms.programs.engine._masked import MaskedMatrix, draw_folds, fit_orthogonal, held_out_errors
from scprograms.programs.engine._rank import matched_cosine
from scprograms.programs.engine._suggest import RankCurves, suggest

mpl.use("Agg")

COLUMNS = [
    "n_programs",
    "error",
    "error_bound",
    "error_ratio",
    "cv_error",
    "cv_sd",
    "stability",
    "stability_sd",
    "silhouette",
    "suggested",
]
CONVERGED = {"max_iter": 5000, "tol": 1e-13}


def screen(n_cells=700, n_genes=300, n_programs=6, seed=0) -> ad.AnnData:
    adata = scp.datasets.simulate_screen(n_cells, n_genes, n_programs, n_perturbations=6, random_state=seed)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


@pytest.fixture(scope="module")
def swept() -> ad.AnnData:
    adata = screen()
    scp.tl.rank_sweep(adata, range(3, 10), n_folds=3, n_subsamples=3)
    return adata


def hide(X, *, seed=0, n_folds=2):
    return draw_folds(X.shape, n_folds, rng=np.random.default_rng(seed))[0]


# --- the masked fit --------------------------------------------------------------------------------------------------


def weighted_least_squares(X, hidden, k, *, intercept=False, non_negative=False):
    """Dense alternating least squares with weights 0 and 1, one row and one column at a time."""
    from scipy.optimize import nnls

    solve = (lambda A, b: nnls(A, b)[0]) if non_negative else (lambda A, b: np.linalg.lstsq(A, b)[0])
    seen = np.ones(X.size, dtype=bool)
    seen[hidden] = False
    seen = seen.reshape(X.shape)
    filled = np.where(seen, X, np.nan)
    filled = np.where(seen, X, np.nanmean(filled, axis=0))
    V = np.linalg.svd(filled - intercept * filled.mean(axis=0))[2][:k].T
    mean = filled.mean(axis=0) * intercept
    if non_negative:
        V = np.abs(V)
    for _ in range(3000):
        W = np.array([solve(V[s], (x - mean)[s]) for x, s in zip(X, seen, strict=True)])
        design = np.column_stack([W, np.ones(len(W))]) if intercept else W
        found = np.array([solve(design[s], x[s]) for x, s in zip(X.T, seen.T, strict=True)])
        before = W @ V.T
        V, mean = found[:, :k], found[:, k] if intercept else mean
        if np.abs(W @ V.T - before).max() < 1e-9:
            break
    return (W @ V.T + mean)[~seen]


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize(("k", "intercept"), [(1, False), (3, False), (2, True)])
def test_the_masked_fit_equals_brute_force_weighted_least_squares(k, intercept, kind):
    X = planted(60, 25, 3, noise=0.2, seed=1)[0]
    hidden = hide(X)
    oracle = np.mean((X.reshape(-1)[hidden] - weighted_least_squares(X, hidden, k, intercept=intercept)) ** 2)
    rng = np.random.default_rng(0)
    found = next(held_out_errors(kind(X), [k], hidden, method="semi_nmf", intercept=intercept, rng=rng, **CONVERGED))
    assert found == pytest.approx(oracle, rel=1e-4)


def test_the_masked_fit_of_nmf_equals_brute_force_weighted_least_squares():
    X = planted(60, 25, 2, noise=0.1, seed=1)[0]
    hidden = hide(X)
    oracle = np.mean((X.reshape(-1)[hidden] - weighted_least_squares(X, hidden, 2, non_negative=True)) ** 2)
    rng = np.random.default_rng(0)
    found = next(held_out_errors(X, [2], hidden, method="nmf", intercept=False, rng=rng, **CONVERGED))
    assert found == pytest.approx(oracle, rel=1e-3)


def one_program_per_gene(n_obs=60, n_vars=30, k=3, *, noise=0.1, seed=0):
    """Return X and the program of each gene: gamma usages, each gene in one program."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n_vars) % k)
    H = rng.uniform(0.5, 1.5, size=n_vars) * (labels == np.arange(k)[:, None])
    return np.maximum(rng.gamma(1.0, size=(n_obs, k)) @ H + noise * rng.normal(size=(n_obs, n_vars)), 0), labels


def weighted_orthogonal(X, hidden, labels):
    """Dense alternating closed forms with weights 0 and 1, from given programs; each gene takes its best program."""
    seen = np.ones(X.size, dtype=bool)
    seen[hidden] = False
    seen = seen.reshape(X.shape)
    (n_obs, n_vars), k = X.shape, labels.max() + 1
    h = np.ones(n_vars)
    for _ in range(500):
        W = np.zeros((n_obs, k))
        for i, p in np.ndindex(n_obs, k):
            own = seen[i] & (labels == p)
            W[i, p] = X[i, own] @ h[own] / (h[own] @ h[own])
        before, labels = h.copy(), labels.copy()
        for g in range(n_vars):
            x, w = X[seen[:, g], g], W[seen[:, g]]
            fits = x @ w / np.square(w).sum(axis=0)
            labels[g] = np.argmin([np.square(x - w[:, p] * fits[p]).sum() for p in range(k)])
            h[g] = fits[labels[g]]
        if np.abs(h - before).max() < 1e-12:
            break
    return (W[:, labels] * h)[~seen]


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize("seed", range(3))
def test_the_masked_fit_of_onmf_equals_brute_force_closed_forms(kind, seed):
    X, labels = one_program_per_gene(seed=seed)
    hidden = hide(X)
    predicted = weighted_orthogonal(X, hidden, labels)
    rng = np.random.default_rng(0)
    found = next(held_out_errors(kind(X), [3], hidden, method="onmf", intercept=False, rng=rng, **CONVERGED))
    assert found == pytest.approx(np.mean((X.reshape(-1)[hidden] - predicted) ** 2), rel=1e-5)


def orthogonal_predictions(X, hidden, k, **options):
    """Return what the masked fit of orthogonal NMF says of the hidden entries, and its error on the visible ones."""
    masked = MaskedMatrix(X, hidden)
    masked.impute_means()
    op, _, total = masked.operator(intercept=False)
    compression = compress(op, k + 5, n_leading=k, total=total, rng=np.random.default_rng(0))
    stored = []

    def remember(W, V, mean):
        assert ((V > 0).sum(axis=1) <= 1).all()
        assert (W >= 0).all()
        stored.append(W @ V.T)
        return MaskedMatrix.impute(masked, W, V, mean)

    masked.impute = remember
    fit_orthogonal(masked, compression, k, **{"max_iter": 30, "tol": 1e-4, **options})
    residuals = [(np.asarray(X) - fitted).reshape(-1) for fitted in stored]
    return stored[-1].reshape(-1)[hidden], [np.square(np.delete(r, hidden)).sum() for r in residuals]


def test_no_round_of_the_masked_fit_of_onmf_raises_the_error_on_visible_entries():
    X = planted(120, 60, 4, seed=0)[0]
    errors = orthogonal_predictions(X, hide(X), 6, max_iter=40, tol=0.0)[1]
    assert len(errors) > 3
    assert np.all(np.diff(errors) <= 1e-9 * errors[0])


@pytest.mark.parametrize("k", [2, 6, 40])
def test_the_masked_fit_of_onmf_is_the_same_to_the_bit_whatever_is_hidden(k):
    X = planted(120, 60, 4, seed=0)[0]
    hidden = hide(X)
    other = X.copy().reshape(-1)
    other[hidden] = np.random.default_rng(1).gamma(1.0, 100, len(hidden))
    first, second = (orthogonal_predictions(M, hidden, k)[0] for M in (X, other.reshape(X.shape)))
    assert first.any()
    np.testing.assert_array_equal(first, second)


def test_semi_nmf_attains_the_error_of_the_fit_without_constraints():
    # What is cross-validated has no constraint on W: it must be what semi-NMF fits, up to its penalty.
    X = planted(300, 80, 4, seed=3)[0]
    assert SemiNMF(4, l1=0, random_state=0).fit(X).error_ == pytest.approx(
        least_error(sparse.csr_matrix(X), 4), rel=1e-3
    )


def predictions(X, hidden, ranks, *, leaky=False):
    """What a fit says of the hidden entries, for each rank; a leaky one takes its directions from all entries."""
    masked = MaskedMatrix(X, hidden)
    rng = np.random.default_rng(0)
    if not leaky:
        errors = held_out_errors(X, ranks, hidden, method="semi_nmf", intercept=False, rng=rng)
        return list(errors)
    whole = as_operator(X)
    V = compress(whole, max(ranks), n_leading=max(ranks), total=float(np.square(X).sum()), rng=rng).V
    errors = []
    for k in ranks:
        masked.impute_means()
        for _ in range(30):
            op, mean, _ = masked.operator(intercept=False)
            masked.impute(op.matmul(V[:, :k]), V[:, :k], mean)
        errors.append(masked.prediction_error())
    return errors


def test_a_compression_that_saw_the_held_out_entries_is_found_out():
    X = planted(150, 100, 4, noise=1.0, signed=True, seed=0)[0]
    hidden, ranks = hide(X), [2, 3, 4, 5, 6, 8, 12]
    honest, leaky = predictions(X, hidden, ranks), predictions(X, hidden, ranks, leaky=True)
    assert ranks[int(np.argmin(honest))] == 4
    assert ranks[int(np.argmin(leaky))] > 4  # so the line above can fail
    assert np.all(np.array(leaky[3:]) < np.array(honest[3:]))


@pytest.mark.parametrize("method", ["semi_nmf", "nmf", "onmf"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_nothing_of_the_fit_depends_on_hidden_values(kind, method):
    X = planted(120, 60, 4, seed=0)[0]
    hidden = hide(X)
    other = X.copy().reshape(-1)
    other[hidden] = np.random.default_rng(1).gamma(1.0, 100, len(hidden))
    other = other.reshape(X.shape)

    def errors(matrix, truth):
        # The error against the values of X, whatever the fit was given: equal if the predictions are.
        masked_truth = MaskedMatrix.__init__

        def with_truth(self, given, keys):
            masked_truth(self, given, keys)
            self.truth = truth

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MaskedMatrix, "__init__", with_truth)
            rng = np.random.default_rng(0)
            return list(held_out_errors(kind(matrix), [2, 6], hidden, method=method, intercept=False, rng=rng))

    truth = X.reshape(-1)[hidden].astype(float)
    np.testing.assert_array_equal(errors(X, truth), errors(other, truth))


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_hiding_takes_the_hidden_values_out_and_nothing_else(kind):
    X = np.where(np.random.default_rng(0).random((40, 30)) < 0.3, 1.5, 0.0).astype(np.float32)
    hidden = hide(X)
    given = kind(X.copy())
    masked = MaskedMatrix(given, hidden)
    np.testing.assert_array_equal(masked.truth, X.reshape(-1)[hidden])
    expected = X.copy().reshape(-1)
    expected[hidden] = 0
    op, _, total = masked.operator(intercept=False)
    np.testing.assert_array_equal(op.matmul(np.eye(30, dtype=np.float32)), expected.reshape(X.shape))
    assert total == pytest.approx(np.square(expected).sum())
    np.testing.assert_array_equal(given.toarray() if sparse.issparse(given) else given, X)


def test_duplicate_entries_add_up_when_hidden_row_14():
    entries = sparse.csr_matrix((np.ones(4), [1, 1, 0, 2], [0, 2, 4]), shape=(2, 3))
    masked = MaskedMatrix(entries, np.array([1, 5]))
    assert masked.truth.tolist() == [2, 1]


@pytest.mark.parametrize("shape", [(50, 40), (7, 3), (2000, 1500)])
def test_folds_are_disjoint_sorted_and_of_one_size(shape):
    folds = draw_folds(shape, 3, rng=np.random.default_rng(0))
    pooled = np.concatenate(folds)
    assert (np.diff(np.sort(pooled)) > 0).all()
    assert pooled.max() < shape[0] * shape[1]
    assert {len(fold) for fold in folds} == {int(0.1 * shape[0] * shape[1])}
    assert all((np.diff(fold) > 0).all() for fold in folds)


# --- the curves ------------------------------------------------------------------------------------------------------


def test_errors_and_bounds_from_one_compression_equal_those_of_single_fits(swept):
    table = scp.get.rank_sweep(swept)
    for k, error, bound in zip(table["n_programs"], table["error"], table["error_bound"], strict=True):
        assert error == pytest.approx(SemiNMF(k, random_state=0).fit(swept.X).error_, rel=1e-3)
        assert bound == pytest.approx(least_error(swept.X, k), rel=1e-4)
    np.testing.assert_allclose(table["error_ratio"], table["error"] / table["error_bound"])


@pytest.mark.parametrize(("n_programs", "seed"), [(6, 0), (9, 1)])
def test_the_planted_number_is_suggested(n_programs, seed):
    adata = screen(1000, 400, n_programs, seed)
    scp.tl.rank_sweep(adata, range(3, 13), n_folds=3, stability=False)
    assert adata.uns["semi_nmf"]["suggested_n_programs"] == n_programs


def test_stability_and_silhouette_fall_above_the_planted_number(swept):
    table = scp.get.rank_sweep(swept).set_index("n_programs")
    for column in ("stability", "silhouette"):
        assert table.loc[6, column] > table.loc[9, column] + 0.02, table[column]
    assert table["stability"].between(0, 1).all()


def test_matched_cosine_is_the_best_over_all_matchings():
    from itertools import permutations

    rng = np.random.default_rng(0)
    A, B = (rng.normal(size=(4, 10)) for _ in range(2))
    A, B = (M / np.linalg.norm(M, axis=1, keepdims=True) for M in (A, B))
    best = max(np.mean([A[i] @ B[j] for i, j in enumerate(order)]) for order in permutations(range(4)))
    assert matched_cosine(A, B) == pytest.approx(best)


def test_nmf_can_be_swept():
    adata = screen(500, 200)
    scp.tl.rank_sweep(adata, range(4, 9), method="nmf", n_folds=2, n_subsamples=2, key_added="nmf")
    table = scp.get.rank_sweep(adata, key="nmf")
    assert adata.uns["nmf"]["suggested_n_programs"] == 6
    assert (table["error_ratio"] >= 1 - 1e-6).all()
    assert np.isfinite(table.to_numpy(dtype=float)).all()


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("seed", range(2))
def test_the_planted_number_of_programs_that_share_no_gene_is_suggested(seed, kind):
    X = one_program_per_gene(500, 150, 6, noise=0.4, seed=seed)[0].astype(np.float32)
    curves = sweep_ranks(
        kind(X), list(range(2, 12)), method="onmf", n_folds=3, n_subsamples=3, random_state=0, n_jobs=1
    )
    assert curves.suggested == 6
    assert curves.stability[4] >= 0.99
    for curve in (curves.stability, curves.silhouette):
        assert curve[4] > curve[6:].max() + 0.02


@pytest.fixture(scope="module")
def swept_by_onmf() -> ad.AnnData:
    adata = screen(500, 200)
    scp.tl.rank_sweep(adata, range(3, 10), method="onmf", n_folds=3, n_subsamples=2, key_added="onmf")
    return adata


def test_onmf_can_be_swept(swept_by_onmf):
    table = scp.get.rank_sweep(swept_by_onmf, key="onmf")
    assert swept_by_onmf.uns["onmf"]["suggested_n_programs"] == 6
    assert swept_by_onmf.uns["onmf"]["rank_sweep_params"]["method"] == "onmf"
    assert np.isfinite(table.to_numpy(dtype=float)).all()
    for k, error, bound in zip(table["n_programs"], table["error"], table["error_bound"], strict=True):
        model = OrthogonalNMF(k, min_share=0, random_state=0).fit(swept_by_onmf.X)
        assert error == pytest.approx(model.error_, rel=5e-3)
        assert bound == pytest.approx(least_error(swept_by_onmf.X, k), rel=1e-4)
    axes = scp.pl.rank_sweep(swept_by_onmf, key="onmf", show=False)
    np.testing.assert_array_equal(axes[1].lines[0].get_ydata(), table["cv_error"])


def test_a_sweep_of_onmf_does_not_depend_on_the_threads_row_33(swept_by_onmf):
    again = screen(500, 200)
    scp.tl.rank_sweep(again, range(3, 10), method="onmf", n_folds=3, n_subsamples=2, key_added="onmf", n_jobs=2)
    pd.testing.assert_frame_equal(again.uns["onmf"]["rank_sweep"], swept_by_onmf.uns["onmf"]["rank_sweep"])


def test_onmf_of_fewer_cells_than_programs_in_a_subsample():
    X = one_program_per_gene(20, 40, 3)[0]
    curves = sweep_ranks(X, [3, 20], method="onmf", n_folds=2, n_subsamples=2, random_state=0)
    assert curves.suggested == 3
    assert np.isfinite([*curves.stability, *curves.silhouette, *curves.cv_error]).all()


def test_more_programs_than_genes_with_a_signal_row_27():
    X = np.hstack([one_program_per_gene(50, 10)[0], np.zeros((50, 5))])
    with pytest.raises(ValueError, match=r"11 programs are too many .* 10 columns with a signal.* Pass at most 10"):
        sweep_ranks(sparse.csr_matrix(X), [3, 11], method="onmf")


def test_signed_data_get_a_baseline():
    X = planted(400, 100, 4, signed=True, noise=0.5, seed=2)[0]
    curves = sweep_ranks(X + 3, [2, 3, 4, 5, 6], stability=False, random_state=0)
    assert (X + 3 < 0).any()
    assert curves.suggested == 4


def test_the_shorter_side_may_be_the_cells():
    X = planted(60, 500, 3, seed=0)[0]
    assert sweep_ranks(X, [1, 2, 3, 4, 5], n_subsamples=2, random_state=0).suggested == 3


# --- the rule --------------------------------------------------------------------------------------------------------


def curves(cv=None, stability=None, silhouette=(0.5, 0.6, 0.9, 0.5), sd=0.2) -> RankCurves:
    missing = np.full(4, np.nan)
    return RankCurves(
        ranks=[5, 10, 15, 20],
        error=np.array([4.0, 3, 2, 1]),
        error_bound=missing,
        error_ratio=missing,
        cv_error=missing if cv is None else np.array(cv),
        cv_sd=missing if cv is None else np.full(4, sd),
        stability=missing if stability is None else np.array(stability),
        stability_sd=missing,
        silhouette=np.array(silhouette),
        n_folds=4,
        suggested=0,
        reason="",
    )


@pytest.mark.parametrize(
    ("given", "k", "words"),
    [
        (curves(cv=[9, 5.05, 5.0, 6]), 10, "within one standard error of the least held-out error (at 15)"),
        (curves(cv=[9, 5.2, 5.0, 6]), 15, "stability was not computed"),
        (curves(cv=[9, 8, 7, 6]), 20, "end of the range"),
        (curves(cv=[5, 6, 7, 8]), 5, "start of the range"),
        (curves(cv=[9, 8, 5, 6], stability=[0.9, 0.8, 0.69, 0.9]), 10, "largest with a stability of at least 0.7"),
        (curves(cv=[9, 8, 5, 6], stability=[0.9, 0.8, 0.71, 0.2]), 15, "its stability is 0.71"),
        (curves(cv=[9, 8, 5, 6], stability=[0.6, 0.5, 0.4, 0.3]), 15, "no smaller number reaches 0.7"),
        (curves(stability=[1.0, 0.96, 0.97, 0.8]), 15, "stability of at least 0.95 times"),
        (curves(), 15, "silhouette of at least 0.95 times"),
        (curves(silhouette=[np.nan] * 4), 5, "no cross-validation"),
    ],
)
def test_the_rule(given, k, words):
    assert suggest(given)[0] == k
    assert words in suggest(given)[1]


# --- the verb --------------------------------------------------------------------------------------------------------


def test_the_table_and_its_neighbours(swept):
    entry = swept.uns["semi_nmf"]
    table = entry["rank_sweep"]
    assert list(table) == COLUMNS
    assert table["n_programs"].tolist() == list(range(3, 10))
    assert table["suggested"].dtype == bool
    assert table.loc[table["suggested"], "n_programs"].tolist() == [entry["suggested_n_programs"]] == [6]
    assert entry["rank_sweep_reason"].startswith("6: ")
    assert scp.get.rank_sweep(swept).attrs == {"reason": entry["rank_sweep_reason"], "n_folds": 3}


def test_same_seed_same_result_whatever_the_threads_row_33(swept):
    for n_jobs in (1, 2):
        again = screen()
        scp.tl.rank_sweep(again, range(3, 10), n_folds=3, n_subsamples=3, n_jobs=n_jobs)
        pd.testing.assert_frame_equal(again.uns["semi_nmf"]["rank_sweep"], swept.uns["semi_nmf"]["rank_sweep"])


def test_several_blocks_of_rows_give_the_same_on_any_number_of_threads():
    X = sparse.random(9000, 300, density=0.1, format="csr", dtype=np.float32, rng=0)
    one, two = (sweep_ranks(X, [2, 4], n_folds=2, n_subsamples=2, random_state=0, n_jobs=n) for n in (1, 2))
    for name in ("error", "error_bound", "cv_error", "cv_sd", "stability", "silhouette"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)


def test_parts_that_are_left_out_do_not_change_the_others(swept):
    adata = screen()
    scp.tl.rank_sweep(adata, range(3, 10), n_folds=3, cross_validation=False, n_subsamples=3)
    full, part = swept.uns["semi_nmf"]["rank_sweep"], adata.uns["semi_nmf"]["rank_sweep"]
    for column in ("error", "silhouette", "stability"):
        pd.testing.assert_series_equal(part[column], full[column])
    assert part[["cv_error", "cv_sd"]].isna().all(axis=None)


def test_a_factorization_and_a_sweep_leave_each_other_alone():
    adata = screen(240, 60)
    scp.tl.semi_nmf(adata, 4)
    before = dict(adata.uns["semi_nmf"])
    scp.tl.rank_sweep(adata, [2, 3], n_folds=2, stability=False)
    after = adata.uns["semi_nmf"]
    assert all(after[name] is before[name] for name in before)
    assert scp.get.usages(adata).shape == (240, 4)
    scp.tl.semi_nmf(adata, 2)
    assert scp.get.rank_sweep(adata)["n_programs"].tolist() == [2, 3]
    scp.tl.rank_sweep(adata, [2], n_folds=2, stability=False)
    assert len(scp.get.rank_sweep(adata)) == 1


def test_a_sweep_alone_is_no_factorization(swept):
    with pytest.raises(KeyError, match="no factorization under key='semi_nmf'"):
        scp.get.usages(swept)


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_a_sweep_survives_the_disk_row_43(suffix, swept, tmp_path):
    path = tmp_path / f"screen.{suffix}"
    (swept.write_h5ad if suffix == "h5ad" else swept.write_zarr)(path)
    back = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    pd.testing.assert_frame_equal(scp.get.rank_sweep(back), scp.get.rank_sweep(swept), check_index_type=False)
    assert back.uns["semi_nmf"]["suggested_n_programs"] == 6


def test_masked_genes_stay_out():
    adata = screen(400, 200)
    adata.var["some"] = np.arange(200) % 2 == 0
    scp.tl.rank_sweep(adata, [3, 6], mask_var="some", n_folds=2, stability=False)
    part = adata[:, adata.var["some"].to_numpy()].copy()
    scp.tl.rank_sweep(part, [3, 6], n_folds=2, stability=False)
    pd.testing.assert_frame_equal(scp.get.rank_sweep(adata), scp.get.rank_sweep(part))


def test_a_copy_leaves_the_original_alone():
    adata = screen(300, 100)
    other = scp.tl.rank_sweep(adata, [2, 3], n_folds=2, stability=False, copy=True)
    assert "semi_nmf" not in adata.uns
    assert "rank_sweep" in other.uns["semi_nmf"]


def test_duplicates_count_once_row_29():
    adata = screen(300, 100)
    scp.tl.rank_sweep(adata, [np.int64(3), 2, 3], n_folds=2, stability=False)
    assert scp.get.rank_sweep(adata)["n_programs"].tolist() == [2, 3]


def test_one_program_has_no_silhouette():
    adata = screen(300, 100)
    scp.tl.rank_sweep(adata, [1], n_folds=2, n_subsamples=2)
    table = scp.get.rank_sweep(adata)
    assert table["silhouette"].isna().all()
    assert table["suggested"].all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        pytest.param({"n_programs": []}, ValueError, "n_programs=\\[\\] is empty", id="row 29"),
        pytest.param({"n_programs": range(5, 5)}, ValueError, "is empty", id="row 29, range"),
        pytest.param({"n_programs": 5}, TypeError, "pass several", id="one number"),
        pytest.param({"n_programs": "5"}, TypeError, "pass several", id="row 24"),
        pytest.param({"n_programs": [0, 5]}, ValueError, "n_programs=0 is too small", id="row 23"),
        pytest.param({"n_programs": [2.5]}, TypeError, "n_programs=2.5 is a float", id="row 24, float"),
        pytest.param({"n_programs": [True]}, TypeError, "n_programs=True is a bool", id="row 25"),
        pytest.param({"n_programs": [10**7]}, ValueError, "far beyond", id="row 28"),
        pytest.param({"method": "pca"}, ValueError, "Choose one of 'semi_nmf', 'nmf', 'onmf'", id="row 32"),
        pytest.param({"n_folds": 1}, ValueError, "n_folds=1 is too small", id="one fold"),
        pytest.param({"n_subsamples": 1}, ValueError, "n_subsamples=1 is too small", id="one subsample"),
        pytest.param({"max_cells": 0}, ValueError, "max_cells=0", id="no cells"),
        pytest.param({"stability": "yes"}, ValueError, "stability='yes' is not known", id="no flag"),
        pytest.param({"n_jobs": 0}, ValueError, "n_jobs=0", id="row 35"),
        pytest.param({"random_state": "1"}, TypeError, "random_state='1'", id="row 33"),
        pytest.param({"key_added": "a/b"}, ValueError, "without '/'", id="row 42"),
        pytest.param({"layer": "zz"}, KeyError, "'zz' is not in adata.layers", id="row 36"),
        pytest.param({"mask_var": np.ones(3, bool)}, ValueError, "mask_var has dtype bool", id="row 37"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    adata = screen(200, 60)
    with pytest.raises(error, match=message):
        scp.tl.rank_sweep(adata, **{"n_programs": [2, 3], **arguments})
    assert "semi_nmf" not in adata.uns  # row 46


def test_too_few_entries_to_hide_row_21():
    adata = ad.AnnData(np.array([[0.5], [1.5], [2.5]], dtype=np.float32))
    with pytest.raises(ValueError, match="3 x 1 entries are too few"):
        scp.tl.rank_sweep(adata, [1])


def test_a_single_gene_row_21():
    adata = screen(200, 60)[:, :1].copy()
    adata.X = adata.X.toarray() + 0.5
    scp.tl.rank_sweep(adata, [1], n_folds=2, n_subsamples=2)
    assert np.isfinite(scp.get.rank_sweep(adata)["cv_error"]).all()


@pytest.mark.parametrize("method", ["nmf", "onmf"])
def test_negative_values_need_semi_nmf_row_3(method):
    adata = screen(200, 60)
    adata.X = adata.X.toarray() - 1
    with pytest.raises(ValueError, match=r"negative values.*method='semi_nmf'"):
        scp.tl.rank_sweep(adata, [2, 3], method=method)


def test_more_programs_than_directions_warn_row_27():
    adata = screen(100, 50)
    with pytest.warns(scp.ProgramsWarning, match="exceeds the 50 directions"):
        scp.tl.rank_sweep(adata, [3, 60], n_folds=2, stability=False)
    assert np.isnan(scp.get.rank_sweep(adata)["error_ratio"].iloc[1])


def test_a_missing_sweep_says_what_to_call():
    adata = factorized_screen()
    with pytest.raises(KeyError, match=r"no rank sweep under key='semi_nmf'\. There: none.*tl\.rank_sweep"):
        scp.get.rank_sweep(adata)


# --- the picture -----------------------------------------------------------------------------------------------------


def test_the_picture_shows_the_table(swept, tmp_path):
    axes = scp.pl.rank_sweep(swept, show=False, save=tmp_path / "sweep.png")
    table = scp.get.rank_sweep(swept)
    assert [ax.get_title(loc="left") for ax in axes] == ["Error", "Cross-validation", "Stability", "Silhouette"]
    for ax, column in zip(axes, ("error", "cv_error", "stability", "silhouette"), strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), table["n_programs"])
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), table[column])
        marks = [line for line in ax.lines if line.get_label() == "k = 6"]
        assert [set(line.get_xdata()) for line in marks] == [{6}]
    bound = next(line for line in axes[0].lines if line.get_label() == "least possible")
    np.testing.assert_array_equal(bound.get_ydata(), table["error_bound"])
    for ax, spread in ((axes[1], table["cv_sd"] / np.sqrt(3)), (axes[2], table["stability_sd"])):
        bars = np.array([segment[:, 1] for segment in ax.containers[0].lines[2][0].get_segments()])
        np.testing.assert_allclose(bars[:, 1] - bars[:, 0], 2 * spread)
    assert (tmp_path / "sweep.png").stat().st_size > 10_000


def test_what_was_not_computed_is_not_drawn():
    adata = screen(300, 100)
    scp.tl.rank_sweep(adata, [2, 3], cross_validation=False, stability=False)
    fig = scp.pl.rank_sweep(adata, show=False, return_fig=True)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["Error", "Silhouette"]
