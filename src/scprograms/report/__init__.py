"""What an analysis leaves on disk: a page to read, an Excel file, figures, gene lists and BED files."""

from __future__ import annotations

from ._beds import write_beds
from ._excel import write_excel
from ._gene_lists import write_gene_lists
from ._page import write_html
from .figures import Picture, write_figures

__all__ = ["Picture", "write_beds", "write_excel", "write_figures", "write_gene_lists", "write_html"]
