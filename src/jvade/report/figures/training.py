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
