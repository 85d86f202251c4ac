"""Losses by epoch (Figs 3 and 5)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jvade.report.figures.style import BLUE, ORANGE, label_ends, line_at, one_axes, styled

#: What the lines of the losses are called, their columns of the history and colours.
_LOSSES = {"training": ("train_loss", BLUE), "validation": ("validation_loss", ORANGE)}
#: How far beyond the validation line, in ranges of its own, the training line may go and stay in sight.
IN_SIGHT = 10


def scale(axes: Axes, epochs: np.ndarray, training: np.ndarray, validation: np.ndarray) -> None:
    """Leave epochs out of the scale whose mean one astray step has made: they would flatten all others.

    They are marked at the edge, the farthest with its value.

    Args:
        axes: has both lines.
        epochs: numbers of the epochs.
        training: what is drawn of the training rows.
        validation: what is drawn of the validation rows.
    """
    low, high = float(np.nanmin(validation)), float(np.nanmax(validation))
    reach = IN_SIGHT * (high - low)
    beyond = (training < low - reach) | (training > high + reach)
    if not reach or not beyond.any():
        return
    seen = np.append(training[~beyond], [low, high])
    pad = 0.05 * (np.nanmax(seen) - np.nanmin(seen))
    bottom, top = float(np.nanmin(seen) - pad), float(np.nanmax(seen) + pad)
    axes.set_ylim(bottom, top)
    for epoch, value in zip(epochs[beyond], training[beyond], strict=True):
        edge, marker = (top, "^") if value > top else (bottom, "v")
        axes.plot(epoch, edge, marker, color=BLUE, markersize=5, clip_on=False)
    at = np.argmax(np.where(beyond, np.abs(training - low), 0.0))
    edge, away = (top, -16) if training[at] > top else (bottom, 16)  # clear of what stands at the top
    axes.annotate(
        format(training[at], ",.0f" if abs(training[at]) >= 100 else ".1f"),
        (epochs[at], edge),
        (-6, away),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=7,
        color=BLUE,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


@styled
def training_curves(history: pd.DataFrame, title: str, best_epoch: int) -> Figure:
    """Draw training and validation loss per epoch, the epoch that was kept marked (Figs 3 and 5).

    Args:
        history: columns epoch, train_loss, validation_loss (minus ELBO, nats per visit).
        title: what was trained.
        best_epoch: the epoch whose parameters were returned.
    """
    figure, axes = one_axes(6.2, 3.2)
    epochs = history["epoch"].to_numpy(float)
    losses = {name: history[column].to_numpy(float) for name, (column, _) in _LOSSES.items()}
    for name, (_, color) in _LOSSES.items():
        axes.plot(epochs, losses[name], color=color, linewidth=1.6)
    scale(axes, epochs, *losses.values())
    last = {name: float(np.clip(one[-1], *axes.get_ylim())) for name, one in losses.items()}
    axes.set(xlabel="epoch", ylabel="loss: minus ELBO, nats per visit", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    line_at(axes, best_epoch, f"kept: epoch {best_epoch}")
    label_ends(axes, {name: (float(epochs[-1]), last[name], color) for name, (_, color) in _LOSSES.items()})
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
        lines = []
        for part, words, color in (("train", "training", BLUE), ("validation", "validation", ORANGE)):
            lines.append(history[f"{part}_{column}"] - (history[f"{part}_{minus}"] if minus else 0))
            axes.plot(history["epoch"], lines[-1], color=color, linewidth=1.6, label=words)
        scale(axes, *(line.to_numpy(float) for line in (history["epoch"], *lines)))
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
