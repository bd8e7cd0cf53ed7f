"""Gene sets from dictionaries, files and a stand-in for Enrichr. No test here needs the internet."""

from __future__ import annotations

import gzip
import socket
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from enrichr_server import LIBRARY, enrichr
from scprograms import ProgramsWarning
from scprograms.enrichment import _enrichr
from scprograms.enrichment.gene_sets import check_overlap, read_gene_sets

GMT = "T cell\thttp://x\tCD3E\tCD4\nB cell/plasma\tna\tCD19\tMS4A1\tCD79A\n"
TERMS = {"T cell": ["CD3E", "CD4"], "B cell/plasma": ["CD19", "MS4A1", "CD79A"]}
GO = Path("../shared/data/genesets/GO_Biological_Process_2021.enrichr.gmt")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCPROGRAMS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_enrichr, "WAITS", (0.01, 0.01, 0.01))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def gmt(tmp_path):
    def write(content, name="cells.gmt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def cached(cache):
    return [path for path in cache.rglob("*") if path.is_file()]


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_type", [str, Path])
def test_gmt(gmt, as_type):
    assert read_gene_sets(as_type(gmt(GMT))) == {"cells": TERMS}


@pytest.mark.parametrize(
    "content",
    [GMT.replace("\n", "\r\n"), "\ufeff" + GMT, GMT + "\n\n", GMT.rstrip("\n"), GMT.replace("CD4", "CD4\t\t CD4,1.0")],
    ids=["crlf", "bom", "blank-lines", "no-end-of-line", "blanks-repeats-and-weights"],
)
def test_gmt_dialects(gmt, content):
    assert read_gene_sets(gmt(content)) == {"cells": TERMS}


def test_gzipped_gmt(gmt):
    assert read_gene_sets(gmt(gzip.compress(GMT.encode()), "cells.gmt.gz")) == {"cells": TERMS}
    assert read_gene_sets(gmt(gzip.compress(GMT.encode()), "named_as_if_plain.gmt")) == {"named_as_if_plain": TERMS}


def test_file_with_another_ending_is_found_on_disk(gmt, monkeypatch, tmp_path):
    gmt(GMT, "cells.txt")
    monkeypatch.chdir(tmp_path)
    assert read_gene_sets("cells.txt") == {"cells.txt": TERMS}


@pytest.mark.parametrize("name", ["nowhere.gmt", "folder/library", Path("nowhere")])
def test_missing_gmt_63(name):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_gene_sets(name)


def test_folder_instead_of_gmt(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_gene_sets(tmp_path)


@pytest.mark.parametrize("line", ["no tabs at all", "\tno term\tCD4", '{"json": 1}'])
def test_corrupted_gmt_names_the_line_64(gmt, line):
    with pytest.raises(ValueError, match=r"cells\.gmt, line 3"):
        read_gene_sets(gmt(GMT + line + "\n"))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"T cell\tna\t\xff\xfe\n", "UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "UTF-8"),
        (b"T cell\tna\tCD4\nB\0\tna\tCD19\n", "line 2 holds a zero byte"),
        (gzip.compress(GMT.encode(), mtime=0)[:-12], "damaged gzip"),
        (b"\x1f\x8b garbage", "damaged gzip"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"", "holds no gene sets"),
        (b"\n\n", "holds no gene sets"),
    ],
)
def test_gmt_that_is_none_65(gmt, content, match):
    with pytest.raises(ValueError, match=match):
        read_gene_sets(gmt(content))


def test_repeated_term_is_merged_66(gmt):
    with pytest.warns(ProgramsWarning, match=r"1 terms more than once \('T cell'\)"):
        library = read_gene_sets(gmt(GMT + "T cell\tna\tCD8A\tCD4\n"))["cells"]
    assert library["T cell"] == ["CD3E", "CD4", "CD8A"]


def test_terms_without_genes_are_left_out(gmt):
    with pytest.warns(ProgramsWarning, match="2 terms without genes"):
        assert read_gene_sets(gmt("empty\tna\n" + GMT + "empty too\tna\t\t\n")) == {"cells": TERMS}
    with pytest.raises(ValueError, match="holds no gene sets"):
        read_gene_sets(gmt("empty\tna\n"))


