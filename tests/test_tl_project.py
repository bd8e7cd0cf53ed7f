"""tl.project gives new cells the usages that the fit would have given them, from the genes that are there."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, sparse
from scipy.stats import spearmanr

import scprograms as scp
from factorized import factorized_screen
from scprograms import ProgramsWarning
from scprograms.programs.engine import NMF, SemiNMF, project_usages

PAPALEXI = Path(__file__).parents[2] / "shared/data/papalexi2021_thp1_lowmoi/papalexi2021_thp1_lowmoi.h5ad"
CONTROL = ("perturbation", "non-targeting")
OPTIONS = {
    "default": {},
    "intercept": {"fit_intercept": True},
    "mean": {"center": "mean"},
    "scale": {"scale": True},
    "control": {"center": "control", "control": CONTROL},
    "control and scale": {"center": "control", "control": CONTROL, "scale": True},
    "mask_var": {"mask_var": "highly_variable"},
    "mask_var and scale": {"mask_var": "highly_variable", "scale": True},
    "no penalty": {"l1": 0.0},
}


def log_normalised(adata):
    X = adata.X.astype(np.float64)
    X.data *= np.repeat(1e4 / np.asarray(X.sum(axis=1)).ravel(), np.diff(X.indptr))
    adata.X = X.log1p().astype(np.float32)
    return adata


@pytest.fixture(scope="module")
def screen():
    adata = scp.datasets.simulate_screen(500, 150, 5, n_perturbations=6, library_size=800, random_state=0)
    adata = log_normalised(adata)
    adata.var["highly_variable"] = np.arange(adata.n_vars) % 3 != 0
    return adata


@pytest.fixture(scope="module")
def fitted(screen):
    """The first 300 cells, factorized into 6 programs; read only."""
    reference = screen[:300].copy()
    scp.tl.semi_nmf(reference, 6)
    return reference


@pytest.fixture
def reference(fitted):
    return fitted.copy()


@pytest.fixture
def new(screen):
    return screen[300:].copy()


def usages(adata, reference, **kwargs):
    return scp.tl.project(adata, reference, copy=True, **kwargs).obsm[f"X_{kwargs.get('key', 'semi_nmf')}"]


def brute_force(X, H, *, baseline=0.0, center=0.0, scale=1.0, penalty=0.0):
    """Penalised NNLS cell by cell: the penalty as one more gene would see it, through scipy's general optimiser."""
    X = X.toarray() if sparse.issparse(X) else X
    target = (X.astype(float) - center) / scale - baseline
    gram, shrinkage = H @ H.T, penalty * np.square(H).sum(axis=1)
    root = np.linalg.cholesky(gram)
    return np.array([optimize.nnls(root.T, np.linalg.solve(root, H @ x - shrinkage))[0] for x in target])


# --- arrays ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_equals_scipy(kind, penalty):
    rng = np.random.default_rng(0)
    H, b, m, s = rng.normal(size=(4, 30)), rng.normal(size=30), rng.random(30), 0.5 + rng.random(30)
    X = np.maximum(rng.gamma(0.5, size=(80, 4)) @ H + rng.normal(size=(80, 30)), 0)
    given = {"dense": np.asarray, "csr": sparse.csr_matrix, "csc": sparse.csc_array}[kind](X)
    found = project_usages(given, H, baseline=b, center=m, scale=s, penalty=penalty)
    expected = brute_force(X, H, baseline=b, center=m, scale=s, penalty=penalty)
    np.testing.assert_allclose(found.usages, expected, atol=1e-9)
    residual = (X - m) / s - b - found.usages @ H
    assert found.error == pytest.approx(np.linalg.norm(residual))
    spread = ((X - m) / s).var(axis=0).sum()
    terms = [np.outer(w, h).var(axis=0).sum() for w, h in zip(found.usages.T, H, strict=True)]
    np.testing.assert_allclose(found.variance_explained, np.array(terms) / spread)


def test_the_penalty_takes_the_same_from_every_usage_however_few_genes_there_are():
    H = np.array([[0.6, 0.8, 0, 0], [0, 0, 0.6, 0.8]])
    W = np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 0.05]])
    expected = np.maximum(W - 0.1, 0)
    for genes in ([0, 1, 2, 3], [0, 2], [1, 3], [0, 1, 3]):
        found = project_usages(W @ H[:, genes], H[:, genes], penalty=0.1)
        np.testing.assert_allclose(found.usages, expected, atol=1e-12)


