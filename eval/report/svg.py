"""Matplotlib figures as SVG elements that live in a page: its colours, its fonts, its ids.

Matplotlib draws the plots, and not a library that draws in the browser: they are there without
JavaScript, in print and under a strict content security policy, at a tenth of the size.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.dom import minidom

from router.errors import MissingExtraError
from router.eval.report.figures import tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "INK",
    "N_SERIES",
    "OWN",
    "SOFT",
    "any_letters",
    "new_figure",
    "page_style",
    "plot_text",
    "series",
    "style",
    "to_svg",
]

# Stand for colours of the page until the SVG is written; Matplotlib knows no such colours.
INK = "#010203"
OWN = "#010204"
SOFT = "#010205"

N_SERIES = 8
"""Colours that :func:`series` tells apart."""

_FONT = re.compile(r"(font(?:-family)?: ?[^;]*?)'DejaVu Sans'[^;]*")
_LONGEST = 26


def series(number: int) -> str:
    """Return the placeholder of a colour for one of many lines."""
    return f"#0103{number % N_SERIES:02x}"


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, `width` by `height` inches.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train") from error
    return Figure(figsize=(width, height), dpi=72, layout="constrained")


@contextmanager
def any_letters() -> Iterator[None]:
    """Be silent on letters that Matplotlib's own font lacks: the page's fonts draw the text."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def style(axes: Axes, size: float = 8.0) -> None:
    """Give axes the page's colours, thin lines and texts of `size` points."""
    axes.patch.set_alpha(0)
    axes.grid(color=INK, alpha=0.12, lw=0.6)
    axes.tick_params(which="both", colors=INK, labelsize=size, length=2.5)
    axes.xaxis.label.set(color=INK, size=size)
    axes.yaxis.label.set(color=INK, size=size)
    for side, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_alpha(0.4)
        spine.set_visible(side in ("left", "bottom"))


def plot_text(text: str, longest: int = _LONGEST) -> str:
    """Return text that Matplotlib shows as it is, shortened where it is long."""
    text = " ".join(tidy(text).split())
    if len(text) > longest:
        text = f"{text[: longest - 1]}…"
    return text.replace("$", r"\$")


def to_svg(
    figure: Figure, name: str, label: str, axes: Axes | None = None, css_class: str = ""
) -> str:
    """Write a figure as an ``<svg>`` element without fonts, dates or random ids.

    Parameters
    ----------
    figure : Figure
        What to write.
    name : str
        Prefix of all ids, unique on the page.
    label : str
        What it shows, for those who cannot see it.
    axes : Axes, optional
        Axes whose place and scales the element tells as ``data-`` attributes.
    css_class : str
        Class of the element.

    Returns
    -------
    str
        The element. Texts in it are escaped.
    """
    import matplotlib

    file = io.StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": f"wattroute {name}"}
    with matplotlib.rc_context(settings), any_letters():
        figure.savefig(
            file,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    # minidom's types allow for documents without an element
    drawing: Any = minidom.parseString(file.getvalue().encode("utf-8")).documentElement
    for unused in ("metadata", "style"):
        for element in drawing.getElementsByTagName(unused):
            element.parentNode.removeChild(element)
    _adapt(drawing, name)
    for element in drawing.getElementsByTagName("*"):
        _adapt(element, name)
    for key in ("width", "height"):
        drawing.removeAttribute(key)
    attributes = {"role": "img", "aria-label": tidy(label), "class": css_class}
    for key, value in {**attributes, **({} if axes is None else _scales(figure, axes))}.items():
        drawing.setAttribute(key, value)
    return str(drawing.toxml())


def _adapt(element: Any, name: str) -> None:
    """Make ids unique on the page, and take colours and fonts from it."""
    if element.hasAttribute("id"):
        element.setAttribute("id", f"{name}-{element.getAttribute('id')}")
    for key in ("xlink:href", "href"):
        if element.getAttribute(key).startswith("#"):
            element.setAttribute(key, f"#{name}-{element.getAttribute(key)[1:]}")
    for key in ("clip-path", "style", "fill", "stroke"):
        value = element.getAttribute(key)
        if value:
            element.setAttribute(key, page_style(value, name))


def page_style(value: str, name: str = "") -> str:
    """Return a style with the page's colours, fonts and ids for placeholders."""
    value = value.replace("url(#", f"url(#{name}-")
    for placeholder, colour in _COLOURS.items():
        value = value.replace(placeholder, colour)
    return _FONT.sub(r"\1system-ui, sans-serif", value)


_COLOURS: Mapping[str, str] = {
    INK: "currentColor",
    OWN: "var(--own)",
    SOFT: "var(--soft)",
    **{series(number): f"var(--s{number})" for number in range(N_SERIES)},
}


def _scales(figure: Figure, axes: Axes) -> dict[str, str]:
    """Where the axes lie in the view box, and what their ends stand for."""
    box = axes.get_position()
    width, height = figure.get_size_inches() * 72.0
    ends = {
        "data-left": box.x0 * width,
        "data-right": box.x1 * width,
        "data-top": (1 - box.y1) * height,
        "data-bottom": (1 - box.y0) * height,
        "data-x0": axes.get_xlim()[0],
        "data-x1": axes.get_xlim()[1],
        "data-y0": axes.get_ylim()[0],
        "data-y1": axes.get_ylim()[1],
    }
    return {key: f"{float(value):.6g}" for key, value in ends.items()}
