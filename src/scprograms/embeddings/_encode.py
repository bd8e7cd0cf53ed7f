"""``tl.encode``: latent variables of new cells by an encoder that was trained before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scprograms._anndata.matrix import check_adata
from scprograms._core.validate import check_name

from .store import align_features, read_accessibility, write_latent

if TYPE_CHECKING:
    import os

    from anndata import AnnData


def encode(
    adata: AnnData,
    encoder: str | os.PathLike[str],
    *,
    layer: str | None = None,
    device: str | None = None,
    key_added: str = "autoencoder",
    copy: bool = False,
) -> AnnData | None:
    """Encode cells with a network that :func:`scprograms.tl.autoencoder` has trained and saved.

    Features are found by name; those that the encoder does not know are left out. Weights of features and the typical
    depth are those of the training cells. The training cells themselves get the same latent variables as in training,
    bit for bit on the same device.

    Parameters
    ----------
    adata
        Cells x peaks.
    encoder
        File that ``tl.autoencoder(..., save=...)`` has written. Nothing in it is executed.
    layer
        Layer with what the network was trained on; None means ``.X``. ``.raw`` is never read.
    device
        Such as ``"cpu"`` or ``"cuda"``. None takes a GPU where there is one.
    key_added
        Name of the slots below.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the changed copy with ``copy=True``. Written are:

    ``.obsm["X_{key_added}"]``
        Latent variables, n_obs x n_latent, float32.
    ``.uns["{key_added}"]``
        ``params``, those of the network and the name of the file, ``encoder``.

    Raises
    ------
    ImportError
        If torch is not installed.
    FileNotFoundError
        If there is no such file.
    TypeError
        If ``adata`` is no AnnData or is backed, or the matrix is no numpy array or scipy matrix of real numbers.
    ValueError
        If the file holds no encoder, no feature of the encoder is in ``adata``, the names of features are not unique,
        or the matrix is empty, has negative, NaN or infinite values or no signal.
    KeyError
        If ``layer`` does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_peaks(300, 1000, 4)
    >>> train, new = adata[:200].copy(), adata[200:].copy()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "encoder.pt"
    ...     scp.tl.autoencoder(train, n_latent=5, epochs=5, device="cpu", progress=False, save=file)
    ...     scp.tl.encode(new, file, device="cpu")
    >>> new.obsm["X_autoencoder"].shape
    (100, 5)
    """
    check_adata(adata)
    check_name("key_added", key_added)
    path = Path(encoder)
    if not path.is_file():
        msg = f"encoder={str(path)!r} is no file. Make one with scp.tl.autoencoder(adata, save=...)."
        raise FileNotFoundError(msg)
    matrix = read_accessibility(adata, layer=layer)
    from .engine.networks import Autoencoder

    model, extra = Autoencoder.load(path, device=device)
    features = extra.get("features", [])
    if len(features) != model.n_features_:
        msg = f"encoder={str(path)!r} does not name its {model.n_features_} features: save it with tl.autoencoder."
        raise ValueError(msg)
    aligned = align_features(adata, matrix, features, where=f"encoder {path.name!r}")
    latent = model.encode(aligned)
    params = {name: list(value) if isinstance(value, tuple) else value for name, value in model.params.items()}
    params = {
        name: value for name, value in {**params, "layer": layer, "encoder": path.name}.items() if value is not None
    }
    adata = adata.copy() if copy else adata
    write_latent(adata, key_added, latent, params)
    return adata if copy else None
