"""Figures draw what they are given; folders hold whole files only; the terminal says where a run is."""

import errno
import io
import json
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from jvade.data.errors import InputError
from jvade.manifest import fingerprint, peak_memory_gb
from jvade.report.figures import clusters, grid, training
from jvade.report.folder import MANIFEST, RunFolder
from jvade.report.terminal import Terminal

RATES = pd.DataFrame(
    {"share": [10.0, 90.0, 100.0], "cross_rate": [30.0, 5.0, 7.5], "ratio": [4.0, 0.7, 1.0]},
    index=pd.Index([1, 2, "overall"], dtype=object, name="cluster"),
)
BIC = pd.DataFrame(
    {"n_clusters": [2, 3, 4], "n_rows": [500] * 3, "bic": [9e3, 7e3, 8e3], "icl": [9.5e3, 9e3, 9.9e3]}
)
HISTORY = pd.DataFrame(
    {"epoch": [1, 2, 3], "train_loss": [3.0, 2.0, 1.5], "validation_loss": [3.1, 2.2, 2.3]}
)
PROFILE = pd.DataFrame(
    {
        "group": ["personal", "visit"],
        "variable": ["age", "cost"],
        "unit": ["years", "yuan"],
        "cluster1": [60.0, np.nan],
        "cluster2": [30.0, 1234.5],
        "overall": [40.0, 500.0],
        "cv": [0.3, np.nan],
    }
)


def texts(figure):
    return " | ".join(t.get_text() for t in figure.findobj(mpl.text.Text))


def test_training_curves_show_both_losses_and_the_epoch_kept():
    figure = training.training_curves(HISTORY, "VAE pretraining", 2)
    lines = figure.axes[0].lines
    assert lines[0].get_ydata().tolist() == [3.0, 2.0, 1.5]
    assert lines[1].get_ydata().tolist() == [3.1, 2.2, 2.3]
    for words in ("training", "validation", "kept: epoch 2", "VAE pretraining", "nats per visit"):
        assert words in texts(figure)


def test_an_epoch_that_one_step_led_astray_leaves_the_others_in_sight():
    rows = [(epoch, 3.0 - 0.1 * epoch, 3.1 - 0.1 * epoch) for epoch in range(1, 11)]
    history = pd.DataFrame(rows, columns=["epoch", "train_loss", "validation_loss"])
    calm = training.training_curves(history, "VAE pretraining", 10)
    assert len(calm.axes[0].lines) == 3
    history.loc[8, "train_loss"] = 5799.3
    (axes,) = training.training_curves(history, "VAE pretraining", 10).axes
    assert axes.get_ylim()[1] < 3.5
    (mark,) = (line for line in axes.lines if line.get_marker() == "^")
    assert mark.get_xdata().tolist() == [9]
    assert "5,799" in texts(axes.figure)
    history.loc[8, "train_loss"] = -40.0
    (axes,) = training.training_curves(history, "VAE pretraining", 10).axes
    assert axes.get_ylim()[0] > 1.5
    assert "v" in [line.get_marker() for line in axes.lines]


def test_bic_curve_circles_the_lowest():
    figure = grid.criteria(BIC, elbow=3, published=7)
    assert [float(axes.lines[1].get_xdata()[0]) for axes in figure.axes] == [3.0, 3.0]


def test_cross_rates_shade_by_side_of_the_overall_rate_and_leave_out_blank_clusters():
    rates = RATES.copy()
    rates.loc[3] = np.nan
    figure = clusters.cross_rates(rates, None, "crossed")
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == [30.0, 5.0]
    assert bars[0].get_facecolor() != bars[1].get_facecolor()
    assert "published" not in texts(figure)
    # The first cluster is blank: the second keeps the published of its own rank, beside the first bar drawn.
    rates.loc[1] = np.nan
    figure = clusters.cross_rates(rates, RATES, "crossed")
    marks = next(line for line in figure.axes[0].lines if line.get_marker() == "D")
    assert marks.get_xdata().tolist() == [RATES.loc[2, "cross_rate"]]
    assert marks.get_ydata().tolist() == [0]
    assert "published" in texts(clusters.cross_rates(RATES, RATES, "crossed"))


def test_heat_map_prints_every_number_and_a_dash_for_a_blank():
    words = texts(clusters.profile_heatmap(PROFILE, {"age": "Age"}))
    for text in ("Age, years", "60.0", "1,234", "cost, yuan", "| - |"):
        assert text in words


def test_drawing_leaves_the_style_of_others_alone():
    before = dict(mpl.rcParams)
    grid.criteria(BIC, None, 7)
    assert dict(mpl.rcParams) == before


def test_the_same_figure_is_the_same_file(tmp_path):
    for name in ("one", "two"):
        folder = RunFolder(tmp_path / name)
        folder.figure("f", clusters.cross_rates(RATES, RATES, "crossed"))
    for kind in ("png", "svg"):
        assert (tmp_path / "one" / f"f.{kind}").read_bytes() == (tmp_path / "two" / f"f.{kind}").read_bytes()


