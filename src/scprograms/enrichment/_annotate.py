"""Short names of programs, from their enriched terms and top genes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from scprograms._anndata import slot_names
from scprograms._anndata.matrix import read_gene_names
from scprograms._anndata.slots import read_fit, read_loadings, read_table, write_table
from scprograms._core.validate import check_int, check_real, listing

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

ARROWS = {"up": "↑", "down": "↓"}
LONGEST_TERM = 50
"""Characters of a term in a name."""
_PREFIX = re.compile(
    r"^(HALLMARK|GO(BP|CC|MF)?|REACTOME|KEGG(_MEDICUS|_LEGACY)?|WP|BIOCARTA|PID|HP|NABA|SA|SIG|ST)_(?=[A-Z0-9])"
)
_SUFFIXES = (
    re.compile(r"\s*\((GO|HP|MP|DOID):\d+\)$"),
    re.compile(r"\s+R-[A-Z]{3}-\d+(\.\d+)?$"),
    re.compile(r"\s+(WP\d+|hsa\d{5}|mmu\d{5})$"),
    re.compile(r"\s+(Homo sapiens|Mus musculus|Human|Mouse)$"),
)
_ACRONYMS = frozenset(
    """
    AKT AMPK AP APC ATF ATP BAF BMP BRCA CAMP DNA EGF EGFR EIF ER ERBB ERK FGF GPCR GTP GTPASE HIV IFN IFNG IGF IL JAK
    JNK KIT KRAS MAPK MET MHC MTOR MYC NADH NAD NFAT NFKB NK NOD PDGF PI PKA RAF RAS RHO RIG RNA MRNA NCRNA RRNA SNRNA
    STAT TAP TCA TCR TGF TLR TNF TNFA TP UPR UTR UV VEGF WNT
    """.split()  # noqa: SIM905 - one a line would take a page
)
"""Words of all-capital names (MSigDB) that stay capitals; so do words with digits, and words without a vowel."""


def annotate_programs(
    adata: AnnData,
    *,
    key: str = "semi_nmf",
    n_genes: int = 3,
    n_terms: int = 1,
    alpha: float = 0.05,
    library: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Give each program a short name: its most significant terms and its top genes.

    A name reads ``↑ response to type I interferon (ISG15, IFI6, MX1)``: ↑ for a term of the genes that the program
    raises, ↓ for one of those that it lowers, and the top genes at the end of the program that the best term is about.
    A program without a significant term is named by the genes that it raises most. Terms of an end at which a program
    has no genes, as the lower one of loadings that are never negative, are not used. Of terms that hold much the same
    genes only the best one is used. Identifiers and prefixes of collections (``GO:0060337``, ``HALLMARK_``) are left
    out, long terms end in an ellipsis, and programs that would have the same name are numbered.

    Parameters
    ----------
    adata
        Cells x genes, factorized and tested with :func:`scprograms.tl.program_enrichment`. Gene names must be unique.
    key
        Key of the factorization.
    n_genes
        Top genes of a name.
    n_terms
        Terms of a name, at most.
    alpha
        Largest adjusted p-value of a term that is used.
    library
        Use the terms of this gene-set library only; by default those of all that were tested.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    None, or the copy with ``copy=True``. Sets these columns:

    ``.uns[key]["programs"]["name"]``
        The name, unique.
    ``.uns[key]["programs"]["term"]``
        The terms as their library has them, joined by ";"; empty without a significant one.
    ``.uns[key]["programs"]["top_genes"]``
        The top genes, strongest first, joined by ";".

    Names are not made anew when the enrichment is: call this again after :func:`scprograms.tl.program_enrichment`.
    There, ``rank_by="zscore"`` gives names that tell programs apart better than ``"loading"``, by which the genes that
    are strongly expressed in all cells lead many programs.

    Raises
    ------
    KeyError
        If there is no factorization under ``key``, or no enrichment of it.
    TypeError
        If ``n_genes`` or ``n_terms`` is no integer, or ``alpha`` no number.
    ValueError
        If a number is out of range, ``library`` was not tested, or names of genes are not unique.

    Examples
    --------
    >>> import scanpy as sc
    >>> import scprograms as scp
    >>> adata = scp.datasets.simulate_screen(400, 200, n_programs=6, n_perturbations=5)
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> scp.tl.semi_nmf(adata, 3)
    >>> gene_sets = scp.datasets.planted_gene_sets(adata, n_genes=20)
    >>> scp.tl.program_enrichment(adata, gene_sets, n_genes=20)
    >>> scp.tl.annotate_programs(adata, n_genes=1)
    >>> bool(scp.get.programs(adata).var["name"].str.startswith("↑ planted").all())
    True
    """
    n_genes = check_int("n_genes", n_genes, at_least=1)
    n_terms = check_int("n_terms", n_terms, at_least=1)
    alpha = check_real("alpha", alpha, at_least=0, at_most=1)
    table = read_table(adata, key, slot_names.ENRICHMENT)
    libraries = list(table["library"].unique())
    if library is not None and library not in libraries:
        msg = f"library={library!r} was not tested. There: {listing(libraries)}."
        raise ValueError(msg)
    loadings = read_loadings(adata, key).set_axis(read_gene_names(adata), axis=0)
    ends = {("up", program) for program in loadings if (loadings[program] > 0).any()}
    ends |= {("down", program) for program in loadings if (loadings[program] < 0).any()}
    found = [end in ends for end in zip(table["direction"], table["program"], strict=True)]
    table = table[np.array(found, dtype=bool)]
    best = _best_terms(table, library=library, alpha=alpha, n_terms=n_terms)
    names, terms, genes = [], [], []
    for program in loadings:
        own = best[best["program"] == program]
        ways = own["direction"].tolist() or [""]
        top = _top_genes(loadings[program], ways[0], n_genes)
        heads = [f"{ARROWS[way]} {short_term(term)}" for way, term in zip(own["direction"], own["term"], strict=True)]
        tail = ", ".join(top) or str(program)
        names.append(f"{'; '.join(heads)} ({tail})" if heads else tail)
        terms.append(";".join(own["term"].astype(str)))
        genes.append(";".join(top))
    programs = read_fit(adata, key)[slot_names.PROGRAMS].copy()
    programs = programs.assign(name=_numbered(names), term=terms, top_genes=genes)
    adata = adata.copy() if copy else adata
    write_table(adata, key, slot_names.PROGRAMS, programs)
    return adata if copy else None


