"""A million cells from disk on a laptop, and how cost grows with the number of cells.

    python benchmarks/scale.py [--cells 1000000] [--genes 2000] [--programs 30] [--growth 50000 200000]

The screen is simulated in chunks (20 planted programs, Poisson counts, normalised to 10,000 and log1p, about 10 %
non-zero) and appended to a zarr store. Then ``scp.tl.semi_nmf`` fits it

- lazily, from disk, through a dask array of chunks of 20,000 cells, with the default penalty and with l1 = 0,
- in memory, loading not counted,

each in a process of its own. Peak memory is that of the whole process, read from outside ten times a second (the
kernel's high-water mark). The bound is exact, from the eigenvalues of X'X in double precision. Growth: seconds per cell
in memory, of the first cells of the same store.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata as ad
import numpy as np
import zarr
from scipy import sparse

import scprograms as scp

CHUNK = 20_000
N_PLANTED = 20


def simulate(path: Path, n_cells: int, n_genes: int) -> float:
    """Write the screen in chunks, with the sums of squares that the bound needs; return its density."""
    rng = np.random.default_rng(0)
    H = rng.gamma(0.3, size=(N_PLANTED, n_genes)).astype(np.float32)
    H *= rng.lognormal(-1.5, 1.2, size=n_genes).astype(np.float32)
    store = zarr.open_group(str(path), mode="w")
    gram, n_entries = np.zeros((n_genes, n_genes)), 0
    for start in range(0, n_cells, CHUNK):
        n = min(CHUNK, n_cells - start)
        W = (rng.gamma(1.0, size=(n, N_PLANTED)) * (rng.random((n, N_PLANTED)) < 0.2) + 0.02).astype(np.float32)
        rates = W @ H
        rates *= (rng.lognormal(0, 0.3, size=n) * 330).astype(np.float32)[:, None] / rates.sum(axis=1)[:, None]
        X = sparse.csr_matrix(rng.poisson(rates).astype(np.float32))
        depth = np.maximum(np.asarray(X.sum(axis=1)).ravel(), 1)
        X.data *= np.repeat(1e4 / depth, np.diff(X.indptr)).astype(np.float32)
        X = X.log1p().astype(np.float32)
        gram += (X.T @ X).toarray()
        n_entries += X.nnz
        if start == 0:
            ad.io.write_elem(store, "X", X)
        else:
            ad.io.sparse_dataset(store["X"]).append(X)
    np.save(path.with_suffix(".gram.npy"), gram)
    return n_entries / n_cells / n_genes


def fit(path: Path, n_cells: int, k: int, l1: float, *, lazy: bool) -> None:
    """Fit, and print what it took as JSON: the work of a child process."""
    element = zarr.open_group(str(path), mode="r")["X"]
    if lazy:
        X = ad.experimental.read_elem_lazy(element, chunks=(CHUNK, element.attrs["shape"][1]))[:n_cells]
    else:
        X = ad.io.sparse_dataset(element)[:n_cells]
        X.indices = X.indices.astype(np.int32, copy=False)
    adata = ad.AnnData(X)
    scp.tl.semi_nmf(ad.AnnData(sparse.random(500, 50, 0.2, format="csr", dtype=np.float32)), 3)  # compile
    messages: list[str] = []
    logger = logging.getLogger("scprograms")
    logger.setLevel(logging.INFO)
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    cpu, wall = time.process_time(), time.perf_counter()
    scp.tl.semi_nmf(adata, k, l1=l1)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    reading = [message for message in messages if "read" in message.lower()]
    print(json.dumps({"wall": wall, "cpu": cpu, "error": adata.uns["semi_nmf"]["error"], "reading": reading}))


def measured(arguments: list[str]) -> dict:
    """Run a child; return what it printed and its peak memory in GiB."""
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen([sys.executable, __file__, *arguments], stdout=output, text=True)
        peak = 0
        while child.poll() is None:
            time.sleep(0.1)
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
                peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        if child.returncode:
            sys.exit(f"failed: {arguments}")
        output.seek(0)
        return json.loads(output.read().splitlines()[-1]) | {"GiB": peak / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--programs", type=int, default=30)
    parser.add_argument("--growth", type=int, nargs="*", default=[50_000, 200_000])
    parser.add_argument("--folder", type=Path, help="where the store is kept; a temporary folder by default")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        path, n_cells, k, l1, how = args.child
        fit(Path(path), int(n_cells), int(k), float(l1), lazy=how == "lazy")
        return
    folder = args.folder or Path(tempfile.mkdtemp())
    path = folder / f"screen_{args.cells}.zarr"
    if not path.with_suffix(".gram.npy").exists():
        start = time.perf_counter()
        density = simulate(path, args.cells, args.genes)
        print(
            f"simulated {args.cells:,} x {args.genes:,}, {density:.3f} non-zero: {time.perf_counter() - start:.0f} s\n"
        )
    energies = np.linalg.eigvalsh(np.load(path.with_suffix(".gram.npy")))[::-1]
    bound = float(np.sqrt(energies[args.programs :].sum()))
    print("| cells | how | l1 | wall s | CPU s | microseconds a cell | peak GiB | error / bound |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    runs = [(args.cells, how, l1) for how, l1 in (("lazy", 0.02), ("lazy", 0.0), ("memory", 0.02))]
    for n_cells, how, l1 in [*runs, *((n, "memory", 0.02) for n in args.growth)]:
        found = measured(["--child", str(path), str(n_cells), str(args.programs), str(l1), how])
        ratio = f"{found['error'] / bound:.5f}" if n_cells == args.cells else ""
        print(
            f"| {n_cells:,} | {how} | {l1} | {found['wall']:.1f} | {found['cpu']:.1f} | "
            f"{found['wall'] / n_cells * 1e6:.1f} | {found['GiB']:.2f} | {ratio} |",
            flush=True,
        )
        for message in found["reading"] if how == "lazy" else []:
            print(f"    {message}", flush=True)
    if args.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
