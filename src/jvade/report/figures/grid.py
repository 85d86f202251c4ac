"""What chooses the number of latents and of clusters (Figs 1 and 4)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jvade.report.figures.style import BLUE, ORANGE, line_at, styled


@styled
def bic_curve(table: pd.DataFrame, published: int) -> Figure:
    """Draw BIC and ICL against the number of clusters, the lowest of each circled (Fig 4).

    Args:
        table: columns n_clusters, n_rows, bic, icl; lower is better.
        published: the study's number of clusters.
    """
    figure = Figure(figsize=(6.2, 4.2), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for axes, column, color in zip(panels, ("bic", "icl"), (BLUE, ORANGE), strict=True):
        values = table[column] / 1000
        best = int(np.nanargmin(values))
        axes.plot(table["n_clusters"], values, color=color, linewidth=1.6, marker="o", markersize=3.5)
        axes.plot(
            table["n_clusters"].iloc[best],
            values.iloc[best],
            "o",
            color=color,
            markersize=10,
            fillstyle="none",
            markeredgewidth=1.5,
        )
        axes.set_ylabel(f"{column.upper()}, thousands")
        axes.margins(y=0.15)
        line_at(axes, published, f"published minimum of BIC: {published}" if column == "bic" else "")
    panels[-1].set_xlabel("number of clusters")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(
        f"Mixtures on the pretrained latents of {table['n_rows'].iloc[0]:,} visits; the lowest is circled",
        fontsize=10,
        fontweight="bold",
        x=0.01,
        ha="left",
    )
    return figure
