"""The tests that gseapy makes: enrichment along a ranking, and the Enrichr service."""

from __future__ import annotations

import difflib
import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scprograms._core.validate import listing, warn

from ._enrichr import OWN_TEST, known_libraries
from ._ora import COLUMNS, GeneList, Terms, as_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

logger = logging.getLogger("scprograms")

RandomState = int | np.random.Generator | np.random.RandomState | None

PRERANK_COLUMNS = {
    "program": str,
    "direction": str,
    "library": str,
    "term": str,
    "term_size": np.int64,
    "es": np.float64,
    "nes": np.float64,
    "p": np.float64,
    "q": np.float64,
    "genes": str,
}
"""Columns of the table of ``method="prerank"``, with their types."""

MANY_TIES = 0.2
SEED_LIMIT = 2**31 - 1


def prerank_table(
    scores: pd.DataFrame,
    libraries: Mapping[str, Terms],
    *,
    direction: str,
    n_permutations: int,
    random_state: RandomState,
    n_jobs: int | None,
) -> pd.DataFrame:
    """Run gseapy's pre-ranked gene set enrichment analysis on each program (column of ``scores``)."""
    from scprograms._core.threads import resolve_n_jobs

    n_threads = resolve_n_jobs(n_jobs)
    seed = _seed(random_state)
    tables, same, tied = [], [], []
    for program, column in scores.items():
        values = column.to_numpy()
        if np.ptp(values) == 0:
            same.append(str(program))
            continue
        if 1 - len(np.unique(values)) / len(values) > MANY_TIES:
            tied.append(str(program))
        for library, terms in libraries.items():
            table = _prerank(values, terms, n_permutations=n_permutations, seed=seed, n_threads=n_threads)
            table = table.assign(program=str(program), library=library)
            table["genes"] = [";".join(scores.index[list(genes)]) for genes in table["genes"]]
            tables.append(table if direction == "both" else table[table["direction"] == direction])
    if same:
        warn(f"All genes score the same in {listing(same)}: a ranking without order is not tested.")
    if tied:
        warn(
            f"More than {MANY_TIES:.0%} of the genes are tied in {listing(tied)}; their order is arbitrary and hides "
            "enrichment. Use rank_by='zscore', which has no ties."
        )
    return as_table(tables, PRERANK_COLUMNS)


def _prerank(values: np.ndarray, terms: Terms, *, n_permutations: int, seed: int, n_threads: int) -> pd.DataFrame:
    """Return the result for one ranking; ``genes`` holds the positions of the leading edge."""
    import gseapy

    if not terms.names:
        return pd.DataFrame(columns=["direction", "genes"])
    # Stand-ins for the names: gseapy changes the case of names, and splits them at semicolons.
    tokens = [f"G{i}" for i in range(len(values))]
    members = np.split(terms.membership.indices, terms.membership.indptr[1:-1])
    sets = {f"T{i}": [tokens[j] for j in genes] for i, genes in enumerate(members)}
    try:
        result = gseapy.prerank(
            pd.Series(values.astype(np.float64), index=tokens),
            sets,
            outdir=None,
            min_size=1,
            max_size=len(values),
            permutation_num=n_permutations,
            threads=n_threads,
            seed=seed,
            no_plot=True,
        ).res2d
    except BaseException as error:
        # A panic of gseapy's compiled part is no Exception and would end the program.
        if type(error).__name__ != "PanicException":
            raise
        msg = f"gseapy.prerank failed on this ranking ({error}). Use method='ora'."
        raise RuntimeError(msg) from error
    which = result["Term"].astype(str).str[1:].astype(int).to_numpy()
    nes = result["NES"].astype(float).to_numpy()
    table = pd.DataFrame(
        {
            "direction": np.where(nes >= 0, "up", "down"),
            "term": np.array(terms.names, dtype=object)[which],
            "term_size": np.diff(terms.membership.indptr)[which],
            "es": result["ES"].astype(float).to_numpy(),
            "nes": nes,
            "p": result["NOM p-val"].astype(float).to_numpy(),
            "q": result["FDR q-val"].astype(float).to_numpy(),
            "genes": [
                [int(token[1:]) for token in str(edge).split(";") if token.startswith("G")]
                for edge in result["Lead_genes"]
            ],
        }
    )
    return table.iloc[np.lexsort((-table["nes"].abs(), table["p"]))]


def _seed(random_state: RandomState) -> int:
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(SEED_LIMIT))
    if isinstance(random_state, int | np.integer) and 0 <= random_state <= SEED_LIMIT:
        return int(random_state)
    return int(np.random.default_rng(random_state).integers(SEED_LIMIT))


def enrichr_table(
    lists: Sequence[GeneList],
    libraries: Sequence[str],
    background: Sequence[str] | pd.Index,
    *,
    organism: str,
    timeout: float,
) -> pd.DataFrame:
    """Send each list to Enrichr, by ``gseapy.enrichr``, and return its answers."""
    known = known_libraries(organism, timeout=timeout)
    for library in libraries:
        if library not in known:
            close = difflib.get_close_matches(library, known)
            msg = (
                f"gene_sets={library!r} is no library of Enrichr for organism={organism!r}. Similar: {listing(close)}."
            )
            raise ValueError(msg)
    names = np.asarray(background, dtype=object)
    tables = []
    for i, one in enumerate(lists):
        logger.info("Enrichr: list %d of %d (%s, %s)", i + 1, len(lists), one.program, one.direction)
        answer = _ask_enrichr([str(name) for name in names[one.genes]], list(libraries), organism, timeout)
        if answer is None or len(answer) == 0:
            continue
        overlap = answer["Overlap"].astype(str).str.split("/", expand=True).astype(np.int64)
        tables.append(
            pd.DataFrame(
                {
                    "program": one.program,
                    "direction": one.direction,
                    "library": answer["Gene_set"].to_numpy(),
                    "term": answer["Term"].to_numpy(),
                    "overlap": overlap[0].to_numpy(),
                    "term_size": overlap[1].to_numpy(),
                    "n_genes": len(one.genes),
                    "background_size": 0,
                    "odds_ratio": answer["Odds Ratio"].to_numpy(),
                    "combined_score": answer["Combined Score"].to_numpy(),
                    "p": answer["P-value"].to_numpy(),
                    "q": answer["Adjusted P-value"].to_numpy(),
                    "genes": answer["Genes"].to_numpy(),
                }
            )
        )
    return as_table(tables, COLUMNS)


def _ask_enrichr(genes: list[str], libraries: list[str], organism: str, timeout: float) -> pd.DataFrame | None:
    import gseapy

    def ask() -> Any:
        return gseapy.enrichr(genes, libraries, organism=organism, outdir=None, no_plot=True).results

    try:
        answer = _within(ask, timeout)
    except TimeoutError as error:
        msg = f"Enrichr gave no answer within {timeout:g} s (timeout={timeout:g}). {OWN_TEST}"
        raise TimeoutError(msg) from error
    except Exception as error:
        msg = f"Enrichr could not be asked ({type(error).__name__}: {error}). {OWN_TEST}"
        raise ConnectionError(msg) from error
    return answer if isinstance(answer, pd.DataFrame) else None


def _within(function: Callable[[], Any], seconds: float) -> Any:
    """Call a function, and wait no longer than this for it.

    gseapy sets no timeout on its requests, and the sockets of requests ignore the default of the socket module: only
    another thread can be left behind while it hangs.
    """
    outcome: dict[str, Any] = {}

    def call() -> None:
        try:
            outcome["value"] = function()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            outcome["error"] = error

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        msg = f"no answer within {seconds:g} s"
        raise TimeoutError(msg)
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]
