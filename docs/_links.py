"""Look for links of a built site that lead nowhere: ``python docs/_links.py docs/_build/html``."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (value and name == "id") or (tag == "a" and name == "name" and value):
                self.anchors.add(value)
            elif value and name in {"href", "src"}:
                self.links.append(value)


def read(page: Path) -> tuple[set[str], list[str]]:
    """Return the anchors of a page, and where its links and pictures point."""
    parser = _Page()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.anchors, parser.links


def dead_links(site: Path) -> list[str]:
    """Return one sentence for each link between pages of the site whose page, file or anchor does not exist."""
    site = site.resolve()
    files = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.relative_to(site).parts]
    pages = {path: read(path) for path in files}
    dead = []
    for page, (_, links) in pages.items():
        for link in dict.fromkeys(links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:  # another site, mail, or data within the page
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if target.is_dir():
                target = target / "index.html"
            where = page.relative_to(site).as_posix()
            if not target.is_file():
                dead.append(f"{where}: {link} does not exist")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target][0]:
                dead.append(f"{where}: {link} has no such anchor")
    return dead


if __name__ == "__main__":
    found = dead_links(Path(sys.argv[1]))
    print("\n".join(found) or "no dead link")
    sys.exit(bool(found))
