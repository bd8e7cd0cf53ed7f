"""The four networks on planted cell types, their parts against formulas, files, and the command line."""

from __future__ import annotations

import math

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

torch = pytest.importorskip("torch", reason='networks need torch: pip install "scprograms[deep]"')

import scprograms as scp  # noqa: E402
from scprograms.cli import main  # noqa: E402
from scprograms.embeddings.engine.networks import Autoencoder  # noqa: E402
from scprograms.embeddings.engine.networks._batches import Batches, Transform  # noqa: E402
from scprograms.embeddings.engine.networks._networks import (  # noqa: E402  # noqa: E402
    SparseLinear,
    bernoulli_loss,
    gaussian_divergence,
    sparsity_penalty,
    squared_loss,
    weighted_sums,
)

OPTIONS = {
    "basic": {"epochs": 60, "learning_rate": 0.002, "patience": 15},
    "sparse": {"epochs": 60, "learning_rate": 0.01},
    "stacked": {"epochs": 30, "pretrain_epochs": 20, "layers": (64, 32), "learning_rate": 0.002},
    "vae": {"epochs": 60},
}
KINDS = list(OPTIONS)


@pytest.fixture(autouse=True)
def _close_figures():
    mpl.use("agg")
    yield
    from matplotlib import pyplot as plt

    plt.close("all")


@pytest.fixture(scope="module")
def planted():
    return scp.datasets.simulate_peaks(600, 1500, 4, fold_change=8, density=0.06, random_state=0)


@pytest.fixture(scope="module")
def trained(planted):
    found = {}
    for kind in KINDS:
        adata = planted.copy()
        scp.tl.autoencoder(adata, kind, 8, device="cpu", progress=False, **OPTIONS[kind])
        found[kind] = adata
    return found


@pytest.fixture(scope="module")
def batches(planted):
    transform = Transform.fit(planted.X, "tfidf")
    return Batches(planted.X, transform, torch.device("cpu"))


def ari(adata, latent):
    clusters = KMeans(4, n_init=10, random_state=0).fit_predict(latent)
    return adjusted_rand_score(adata.obs["cell_type"], clusters)


# --- what the issue asks of the four -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_latent_variables_separate_planted_types_and_the_loss_falls(trained, kind):
    adata = trained[kind]
    assert adata.obsm["X_autoencoder"].shape == (600, 8)
    assert adata.obsm["X_autoencoder"].dtype == np.float32
    assert ari(adata, adata.obsm["X_autoencoder"]) >= 0.9
    for _, part in scp.get.training_history(adata).groupby("stage", sort=False):
        assert part["loss"].iloc[-1] < part["loss"].iloc[0]
        assert part["held_out_loss"].min() < part["held_out_loss"].iloc[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_result_and_leaves_the_seed_of_the_user_alone(planted, kind):
    options = {"epochs": 2, "pretrain_epochs": 1, "device": "cpu"}
    torch.manual_seed(1)
    a = Autoencoder(kind, 4, **options).fit(planted.X).encode(planted.X)
    after = torch.rand(1)
    torch.manual_seed(2)
    b = Autoencoder(kind, 4, **options).fit(planted.X).encode(planted.X)
    c = Autoencoder(kind, 4, random_state=1, **options).fit(planted.X).encode(planted.X)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)


def test_threads_of_torch_are_set_within_a_fit_and_left_as_they_were(planted):
    before = torch.get_num_threads()
    found = []
    try:
        for n_threads in (1, 2):  # what a session or another library has set
            torch.set_num_threads(n_threads)
            model = Autoencoder("vae", 4, epochs=2, device="cpu").fit(planted.X)
            found.append(model.encode(planted.X))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])


def test_the_sparse_one_is_sparse(trained, planted):
    mean = trained["sparse"].obsm["X_autoencoder"].mean(axis=0)
    np.testing.assert_allclose(mean, 0.03, rtol=0.2)
    free = Autoencoder("sparse", 8, device="cpu", sparsity_weight=0.0, **OPTIONS["sparse"]).fit(planted.X)
    assert np.abs(free.encode(planted.X).mean(axis=0) / 0.03 - 1).max() > 0.2  # the penalty is what holds it there


