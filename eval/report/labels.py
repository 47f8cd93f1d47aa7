"""Labels beside the points of a plot, where they do not lie on each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from router.eval.report.svg import INK, any_letters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["place_labels"]

_PLACES = (
    (6, 0, "left", "center"),
    (-6, 0, "right", "center"),
    (4, -5, "left", "top"),
    (-4, -5, "right", "top"),
    (4, 5, "left", "bottom"),
    (-4, 5, "right", "bottom"),
    (0, -7, "center", "top"),
    (0, 7, "center", "bottom"),
    (10, -13, "left", "top"),
    (-10, -13, "right", "top"),
    (10, 13, "left", "bottom"),
    (-10, 13, "right", "bottom"),
)
_POINT_PX = 5.0


def place_labels(
    figure: Figure,
    axes: Axes,
    spots: NDArray[np.float64],
    labels: Sequence[str],
    size: float,
) -> int:
    """Label points greedily, from the left to the right.

    Parameters
    ----------
    figure, axes : Figure, Axes
        What to draw on; scales and limits must be set.
    spots : ndarray of shape (n, 2)
        The points.
    labels : sequence of str
        Their labels.
    size : float
        Size of the text in points.

    Returns
    -------
    int
        How many labels found a place; the others are left out.
    """
    with any_letters():
        return _place(figure, axes, spots, labels, size)


def _place(
    figure: Figure,
    axes: Axes,
    spots: NDArray[np.float64],
    labels: Sequence[str],
    size: float,
) -> int:
    figure.draw_without_rendering()
    room = axes.get_window_extent()
    points = axes.transData.transform(spots) if len(spots) else np.empty((0, 2))
    taken: list[Any] = []
    placed = 0
    for j in np.argsort(points[:, 0], kind="stable"):
        others = np.delete(points, j, axis=0)
        for dx, dy, across, upright in _PLACES:
            text = axes.annotate(
                labels[j],
                spots[j],
                xytext=(dx, dy),
                textcoords="offset points",
                ha=across,
                va=upright,
                fontsize=size,
                color=INK,
                gid=f"label-{j}",
            )
            box = text.get_window_extent()
            free = (
                box.x0 >= room.x0
                and box.x1 <= room.x1
                and box.y0 >= room.y0
                and box.y1 <= room.y1
                and not any(box.overlaps(other) for other in taken)
                and not _covers(box, others)
            )
            if free:
                taken.append(box)
                placed += 1
                break
            text.remove()
    return placed


def _covers(box: Any, points: NDArray[np.float64]) -> bool:
    low = np.array([box.x0, box.y0]) - _POINT_PX
    high = np.array([box.x1, box.y1]) + _POINT_PX
    return bool(((points > low) & (points < high)).all(axis=1).any())
