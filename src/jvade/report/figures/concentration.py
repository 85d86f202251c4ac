"""How concentrated crossing is (section 3.3)."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from jvade.report.figures.style import BLUE, GREEN, MUTED, ORANGE, PURPLE, SKY, label_ends, one_axes, styled

COLORS = (ORANGE, BLUE, GREEN, PURPLE, SKY)
STEP = 7  # percent between the names of two lines


@styled
def lorenz(curves: Mapping[str, pd.DataFrame], ginis: Mapping[str, float]) -> Figure:
    """Draw what share of crossing the clusters with the highest rates hold, a line per method.

    Args:
        curves: as `analysis.concentration.lorenz` returns them, by method; five at most.
        ginis: Gini coefficient of each.

    Raises:
        ValueError: there are more than five methods.
    """
    if len(curves) > len(COLORS):
        raise ValueError(f"{len(COLORS)} methods at most, got {len(curves)}")
    figure, axes = one_axes(6.4, 4.4)
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.annotate(
        "evenly spread",
        (60, 60),
        (4, -4),
        textcoords="offset points",
        color=MUTED,
        fontsize=8,
        ha="left",
        va="top",
    )
    colors = dict(zip(curves, COLORS, strict=False))
    for name, curve in curves.items():
        line = {"color": colors[name], "linewidth": 1.6, "marker": "o", "markersize": 3.5}
        axes.plot(curve["visits"], curve["crossing"], clip_on=False, **line)
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
    axes.set(
        xlabel="% of visits, clusters by falling cross rate",
        ylabel="% of visits outside the home area",
        title="How concentrated crossing is",
    )
    # All lines end in one corner: the names hang from it, the most concentrated first.
    order = sorted(curves, key=lambda name: -ginis[name])
    ends = {
        f"{name}, Gini {ginis[name]:.2f}": (100.0, 100.0 - STEP * place, colors[name])
        for place, name in enumerate(order)
    }
    label_ends(axes, ends)
    return figure