# --- dictionaries --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Index, pd.Series, iter])
def test_dictionary_73(kind):
    assert read_gene_sets({"T cell": kind(["CD4", "CD3E"])}) == {"custom": {"T cell": ["CD4", "CD3E"]}}


def test_dictionary_of_sets_73():
    assert set(read_gene_sets({"T cell": {"CD4", "CD3E"}})["custom"]["T cell"]) == {"CD4", "CD3E"}


@pytest.mark.parametrize("genes", [[925, 916], np.array([925, 916]), [925.0, 916.0], ["925", "916"]])
def test_entrez_ids_69(genes):
    assert read_gene_sets({"T cell": genes}) == {"custom": {"T cell": ["925", "916"]}}


def test_missing_names_are_dropped_74():
    with pytest.warns(ProgramsWarning, match="2 missing gene names"):
        assert read_gene_sets({"T cell": ["CD4", np.nan, None]}) == {"custom": {"T cell": ["CD4"]}}


def test_empty_terms_of_a_dictionary():
    with pytest.warns(ProgramsWarning, match="1 terms without genes"):
        assert read_gene_sets({"none": [], "T cell": ["CD4"]}) == {"custom": {"T cell": ["CD4"]}}


@pytest.mark.parametrize(
    ("gene_sets", "error", "match"),
    [
        ({}, ValueError, "no term with genes"),
        ([], ValueError, "gene_sets is empty"),
        ({"T cell": "CD4"}, TypeError, r"gene_sets\['T cell'\] is a str"),
        ({"T cell": 4}, TypeError, r"gene_sets\['T cell'\] is a int"),
        ({"T cell": [1.5]}, TypeError, r"holds 1\.5"),
        ({"T cell": [True]}, TypeError, "holds True"),
        ({"T cell": [["CD4", "CD8A"]]}, TypeError, "holds"),
        ({"library": {"T cell": ["CD4"]}}, TypeError, "is a dict; a list of gene names"),
        (None, TypeError, "type NoneType"),
        ([4], TypeError, "type int"),
    ],
)
def test_not_gene_sets(gene_sets, error, match):
    with pytest.raises(error, match=match):
        read_gene_sets(gene_sets)


def test_list_of_sources(gmt):
    libraries = read_gene_sets([gmt(GMT), {"a": ["CD4"]}, {"b": ["CD19"]}, str(gmt(GMT))])
    assert libraries == {"cells": TERMS, "custom": {"a": ["CD4"]}, "custom_2": {"b": ["CD19"]}, "cells_2": TERMS}


# --- names that do not match ---------------------------------------------------------------------------------------


def test_wrong_case_or_species_68():
    library = {"human": {"one": [f"GENE{i}" for i in range(100)]}}
    check_overlap(library, [f"GENE{i}" for i in range(50, 2000)])
    check_overlap(library, ["GENE1", "GENE2"])  # a small panel that the library knows
    mouse = [f"Gene{i}" for i in range(100)]
    with pytest.raises(
        ValueError, match=r"0 of the 100 background genes \(0\.0%\).*upper and lower case it would be 100"
    ):
        check_overlap(library, mouse, organism="mouse")
    with pytest.warns(ProgramsWarning, match=r"4 of the 104 background genes \(3\.8%\)"):
        check_overlap(library, [*mouse, "GENE1", "GENE2", "GENE3", "GENE4"])
    with pytest.raises(ValueError, match="kind of gene names"):
        check_overlap(library, ["ENSG01", "ENSG02"])


# --- Enrichr -------------------------------------------------------------------------------------------------------


def test_library_is_downloaded_once(cache):
    with enrichr() as (address, asked):
        for _ in range(2):
            libraries = read_gene_sets("My_Library", base_url=address)
    assert libraries == {"My_Library": {"first set": ["GENE0", "GENE1", "GENE2"], "second/set": ["GENE3", "GENE4"]}}
    assert asked == ["/Enrichr/geneSetLibrary?mode=text&libraryName=My_Library"]
    assert [path.read_text() for path in cached(cache)] == [LIBRARY]
    assert cached(cache)[0].name == "My_Library.gmt"


