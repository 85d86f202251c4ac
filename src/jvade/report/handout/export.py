"""A picture of the report as PNG: for slides, and for programs that show no SVG."""

from collections.abc import Iterable
from html import escape
from importlib.util import find_spec
from pathlib import Path

from resvg_py import svg_to_bytes

#: Pixels for one unit of the SVG: enough for print.
ZOOM = 3.0
#: What every machine has that can draw the study's figures; it has no Chinese.
OWN_FONT, OWN_FAMILY = Path("mpl-data", "fonts", "ttf", "DejaVuSans.ttf"), "DejaVu Sans"


def png(svg: str, font: Path | None = None) -> bytes:
    """Return an SVG as PNG on white, the same on every machine.

    Args:
        svg: whole.
        font: file of the font that its text is set in; DejaVu Sans if not given.

    Raises:
        ValueError: the font cannot be used, or the SVG cannot be drawn.
    """
    if font is None:
        font, family = _own_font(), OWN_FAMILY
    else:
        family = escape(_family(font))
    svg = svg.replace('font-family="system-ui, sans-serif"', f'font-family="{family}"')
    return svg_to_bytes(
        svg_string=svg, background="#ffffff", zoom=ZOOM, skip_system_fonts=True, font_files=[str(font)]
    )


def undrawn(svgs: Iterable[str]) -> bool:
    """Return whether some SVG has letters that the font of `png`, where none is given, has not."""
    from matplotlib.ft2font import FT2Font  # a second to load

    known = FT2Font(str(_own_font())).get_charmap()
    return any(ord(letter) not in known for svg in svgs for letter in {*svg} if letter.isprintable())


def _own_font() -> Path:
    matplotlib = find_spec("matplotlib")
    assert matplotlib is not None
    assert matplotlib.origin is not None
    return Path(matplotlib.origin).parent / OWN_FONT


def _family(font: Path) -> str:
    """Return the name of the family that a font file holds."""
    from matplotlib.ft2font import FT2Font  # a second to load

    try:
        return FT2Font(str(font)).family_name
    except (OSError, RuntimeError):
        raise ValueError(f"{font.name}: expected a font file (TTF or OTF)") from None