def test_a_folder_is_finished_by_its_manifest_only(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.table("t", BIC)
    assert not (folder.path / MANIFEST).exists()
    folder.finish({"seed": 1})
    manifest = json.loads((folder.path / MANIFEST).read_text())
    assert manifest == {"seed": 1, "files": ["t.csv"]}
    pd.testing.assert_frame_equal(pd.read_csv(folder.path / "t.csv"), BIC, check_dtype=False)
    # A second run over it is unfinished from its first file on, and one that writes none changes nothing.
    again = RunFolder(tmp_path / "run")
    assert (folder.path / MANIFEST).exists()
    again.table("t", BIC)
    assert not (folder.path / MANIFEST).exists()


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path):
    folder = RunFolder(tmp_path)
    folder.table("t", BIC)
    before = (tmp_path / "t.csv").read_bytes()

    def fail(path):
        path.write_text("half a fi")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        folder.file("t.csv", fail)
    assert (tmp_path / "t.csv").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("old", [None, 0o644])
def test_what_is_private_only_its_owner_may_read(tmp_path, old):
    """While it is written too, and whatever file `make` puts there."""
    folder, modes = RunFolder(tmp_path), []

    def make(path):
        modes.append(path.stat().st_mode)
        path.write_text("a row per visit")
        path.chmod(old or 0o600)

    for name in ("a.csv", "a.csv"):
        modes.append(folder.file(name, make, private=True).stat().st_mode)
    spark = folder.file("b.parquet", lambda path: (path.unlink(), path.mkdir()), private=True)
    assert {mode & 0o777 for mode in modes} == {0o600}
    assert spark.stat().st_mode & 0o777 == 0o700
    assert folder.file("c.csv", lambda path: path.write_text("")).stat().st_mode & 0o044


def test_fingerprint_follows_content(tmp_path):
    one, two = tmp_path / "a.csv", tmp_path / "b.csv"
    one.write_text("x")
    two.write_text("x")
    assert fingerprint(one)["sha256"] == fingerprint(two)["sha256"]
    two.write_text("y")
    assert fingerprint(one)["sha256"] != fingerprint(two)["sha256"]
    assert fingerprint(one)["bytes"] == 1
    assert fingerprint(tmp_path)["bytes"] == 2
    # What no table is read from is no part of it: a file browser, and Spark, leave such files.
    before = fingerprint(tmp_path)
    (tmp_path / ".DS_Store").write_text("x")
    (tmp_path / "_temporary").mkdir()
    (tmp_path / "_temporary" / "c.csv").write_text("x")
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize("lost", ["pathlib.Path.open", "os.scandir"])
def test_a_fingerprint_of_what_may_not_be_read_says_so(tmp_path, monkeypatch, lost):
    def refuse(*_arguments, **_more):
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "a.csv").write_text("x")
    monkeypatch.setattr(lost, refuse)
    with pytest.raises(InputError, match="the file cannot be read: Permission denied; check that you may"):
        fingerprint(tmp_path)


def test_a_system_that_counts_no_memory_is_no_error(monkeypatch):
    assert peak_memory_gb() > 0
    monkeypatch.setattr("jvade.manifest.Path.exists", lambda path: False)  # /proc, which is Linux's
    assert peak_memory_gb() > 0
    monkeypatch.setitem(sys.modules, "resource", None)  # which Windows lacks
    assert peak_memory_gb() is None


def test_plain_lines_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr("jvade.report.terminal.PLAIN_SECONDS", 0.0)
    out = io.StringIO()
    terminal = Terminal(Console(file=out, width=100))
    with terminal.step("training"):
        terminal.progress("pretraining", 0, 10)
        terminal.progress("pretraining", 5, 10, "epochs")
    terminal.table("A table", pd.DataFrame({"name": ["a"], "value": ["1"]}))
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("  pretraining: 5/10 epochs (")
    assert "at most" in lines[0]
    assert lines[1].startswith("✓ training")
    assert lines[2] == "A table"
    assert terminal.seconds["training"] >= 0


def test_time_left_of_a_part_that_goes_on_is_by_the_pace_of_this_run(monkeypatch):
    monkeypatch.setattr("jvade.report.terminal.PLAIN_SECONDS", 0.0)
    clock = iter([0.0, 100.0, 130.0])
    monkeypatch.setattr("jvade.report.terminal.time.perf_counter", lambda: next(clock))
    out = io.StringIO()
    terminal = Terminal(Console(file=out, width=100))
    terminal.progress("pretraining", 26, 100, begun=26)
    terminal.progress("pretraining", 29, 100, begun=26)
    assert out.getvalue() == "  pretraining: 29/100  (30 s, at most 710 s left)\n"


def test_a_live_line_on_a_terminal():
    out = io.StringIO()
    terminal = Terminal(Console(file=out, width=100, force_terminal=True))
    with terminal.step("training"):
        terminal.progress("pretraining", 0, 10)
        terminal.progress("pretraining", 5, 10, "epochs")
    assert "pretraining: 5/10 epochs" in out.getvalue()
    assert "✓ training" in out.getvalue()
