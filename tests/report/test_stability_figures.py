"""The figures of stability and of concentration draw what they are given, legibly."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from jvade.report.figures import concentration, stability

ARI = np.array([[1.0, 0.25, -0.01], [0.25, 1.0, 0.8], [-0.01, 0.8, 1.0]])
SPREAD = pd.DataFrame(
    {
        "group": "g",
        "variable": ["age"] * 3 + ["cost"] * 3 + ["female"] * 3,
        "unit": ["years"] * 3 + ["yuan"] * 3 + ["percent"] * 3,
        "cluster": [1, 2, 4] * 3,
        "mean": [60.0, 30.0, 50.0, 900.0, 200.0, np.nan, 50.0, 60.0, 55.0],
        "sd": [2.0, 1.0, 0.0, 90.0, 10.0, np.nan, 1.0, 1.0, 1.0],
        "runs": [5, 5, 2, 5, 5, 0, 5, 5, 2],
    }
)
CURVES = {
    "K-Means": pd.DataFrame({"visits": [0.0, 40.0, 100.0], "crossing": [0.0, 50.0, 100.0]}),
    "two-stage VaDE": pd.DataFrame({"visits": [0.0, 20.0, 100.0], "crossing": [0.0, 60.0, 100.0]}),
}
GINIS = {"K-Means": 0.1, "two-stage VaDE": 0.4}
LABELS = {"age": "Age", "cost": "Cost of the visit"}


def shown(figure):
    return [t for t in figure.findobj(mpl.text.Text) if t.get_text() and t.get_visible()]


def texts(figure):
    return " | ".join(t.get_text() for t in shown(figure))


def out_of_view(figure):
    """Ticks beyond the ends of an axis: they are there and are not drawn."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            yield from (tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high)


def figures():
    yield stability.agreement(ARI, [42, 43, 1000])
    yield stability.spread(SPREAD, ["age", "cost", "female"], LABELS)
    yield concentration.lorenz(CURVES, GINIS)


def test_agreement_prints_every_pair_and_the_seeds():
    figure = stability.agreement(ARI, [42, 43, 1000])
    words = [t.get_text() for t in figure.axes[0].texts]
    assert words == ["1.00", "0.25", "-0.01", "0.25", "1.00", "0.80", "-0.01", "0.80", "1.00"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["42", "43", "1000"]


def test_spread_draws_the_variables_asked_for_in_their_units():
    figure = stability.spread(SPREAD, ["cost", "age"], LABELS)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Cost of the visit", "Age"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["yuan", "years"]
    age = figure.axes[1]
    hollow, full = (bar.lines[0] for bar in age.containers)
    assert full.get_xdata().tolist() == [60.0, 30.0]
    assert full.get_ydata().tolist() == [0, 1]
    bars = age.containers[1].lines[2][0].get_segments()
    np.testing.assert_allclose([bar[:, 0] for bar in bars], [[58, 62], [29, 31]])
    # Cluster 4 was in two runs of five, and never had a cost.
    assert hollow.get_xdata().tolist() == [50.0]
    assert hollow.get_markerfacecolor() == "white" != full.get_markerfacecolor()
    assert [len(bar.lines[0].get_xdata()) for bar in figure.axes[0].containers] == [0, 2]
    assert "not in every run" in texts(figure)
    assert "5 runs" in texts(figure)


def test_spread_says_nothing_of_runs_where_all_have_every_cluster():
    figure = stability.spread(SPREAD[SPREAD["runs"] == 5], ["age"], LABELS)
    assert "not in every run" not in texts(figure)


def test_lorenz_draws_the_curves_and_names_them_by_falling_coefficient():
    figure = concentration.lorenz(CURVES, GINIS)
    axes = figure.axes[0]
    assert axes.lines[1].get_ydata().tolist() == [0.0, 50.0, 100.0]
    assert axes.lines[2].get_xdata().tolist() == [0.0, 20.0, 100.0]
    names = {t.get_text(): t for t in axes.texts}
    first, second = names["two-stage VaDE, Gini 0.40"], names["K-Means, Gini 0.10"]
    assert first.xy[1] > second.xy[1]
    assert first.get_color() == axes.lines[2].get_color() != axes.lines[1].get_color()
    assert "evenly spread" in names
    assert axes.get_xlabel() == "% of visits, clusters by falling cross rate"
    assert axes.get_ylabel() == "% of visits outside the home area"


def test_too_many_methods_are_refused():
    with pytest.raises(ValueError, match="5 methods at most, got 6"):
        concentration.lorenz({str(i): CURVES["K-Means"] for i in range(6)}, {str(i): 0.0 for i in range(6)})


def test_words_are_legible_and_none_covers_another():
    for figure in figures():
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        words = [t for t in shown(figure) if t not in set(out_of_view(figure))]
        assert min(t.get_fontsize() for t in words) >= 8
        boxes = [t.get_window_extent(renderer) for t in words]
        for i, one in enumerate(boxes):
            for j in range(i):
                overlap = mpl.transforms.Bbox.intersection(one, boxes[j])
                assert overlap is None or min(overlap.width, overlap.height) < 1, (
                    words[i].get_text(),
                    words[j].get_text(),
                )


def test_drawing_leaves_the_style_of_others_alone():
    before = dict(mpl.rcParams)
    assert len(list(figures())) == 3
    assert dict(mpl.rcParams) == before
