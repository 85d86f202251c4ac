"""Figures of the latents draw what they are given, and no two names overlap."""

import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm, to_hex
from matplotlib.patches import Ellipse

from jvade.report.figures import latents
from jvade.report.figures.latents import OTHERS, PALETTE

NUMERIC = {"age": "years", "cost": "yuan"}
LABELS = {"age": "Age", "f1": "A flag with a long name"}
SLOPES = {"age": 9.0, "cost": -8.0, "f0": 0.0, "f1": 0.1, "f2": -0.2, "f3": 0.3, "f4": 0.4, "f5": 0.5}


def moved_by(n_latents=2, slopes=SLOPES):
    """Lines through 0 with the given slopes; a latent moves the inputs by its number times as much."""
    rows = [
        {"latent": f"z{i}", "value": value, "variable": name, "standardised": i * slope * value}
        for i in range(1, n_latents + 1)
        for value in (-3.0, 0.0, 3.0)
        for name, slope in slopes.items()
    ]
    table = pd.DataFrame(rows)
    return table.assign(original=100 + table["standardised"])


HEXAGONS = pd.DataFrame(
    {
        "x": [0.0, 1.0, 2.0],
        "y": [0.0, 0.5, 3.0],
        "radius": 0.5,
        "visits": [9, 20, 30],
        "patients": [8, 9, 10],
        "cluster": [1, 2, 2],
        "cluster_share": [100.0, 50.0, 1.0],
        "age": [40.0, np.nan, 60.0],
        "cost": [10.0, 100.0, 1000.0],
    }
)
ELLIPSES = pd.DataFrame(
    {
        "cluster": [0, 1, 2, 3],
        "weight": [0.5, 0.4, 0.1, 0.0],
        "x": [0.0, 1.0, 50.0, 2.0],
        "y": [0.0, 1.0, 50.0, 1.0],
        "width": [0.6, 0.5, 0.4, 0.3],
        "height": [0.3, 0.2, 0.1, 0.1],
        "angle": [0.0, 30.0, 60.0, 90.0],
        "label": [2.0, 1.0, 3.0, np.nan],
    }
)
MEASURES = [("age", "Mean age", "years"), ("cost", "Mean cost", "yuan")]


def texts(figure):
    return " | ".join(t.get_text() for t in figure.findobj(mpl.text.Text))


def numbers_on(axes):
    return {text.get_text() for text in axes.texts}


def names_of(axes):
    return [text.get_text() for text in axes.texts]


