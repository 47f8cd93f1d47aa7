"""What the documentation's pages need before and after Markdown reads them."""

import posixpath
import re
from typing import Any

_LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)[^)\s]*\)")
# ":func:`name`" of docstrings, as Markdown leaves it
_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):(?=<code>)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return a page without reasons for which blocks are not tested and without links to sources.

    In the repository, pages may link to files outside `docs`. A site has only what is inside.
    """
    folder = posixpath.dirname(page.file.src_uri)

    def inside(link: re.Match[str]) -> str:
        target = link[2]
        leaves = "://" not in target and posixpath.normpath(
            posixpath.join(folder, target)
        ).startswith("../")
        return link[1] if leaves else link[0]

    return _LINK.sub(inside, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Return a page without the roles before names in docstrings."""
    return _ROLE.sub("", html)