def test_the_penalty_has_a_gradient_and_is_zero_at_the_target():
    inputs = torch.linspace(-2, 1, 40, dtype=torch.float64).reshape(10, 4).requires_grad_()
    sparsity_penalty(torch.sigmoid(inputs), 0.03).backward()
    assert (inputs.grad.abs() > 1e-4).all()
    at_target = torch.full((10, 4), 0.03, dtype=torch.float64)
    assert float(sparsity_penalty(at_target, 0.03)) == pytest.approx(0, abs=1e-12)
    # What the published code minimises: activations are normalised over the batch first, so the mean is 1 / n.
    other = torch.softmax(inputs, dim=0).mean(dim=0)
    torch.testing.assert_close(other, torch.full_like(other, 0.1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_survives_the_disk_bit_for_bit(planted, tmp_path, kind):
    path = tmp_path / "encoder.pt"
    mask = np.arange(planted.n_vars) % 3 > 0
    adata = planted.copy()
    options = {"epochs": 2, "pretrain_epochs": 1, "device": "cpu", "progress": False}
    scp.tl.autoencoder(adata, kind, 4, mask_var=mask, save=path, **options)
    again = planted.copy()
    scp.tl.encode(again, path, device="cpu")
    np.testing.assert_array_equal(again.obsm["X_autoencoder"], adata.obsm["X_autoencoder"])
    shuffled = planted[::-1, np.random.default_rng(0).permutation(planted.n_vars)].copy()
    scp.tl.encode(shuffled, path, device="cpu", key_added="new")
    np.testing.assert_allclose(shuffled.obsm["X_new"][::-1], adata.obsm["X_autoencoder"], atol=1e-5)
    assert shuffled.uns["new"]["params"]["encoder"] == "encoder.pt"
    assert [p.name for p in tmp_path.iterdir()] == ["encoder.pt"]


def test_new_cells_lie_with_those_of_their_type(planted, tmp_path):
    train, new = planted[:450].copy(), planted[450:].copy()
    scp.tl.autoencoder(train, n_latent=8, epochs=60, device="cpu", progress=False, save=tmp_path / "e.pt")
    scp.tl.encode(new, tmp_path / "e.pt", device="cpu")
    kmeans = KMeans(4, n_init=10, random_state=0).fit(train.obsm["X_autoencoder"])
    assert adjusted_rand_score(new.obs["cell_type"], kmeans.predict(new.obsm["X_autoencoder"])) > 0.85


# --- parts against formulas ----------------------------------------------------------------------------------------


def test_batches_equal_the_dense_rows_and_the_first_layer_a_product(batches, planted):
    rows = np.array([5, 0, 77])
    batch = batches.take(rows)
    dense = np.zeros((3, planted.n_vars), dtype=np.float32)
    dense[batch.rows.numpy(), batch.columns.numpy()] = batch.values.numpy()
    X = planted.X.toarray() > 0
    idf = np.log1p(600 / np.maximum(X.sum(axis=0), 1))
    expected = X[rows] * idf
    expected *= np.sqrt(np.median(X.sum(axis=1))) / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(dense, expected, rtol=1e-5)
    layer = SparseLinear(planted.n_vars, 6, scale=0.5, dropout=0.0)
    product = 0.5 * torch.from_numpy(dense) @ layer.weight + layer.bias
    torch.testing.assert_close(layer(batch), product)
    dense_sums = weighted_sums(layer.weight, batch, batch.values, dense=True)
    torch.testing.assert_close(0.5 * dense_sums + layer.bias, product)
    layer(batch).square().sum().backward()
    found = layer.weight.grad.clone()
    layer.weight.grad = None
    (0.5 * torch.from_numpy(dense) @ layer.weight + layer.bias).square().sum().backward()
    torch.testing.assert_close(found, layer.weight.grad, atol=1e-5, rtol=1e-4)
    depth = np.log(X.sum(axis=1))
    np.testing.assert_allclose(batch.log_depth.numpy().ravel(), depth[rows] - depth.mean(), rtol=1e-4, atol=1e-6)


def test_losses_equal_their_dense_formulas(batches):
    batch = batches.take(np.arange(7))
    rng = np.random.default_rng(0)
    output = torch.from_numpy(rng.normal(size=(7, 1500))).float()
    target = torch.zeros(7, 1500)
    target[batch.rows, batch.columns] = batch.values
    binary = (target > 0).float()
    for loss, dense in (
        (
            bernoulli_loss,
            lambda o: torch.nn.functional.binary_cross_entropy_with_logits(o, binary, reduction="sum") / 7,
        ),
        (squared_loss, lambda o: (o - target).square().sum() / target.square().sum()),
    ):
        a, b = output.clone().requires_grad_(), output.clone().requires_grad_()
        (3 * loss(a, batch)).backward()
        (3 * dense(b)).backward()
        torch.testing.assert_close(loss(a, batch), dense(b), rtol=1e-5, atol=0)
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-7)


def test_divergence_equals_torchs():
    mean, log_variance = torch.randn(9, 3), torch.randn(9, 3)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, (0.5 * log_variance).exp()), normal(0.0, 1.0))
    torch.testing.assert_close(gaussian_divergence(mean, log_variance), expected.sum(dim=1).mean())


