"""The embeddings that ``tl.compare_embeddings`` makes by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scprograms.programs.engine import NMF, SemiNMF

from .engine import neighbor_means
from .engine.decompositions import lsi, pca

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from scipy import sparse

FACTORIZATIONS = ("lsi", "pca", "nmf", "lsnmf", "semi_nmf")
NETWORKS: dict[str, Literal["basic", "sparse", "stacked", "vae"]] = {
    "basic_ae": "basic",
    "sparse_ae": "sparse",
    "stacked_ae": "stacked",
    "vae": "vae",
}
SMOOTH = "_smooth"
"""Ending of a method whose cells are then averaged with their neighbours."""
PLAIN = (*FACTORIZATIONS, *NETWORKS, "peakvi")
METHODS = (*PLAIN, *(f"{name}{SMOOTH}" for name in PLAIN))
_MOST_SWEEPS = 200


@dataclass(frozen=True)
class Recipe:
    """What the methods have in common."""

    accessibility: sparse.csr_matrix
    """What is open in which cell, for the networks."""
    weighted: sparse.csr_matrix
    """What is factorized."""
    n_latent: int
    n_smooth: int
    """Neighbours that smoothed embeddings average."""
    network_options: Mapping[str, Any]


def check_installed(names: list[str]) -> None:
    """Raise an ImportError, before anything takes time, if a method needs what is not installed."""
    names = [name.removesuffix(SMOOTH) for name in names]
    if any(name in NETWORKS for name in names):
        from .engine import networks  # noqa: F401  its own message says what to install
    if "peakvi" in names:
        try:
            import scvi  # noqa: F401
        except ImportError as error:
            msg = "'peakvi' needs scvi-tools, which is not installed: pip install scvi-tools, or leave it out of keys."
            raise ImportError(msg) from error


def embed(name: str, recipe: Recipe, seed: int) -> NDArray:
    """Return the embedding of a method, cells x n_latent."""
    if name.endswith(SMOOTH):
        return neighbor_means(embed(name.removesuffix(SMOOTH), recipe, seed), recipe.n_smooth)
    if name in NETWORKS:
        from .engine.networks import Autoencoder

        options: dict[str, Any] = {**recipe.network_options, "random_state": seed}
        model = Autoencoder(NETWORKS[name], recipe.n_latent, **options)
        return model.fit(recipe.accessibility).encode(recipe.accessibility)
    if name == "peakvi":
        return _peakvi(recipe, seed)
    if name == "lsi":
        return lsi(recipe.weighted, recipe.n_latent, seed)
    if name == "pca":
        return pca(recipe.weighted, recipe.n_latent, seed)
    model = (
        SemiNMF(recipe.n_latent, random_state=seed, n_jobs=1)
        if name == "semi_nmf"
        else NMF(
            recipe.n_latent,
            solver="lsnmf" if name == "lsnmf" else "hals",
            max_iter=_MOST_SWEEPS,
            random_state=seed,
            n_jobs=1,
        )
    )
    return model.fit_transform(recipe.weighted)


def _peakvi(recipe: Recipe, seed: int) -> NDArray:
    import scvi
    from anndata import AnnData

    scvi.settings.seed = seed
    cells = AnnData(recipe.accessibility.copy())
    scvi.model.PEAKVI.setup_anndata(cells)
    model = scvi.model.PEAKVI(cells, n_latent=recipe.n_latent)
    epochs = recipe.network_options.get("epochs")
    model.train(**({} if epochs is None else {"max_epochs": epochs}))
    return np.asarray(model.get_latent_representation())