def test_bad_arrays():
    X, H = np.ones((5, 4)), np.ones((2, 4))
    for kwargs, match in (
        ({"loadings": np.ones((2, 3))}, "loadings has shape"),
        ({"loadings": H * np.nan}, "loadings has NaN"),
        ({"loadings": H, "scale": np.zeros(4)}, "scale has 4 values that are not positive"),
        ({"loadings": H, "center": np.zeros(3)}, "center has shape"),
        ({"loadings": H, "penalty": -1.0}, "penalty=-1.0"),
        ({"loadings": H, "loss": "huber"}, "loss='huber'"),
        ({"loadings": H, "loss": "kullback-leibler", "penalty": 1.0}, "leave them out"),
    ):
        with pytest.raises(ValueError, match=match):
            project_usages(X, **kwargs)


def test_divergence_equals_the_estimator(screen):
    X = screen.X[:100].astype(np.float64)
    model = NMF(3, solver="mu", loss="kullback-leibler", max_iter=20, tol=0, random_state=0).fit(X)
    found = project_usages(X, model.components_, loss="kullback-leibler")
    np.testing.assert_allclose(found.usages, model.transform(X), rtol=1e-10)


# --- the training cells ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_training_cells_get_their_usages_back(screen, dtype, options):
    reference = screen[:300].copy()
    reference.X = reference.X.astype(dtype)
    scp.tl.semi_nmf(reference, 7, **options)
    W, fit = reference.obsm["X_semi_nmf"], reference.uns["semi_nmf"]
    again = scp.tl.project(reference, reference, key_added="again", copy=True)
    found, entry = again.obsm["X_again"], again.uns["again"]
    assert found.dtype == dtype
    assert np.abs(found - W).max() <= 1e-4 * W.max()
    assert entry["error"] == pytest.approx(fit["error"], rel=1e-4)
    for column in ("variance_explained", "sparsity"):
        np.testing.assert_allclose(entry["programs"][column], fit["programs"][column], atol=1e-3)
    assert entry["l1_penalty"] == fit["l1_penalty"]
    assert (fit["l1_penalty"] > 0) == (options != {"l1": 0.0})


@pytest.mark.parametrize("options", [{}, {"solver": "mu"}, {"solver": "mu", "loss": "kullback-leibler"}], ids=str)
def test_training_cells_of_nmf(screen, options):
    reference = screen[:300].copy()
    scp.tl.nmf(reference, 5, max_iter=50, tol=1e-3, **options)
    W = reference.obsm["X_nmf"]
    assert np.abs(usages(reference, reference, key="nmf") - W).max() <= 1e-4 * W.max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_cells_of_onmf(screen, dtype):
    reference = screen[:300].copy()
    reference.X = reference.X.astype(dtype)
    scp.tl.onmf(reference, 5)
    W = reference.obsm["X_onmf"]
    assert np.abs(usages(reference, reference, key="onmf") - W).max() <= 1e-4 * W.max()


def test_alike_programs_are_solved_to_the_end():
    """Coordinate descent alone crawls where programs are alike."""
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=40), rng.normal(size=(8, 40))
    X = rng.gamma(0.5, size=(300, 8)) @ (shared + 0.15 * own) + 0.1 * rng.normal(size=(300, 40))
    reference = ad.AnnData(X)
    scp.tl.semi_nmf(reference, 8, fit_intercept=False)
    reference.varm["semi_nmf_loadings"] = (shared + 0.15 * own).T / np.linalg.norm(shared + 0.15 * own, axis=1)
    H, penalty = reference.varm["semi_nmf_loadings"].T, reference.uns["semi_nmf"]["l1_penalty"]
    expected = brute_force(X, H, penalty=penalty)
    np.testing.assert_allclose(usages(reference, reference), expected, atol=1e-8 * expected.max())


# --- new cells -------------------------------------------------------------------------------------------------------


def test_equals_the_estimator_and_scipy_on_new_cells(new, reference):
    model = SemiNMF(6, random_state=0).fit(reference.X)
    W = usages(new, reference)
    np.testing.assert_allclose(W, model.transform(new.X), atol=1e-5 * W.max())
    H, penalty = reference.varm["semi_nmf_loadings"].T.astype(float), reference.uns["semi_nmf"]["l1_penalty"]
    np.testing.assert_allclose(W, brute_force(new.X, H, penalty=penalty), atol=1e-5 * W.max())


def test_order_of_genes_does_not_matter(new, reference):
    W = usages(new, reference)
    order = np.random.default_rng(0).permutation(new.n_vars)
    shuffled = new[:, order].copy()
    np.testing.assert_allclose(usages(shuffled, reference), W, atol=1e-5 * W.max())  # row 45
    projected = scp.tl.project(shuffled, reference, copy=True)
    for slot in ("semi_nmf_loadings", "semi_nmf_model"):
        np.testing.assert_array_equal(projected.varm[slot], np.asarray(reference.varm[slot])[order])


