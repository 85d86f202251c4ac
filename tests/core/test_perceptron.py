"""The hidden layer on the chip is the one of products: run in Python here, its programs need a GPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jvade.core import lanes, networks
from jvade.core import perceptron as module
from jvade.core.perceptron import perceptron
from jvade.core.settings import Architecture, Hyperparameters, Training


def by_products(x, kernel, bias, out_kernel, out_bias):
    return jnp.maximum(x @ kernel + bias, 0.0) @ out_kernel.T + out_bias


@pytest.fixture
def interpreted(monkeypatch):
    monkeypatch.setattr(module, "INTERPRET", True)


def arguments(n_rows, n_in, width, n_out):
    rng = np.random.default_rng(0)
    shapes = ((n_rows, n_in), (n_in, width), (width,), (n_out, width), (n_out,))
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


@pytest.mark.parametrize(
    ("n_rows", "n_in", "width", "n_out"), [(256, 38, 256, 4), (100, 2, 256, 38), (37, 5, 100, 3)]
)
def test_values_and_gradients_are_those_of_products(interpreted, n_rows, n_in, width, n_out):
    given = arguments(n_rows, n_in, width, n_out)
    slopes = jnp.asarray(np.random.default_rng(1).normal(size=(n_rows, n_out)), jnp.float32)
    np.testing.assert_allclose(perceptron(*given), by_products(*given), rtol=1e-5, atol=1e-4)
    for which in ((0, 1, 2, 3, 4), (1, 2, 3, 4)):  # with the gradient of the rows and without
        found, expected = (
            jax.grad(lambda *a, function=function: jnp.sum(function(*a) * slopes), which)(*given)
            for function in (perceptron, by_products)
        )
        for one, other in zip(found, expected, strict=True):
            assert jnp.linalg.norm(one - other) <= 1e-5 * jnp.linalg.norm(other)


@pytest.mark.parametrize("shares_rows", [False, True])
def test_a_stack_is_each_of_its_lanes(interpreted, shares_rows):
    given = arguments(100, 6, 64, 5)
    stack = [jnp.stack([one * (1 + 0.1 * lane) for lane in range(3)]) for one in given]
    axes = (None if shares_rows else 0, 0, 0, 0, 0)
    arrays = [given[0] if shares_rows else stack[0], *stack[1:]]

    def slopes(function, *arrays):
        return jax.grad(lambda *a: jnp.sum(function(*a) ** 2), (0, 1, 3))(*arrays)

    found, expected = (
        jax.vmap(lambda *a, function=function: slopes(function, *a), axes)(*arrays)
        for function in (perceptron, by_products)
    )
    for one, other in zip(found, expected, strict=True):
        assert jnp.linalg.norm(one - other) <= 1e-5 * jnp.linalg.norm(other)


def test_it_is_left_to_products_where_it_does_not_fit(x64):
    x, _, _, out_kernel, _ = arguments(100, 6, 64, 5)
    assert not module.fits(x, out_kernel), "x64"
    with jax.enable_x64(False):
        assert module.fits(x, out_kernel)
        assert not module.fits(x[:20], out_kernel), "few rows"
        assert not module.fits(jnp.zeros((100, 64)), out_kernel), "no room for the bias"
        assert not module.fits(x, jnp.zeros((65, 64)))
        assert not module.fits(x, out_kernel[:, :32]), "few hidden units"
        assert not module.fits(x.astype(jnp.bfloat16), out_kernel)


@pytest.mark.long
def test_a_training_is_the_one_of_products(monkeypatch, interpreted):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(300, 6)), jnp.float32)
    sizes, training = Architecture(6, 3), Training(batch_size=128, max_epochs=2, layout="vmap")
    stack = lanes.stack([0, 1], Hyperparameters(latent_dim=3))
    monkeypatch.setattr(networks, "on_hopper", lambda: True)
    calls, losses = [], []
    monkeypatch.setattr(module, "perceptron", lambda *a: calls.append(len(a)) or perceptron(*a))
    for many in (2, 3):
        monkeypatch.setattr(module, "MANY", many)
        jax.clear_caches()  # programs do not know of it
        trained = lanes.train(x, lanes.init(stack, sizes), stack, "pretraining", sizes, training)
        losses.append(np.asarray(trained.history.validation.elbo()))
        assert bool(calls) == (many == 2)
        calls.clear()
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