def test_training_keeps_the_best_epoch_and_stops_when_patience_ends(planted):
    model = Autoencoder("basic", 4, epochs=60, patience=3, learning_rate=0.01, device="cpu").fit(planted.X)
    losses = [row["held_out_loss"] for row in model.history_]
    assert len(losses) == int(np.argmin(losses)) + 4 < 60
    assert model.best_epoch_ == int(np.argmin(losses))
    assert model.best_held_out_loss_ == min(losses)
    rates = [row["learning_rate"] for row in model.history_]
    assert rates[0] == 0.01
    long = Autoencoder("basic", 4, epochs=12, patience=None, validation_fraction=0.0, device="cpu").fit(planted.X)
    assert len(long.history_) == 12
    assert long.history_[11]["learning_rate"] == pytest.approx(0.9 * long.learning_rate)
    assert math.isnan(long.best_held_out_loss_)


def test_stacked_is_trained_layer_by_layer_and_layers_outside_stay(planted):
    model = Autoencoder("stacked", 4, layers=(16, 8), epochs=2, pretrain_epochs=2, device="cpu").fit(planted.X)
    stages = [row["stage"] for row in model.history_]
    assert stages == ["layer 1"] * 2 + ["layer 2"] * 2 + ["layer 3"] * 2 + ["joint"] * 2
    plain = Autoencoder("stacked", 4, layers=(16, 8), epochs=2, pretrain_epochs=0, device="cpu").fit(planted.X)
    assert {row["stage"] for row in plain.history_} == {"training"}


def test_depth_enters_the_logits_of_the_vae(planted):
    """Cells of one type that differ in depth alone: with the depth in the logits, latent variables need not say it."""
    adata = scp.datasets.simulate_peaks(400, 800, 1, density=0.1, depth_sd=0.8, random_state=0)
    held_out = {
        depth: Autoencoder("vae", 2, epochs=8, depth=depth, device="cpu").fit(adata.X).history_[0]["held_out_loss"]
        for depth in (True, False)
    }
    assert held_out[True] < held_out[False]


# --- the verb ------------------------------------------------------------------------------------------------------


def test_slots_params_and_the_disk(planted, tmp_path):
    adata = planted.copy()
    before = adata.X.copy()
    mask = np.arange(adata.n_vars) < 500
    out = scp.tl.autoencoder(adata, "vae", 3, epochs=2, mask_var=mask, device="cpu", progress=False, copy=True)
    assert "X_autoencoder" not in adata.obsm
    assert (before != out.X).nnz == 0
    assert out.var["autoencoder_used"].tolist() == mask.tolist()
    entry = out.uns["autoencoder"]
    assert entry["params"]["kind"] == "vae"
    assert entry["params"]["layers"] == [128]
    assert entry["device"] == "cpu"
    assert list(entry["history"]) == ["stage", "epoch", "loss", "held_out_loss", "learning_rate"]
    out.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(
        scp.get.training_history(back), scp.get.training_history(out), check_dtype=False, check_categorical=False
    )
    axes = scp.pl.training_history(out, show=False)
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), entry["history"]["loss"])


