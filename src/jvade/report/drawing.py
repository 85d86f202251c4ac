"""What every picture shares, be it drawn by matplotlib or written as SVG: colours and shapes."""

import numpy as np

#: Nine muted colours that the common colour-vision deficiencies keep apart (Tol 2021), and a blue that stays
#: apart from them; the pale ones last.
PALETTE = (
    "#332288", "#cc6677", "#117733", "#882255", "#44aa99",
    "#aa4499", "#999933", "#3366ff", "#88ccee", "#ddcc77",
)  # fmt: skip
#: Corners of a hexagon of radius 1, one of them up.
CORNERS = np.stack([np.sin(np.arange(6) * np.pi / 3), np.cos(np.arange(6) * np.pi / 3)], axis=1)


def cluster_color(number: float) -> str:
    """Return the colour of a cluster, numbered from 1; they repeat after the last."""
    return PALETTE[(int(number) - 1) % len(PALETTE)]
