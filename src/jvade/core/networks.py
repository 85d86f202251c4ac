"""Encoder and decoder as flax modules: in-256-d and d-256-in with ReLU in the study (section 2.3)."""

from types import ModuleType

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jvade.core.layout import lanes_at_once, on_hopper
from jvade.core.settings import Count

#: Latents from which on their products, too, have the rows last: on a CPU those of two latents are faster the
#: other way round, those of thirty this way, those of ten are as fast (experiments).
MANY_LATENTS = 8


def on_chip() -> ModuleType | None:
    """Return `perceptron` where it pays: on a GPU of the kind it was tried on, with lanes enough."""
    if not on_hopper():
        return None
    try:
        from jvade.core import perceptron
    except ImportError:
        return None
    return perceptron if lanes_at_once() >= perceptron.MANY else None


def _uniform(key: Key[Array, ""], shape: tuple[int, ...], fan_in: Count) -> Float[Array, "..."]:
    """Draw from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for a linear layer."""
    return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0) / jnp.sqrt(fan_in)


class Dense(nn.Module):
    """A linear layer whose kernel is stored with its wide axis last.

    On a CPU the gradient of a kernel stored [in, out] needs the transposed activation, which is slow
    where `in` is wide; stored [out, in] it needs the transposed cotangent, which is narrow. The axis of
    the latents comes first in either case, so that the first d rows of a padded kernel are the kernel of
    a model with d latents.

    Attributes:
        features: width of the output.
        out_first: store the kernel as [out, in]. None: where the output is the narrower side.
    """

    features: int
    out_first: bool | None = None

    @nn.compact
    def weights(self, n_in: int, fan_in: Count | None = None) -> tuple[Array, Array]:
        """Return kernel and bias; `fan_in`, the number of inputs in use, scales their starting values."""
        fan_in = n_in if fan_in is None else fan_in
        shape = (self.features, n_in) if self.is_out_first(n_in) else (n_in, self.features)
        return self.param("kernel", _uniform, shape, fan_in), self.param(
            "bias", _uniform, (self.features,), fan_in
        )

    def is_out_first(self, n_in: int) -> bool:
        """Return whether the kernel is stored as [out, in]."""
        return self.features < n_in if self.out_first is None else self.out_first

    def __call__(self, x: Float[Array, "N i"], fan_in: Count | None = None) -> Float[Array, "N o"]:
        """Return x W + b."""
        if self.is_out_first(x.shape[1]):
            kernel, bias = self.weights(x.shape[1], fan_in)
            return x @ kernel.T + bias
        ones = jnp.ones((len(x), 1), x.dtype)
        return jnp.concatenate([x, ones], axis=1) @ self._with_bias(x.shape[1], fan_in)

    def of_columns(self, x: Float[Array, "i N"], fan_in: Count | None = None) -> Float[Array, "N o"]:
        """Return x' W + b, of a layer to the wide side."""
        ones = jnp.ones((1, x.shape[1]), x.dtype)
        return jnp.concatenate([x, ones]).T @ self._with_bias(len(x), fan_in)

    def _with_bias(self, n_in: int, fan_in: Count | None) -> Float[Array, "_ o"]:
        """Return a kernel stored [in, out] with the bias as one more row, for an input of 1.

        The gradient of the bias falls out of the kernel's product then: to sum the wide cotangent over the
        rows takes half as long again.
        """
        kernel, bias = self.weights(n_in, fan_in)
        return jnp.concatenate([kernel, bias[None]])


class Encoder(nn.Module):
    """q(z|x): a row to the mean and log-variance of its latents, both unmasked.

    Rows are last where latents are, so that a CPU does many at a time: there may be two latents. On a GPU
    this has not been measured.
    """

    widths: tuple[int, ...]
    latent_dim: int

    @nn.compact
    def __call__(self, x: Float[Array, "N D"]) -> tuple[Float[Array, "L N"], Float[Array, "L N"]]:
        """Return means and log-variances."""
        *first, width = self.widths
        for other in first:
            x = nn.relu(Dense(other)(x))
        hidden = Dense(width)
        # One product for both heads: the hidden layer is read once.
        heads = [Dense(self.latent_dim, out_first=True, name=name) for name in ("means", "log_variances")]
        kernel, bias = map(jnp.concatenate, zip(*(head.weights(width) for head in heads), strict=True))
        if (chip := on_chip()) and chip.fits(x, kernel) and not hidden.is_out_first(x.shape[-1]):
            both = chip.perceptron(x, *hidden.weights(x.shape[-1]), kernel, bias).T
        elif self.latent_dim < MANY_LATENTS:
            both = (nn.relu(hidden(x)) @ kernel.T + bias).T
        else:
            both = kernel @ nn.relu(hidden(x)).T + bias[:, None]
        means, log_variances = jax.lax.split(both, (self.latent_dim, self.latent_dim))
        return means, log_variances


class Decoder(nn.Module):
    """p(x|z): latents, rows last, to means and logits of a row, linear at the end (Fig 2 leaves [0, 1])."""

    widths: tuple[int, ...]
    n_features: int

    @nn.compact
    def __call__(self, z: Float[Array, "L N"], latent_dim: Count) -> Float[Array, "N D"]:
        """Decode; `latent_dim` is the number of latents in use, the fan-in of the first layer."""
        *first, hidden = [Dense(w, out_first=None if i else False) for i, w in enumerate(self.widths)]
        output, width, fan_in = Dense(self.n_features, name="means"), self.widths[-1], latent_dim
        h = z.T
        for layer in first:
            h, fan_in = nn.relu(layer(h, fan_in)), None
        if (chip := on_chip()) and output.is_out_first(width) and not hidden.is_out_first(h.shape[1]):
            kernel, bias = output.weights(width)
            if chip.fits(h, kernel):
                return chip.perceptron(h, *hidden.weights(h.shape[1], fan_in), kernel, bias)
        by_columns = not first and len(z) >= MANY_LATENTS
        wide = hidden.of_columns(z, fan_in) if by_columns else hidden(h, fan_in)
        return output(nn.relu(wide))
