"""Who crosses, and what the visits of each cluster look like (Tables 5 and 7)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jvade.report.figures.style import BLUE, INK, MUTED, ORANGE, one_axes, styled


@styled
def cross_rates(table: pd.DataFrame, published: pd.DataFrame | None, outcome: str) -> Figure:
    """Draw each cluster's cross rate against the overall rate, with its share of visits.

    Args:
        table: as `analysis.profiles.cross_rates` returns it; index cluster numbers, then "overall".
        published: the same of the study, drawn beside as hollow marks; None leaves them out.
        outcome: what crossing means, for the axis.
    """
    clusters = table.drop(index="overall").dropna(subset=["cross_rate"])
    overall = float(table.loc["overall", "cross_rate"])  # pyright: ignore[reportArgumentType]
    figure, axes = one_axes(6.6, 0.36 * len(clusters) + 1.3)
    places = np.arange(len(clusters))
    colors = [ORANGE if rate > overall else BLUE for rate in clusters["cross_rate"]]
    axes.barh(places, clusters["cross_rate"], color=colors, height=0.62)
    axes.axvline(overall, color=INK, linewidth=1)
    note = f"│ all visits: {overall:.1f} %"
    if published is not None:
        # By rank: a cluster whose number is blank is left out, and the others keep their rank.
        theirs = published.drop(index="overall")["cross_rate"].to_numpy(float)
        ranks = clusters.index.to_numpy(int)
        here = ranks <= len(theirs)
        axes.plot(
            theirs[ranks[here] - 1], places[here], "D", color=INK, markerfacecolor="white", markersize=5
        )
        note += "    ◇ published, other data, by rank"
    axes.text(0.99, 0.02, note, transform=axes.transAxes, ha="right", va="bottom", fontsize=8)
    # The numbers stand in a column of their own, where no bar or mark can reach them.
    column = axes.get_yaxis_transform()
    for place, (rate, share) in zip(
        places.tolist(), clusters[["cross_rate", "share"]].to_numpy(), strict=True
    ):
        axes.text(1.10, place, f"{rate:.1f} %", transform=column, ha="right", va="center")
        axes.text(1.24, place, f"{share:.1f} %", transform=column, ha="right", va="center", color=MUTED)
    head = {"transform": axes.transAxes, "ha": "right", "va": "bottom", "fontsize": 8, "color": MUTED}
    axes.text(1.10, 1.0, "cross rate", **head)
    axes.text(1.24, 1.0, "of visits", **head)
    axes.set_yticks(places, [f"cluster {name}" for name in clusters.index], color=INK)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{outcome}, % of the cluster's visits")
    axes.set_title("Who crosses: clusters by falling cross rate", pad=16)
    return figure


@styled
def profile_heatmap(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Draw the profiles as a heat map: values as text, shade by the log ratio to the overall mean (Table 7).

    Args:
        table: as `analysis.profiles.profile` returns it.
        labels: words for the variables.
    """
    columns = [name for name in table.columns if name.startswith("cluster")]
    values = table[columns].to_numpy(float)
    overall = table["overall"].to_numpy(float)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.clip(np.log2(values / overall), -2, 2)
    figure, axes = one_axes(1.0 * len(columns) + 4.2, 0.235 * len(table) + 1.0)
    image = axes.imshow(np.ma.masked_invalid(ratio), cmap="RdBu_r", vmin=-2, vmax=2, aspect="auto", alpha=0.8)
    names = [
        f"{labels.get(variable, variable)}, {'%' if unit.startswith('percent') else unit}"
        for variable, unit in zip(table["variable"], table["unit"], strict=True)
    ]
    axes.set_yticks(np.arange(len(table)), names, color=INK)
    axes.set_xticks(
        np.arange(len(columns) + 1), [name.removeprefix("cluster") for name in columns] + ["all"], color=INK
    )
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set_xlim(-0.5, len(columns) + 0.5)
    for row, numbers in enumerate(np.hstack([values, overall])):
        for column, number in enumerate(numbers):
            strong = column < len(columns) and abs(np.nan_to_num(ratio[row, column])) > 1.6
            text = "-" if np.isnan(number) else f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.1f}"
            axes.text(
                column, row, text, ha="center", va="center", fontsize=8, color="white" if strong else INK
            )
    groups = table["group"].to_numpy()
    for row in np.flatnonzero(groups[1:] != groups[:-1]):
        axes.axhline(row + 0.5, color=INK, linewidth=0.8)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.35, aspect=30, pad=0.01)
    bar.set_ticks([-2, -1, 0, 1, 2], labels=["¼", "½", "1", "2", "4"])
    bar.set_label("times the overall mean")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    axes.set_title("Cluster profiles, original units; clusters by falling cross rate", pad=22)
    return figure
