"""The losses by their formulas and limits, and the network: what it starts from, learns, and leaves in a file."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='the network needs torch: pip install "scprograms[deep]"')

from torch.nn import functional  # noqa: E402

import scprograms as scp  # noqa: E402
from scprograms.accessibility.engine import AccessibilityModel, average_precision, split_cells, untied_precision  # noqa: E402
from scprograms.accessibility.engine._accessibility_network import (  # noqa: E402  # noqa: E402
    NetworkSettings,
    SwishNetwork,
    accessibility_loss,
    dice_loss,
    focal_loss,
)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def multiome():
    return scp.datasets.simulate_multiome(1500, 400, 200, random_state=3)


def arrays(data):
    return data["rna"].X, data["atac"].X.toarray() > 0, data["atac"].layers["true_probability"]


def tensors(seed=0, shape=(9, 7)):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(3 * rng.standard_normal(shape))
    return logits, torch.from_numpy((rng.random(shape) < 0.3).astype(float))


# --- losses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [None, 0.0, 0.25, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_loss_is_its_formula_by_a_loop(alpha, gamma):
    logits, target = tensors()
    found = focal_loss(logits, target, alpha=alpha, gamma=gamma)
    for (i, j), z in np.ndenumerate(logits.numpy()):
        p = 1 / (1 + np.exp(-z))
        is_open = target[i, j] == 1
        p_t = p if is_open else 1 - p
        weight = 1 if alpha is None else alpha if is_open else 1 - alpha
        assert float(found[i, j]) == pytest.approx(-weight * (1 - p_t) ** gamma * np.log(p_t), abs=1e-12)


def test_focal_loss_without_gamma_is_cross_entropy():
    logits, target = tensors()
    plain = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    torch.testing.assert_close(focal_loss(logits, target, alpha=None, gamma=0), plain)
    torch.testing.assert_close(focal_loss(logits, target, alpha=0.5, gamma=0), plain / 2)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
def test_losses_of_a_perfect_prediction_are_zero_and_their_slopes_finite(gamma):
    _, target = tensors()
    logits = (200 * (2 * target - 1)).requires_grad_()
    focal = focal_loss(logits, target, gamma=gamma).sum()
    dice = dice_loss(torch.sigmoid(logits), target)
    assert float(focal.detach()) == pytest.approx(0, abs=1e-12)
    assert float(dice.detach()) == pytest.approx(0, abs=1e-12)
    (focal + dice).backward()
    assert torch.isfinite(logits.grad).all()
    wrong = (-200 * (2 * target - 1)).requires_grad_()
    loss = focal_loss(wrong, target, gamma=gamma).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(wrong.grad).all()
    assert float(wrong.grad.abs().min()) > 0.2  # 0.25 of open entries, 0.75 of closed ones


def test_dice_loss_is_its_formula_and_zero_where_nothing_is_open():
    p, y = torch.tensor([[0.2, 0.9], [0.5, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert float(dice_loss(p, y)) == pytest.approx(1 - (2 * 1.4 + 1) / (1.6 + 2 + 1))
    assert float(dice_loss(p, y, smooth=0)) == pytest.approx(1 - 2.8 / 3.6)
    zero = torch.zeros(3, 4)
    assert float(dice_loss(zero, zero)) == 0
    assert float(dice_loss(torch.ones(3, 4), zero)) == pytest.approx(1 - 1 / 13)


def test_the_loss_is_the_weighted_sum():
    logits, target = tensors()
    focal = focal_loss(logits, target, alpha=0.4, gamma=1).sum(dim=1).mean()
    dice = dice_loss(torch.sigmoid(logits), target)
    found = accessibility_loss(logits, target, focal_weight=2, dice_weight=3, alpha=0.4, gamma=1)
    assert float(found) == pytest.approx(float(2 * focal + 3 * dice))
    assert float(accessibility_loss(logits, target, focal_weight=0)) == pytest.approx(float(dice))


# --- the network ---------------------------------------------------------------------------------------------------


def test_before_training_it_is_the_mean_of_each_peak():
    mean = np.array([0.05, 0.3, 0.9])
    network = SwishNetwork(10, mean, NetworkSettings(hidden=(5,)))
    found = torch.sigmoid(network(torch.randn(4, 10))).detach().numpy()
    np.testing.assert_allclose(found, np.tile(mean, (4, 1)), atol=1e-6)


def fit(data, split=None, near=None, **settings):
    X, Y, _ = arrays(data)
    settings = {"hidden": [64], "epochs": 12, "dropout": 0.5, "learning_rate": 1e-3, **settings}
    model = AccessibilityModel("network", settings=settings)
    return model.fit(X, Y, split or split_cells(len(Y)), near=near)


@pytest.fixture(scope="module")
def fitted(multiome):
    return fit(multiome)


def test_the_loss_falls_and_the_kept_epoch_is_the_best(multiome, fitted):
    X, Y, _ = arrays(multiome)
    history = fitted.history_
    assert history["loss"].iloc[-1] < 0.8 * history["loss"].iloc[1]
    best = history["validation_pr_auc"].max()
    assert fitted.validation_.loc["network", "pr_auc"] == pytest.approx(best, abs=1e-4)
    validation = split_cells(len(Y)).validation
    assert untied_precision(Y[validation], fitted.predict_proba(X[validation])) == pytest.approx(best, abs=1e-4)


def test_the_default_network_reaches_95_percent_of_the_oracle_and_auto_takes_it():
    data = scp.datasets.simulate_multiome()
    scp.tl.train_accessibility(data, epochs=20)
    atac = data["atac"]
    test = (atac.obs["accessibility_split"] == "test").to_numpy()
    target = atac.var["accessibility_target"].to_numpy()
    p = atac.layers["true_probability"][test][:, target]
    oracle = average_precision(atac.X[test].toarray()[:, target] > 0, p)
    table = scp.get.accessibility(data)
    assert table.attrs["chosen"] == "network"
    assert table.loc["network", "pr_auc"] >= 0.95 * oracle
    assert table.loc["mean", "pr_auc"] < 0.5 * oracle


@pytest.mark.parametrize("settings", [{}, {"normalization": "batch"}, {"normalization": "layer"}, {"hidden": []}])
def test_arrays_predict_what_torch_predicts(settings, multiome):
    from scprograms.accessibility.engine._genes import GeneScaler
    from scprograms.accessibility.engine._network import Network

    X, Y, _ = arrays(multiome)
    scaler = GeneScaler.fit(X, max_value=10)
    clipped = scaler.clip(X[:50])
    network = SwishNetwork(400, Y.mean(axis=0), NetworkSettings(**{"hidden": (20, 10), **settings}), local=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    network.train()
    network(torch.from_numpy(scaler.rows(clipped, slice(None))))  # moves the running moments
    network.eval()
    local = np.random.default_rng(0).standard_normal((50, 200)).astype(np.float32)
    with torch.no_grad():
        rows = torch.from_numpy(scaler.rows(clipped, slice(None)))
        expected = torch.sigmoid(network(rows, torch.from_numpy(local))).numpy()
    np.testing.assert_allclose(Network(scaler, network.arrays()).scores(clipped, local), expected, atol=2e-5)


def test_same_seed_same_result_and_the_global_generator_is_left_alone(multiome, fitted):
    X, _, _ = arrays(multiome)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = fit(multiome)
    torch.testing.assert_close(torch.rand(3), expected)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize(
    "settings",
    [
        {"normalization": "batch"},
        {"normalization": "layer", "optimizer": "adam"},
        {"focal_weight": 0.0},
        {"dice_weight": 0.0, "alpha": None, "gamma": 0.0},
    ],
)
def test_every_setting_beats_the_mean_of_each_peak(settings, multiome):
    X, Y, _ = arrays(multiome)
    split = split_cells(len(Y))
    model = fit(multiome, epochs=4, **settings)
    scores = {name: average_precision(Y[split.test], model.predict_proba(X[split.test], model=name))
              for name in ("mean", "network")}  # fmt: skip
    assert scores["network"] > scores["mean"] + 0.08


def test_expression_near_peaks_has_a_slope_of_its_own():
    """Peaks follow the one gene beside them: with distances, the network can single it out."""
    from scipy import sparse

    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 300))
    Y = rng.random((600, 80)) < 1 / (1 + np.exp(2 - 1.5 * X[:, :80]))
    near = sparse.csc_array((np.ones(80), (np.arange(80), np.arange(80))), shape=(300, 80))
    split = split_cells(600)
    settings = {"hidden": [32], "epochs": 20, "learning_rate": 1e-2, "dropout": 0.3}
    found = [AccessibilityModel("network", settings=settings).fit(X, Y, split, near=n) for n in (near, None)]
    with_, without = (average_precision(Y[split.test], model.predict_proba(X[split.test])) for model in found)
    assert with_ > without + 0.05
    assert found[0].candidates_["network"].weights["local"].mean() > 0.2


@pytest.mark.parametrize("seed", range(4))
def test_without_coupling_the_network_is_not_below_the_mean(seed):
    data = scp.datasets.simulate_multiome(600, 100, 80, coupling=0, random_state=seed)
    X, Y, _ = arrays(data)
    split = split_cells(600, random_state=seed)
    model = fit(data, split, epochs=8, hidden=[32])
    scores = {name: average_precision(Y[split.test], model.predict_proba(X[split.test], model=name))
              for name in ("mean", "network")}  # fmt: skip
    assert scores["network"] >= scores["mean"] - 0.01


def test_the_running_mean_of_weights():
    from scprograms.accessibility.engine._accessibility_network import RunningWeights

    layer = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0)
    running, expected = RunningWeights(layer, 0.5), 0.0
    for step in range(1, 12):
        with torch.no_grad():
            layer.weight.fill_(step)
        running.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    with running.used():
        assert float(layer.weight.detach()) == pytest.approx(expected, rel=1e-6)
    assert float(layer.weight.detach()) == 11


def test_patience_stops_and_none_does_not(multiome):
    few = fit(multiome, epochs=40, patience=2, dropout=0.0, learning_rate=3e-3)
    assert len(few.history_) < 41
    last = len(few.history_) - 1
    assert last - int(few.history_["validation_pr_auc"].to_numpy().argmax()) == 2
    assert len(fit(multiome, epochs=6, patience=None, hidden=[4]).history_) == 7


def test_a_trained_network_survives_a_file_bit_for_bit(multiome, fitted, tmp_path):
    X, _, _ = arrays(multiome)
    fitted.write(tmp_path / "model.npz")
    again = AccessibilityModel.read(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again.history_["validation_pr_auc"].tolist() == pytest.approx(
        fitted.history_["validation_pr_auc"].tolist(), abs=1e-12
    )


def test_a_network_that_was_written_predicts_without_torch(multiome, fitted, tmp_path, monkeypatch):
    import sys

    X, _, _ = arrays(multiome)
    fitted.write(tmp_path / "model.npz")
    expected = fitted.predict_proba(X)
    monkeypatch.setitem(sys.modules, "torch", None)
    np.testing.assert_array_equal(AccessibilityModel.read(tmp_path / "model.npz").predict_proba(X), expected)


def test_training_that_diverges_keeps_what_was_before(multiome):
    model = fit(multiome, learning_rate=1e30, epochs=3, dropout=0.0)
    X, _, _ = arrays(multiome)
    assert np.isfinite(model.predict_proba(X)).all()


def test_a_single_cell_left_over_is_no_batch_of_its_own():
    from scprograms.accessibility.engine._accessibility_network import _batches

    sizes = [len(batch) for batch in _batches(np.arange(65), NetworkSettings(batch_size=32))]
    assert sizes == [32, 33]
    assert [len(batch) for batch in _batches(np.arange(66), NetworkSettings(batch_size=32))] == [32, 32, 2]


def test_threads_of_torch_are_set_within_a_fit_and_left_as_they_were(multiome):
    import torch

    X, _, _ = arrays(multiome)
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2):  # what another library has set
            torch.set_num_threads(n_threads)
            found.append(fit(multiome, epochs=2, n_jobs=1).predict_proba(X))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])
