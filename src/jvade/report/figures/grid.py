"""What chooses the number of latents and of clusters (Figs 1 and 4)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from jvade.report.figures.style import BLUE, GREEN, INK, MUTED, ORANGE, line_at, styled

#: Column, name, and whether higher is better.
INDICES = (
    ("silhouette", "Silhouette (higher is better)", True),
    ("davies_bouldin", "Davies-Bouldin (lower is better)", False),
    ("calinski_harabasz", "Calinski-Harabasz (higher is better)", True),
)


@styled
def heat_maps(table: pd.DataFrame, chosen: tuple[int, int]) -> Figure:
    """Draw each index over latents and clusters, darker where better, the chosen pair framed (Fig 1).

    Args:
        table: columns latent_dim, n_clusters and the indices.
        chosen: its number of latents and of clusters.
    """
    dims, sizes = sorted(table["latent_dim"].unique()), sorted(table["n_clusters"].unique())
    height = 0.30 * len(dims) + 0.75
    figure = Figure(figsize=(max(5.6, 0.56 * len(sizes) + 1.2), 3 * height), layout="constrained")
    for axes, (column, name, higher) in zip(figure.subplots(3, 1, sharex=True), INDICES, strict=True):
        values = (
            table.pivot(index="latent_dim", columns="n_clusters", values=column).loc[dims, sizes].to_numpy()
        )
        shade = values if higher else -values
        axes.imshow(np.ma.masked_invalid(shade), cmap="Blues", aspect="auto")
        low, high = np.nanmin(shade), np.nanmax(shade)
        for (row, place), value in np.ndenumerate(values):
            text = "-" if np.isnan(value) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
            strong = high > low and (shade[row, place] - low) / (high - low) > 0.6
            axes.text(
                place, row, text, ha="center", va="center", fontsize=8, color="white" if strong else INK
            )
        place, row = sizes.index(chosen[1]), dims.index(chosen[0])
        frame = Rectangle(
            (place - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=ORANGE, linewidth=2, clip_on=False
        )
        axes.add_patch(frame)
        axes.set_yticks(range(len(dims)), [f"{d}" for d in dims], color=INK)
        axes.set_xticks(range(len(sizes)), [f"{k}" for k in sizes], color=INK)
        axes.set_title(name, fontsize=9)
        axes.set_ylabel("latents")
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    figure.axes[-1].set_xlabel("number of clusters")
    figure.suptitle(
        f"Mixtures on {table['n_rows'].iloc[0]:,} pretrained latents; the chosen pair is framed",
        fontsize=10,
        fontweight="bold",
        x=0.01,
        ha="left",
    )
    return figure


@styled
def sensitivity(table: pd.DataFrame) -> Figure:
    """Draw each index against the number of latents, K by BIC and by silhouette, the study beside (Table 3).

    Args:
        table: columns latent_dim, chosen_by ("bic", "silhouette"), the indices, and those `_published`.
    """
    figure = Figure(figsize=(9.6, 2.9), layout="constrained")
    lines = (
        ("bic", "", "ours, K by BIC", BLUE, "o"),
        ("silhouette", "", "ours, K by silhouette", GREEN, "s"),
    )
    lines += (("bic", "_published", "published, other data", MUTED, "D"),)
    for axes, (column, name, _) in zip(figure.subplots(1, 3), INDICES, strict=True):
        for chosen_by, suffix, label, color, marker in lines:
            one = table[table["chosen_by"] == chosen_by]
            style = "--" if suffix else "-"
            axes.plot(
                one["latent_dim"],
                one[f"{column}{suffix}"],
                style,
                color=color,
                marker=marker,
                markersize=4,
                label=label,
            )
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("latents")
        axes.set_xticks(sorted(table["latent_dim"].unique()))
        if column == "calinski_harabasz":
            axes.set_yscale("log")
    handles, words = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


@styled
def criteria(table: pd.DataFrame, elbow: float | None, published: int) -> Figure:
    """Draw BIC and ICL against the number of clusters, their lowest circled, the elbow marked (Fig 4).

    Args:
        table: columns n_clusters, n_rows, bic, icl; lower is better.
        elbow: where BIC bends most, if it does.
        published: the study's number of clusters.
    """
    figure = Figure(figsize=(6.2, 4.2), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for axes, column, color in zip(panels, ("bic", "icl"), (BLUE, ORANGE), strict=True):
        values = table.loc[:, column] / 1000
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
        if column == "bic" and elbow is not None:
            at = float(values[table["n_clusters"] == elbow].iloc[0])
            axes.annotate(
                "elbow", (elbow, at), (-4, -6), textcoords="offset points", ha="right", va="top", fontsize=8
            )
            axes.plot(elbow, at, "s", color=color, markersize=8, fillstyle="none", markeredgewidth=1.5)
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
