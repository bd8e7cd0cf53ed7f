"""What makes pages complete and readable: formulas without a network, descriptions, and long names that can break."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx import addnodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

TITLE = "Gene and chromatin programs from perturbation screens"
LONGEST = 160
"""Characters of a description that search engines show."""


def mathml(formula: str, *, block: bool) -> str:
    """Write a formula as MathML, which browsers draw by themselves."""
    made = " ".join(latex2mathml.tex2mathml(formula).split())
    return made.replace("<math ", '<math display="block" ', 1) if block else made


def description(doctree: nodes.document) -> str:
    """Return the first words of a page, to the end of a sentence where that is near, and '' for a page without text."""
    aside = (nodes.table, nodes.Admonition, nodes.field_list, nodes.footnote, nodes.literal_block)
    for paragraph in doctree.findall(nodes.paragraph):
        above, inside = paragraph.parent, False
        while above is not None:
            # The description of a function is an admonition to Sphinx.
            inside |= isinstance(above, aside) and not isinstance(above, addnodes.desc)
            above = above.parent
        notes = {id(part) for note in paragraph.findall(nodes.footnote_reference) for part in note.findall(nodes.Text)}
        parts = [str(part) for part in paragraph.findall(nodes.Text) if id(part) not in notes]
        text = re.sub(r" (?=[.,;:]( |$))", "", " ".join("".join(parts).split()))
        if inside or len(text) < 30:
            continue
        if len(text) <= LONGEST:
            return text
        cut = text[: LONGEST - 1]
        ends = [match.end() for match in re.finditer(r"[.:;](?= )", cut)]
        return cut[: ends[-1]].rstrip(":;") if ends and ends[-1] > LONGEST / 3 else cut.rpartition(" ")[0] + "…"
    return ""


def _tidy_signatures(app, doctree) -> None:  # noqa: ARG001
    """Write arrays as the source does, for NDArray stands for a long type; and leave out that a class returns None."""
    for node in [*doctree.findall(addnodes.desc_returns), *doctree.findall(addnodes.desc_annotation)]:
        kind = node.parent.parent.get("objtype") if isinstance(node.parent.parent, addnodes.desc) else ""
        text = nodes.Element.astext(node)  # that of a result would begin with an arrow
        if isinstance(node, addnodes.desc_returns) and kind in {"class", "exception"}:
            node.parent.remove(node)
        elif (short := re.sub(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[\w+\]\]", "NDArray", text)) != text:
            node.children = []
            node.append(nodes.Text(short))


def breakable(body: str) -> str:
    """Let long names in code and headings break after the signs that join their parts."""

    def joined(match: re.Match) -> str:
        return match[1] + re.sub(r"(::|[_./])(?=\w)", r"\1<wbr>", match[2])

    body = re.sub(r'(<span class="pre">)([^<]{16,})', joined, body)
    return re.sub(r"(<h1>)([^<]{16,})", joined, body)


def _finish_page(app, pagename, templatename, context, doctree) -> None:  # noqa: ARG001
    if doctree is not None and (text := description(doctree)):
        context["metatags"] = f'{context.get("metatags", "")}\n<meta name="description" content="{html.escape(text)}">'
    if pagename == app.config.root_doc:  # its heading is the name of the site, which every title ends with
        context["title"] = TITLE
    if "body" in context:
        context["body"] = breakable(context["body"])


def _visit_inline(translator, node) -> None:
    translator.body.append(mathml(node.astext(), block=False))
    raise nodes.SkipNode


def _visit_block(translator, node) -> None:
    translator.body.append(f'<div class="formula">{mathml(node.astext(), block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Connect all of it."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    app.connect("doctree-read", _tidy_signatures)
    app.connect("html-page-context", _finish_page)
