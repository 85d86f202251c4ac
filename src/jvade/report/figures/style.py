"""The one style of every figure, and the few things that all of them draw."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.patheffects import withStroke
from matplotlib.transforms import BboxBase

INK, MUTED, GRID = "#1f2933", "#6b7785", "#e3e7eb"
#: Distinguishable with any of the common colour-vision deficiencies (Okabe & Ito 2008).
BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072b2", "#d55e00", "#009e73", "#aa4499", "#56b4e9"
#: Around words that lie on what is drawn.
HALO = [withStroke(linewidth=3, foreground="white")]

#: Families with Chinese letters, as systems have them: for names in which DejaVu Sans would draw boxes.
CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",  # as older versions of matplotlib call the same file
    "Source Han Sans SC",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "SimHei",
    "WenQuanYi Micro Hei",
    "Arial Unicode MS",
)
_INSTALLED = {font.name for font in fontManager.ttflist}

STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans", *(name for name in CHINESE if name in _INSTALLED)],
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "figure.dpi": 150,
    "svg.hashsalt": "jvade",
    "svg.fonttype": "none",
}


P = ParamSpec("P")


@contextmanager
def missing_letters() -> Iterator[list[str]]:
    """Collect what matplotlib says of letters that no font has, in place of a warning for each."""
    missing: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", message="Glyph .* missing")
        try:
            yield missing
        finally:
            missing += [str(one.message) for one in caught if str(one.message).startswith("Glyph ")]
    for one in caught:
        if not str(one.message).startswith("Glyph "):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw under the one style."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return inside


def one_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of one panel; inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def line_at(axes: Axes, x: float, text: str) -> None:
    """Mark one place of the horizontal axis, with words on the side where there is room."""
    axes.axvline(x, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    low, high = axes.get_xlim()
    side = "right" if x > (low + high) / 2 else "left"
    axes.annotate(
        text,
        (x, 1),
        (-4 if side == "right" else 4, -2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha=side,
        va="top",
        color=MUTED,
        fontsize=8,
    )


def label_ends(axes: Axes, ends: Mapping[str, tuple[float, float, str]]) -> None:
    """Write each line's name beside its last point, moved apart where two would overlap.

    Args:
        axes: where; its limits must be final.
        ends: name of a line to its last x, last y and colour.
    """
    height = axes.transData + axes.transAxes.inverted()  # as a share of the panel's, on any scale
    last = -np.inf
    for name, (x, y, color) in sorted(ends.items(), key=lambda item: item[1][1]):
        last = max(height.transform((x, y))[1], last + 0.06)
        axes.annotate(
            name,
            (x, last),
            (6, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=color,
            va="center",
            annotation_clip=False,
        )


def writers(figure: Figure) -> dict[str, Callable[[Path], None]]:
    """Return what writes a figure as a file of each kind, the same bytes for the same figure."""
    with mpl.rc_context(STYLE):
        figure.draw_without_rendering()
        # Laid out and measured once, not for each kind of file.
        figure.set_layout_engine(None)
        box = figure.get_tightbbox().padded(mpl.rcParams["savefig.pad_inches"])
    kinds: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None}}
    return {kind: partial(_save, figure, kind, metadata, box) for kind, metadata in kinds.items()}


def _save(figure: Figure, kind: str, metadata: dict[str, None], box: BboxBase, path: Path) -> None:
    with mpl.rc_context(STYLE):
        figure.savefig(path, format=kind, metadata=metadata, bbox_inches=box)