def _best_terms(table: pd.DataFrame, *, library: str | None, alpha: float, n_terms: int) -> pd.DataFrame:
    """Return the best terms of each program, one of each group of redundant ones."""
    table = table[table["q"] <= alpha]
    if library is not None:
        table = table[table["library"] == library]
    if "representative" in table:
        table = table[table["representative"].to_numpy(dtype=bool)]
    effect = table["combined_score"] if "combined_score" in table else table["nes"].abs()
    table = table.assign(_effect=-effect).sort_values(["program", "p", "_effect"], kind="stable")
    return table.drop(columns="_effect").groupby("program", sort=False, observed=True).head(n_terms)


def _top_genes(loading: pd.Series, direction: str, n_genes: int) -> list[str]:
    """Return the strongest genes at an end of a program; without a direction the raised ones, if there are any."""
    values = loading.to_numpy(dtype=float)
    sign = -1 if direction == "down" or (not direction and not (values > 0).any()) else 1
    order = np.argsort(-sign * values, kind="stable")[:n_genes]
    return [str(name) for name in loading.index[order[sign * values[order] > 0]]]


def short_term(term: str) -> str:
    """Return the name of a gene set without identifiers and prefixes, in lower case where it was all capitals."""
    text = _PREFIX.sub("", str(term).strip())
    for suffix in _SUFFIXES:
        text = suffix.sub("", text)
    if " " not in text and "_" in text:
        text = text.replace("_", " ")
        if text == text.upper():
            text = " ".join(_lower(word) for word in text.split())
    elif text != term and text == text.upper() and text.isalpha():
        text = _lower(text)
    text = text.strip() or str(term)
    if len(text) <= LONGEST_TERM:
        return text
    cut = text[: LONGEST_TERM - 1]
    return cut[: cut.rfind(" ")].rstrip(" ,;:-") + "…" if " " in cut[LONGEST_TERM // 2 :] else cut + "…"


def _lower(word: str) -> str:
    keep = word in _ACRONYMS or any(c.isdigit() for c in word) or not set(word) & set("AEIOUY")
    return word if keep else word.lower()


def _numbered(names: list[str]) -> list[str]:
    """Add numbers to names that occur again, from the second on."""
    taken = set(names)
    seen: set[str] = set()
    unique = []
    for name in names:
        new, i = name, 2
        while new in seen or (new != name and new in taken):
            new, i = f"{name} #{i}", i + 1
        seen.add(new)
        unique.append(new)
    return unique