def test_cache_folder_can_be_chosen(cache, tmp_path, monkeypatch):
    with enrichr() as (address, _):
        read_gene_sets("My_Library", base_url=address, cache_dir=tmp_path / "chosen")
    assert not cached(cache)
    assert len(cached(tmp_path / "chosen")) == 1
    monkeypatch.delenv("SCPROGRAMS_CACHE")
    assert "scprograms" in _enrichr.cache_folder().parts


@pytest.mark.parametrize(
    ("organism", "site"),
    [
        ("human", "Enrichr"),
        ("mouse", "Enrichr"),
        ("fly", "FlyEnrichr"),
        ("yeast", "YeastEnrichr"),
        ("worm", "WormEnrichr"),
        ("fish", "FishEnrichr"),
    ],
)
def test_each_organism_has_its_site_and_its_cache(organism, site, monkeypatch, cache):
    assert _enrichr.SITES[organism] == f"https://maayanlab.cloud/{site}"
    with enrichr() as (address, asked):
        monkeypatch.setitem(_enrichr.SITES, organism, address.replace("/Enrichr", f"/{site}"))
        read_gene_sets("My_Library", organism=organism)
    assert asked[0].startswith(f"/{site}/geneSetLibrary")
    assert site in str(cached(cache)[0].parent.name)


def test_unknown_organism():
    with pytest.raises(ValueError, match=r"organism='yak'.*'human'"):
        read_gene_sets("My_Library", organism="yak")


@pytest.mark.parametrize("name", ["", "what?", "a\tb"])
def test_not_the_name_of_a_library(name):
    with pytest.raises(ValueError, match="neither a file nor the name"):
        read_gene_sets(name)


def test_refused_connection_fails_at_once_76(cache):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/Enrichr"
        start = time.monotonic()
        with pytest.raises(ConnectionError, match=r"cannot be reached.*Without a network.*gene_sets='FILE.gmt'"):
            read_gene_sets("My_Library", base_url=address)
        assert time.monotonic() - start < 3
    assert not cached(cache)


def test_silent_server_77(cache):
    with enrichr("silent") as (address, _):
        start = time.monotonic()
        with pytest.raises(TimeoutError, match=r"silent for 0\.2 s.*Without a network"):
            read_gene_sets("My_Library", base_url=address, timeout=0.2)
        assert time.monotonic() - start < 3
    assert not cached(cache)


def test_web_page_with_status_200_78(cache):
    with enrichr("html") as (address, _), pytest.raises(ValueError, match=r"'My_Library'.*web page"):
        read_gene_sets("My_Library", base_url=address)
    assert not cached(cache)


@pytest.mark.parametrize("behaviour", ["truncated", "truncated-chunks"])
def test_truncated_download_79(cache, behaviour):
    with enrichr(behaviour) as (address, _), pytest.raises(ConnectionError, match=r"broke off.*nothing was kept"):
        read_gene_sets("My_Library", base_url=address)
    assert not cached(cache)


@pytest.mark.parametrize(("status", "error"), [("403", ConnectionError), ("500", ConnectionError), ("404", ValueError)])
def test_refusal_is_not_asked_again_80(cache, status, error):
    with enrichr(status) as (address, asked), pytest.raises(error, match=f"status {status}"):
        read_gene_sets("My_Library", base_url=address)
    assert len(asked) == 1
    assert not cached(cache)


def test_too_many_requests_are_asked_again_80(cache):
    with enrichr(refuse_first=2) as (address, asked):
        assert "My_Library" in read_gene_sets("My_Library", base_url=address)
    assert len(asked) == 3
    with enrichr("429") as (address, asked), pytest.raises(ConnectionError, match="status 429"):
        read_gene_sets("Another", base_url=address)
    assert len(asked) == 4


def test_write_that_fails_leaves_nothing(cache, monkeypatch):
    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_enrichr.os, "fsync", full)
    with enrichr() as (address, _), pytest.raises(OSError, match="No space left"):
        read_gene_sets("My_Library", base_url=address)
    assert not cached(cache)


@pytest.mark.shared_data
@pytest.mark.skipif(not GO.is_file(), reason=f"{GO} is not there")
def test_gene_ontology_as_enrichr_has_it():
    library = read_gene_sets(GO)["GO_Biological_Process_2021.enrichr"]
    assert len(library) == 6036
    assert "IRF1" in library["cellular response to interferon-gamma (GO:0071346)"]
