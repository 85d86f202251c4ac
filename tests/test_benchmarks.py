"""What ours is timed against is the same model (that needs PyTorch); tables are as the results say."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_the_tables_of_the_pages_are_those_of_the_results(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    readme = importlib.import_module("readme")
    fill = readme.fill
    for path, tables in readme.PAGES.items():
        page = path.read_text(encoding="utf-8")
        assert fill(page, BENCHMARKS / "results", tables) == page
    page = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    other = page.replace("million rows", "rows")
    assert fill(other, BENCHMARKS / "results") == page
    with pytest.raises(ValueError, match="expected the marks"):
        fill("no marks", BENCHMARKS / "results")


@pytest.mark.parametrize(("latent_dim", "n_clusters"), [(2, 0), (5, 7)])
def test_the_baseline_in_pytorch_has_our_loss_and_gradients(monkeypatch, latent_dim, n_clusters):
    pytest.importorskip("torch")
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    agreement = importlib.import_module("baselines.agreement")
    found = agreement.check(6, latent_dim, n_clusters)
    assert found["float64"] <= 1e-9
    assert found["float32"] <= 1e-4
