"""What ours is timed against is the same model; needs PyTorch, which is none of our dependencies."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(("latent_dim", "n_clusters"), [(2, 0), (5, 7)])
def test_the_baseline_in_pytorch_has_our_loss_and_gradients(monkeypatch, latent_dim, n_clusters):
    pytest.importorskip("torch")
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    agreement = importlib.import_module("baselines.agreement")
    found = agreement.check(6, latent_dim, n_clusters)
    assert found["float64"] <= 1e-9
    assert found["float32"] <= 1e-4