def clashes(figure):
    """Pairs of texts in a panel that overlap, or leave the figure, once it is drawn."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    found = []
    for axes in figure.axes:
        boxes = {text.get_text(): mpl.text.Text.get_window_extent(text, renderer) for text in axes.texts}
        found += [
            pair for pair in itertools.combinations(boxes, 2) if boxes[pair[0]].overlaps(boxes[pair[1]])
        ]
        found += [name for name, box in boxes.items() if box.x1 > figure.bbox.x1 or box.y0 < 0]
    return found


# --- traversals ---


def test_traversal_names_what_moves_most_and_greys_the_rest():
    figure = latents.traversal(moved_by(), LABELS, moved=4)
    assert len(figure.axes) == 2
    for i, axes in enumerate(figure.axes, 1):
        assert names_of(axes) == ["cost", "f4", "f5", "Age"]
        grey = [line for line in axes.lines if line.get_color() == OTHERS]
        assert len(grey) == 4
        assert {to_hex(line.get_color()) for line in axes.lines if line not in grey} <= set(PALETTE)
        drawn = {tuple(line.get_ydata()) for line in axes.lines}
        assert drawn == {(-3.0 * i * s, 0.0, 3.0 * i * s) for s in SLOPES.values()}
        assert axes.lines[0].get_xdata().tolist() == [-3.0, 0.0, 3.0]
    assert "standard deviations" in figure.axes[0].get_ylabel()


def test_a_named_input_has_the_same_colour_in_every_panel_and_its_own_within_one():
    panels = [list("abcdefg"), list("defghij"), list("aklmnoc")]
    colors = latents._line_colors(panels)
    for names in panels[:2]:
        assert len({colors[name] for name in names}) == len(names)
    assert set(colors) == set("abcdefghijklmnoc")


@pytest.mark.parametrize("n_latents", [1, 2, 4])
def test_names_do_not_overlap_though_the_lines_end_in_one_place(n_latents):
    slopes = {f"Factors of every kind, number {i}": 1.0 + i / 1000 for i in range(12)}
    figure = latents.traversal(moved_by(n_latents, slopes), {}, moved=7)
    assert [len(names_of(axes)) for axes in figure.axes[:n_latents]] == [7] * n_latents
    assert clashes(figure) == []


def test_a_latent_that_moves_nothing_is_drawn():
    figure = latents.traversal(moved_by(1, dict.fromkeys(SLOPES, 0.0)), LABELS)
    assert clashes(figure) == []


def test_spread_keeps_distance_and_moves_only_what_it_must():
    got = latents._spread(np.array([0.0, 5.0, 5.1, 9.9]), 1.0, -0.5, 10.0)
    np.testing.assert_allclose(got, [0.0, 4.55, 5.55, 9.9])
    got = latents._spread(np.array([9.7, 9.8, 9.9]), 1.0, 0.0, 10.0)
    np.testing.assert_allclose(got, [8.0, 9.0, 10.0])


def test_traversal_in_units_has_a_row_per_number_and_one_of_flags_in_percent():
    figure = latents.traversal_units(moved_by(), NUMERIC, LABELS)
    panels = np.array(figure.axes).reshape(3, 2)
    assert panels[0, 0].get_title(loc="left") == "Age, years"
    assert panels[1, 0].get_title(loc="left") == "cost, yuan"
    assert panels[0, 1].lines[0].get_ydata().tolist() == [100 - 54.0, 100.0, 100 + 54.0]
    assert panels[0, 0].get_ylim() == panels[0, 1].get_ylim()
    # Five of the six flags: the one that stays is not among them.
    assert names_of(panels[2, 0]) == ["f2", "A flag with a long name", "f3", "f4", "f5"]
    ends = sorted(line.get_ydata()[-1] for line in panels[2, 0].lines)
    np.testing.assert_allclose(ends, [100 * (100 + 3 * s) for s in (-0.2, 0.1, 0.3, 0.4, 0.5)])
    assert "% of visits" in panels[2, 0].get_title(loc="left")
    assert clashes(figure) == []


def test_traversal_in_units_shows_three_latents_at_most():
    assert len(latents.traversal_units(moved_by(5), NUMERIC, LABELS).axes) == 9


# --- maps ---


def test_map_draws_every_hexagon_in_its_clusters_colour_and_fades_the_mixed():
    figure = latents.latent_map(HEXAGONS, ELLIPSES, 97.25, 8)
    (cells,) = figure.axes[0].collections
    assert isinstance(cells, PolyCollection)
    corners = cells.get_paths()[1].vertices[:6]
    np.testing.assert_allclose(np.hypot(*(corners - [1.0, 0.5]).T), 0.5)
    assert corners[:, 1].max() == pytest.approx(1.0), "a corner points up"
    faces = cells.get_facecolor()
    assert [to_hex(face) for face in faces] == [PALETTE[0], PALETTE[1], PALETTE[1]]
    assert faces[:, 3].tolist() == pytest.approx([1.0, 0.5, latents.FAINTEST])
    assert "at least 8 patients; 97.2 % of visits drawn" in texts(figure)


def test_map_draws_the_mixture_and_leaves_a_dead_cluster_without_a_number():
    figure = latents.latent_map(HEXAGONS, ELLIPSES, 97.0, 8)
    (axes,) = figure.axes
    shapes = [patch for patch in axes.patches if isinstance(patch, Ellipse)]
    assert len(shapes) == 8
    assert [shapes[2].width, shapes[3].width, shapes[3].height] == pytest.approx([1.0, 2.0, 0.8])
    assert shapes[2].angle == 30.0
    assert [shape.get_linestyle() == "solid" for shape in shapes] == [True] * 6 + [False] * 2
    assert numbers_on(axes) == {"1", "2"}
    places = {text.get_text(): text.get_position() for text in axes.texts}
    np.testing.assert_allclose(places["2"], (0.0, 0.0), atol=0.01)
    # Far from every visit that is drawn: said in words, and the map does not shrink for it.
    assert "centers beyond the map: cluster 3" in texts(figure)
    assert axes.get_xlim()[1] < 5
    assert "dashed" in texts(figure)
    assert "dashed" not in texts(latents.latent_map(HEXAGONS, ELLIPSES[:3], 97.0, 8))


def test_numbers_of_clusters_in_one_place_do_not_overlap():
    close = ELLIPSES.assign(x=[1.0, 1.0, 1.05, 1.0], y=[1.0, 1.0, 1.0, 1.02], label=[1.0, 2.0, 3.0, 4.0])
    figure = latents.latent_map(HEXAGONS, close, 97.0, 8)
    assert numbers_on(figure.axes[0]) == {"1", "2", "3", "4"}
    assert clashes(figure) == []


def test_hexagons_of_unknown_patients_are_said_to_hold_visits():
    figure = latents.latent_map(HEXAGONS.assign(patients=np.nan), ELLIPSES, 97.0, 8)
    assert "at least 8 visits" in texts(figure)


def test_clusters_beyond_the_palette_have_a_colour():
    assert len(set(PALETTE)) == len(PALETTE) >= 10
    assert latents.cluster_color(len(PALETTE) + 1) == PALETTE[0]


def test_measures_are_shaded_by_value_and_grey_where_unknown():
    figure = latents.latent_measures(HEXAGONS, MEASURES, 97.0, 8)
    age, cost = figure.axes[0], figure.axes[1]
    blank, shades = age.collections
    assert len(blank.get_paths()) == 1
    assert to_hex(blank.get_facecolor()[0]) == latents.GRID
    assert shades.get_array().tolist() == [40.0, 60.0]
    assert not isinstance(shades.norm, LogNorm)
    blank, shades = cost.collections
    assert len(blank.get_paths()) == 0
    assert shades.get_array().tolist() == [10.0, 100.0, 1000.0]
    assert isinstance(shades.norm, LogNorm)
    for words in ("Mean age", "years", "Mean cost", "yuan", "at least 8 patients; 97.0 % of visits drawn"):
        assert words in texts(figure)


@pytest.mark.parametrize("cost", [np.nan, 7.0, 0.0])
def test_measures_without_a_range_are_drawn(cost):
    figure = latents.latent_measures(HEXAGONS.assign(cost=cost), MEASURES, 97.0, 8)
    assert clashes(figure) == []


def test_maps_without_a_hexagon_are_drawn():
    nothing = HEXAGONS.iloc[:0]
    figure = latents.latent_map(nothing, ELLIPSES, 0.0, 8)
    assert numbers_on(figure.axes[0]) == {"1", "2", "3"}
    assert clashes(figure) == []
    assert clashes(latents.latent_measures(nothing, MEASURES, 0.0, 8)) == []


def test_words_are_at_least_8_points():
    figures = (
        latents.traversal(moved_by(), LABELS),
        latents.traversal_units(moved_by(), NUMERIC, LABELS),
        latents.latent_map(HEXAGONS, ELLIPSES, 97.0, 8),
        latents.latent_measures(HEXAGONS, MEASURES, 97.0, 8),
    )
    for figure in figures:
        assert min(t.get_fontsize() for t in figure.findobj(mpl.text.Text) if t.get_text()) >= 8
