"""Do results hang on rounding? The same data held, cut and computed in other ways, against CSR in memory.

    python benchmarks/agreement.py [--data ../shared/data] [--programs 10 30] [--methods semi_nmf onmf nmf]

Every figure is the largest difference between two usages as a share of the largest usage, programs in the order that
the fits return them in:

- formats: dense, CSC, and a dask array in chunks of 1,000 rows.
- chunks: dask arrays in chunks of 500, of 2,048, of uneven heights, and in one.
- threads: one instead of all.
- targets: a process whose kernels are compiled for any x86-64 processor (``NUMBA_CPU_NAME=generic``) and whose BLAS
  takes the products of an older one (``OPENBLAS_CORETYPE=Haswell``).
- cosine: the smallest of loadings in the same place, over all of these.
- float32: the data in float64 against those in float32.

Planted: a simulated screen of 5,000 x 2,000 with 20 programs over a housekeeping program. The real sets are those of
``quality.py``; sets that are not there are left out. At k = 30, above the rank of the data,
programs are nearly degenerate.

Second table: planted matrices of 1,000 x 80 and more, as CSR and dense in float32 and dense in float64.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import scanpy as sc
from quality import load
from scipy import sparse

import scprograms as scp
from scprograms.programs.engine import NMF, OrthogonalNMF, SemiNMF

if TYPE_CHECKING:
    from collections.abc import Iterator

METHODS = {"semi_nmf": SemiNMF, "onmf": OrthogonalNMF, "nmf": NMF}
SETS = ("planted", "pbmc3k", "papalexi")
OTHER_TARGET = {"NUMBA_CPU_NAME": "generic", "OPENBLAS_CORETYPE": "Haswell"}
Factors = tuple[np.ndarray, np.ndarray]


def data(name: str, folder: Path) -> sparse.csr_matrix | None:
    """Return the matrix in float32, or None where the set is absent."""
    if name != "planted":
        try:
            return load(name, folder)[0]
        except FileNotFoundError:
            return None
    adata = scp.datasets.simulate_screen(5000, 2000, 21, random_state=0)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return sparse.csr_matrix(adata.X, dtype=np.float32)


def fit(X: object, method: str, k: int, *, n_jobs: int | None = None) -> Factors:
    model = METHODS[method](k, random_state=0, n_jobs=n_jobs)
    return model.fit_transform(X), model.components_


def chunked(X: sparse.csr_matrix, heights: int | tuple[int, ...]) -> da.Array:
    return da.from_array(X.toarray(), chunks=(heights, -1)).map_blocks(sparse.csr_matrix)


def variants(X: sparse.csr_matrix) -> Iterator[tuple[str, object, int | None]]:
    """Yield the column that a variant belongs to, the data, and the number of threads."""
    n = X.shape[0]
    for held in (X.toarray(), X.tocsc(), chunked(X, 1000)):
        yield "formats", held, None
    for heights in (500, 2048, (n // 2, 1, n // 7, n - n // 2 - 1 - n // 7), n):
        yield "chunks", chunked(X, heights), None
    yield "threads", X, 1


def difference(found: Factors, expected: Factors) -> tuple[float, float]:
    """Return the largest difference as a share of the largest usage, and the smallest cosine in place."""
    (W, H), (W0, H0) = ([factor.astype(np.float64) for factor in factors] for factors in (found, expected))
    norms = np.linalg.norm(H, axis=1) * np.linalg.norm(H0, axis=1)
    cosines = np.einsum("ij,ij->i", H, H0)[norms > 0] / norms[norms > 0]
    return float(np.abs(W - W0).max() / W0.max()), float(cosines.min())


def cases(args: argparse.Namespace) -> Iterator[tuple[str, int, str, type, sparse.csr_matrix]]:
    for name in args.sets:
        X = data(name, args.data)
        if X is None:
            print(f"{name}: not in {args.data}, left out", file=sys.stderr)
            continue
        for k in args.programs:
            for method in args.methods:
                for dtype in (np.float32, np.float64):
                    yield name, k, method, dtype, X.astype(dtype)


def on_another_target(arguments: list[str], folder: str) -> None:
    """Run the fits of CSR in a process of its own and keep their factors in a folder."""
    environment = {**os.environ, **OTHER_TARGET, "NUMBA_CACHE_DIR": folder}
    subprocess.run([sys.executable, __file__, *arguments, "--keep", folder], env=environment, check=True)


def many_small(n_matrices: int) -> None:
    """Print, for small planted matrices, how often counts of sweeps differ and the largest difference."""
    print("\n| method | matrices | counts of sweeps differ | largest difference |\n| --- | --- | --- | --- |")
    for method, model in METHODS.items():
        n_differ, largest = 0, 0.0
        for seed in range(n_matrices):
            rng, k = np.random.default_rng(seed), 3 + seed % 8
            n, p = 1000 + 50 * seed, 80 + 4 * seed
            W = rng.gamma(1.0, size=(n, k)) * (rng.random((n, k)) < 0.3)
            X = W @ (rng.gamma(0.5, size=(k, p)) * (rng.random((k, p)) < 0.4)) + 0.5 * rng.normal(size=(n, p))
            X = np.maximum(X, 0)
            single = X.astype(np.float32)
            models = [model(k, random_state=0) for _ in range(3)]
            held = (sparse.csr_matrix(single), single, X)
            usages = [m.fit_transform(Z).astype(np.float64) for m, Z in zip(models, held, strict=True)]
            n_differ += len({m.n_iter_ for m in models}) > 1
            largest = max(largest, *(float(np.abs(U - usages[0]).max() / usages[0].max()) for U in usages[1:]))
        print(f"| {method} | {n_matrices} | {n_differ} | {largest:.0e} |", flush=True)


def file_of(folder: str, name: str, k: int, method: str, dtype: type) -> Path:
    return Path(folder) / f"{name}-{k}-{method}-{dtype.__name__}.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--programs", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--matrices", type=int, default=40)
    parser.add_argument("--keep", help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    if args.keep:
        for name, k, method, dtype, X in cases(args):
            W, H = fit(X, method, k)
            np.savez(file_of(args.keep, name, k, method, dtype), W=W, H=H)
        return
    print("| data | k | method | dtype | formats | chunks | threads | targets | cosine | float32 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        on_another_target(sys.argv[1:], folder)
        single: Factors | None = None
        for name, k, method, dtype, X in cases(args):
            expected = fit(X, method, k)
            found = [(column, difference(fit(held, method, k, n_jobs=n), expected)) for column, held, n in variants(X)]
            with np.load(file_of(folder, name, k, method, dtype)) as kept:
                found.append(("targets", difference((kept["W"], kept["H"]), expected)))
            largest = [
                max(share for column, (share, _) in found if column == wanted)
                for wanted in ("formats", "chunks", "threads", "targets")
            ]
            cosine = min(cosine for _, (_, cosine) in found)
            twin = "" if dtype == np.float32 or single is None else f"{difference(single, expected)[0]:.0e}"
            shares = " | ".join(f"{share:.0e}" for share in largest)
            print(f"| {name} | {k} | {method} | {dtype.__name__} | {shares} | {cosine:.6f} | {twin} |", flush=True)
            single = expected if dtype == np.float32 else None
    many_small(args.matrices)


if __name__ == "__main__":
    main()
