"""The draws of a step: those of JAX, and hidden inputs as often as asked."""

import jax
import numpy as np
import pytest

from jvade.core import draws


@pytest.fixture(autouse=True)
def cpu(monkeypatch):
    monkeypatch.setattr(draws, "on_accelerator", lambda: False)


@pytest.mark.parametrize("shape", [(), (3,), (7, 1025), (2, 3, 5)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_written_out_the_generator_draws_the_bits_of_jax(shape, dtype):
    with jax.enable_x64(True):
        for key in (jax.random.key(7), jax.random.fold_in(jax.random.key(2**32 - 1), 5)):
            fast = draws.fast(key)
            assert jax.random.key_impl(fast) != jax.random.key_impl(key)
            got, want = (jax.random.bits(k, shape, dtype) for k in (fast, key))
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("double", [False, True])
def test_noise_is_that_of_jax_latent_by_latent(double):
    with jax.enable_x64(double):
        keys = jax.random.split(jax.random.key(3), 4)
        got = jax.jit(jax.vmap(lambda key: draws.noise(key, 3, 50)))(keys)
        for noise, key in zip(got, keys, strict=True):
            np.testing.assert_allclose(noise, jax.random.normal(key, (3, 50)), rtol=1e-6)
            # Those of fewer latents are the first of them.
            np.testing.assert_allclose(noise[:2], draws.noise(key, 2, 50), rtol=1e-6)


def test_only_jax_s_own_generator_as_it_is_by_default_is_written_out(monkeypatch):
    """Another one that a person has chosen is left, and so is any on an accelerator."""
    other, own = jax.random.key(0, impl="rbg"), jax.random.key(0)
    assert draws.fast(other) is other
    with jax.threefry_partitionable(False):
        assert draws.fast(own) is own
    assert draws.fast(own) is not own
    monkeypatch.setattr(draws, "on_accelerator", lambda: True)
    assert draws.fast(own) is own


def test_more_draws_than_are_counted_in_a_word_are_refused():
    with pytest.raises(ValueError, match="at most 4294967296 draws of a key, got 4295032832"):
        jax.jit(lambda key: draws.noise(key, 65_537, 65_536)).lower(jax.random.key(0))


def test_no_key_is_derived_from_one_that_only_draws():
    with pytest.raises(NotImplementedError, match=r"derived from those of jax\.random\.key"):
        jax.random.split(draws.fast(jax.random.key(0)))


@pytest.mark.parametrize("share", [0.5, 0.25, 0.3])
@pytest.mark.parametrize("width", [1, 5, 6, 37])
def test_inputs_are_hidden_for_themselves(width, share):
    """Those of a pair of columns, of which some share a word of random bits, as often as chance has it."""
    n = 40_000
    hidden = np.asarray(draws.hidden(jax.random.key(0), n, width, share), float)
    assert hidden.shape == (n, width)
    assert abs(hidden.mean(axis=0) - share).max() < 5 * np.sqrt(share * (1 - share) / n)
    among = np.atleast_2d(np.cov(hidden.T)) / (share * (1 - share))
    assert abs(among - np.eye(width)).max() < 5 / np.sqrt(n)


def test_a_share_of_hardly_none_or_hardly_all_is_neither():
    some = draws.hidden(jax.random.key(0), 2**16, 32, 1e-9).mean()
    most = draws.hidden(jax.random.key(0), 2**16, 32, 1 - 1e-9).mean()
    assert 0 < some < 1e-4
    assert 1 - 1e-4 < most < 1
