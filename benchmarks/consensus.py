"""Cost of a consensus, and whether its programs mean something and come back on real data.

    python benchmarks/consensus.py [--cost] [--planted] [--real] [--data ../shared/data] [--programs 20 30] [--runs 20]

Cost: 50 runs on a simulated screen against one default fit, one thread, in CPU seconds, and the extra peak memory of
each over the input's size, in processes that have done nothing else.

Planted: screens of 5,000 x 2,000 with 20 programs, the easy setting of planted.py (k = 20 leaves the housekeeping
program among them). Recovery is the mean matched correlation of the usages at k = 20, of a single fit and of the
consensus; then, with k = 30, the area under the ROC curve of the stability, for programs that match a planted one
against those that match none.

Real data, preprocessing and columns as in quality.py: stability is between outer subsamples of 70 % of the cells, each
with a whole consensus of its own. "consensus" is that of semi-NMF with its defaults.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import scanpy as sc
from quality import Fit, eta_squared, load, matched_average_precision, ours, scikit_learn, stability, top_auroc
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from semi_nmf import screen, timed
from sklearn.metrics import roc_auc_score

import scprograms as scp
from planted import correlations
from scprograms.programs.engine import NMF, SemiNMF, consensus_programs

MEMORY = """
import sys
from pathlib import Path
from scipy import sparse
from scprograms.programs.engine import NMF, SemiNMF, consensus_programs

path, method, k, n_runs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
X = sparse.load_npz(path)
single = {"semi_nmf": SemiNMF, "nmf": NMF}[method]
consensus_programs(X[:500], 3, method=method, n_runs=2, random_state=0)

def status(field):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith(field))

Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
if n_runs:
    consensus_programs(X, k, method=method, n_runs=n_runs, random_state=0, n_jobs=1)
else:
    single(k, random_state=0, n_jobs=1).fit(X)
print((status("VmHWM") - before) * 1024 / (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes))
"""


def peak_memory(X: sparse.csr_matrix, method: str, k: int, n_runs: int) -> float:
    """Return the extra peak memory over the input's size; without runs, that of a default fit."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "X.npz")
        sparse.save_npz(path, X, compressed=False)
        command = [sys.executable, "-c", MEMORY, path, method, str(k), str(n_runs)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def cost(n_cells: int, n_genes: int, k: int, n_runs: int, repeats: int) -> None:
    X = screen(n_cells, n_genes)
    print("| method | what | CPU s | over a default fit | extra peak memory / input |")
    print("| --- | --- | --- | --- | --- |")
    for method, single in (("semi_nmf", SemiNMF), ("nmf", NMF)):
        single(3, random_state=0, n_jobs=1).fit(X[:500])  # compile the kernels
        ones, many = [], []
        for _ in range(repeats):  # interleaved
            ones += [timed(partial(single(k, random_state=0, n_jobs=1).fit, X))[0] for _ in range(3)]
            options = {"method": method, "n_runs": n_runs, "random_state": 0, "n_jobs": 1}
            many.append(timed(partial(consensus_programs, X, k, **options))[0])
        one, all_runs = float(np.median(ones)), float(np.median(many))
        print(f"| {method} | default fit | {one:.2f} | 1 | {peak_memory(X, method, k, 0):.2f} |")
        figures = f"{all_runs:.2f} | {all_runs / one:.1f} | {peak_memory(X, method, k, n_runs):.2f}"
        print(f"| {method} | consensus of {n_runs} runs | {figures} |", flush=True)


def consensus(X: object, k: int, seed: int, **options: object) -> tuple[np.ndarray, np.ndarray, float]:
    found = consensus_programs(X, k, random_state=seed, n_jobs=1, **options)
    return found.usages, found.model.components_, found.model.error_


def real(folder: Path, sets: list[str], programs: list[int], n_runs: int) -> None:
    methods: dict[str, Fit] = {
        "scikit-learn NMF": scikit_learn,
        "semi-NMF, one fit": ours,
        "consensus": partial(consensus, n_runs=n_runs),
        "consensus, init=varimax": partial(consensus, n_runs=n_runs, init="varimax"),
        "consensus, init=nmf": partial(consensus, n_runs=n_runs, init="nmf"),
        "consensus, nmf": partial(consensus, n_runs=n_runs, method="nmf"),
    }
    print("| data | k | method | matched AP / top AUROC | eta2 | stability (sd) | CPU s a fit |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in sets:
        X, labels = load(name, folder)
        for k in programs:
            for method, fit in methods.items():
                cpu = time.process_time()
                W = fit(X, k, 0)[0]
                cpu = time.process_time() - cpu
                meaning = top_auroc(W, labels) if name == "papalexi" else matched_average_precision(W, labels)
                mean, sd = stability(fit, X, k)
                print(
                    f"| {name} | {k} | {method} | {meaning:.3f} | {eta_squared(W, labels).max():.3f} | "
                    f"{mean:.3f} ({sd:.3f}) | {cpu:.2f} |",
                    flush=True,
                )


def planted(seeds: int, n_runs: int) -> None:
    print("| seed | recovery: one fit | consensus | init=varimax | init=nmf | AUC: consensus (start) | varimax | nmf |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for seed in range(seeds):
        adata = scp.datasets.simulate_screen(5000, 2000, 20, random_state=seed)
        truth = adata.obsm["true_usages"]
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        figures = [f"{correlations(truth, ours(adata.X, 20, seed)[0]).mean():.4f}"]
        fits = partial(consensus_programs, adata.X, n_runs=n_runs, random_state=seed, n_jobs=1)
        figures += [
            f"{correlations(truth, fits(20, init=init).usages).mean():.4f}" for init in ("auto", "varimax", "nmf")
        ]
        for init in ("auto", "varimax", "nmf"):
            found = fits(30, init=init)
            matrix = np.nan_to_num(np.corrcoef(truth.T, found.usages.T)[:20, 20:])
            real = np.isin(np.arange(30), linear_sum_assignment(-matrix)[1])
            figures.append(
                f"{roc_auc_score(real, found.stability):.3f}" + (f" ({found.init})" if init == "auto" else "")
            )
        print(f"| {seed} | {' | '.join(figures)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cost", action="store_true", help="the cost")
    parser.add_argument("--planted", action="store_true", help="planted programs")
    parser.add_argument("--real", action="store_true", help="real data")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", nargs="+", default=["pbmc3k", "kang", "papalexi"])
    parser.add_argument("--programs", type=int, nargs="+", default=[20, 30])
    parser.add_argument("--runs", type=int, default=20, help="runs of a consensus on planted and real data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    every = not (args.cost or args.planted or args.real)
    if every or args.cost:
        cost(args.cells, args.genes, 20, 50, args.repeats)
    if every or args.planted:
        planted(args.seeds, args.runs)
    if every or args.real:
        real(args.data, args.sets, args.programs, args.runs)


if __name__ == "__main__":
    main()
