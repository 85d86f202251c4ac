"""Losses by epoch (Figs 3 and 5)."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jvade.report.figures.style import BLUE, ORANGE, label_ends, line_at, one_axes, styled


@styled
def training_curves(history: pd.DataFrame, title: str, best_epoch: int) -> Figure:
    """Draw training and validation loss per epoch, the epoch that was kept marked (Figs 3 and 5).

    Args:
        history: columns epoch, train_loss, validation_loss (minus ELBO, nats per visit).
        title: what was trained.
        best_epoch: the epoch whose parameters were returned.
    """
    figure, axes = one_axes(6.2, 3.2)
    ends = {}
    for column, name, color in (("train_loss", "training", BLUE), ("validation_loss", "validation", ORANGE)):
        axes.plot(history["epoch"], history[column], color=color, linewidth=1.6)
        ends[name] = (float(history["epoch"].iloc[-1]), float(history[column].iloc[-1]), color)
    axes.set(xlabel="epoch", ylabel="loss: minus ELBO, nats per visit", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    line_at(axes, best_epoch, f"kept: epoch {best_epoch}")
    label_ends(axes, ends)
    return figure


#: Columns of the history, what they are called, and the column taken off them.
_TERMS = (
    ("reconstruction", "log-likelihood of the inputs", None),
    ("gaussian_cross_entropy", "KL of the latents to their clusters", "posterior_entropy"),
    ("categorical_kl", "KL of the clusters to their weights", None),
)


@styled
def terms(history: pd.DataFrame, title: str) -> Figure:
    """Draw the terms of the ELBO per epoch, validation beside training; one without any change is left out.

    Args:
        history: columns epoch and, for train_ and validation_, the four terms (nats per visit).
        title: what was trained.
    """
    shown = [term for term in _TERMS if history.loc[:, f"train_{term[0]}"].abs().max() > 0]
    figure = Figure(figsize=(3.3 * len(shown), 2.8), layout="constrained")
    for axes, (column, name, minus) in zip(
        figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True
    ):
        for part, words, color in (("train", "training", BLUE), ("validation", "validation", ORANGE)):
            values = history[f"{part}_{column}"] - (history[f"{part}_{minus}"] if minus else 0)
            axes.plot(history["epoch"], values, color=color, linewidth=1.6, label=words)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    # Lines that end as close as these leave no room for words beside them.
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=8,
    )
    figure.axes[0].set_ylabel("nats per visit")
    figure.suptitle(f"{title}: terms of the ELBO", fontsize=10, fontweight="bold", x=0.01, ha="left")
    return figure