def test_cells_do_not_depend_on_each_other(new, reference):
    W = usages(new, reference)
    order = np.random.default_rng(0).permutation(new.n_obs)
    np.testing.assert_allclose(usages(new[order].copy(), reference), W[order], atol=1e-6 * W.max())
    chunks = [usages(new[start : start + 37].copy(), reference) for start in range(0, new.n_obs, 37)]
    np.testing.assert_allclose(np.vstack(chunks), W, atol=1e-6 * W.max())
    np.testing.assert_allclose(usages(new[5:6].copy(), reference), W[5:6], atol=1e-6 * W.max())


def test_threads_and_formats_do_not_matter(new, reference):
    W = usages(new, reference, n_jobs=1)
    np.testing.assert_array_equal(usages(new, reference, n_jobs=2), W)
    for change in (sparse.csc_matrix, sparse.csr_array, lambda X: X.toarray()):
        other = new.copy()
        other.X = change(other.X)
        np.testing.assert_allclose(usages(other, reference), W, atol=1e-5 * W.max())


def test_sparse_matrices_are_never_densified(new, reference, monkeypatch):
    W, part = usages(new, reference), new[:, :120].copy()

    def densify(*args, **kwargs):
        msg = "a sparse matrix was densified"
        raise AssertionError(msg)

    for kind in (sparse.csr_matrix, sparse.csc_matrix):
        for method in ("toarray", "todense"):
            monkeypatch.setattr(kind, method, densify)
    scp.tl.project(new, reference)
    np.testing.assert_array_equal(new.obsm["X_semi_nmf"], W)
    with pytest.warns(ProgramsWarning, match="30 of the 150"):
        scp.tl.project(part, reference)


def test_relabelled_programs_keep_their_usages(new, reference):
    W, order = usages(new, reference), [3, 0, 5, 1, 2, 4]
    reference.varm["semi_nmf_loadings"] = reference.varm["semi_nmf_loadings"][:, order]
    np.testing.assert_allclose(usages(new, reference), W[:, order], atol=1e-5 * W.max())


def test_a_layer_is_projected_and_x_left_alone(new, reference):
    W = usages(new, reference)
    new.layers["log"], new.X = new.X, new.X * 2
    before = new.X.copy()
    found = scp.tl.project(new, reference, layer="log", copy=True)
    np.testing.assert_array_equal(found.obsm["X_semi_nmf"], W)
    assert found.uns["semi_nmf"]["params"]["layer"] == "log"
    assert (before != new.X).nnz == 0
    with pytest.raises(KeyError, match=r"'nope' is not in adata\.layers"):  # row 36
        scp.tl.project(new, reference, layer="nope")


# --- genes -----------------------------------------------------------------------------------------------------------


def test_missing_genes_are_counted_and_left_out_of_the_solve(new, reference):
    kept = np.random.default_rng(0).permutation(new.n_vars)[:100]
    part = new[:, kept].copy()
    with pytest.warns(ProgramsWarning, match="50 of the 150 genes that entered the fit .* missing .* the other 100"):
        scp.tl.project(part, reference)
    H, penalty = reference.varm["semi_nmf_loadings"].T.astype(float), reference.uns["semi_nmf"]["l1_penalty"]
    W = part.obsm["X_semi_nmf"]
    np.testing.assert_allclose(W, brute_force(part.X, H[:, kept], penalty=penalty), atol=1e-5 * W.max())
    params, programs = part.uns["semi_nmf"]["params"], part.uns["semi_nmf"]["programs"]
    assert (params["projected_from"], params["n_genes_used"], params["n_genes_missing"]) == ("semi_nmf", 100, 50)
    np.testing.assert_allclose(programs["coverage"], np.square(H[:, kept]).sum(axis=1), rtol=1e-5)


def test_usages_keep_their_units_where_genes_are_missing(new, reference):
    W = usages(new, reference)
    with pytest.warns(ProgramsWarning):
        part = usages(new[:, ::2].copy(), reference)
    strong = W.max(axis=1) > np.median(W.max(axis=1))
    rows, top = np.flatnonzero(strong), W.argmax(axis=1)[strong]
    assert np.median(part[rows, top] / W[rows, top]) == pytest.approx(1, abs=0.1)


