"""Where each reading of what the study leaves open lands."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from jvade.report.figures.style import BLUE, GREEN, HALO, INK, MUTED, ORANGE, styled

NAMES = {
    "silhouette": "Silhouette",
    "davies_bouldin": "Davies-Bouldin",
    "times_overall": "Highest / overall cross rate",
    "distance_table7": "Distance, Table 7",
}


@styled
def readings(table: pd.DataFrame, published: Mapping[str, float]) -> Figure:
    """Draw each measure against the noise variance, a line per reading of the inputs.

    Args:
        table: columns inputs, noise_variance and the measures of `NAMES`.
        published: value of some of the measures in the study, drawn as a line across.
    """
    figure = Figure(figsize=(10.4, 2.9), layout="constrained")
    for axes, (column, name) in zip(figure.subplots(1, len(NAMES)), NAMES.items(), strict=True):
        for (inputs, one), color in zip(
            table.groupby("inputs", sort=False), (BLUE, ORANGE, GREEN), strict=False
        ):
            axes.plot(
                one["noise_variance"], one[column], color=color, marker="o", markersize=4, label=str(inputs)
            )
        if column in published:
            axes.axhline(published[column], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.annotate(
                "published",
                (0, published[column]),
                (3, 3),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                fontsize=8,
                color=MUTED,
                path_effects=HALO,
            )
        axes.set_xscale("log")
        ticks = sorted(table["noise_variance"].unique())
        axes.set_xticks(ticks, [f"{value:g}" for value in ticks], color=INK)
        axes.minorticks_off()
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("noise variance")
    handles, words = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        [f"inputs: {w}" for w in words],
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8,
    )
    return figure