def test_formats_of_the_matrix_do_not_matter(planted):
    found = []
    part = planted[:80, :300]
    for matrix in (part.X, part.X.tocsc(), part.X.toarray(), sparse.csr_array(part.X).astype(np.int32) * 5):
        adata = ad.AnnData(matrix)
        scp.tl.autoencoder(adata, n_latent=2, epochs=2, device="cpu", progress=False)
        found.append(adata.obsm["X_autoencoder"])
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kind": "deep"}, ValueError, "kind='deep' is not known"),
        ({"n_latent": 0}, ValueError, "n_latent=0 is too small"),
        ({"epochs": 1.5}, TypeError, "epochs=1.5 is a float"),
        ({"layers": "128"}, TypeError, "layers='128' is a str"),
        ({"layers": ()}, ValueError, "needs one hidden layer or more"),
        ({"kind": "sparse", "layers": (8,)}, ValueError, "needs none, it is a single layer"),
        ({"transform": "log"}, ValueError, "transform='log' is not known"),
        ({"dropout": 1}, ValueError, "dropout=1 is out of range"),
        ({"patience": 0}, ValueError, "patience=0 is too small"),
        ({"layer": "counts"}, KeyError, "'counts' is not in adata.layers"),
        ({"mask_var": "good"}, KeyError, "'good' is not in adata.var"),
        ({"save": "no/such/folder/e.pt"}, FileNotFoundError, "does not exist. Make it first"),
        ({"key_added": "a/b"}, ValueError, "cannot name a slot"),
        ({"learning_rate": 1e12, "epochs": 20}, FloatingPointError, "lower learning_rate"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(planted, arguments, error, message):
    adata = planted[:60, :200].copy()
    with pytest.raises(error, match=message):
        scp.tl.autoencoder(adata, **{"epochs": 1, "device": "cpu", "progress": False, **arguments})
    assert not adata.obsm
    assert not adata.uns


def test_bad_data_are_named(planted):
    adata = planted[:20, :50].copy()
    adata.X = -adata.X
    with pytest.raises(ValueError, match="negative values"):
        scp.tl.autoencoder(adata, device="cpu")
    with pytest.raises(ValueError, match="1 cell: there is nothing to learn from"):
        scp.tl.autoencoder(planted[:1].copy(), device="cpu")
    empty = planted[:20, :50].copy()
    empty.X = sparse.csr_matrix(np.vstack([np.zeros(50), np.ones((19, 50))]))
    with pytest.warns(scp.ProgramsWarning, match="1 of 20 cells have no accessible peak"):
        scp.tl.autoencoder(empty, n_latent=2, epochs=1, device="cpu", progress=False)
    assert np.isfinite(empty.obsm["X_autoencoder"]).all()


def test_files_that_are_no_encoder_are_named(planted, tmp_path):
    with pytest.raises(FileNotFoundError, match="is no file"):
        scp.tl.encode(planted, tmp_path / "none.pt")
    (tmp_path / "bad.pt").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="cannot be read as an encoder"):
        scp.tl.encode(planted, tmp_path / "bad.pt")
    torch.save({"a": 1}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="holds no encoder"):
        scp.tl.encode(planted, tmp_path / "other.pt")
    adata = planted.copy()
    scp.tl.autoencoder(adata, n_latent=2, epochs=1, device="cpu", progress=False, save=tmp_path / "e.pt")
    other = planted.copy()
    other.var_names = [f"p{i}" for i in range(other.n_vars)]
    with pytest.raises(ValueError, match="None of the 1500 features"):
        scp.tl.encode(other, tmp_path / "e.pt")
    with pytest.warns(scp.ProgramsWarning, match="500 of the 1500 features"):
        scp.tl.encode(planted[:, 500:].copy(), tmp_path / "e.pt", device="cpu", key_added="fewer")


def test_networks_are_compared_like_factorizations(planted):
    adata = planted.copy()
    scp.tl.compare_embeddings(
        adata, ["vae"], "cell_type", n_latent=4, n_seeds=2, progress=False,
        network_options={"epochs": 3, "device": "cpu"},
    )  # fmt: skip
    runs = scp.get.embedding_comparison(adata, summary=False)
    assert runs["seed"].tolist() == [0, 1]
    expected = Autoencoder("vae", 4, epochs=3, device="cpu", random_state=0).fit(planted.X).encode(planted.X)
    np.testing.assert_array_equal(adata.obsm["X_vae"], expected)


# --- the command line ----------------------------------------------------------------------------------------------


def test_command_writes_latent_loss_map_and_scores(planted, tmp_path, capsys):
    data, out = tmp_path / "data.h5ad", tmp_path / "out"
    planted[:200].copy().write_h5ad(data)
    code = main(
        ["embed", str(data), "--kind", "stacked", "--layers", "32", "--n-latent", "5", "--pretrain-epochs", "2",
         "--epochs", "3", "--label", "cell_type", "--min-peaks", "10", "--device", "cpu", "-o", str(out), "--quiet"]
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    figures = {f"figures/{name}.{end}" for name in ("loss", "umap") for end in ("png", "pdf")}
    assert files == figures | {
        "latent.csv.gz",
        "history.csv",
        "scores.csv",
        "encoder.pt",
        "embedding.h5ad",
        "summary.txt",
    }
    latent = pd.read_csv(out / "latent.csv.gz", index_col=0)
    stored = ad.read_h5ad(out / "embedding.h5ad")
    np.testing.assert_allclose(latent, stored.obsm["X_autoencoder"], rtol=1e-5)
    assert set(pd.read_csv(out / "history.csv")["stage"]) == {"layer 1", "layer 2", "joint"}
    assert "scprograms embed" in (out / "summary.txt").read_text()


def test_command_names_what_is_wrong(tmp_path, planted, capsys):
    data = tmp_path / "data.h5ad"
    planted[:50].copy().write_h5ad(data)
    for arguments, message in (
        ([str(tmp_path / "none.h5ad")], "does not exist"),
        ([str(data), "--label", "nothing"], "is no column of .obs"),
        ([str(data), "--label-file", str(tmp_path / "none.txt")], "is no file"),
        ([str(data), "--min-peaks", "100000"], "none of the 50 cells"),
        ([str(data), "--kind", "sparse", "--layers", "5", "--min-peaks", "1"], "it is a single layer"),
    ):
        assert main(["embed", *arguments, "-o", str(tmp_path / "out"), "--quiet"]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