def test_a_projection_can_be_projected_on(new, reference):
    middle = new[:50, ::-1][:, :120].copy()
    with pytest.warns(ProgramsWarning):
        scp.tl.project(middle, reference)
    last = new[50:, 20:130].copy()
    with pytest.warns(ProgramsWarning, match="20 of the 120"):
        chained = usages(last, middle)
    with pytest.warns(ProgramsWarning, match="50 of the 150"):
        direct = usages(last[:, 10:].copy(), reference)
    np.testing.assert_allclose(chained, direct, atol=1e-5 * direct.max())


def test_genes_that_the_reference_does_not_have_change_nothing(new, reference):
    W = usages(new, reference)
    rng = np.random.default_rng(0)
    extra = ad.AnnData(sparse.csr_matrix(rng.random((new.n_obs, 9)), dtype=np.float32))
    extra.obs_names, extra.var_names = new.obs_names, [f"other_{i}" for i in range(9)]
    wide = ad.concat([extra, new], axis=1)
    scp.tl.project(wide, reference)
    np.testing.assert_allclose(wide.obsm["X_semi_nmf"], W, atol=1e-5 * W.max())
    assert not wide.varm["semi_nmf_loadings"][:9].any()
    model = wide.varm["semi_nmf_model"]
    assert model.iloc[:9].drop_duplicates().to_numpy().tolist() == [[0, 0, 1, False]]
    assert model["used"].iloc[9:].all()
    assert wide.uns["semi_nmf"]["error"] == pytest.approx(
        scp.tl.project(new, reference, copy=True).uns["semi_nmf"]["error"], rel=1e-5
    )


def test_genes_outside_the_fit_are_not_used_and_not_missed(screen, new):
    reference = screen[:300].copy()
    scp.tl.semi_nmf(reference, 5, mask_var="highly_variable", scale=True)
    W = usages(new, reference)
    only = new[:, new.var["highly_variable"]].copy()
    np.testing.assert_allclose(usages(only, reference), W, atol=1e-5 * W.max())
    scp.tl.project(new, reference)
    np.testing.assert_array_equal(new.varm["semi_nmf_model"]["used"], new.var["highly_variable"])
    np.testing.assert_array_equal(new.varm["semi_nmf_loadings"], reference.varm["semi_nmf_loadings"])


def test_a_program_without_its_genes_is_named(screen):
    reference = factorized_screen(n_programs=3)
    reference.uns["semi_nmf"]["l1_penalty"] = 0.0
    reference.varm["semi_nmf_loadings"][10:, 1] = 0
    with (
        pytest.warns(ProgramsWarning, match="10 of the 60 genes"),
        pytest.warns(ProgramsWarning, match="'program_1' have none of their genes"),
    ):
        found = usages(reference[:, 10:].copy(), reference)
    assert not found[:, 1].any()
    assert found[:, 0].any()


# --- slots -----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*may hold guides or replicates")
def test_slots_and_later_verbs(new, reference):
    reference.uns["semi_nmf"]["programs"]["stability"] = np.linspace(0.5, 1, 6)
    new.uns["semi_nmf"] = {"old": 1}
    assert scp.tl.project(new, reference) is None
    entry = new.uns["semi_nmf"]
    assert set(entry) == {"params", "programs", "error", "l1_penalty"}
    assert list(entry["programs"]) == ["variance_explained", "sparsity", "stability", "coverage"]
    np.testing.assert_allclose(entry["programs"]["stability"], np.linspace(0.5, 1, 6))
    np.testing.assert_allclose(entry["programs"]["coverage"], 1)
    assert entry["params"]["method"] == "semi_nmf"
    assert new.obs["semi_nmf_program"].cat.categories.tolist() == [*entry["programs"].index, "none"]
    scp.tl.program_anova(new, "perturbation")
    assert scp.get.anova(new, "perturbation").shape[0] == 6
    assert scp.get.programs(new).shape == (new.n_obs, 6)
    for call in (scp.get.history, scp.pl.convergence):
        with pytest.raises(KeyError, match=r"projected.*ask the reference"):
            call(new)


def test_key_added_and_copy(new, reference):
    before = set(new.obsm) | set(new.uns)
    copied = scp.tl.project(new, reference, key_added="from_a", copy=True)
    assert set(new.obsm) | set(new.uns) == before
    assert set(copied.obsm) - set(new.obsm) == {"X_from_a"}
    assert "from_a_model" in copied.varm
    assert copied.uns["from_a"]["params"]["projected_from"] == "semi_nmf"


