"""Peak memory of ``scprograms run`` with the matrix on disk (--lazy) and in memory, measured from outside.

    python benchmarks/lazy_run.py FOLDER --n-obs 100000 --n-vars 2000 --density 0.1

simulates a screen in chunks into FOLDER, as a zarr store and as .h5ad file, runs both ways, and prints a table.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import zarr
from anndata.io import write_elem
from scipy import sparse

ROWS = 5000


def simulate(folder: Path, *, n_obs: int, n_vars: int, density: float) -> list[Path]:
    """Write counts of 10 programs, of which perturbations raise some, chunk by chunk, to both formats."""
    paths = [folder / "screen.zarr", folder / "screen.h5ad"]
    roots = [zarr.open_group(paths[0], mode="w"), h5py.File(paths[1], "w")]
    rng = np.random.default_rng(0)
    gene_sets = rng.gamma(0.2, size=(10, n_vars))
    perturbation = rng.integers(0, 21, n_obs)
    level = rng.gamma(0.5, size=n_vars)
    obs = pd.DataFrame(
        {
            "perturbation": pd.Categorical([f"P{i}" if i else "NT" for i in perturbation]),
            "guide": pd.Categorical(
                [f"P{i}_g{j}" for i, j in zip(perturbation, rng.integers(0, 4, n_obs), strict=True)]
            ),
        },
        index=[f"cell{i}" for i in range(n_obs)],
    )
    boost = 1 + 2.0 * (rng.random((21, 10)) < 0.15)
    boost[0] = 1
    attributes = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_obs, n_vars]}
    for root in roots:
        root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(root, "obs", obs)
        write_elem(root, "var", pd.DataFrame(index=[f"gene{i}" for i in range(n_vars)]))
        root.create_group("X").attrs.update(attributes)
    indptr = [np.zeros(1, dtype=np.int64)]
    arrays = [
        {
            "data": create(root["X"], "data", np.float32),
            "indices": create(root["X"], "indices", np.int32),
        }
        for root in roots
    ]
    for start in range(0, n_obs, ROWS):
        who = perturbation[start : start + ROWS]
        usages = rng.gamma(0.3, size=(len(who), 10)) * boost[who]
        rate = usages @ gene_sets + 0.3 * level
        rate *= density / (1 - np.exp(-rate)).mean()
        block = sparse.csr_matrix(rng.poisson(rate).astype(np.float32))
        for group in arrays:
            for name, array in group.items():
                begin = array.shape[0]
                array.resize((begin + block.nnz,))
                array[begin:] = getattr(block, name)
        indptr.append(indptr[-1][-1] + block.indptr[1:].astype(np.int64))
    for root in roots:
        write_elem(root["X"], "indptr", np.concatenate(indptr))
    roots[1].close()
    return paths


def create(group: zarr.Group | h5py.Group, name: str, dtype: type) -> zarr.Array | h5py.Dataset:
    if isinstance(group, h5py.Group):
        return group.create_dataset(name, shape=(0,), maxshape=(None,), dtype=dtype, chunks=2**18, compression="gzip",
                                    compression_opts=1)  # fmt: skip
    return group.create_array(name, shape=(0,), dtype=dtype, chunks=(2**18,))


def measure(argv: list[str]) -> tuple[float, float, float]:
    """Return peak memory in GiB, wall and CPU seconds of a process of its own."""
    started = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, "-m", "scprograms", *argv], dict(os.environ))
    _, status, usage = os.wait4(pid, 0)
    if status:
        msg = f"{' '.join(argv)} ended with {status}"
        raise SystemExit(msg)
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return usage.ru_maxrss / unit, time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n-obs", type=int, default=100_000)
    parser.add_argument("--n-vars", type=int, default=2000)
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--options", default="--n-top-genes 1000 -k 20 --n-jobs 2", help="of scprograms run")
    parser.add_argument("--only", choices=("lazy", "memory"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    stored = [options.folder / "screen.zarr", options.folder / "screen.h5ad"]
    if not all(path.exists() for path in stored):
        size = {name: getattr(options, name) for name in ("n_obs", "n_vars", "density")}
        pid = os.fork()  # so that none of its memory is left here
        if pid == 0:
            simulate(options.folder, **size)
            os._exit(0)
        os.waitpid(pid, 0)
    with h5py.File(stored[1]) as file:
        n_values = file["X/data"].shape[0]
    print(f"{options.n_obs:,} x {options.n_vars:,}, {n_values:,} counts, {8 * n_values / 2**30:.2f} GiB as CSR")
    more = ["--groupby", "perturbation", "--control", "NT", "--replicate", "guide", "--quiet", *options.options.split()]
    runs = {
        "lazy, zarr": ["run", str(stored[0]), "--lazy"],
        "lazy, h5ad": ["run", str(stored[1]), "--lazy"],
        "in memory, h5ad": ["run", str(stored[1])],
    }
    print("| matrix | peak memory (GiB) | wall (s) | CPU (s) |\n|---|---|---|---|")
    for name, argv in runs.items():
        if options.only is None or options.only in name:
            peak, wall, cpu = measure([*argv, *more, "-o", str(options.folder / name.replace(", ", "_"))])
            print(f"| {name} | {peak:.2f} | {wall:.0f} | {cpu:.0f} |", flush=True)


if __name__ == "__main__":
    main()