def test_round_trip(new, reference, tmp_path):
    reference.write_h5ad(tmp_path / "reference.h5ad")
    read = ad.read_h5ad(tmp_path / "reference.h5ad")
    assert read.uns["semi_nmf"]["l1_penalty"] == reference.uns["semi_nmf"]["l1_penalty"]
    W = usages(new, reference)
    scp.tl.project(new, read)
    np.testing.assert_array_equal(new.obsm["X_semi_nmf"], W)
    new.write_h5ad(tmp_path / "new.h5ad")
    back = ad.read_h5ad(tmp_path / "new.h5ad")
    pd.testing.assert_frame_equal(
        scp.tl.match_programs(back, reference), scp.tl.match_programs(new, reference), check_dtype=False
    )
    assert back.uns["semi_nmf"]["params"]["n_genes_used"] == 150
    np.testing.assert_array_equal(usages(new, back), W)


# --- bad input -------------------------------------------------------------------------------------------------------


def unchanged_by(adata, reference, error, match, **kwargs):
    before = adata.copy() if isinstance(adata, ad.AnnData) else None
    with pytest.raises(error, match=match):
        scp.tl.project(adata, reference, **kwargs)
    if before is not None:
        for slot in ("obsm", "varm", "uns", "obs"):
            assert list(getattr(before, slot)) == list(getattr(adata, slot))


def test_too_few_genes_in_common(new, reference):
    unchanged_by(new[:, :70].copy(), reference, ValueError, "80 of the 150 genes .* at least half")  # row 45
    new.var_names = new.var_names.str.swapcase()
    unchanged_by(new, reference, ValueError, "150 names differ in upper and lower case alone, such as")
    new.var_names = [f"ENSG{i:011d}" for i in range(new.n_vars)]
    unchanged_by(new, reference, ValueError, "adata has 'ENSG00000000000'.*same kind of gene names")


def test_a_warning_about_missing_genes_hints_at_case(new, reference):
    new.var_names = [*new.var_names[:-10].tolist(), *new.var_names[-10:].str.swapcase()]
    with pytest.warns(ProgramsWarning, match="10 names differ in upper and lower case alone"):
        scp.tl.project(new, reference)


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_duplicated_genes(new, reference):  # row 39
    names = new.var_names.tolist()
    new.var_names = [names[1], *names[1:]]
    unchanged_by(new, reference, ValueError, r"adata\.var_names has 1 duplicates.*adata\.var_names_make_unique")
    reference.var_names = new.var_names
    unchanged_by(new, reference, ValueError, r"reference\.var_names has 1 duplicates.*reference\.var_names_make")


def test_what_is_no_anndata(new, reference):  # row 47
    unchanged_by(new.to_df(), reference, TypeError, r"adata is a pandas\.DataFrame")
    unchanged_by(new, reference.to_df(), TypeError, r"reference is a pandas\.DataFrame")


def test_what_the_reference_lacks(new, reference):  # row 36
    unchanged_by(new, reference, KeyError, "no factorization under key='x'.*'semi_nmf'", key="x")
    del reference.uns["semi_nmf"]["l1_penalty"]
    unchanged_by(new, reference, KeyError, r"'l1_penalty' is not in reference.uns.*factorize the reference again")
    del reference.varm["semi_nmf_model"]
    unchanged_by(new, reference, KeyError, r"'semi_nmf_model' is not in adata\.varm")


def test_bad_matrices_and_names(new, reference):
    unchanged_by(new, reference, ValueError, "key_added='a/b'", key_added="a/b")
    new.X.data[0] = np.nan
    unchanged_by(new, reference, ValueError, "NaN")
    unchanged_by(new[:0].copy(), reference, ValueError, "0 cells")


# --- a real screen ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*may hold guides or replicates")
@pytest.mark.shared_data
@pytest.mark.parametrize("options", [{}, OPTIONS["control"]], ids=["default", "control"])
def test_the_same_programs_respond_in_held_out_cells_of_papalexi(options):
    """Rank correlation over 10 programs; with more, most respond to nothing and their order is noise."""
    if not PAPALEXI.exists():
        pytest.skip("the Papalexi 2021 screen is not beside the project")
    adata = ad.read_h5ad(PAPALEXI)
    adata = log_normalised(adata[adata.obs["guide_confident"].to_numpy()].copy())
    half = np.random.default_rng(0).random(adata.n_obs) < 0.5
    train, held_out = adata[half].copy(), adata[~half].copy()
    scp.tl.semi_nmf(train, 10, **options)
    scp.tl.project(held_out, train)
    eta = []
    for part in (train, held_out):
        scp.tl.program_anova(part, "perturbation")
        eta.append(scp.get.anova(part, "perturbation")["eta_squared"])
    eta = [values.sort_index() for values in eta]
    assert spearmanr(*eta)[0] >= 0.9
    assert np.corrcoef(*eta)[0, 1] >= 0.98
