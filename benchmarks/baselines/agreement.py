"""Loss and gradients of the PyTorch model against ours, from the same weights, rows and noise."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jvade.core import epoch, lanes
from jvade.core.layout import take_lane
from jvade.core.mixture import Mixture
from jvade.core.model import Parameters
from jvade.core.objective import elbo_terms
from jvade.core.settings import Architecture, Hyperparameters

from .model import Vade

#: Largest difference allowed, relative to the loss, and by norm to each tensor of the gradient.
ALLOWED = {"float64": 1e-9, "float32": 1e-4}


def check(n_features: int, latent_dim: int, n_clusters: int) -> dict[str, float]:
    """Return the largest relative difference of loss and gradients in double and in single precision.

    Args:
        n_features: width of a row.
        latent_dim: latents.
        n_clusters: clusters of the mixture; 0 is the pretraining.

    Raises:
        RuntimeError: they differ by more than `ALLOWED`: what would be timed is not the same model.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    found = {name: _difference(n_features, latent_dim, n_clusters, name) for name in ALLOWED}
    if bad := {name: value for name, value in found.items() if not value <= ALLOWED[name]}:
        raise RuntimeError(f"expected differences of at most {ALLOWED}, got {bad}: not the same model")
    return found


def _difference(n_features: int, latent_dim: int, n_clusters: int, dtype: str) -> float:
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        rng = np.random.default_rng(0)
        x, noise = rng.normal(size=(512, n_features)), rng.normal(size=(512, latent_dim))
        hyper = Hyperparameters(latent_dim=latent_dim, n_clusters=max(n_clusters, 1))
        sizes = Architecture(n_features, latent_dim, max(n_clusters, 1))
        params = epoch.init(take_lane(lanes.stack([0], hyper), 0), sizes)
        if n_clusters:
            shape = (n_clusters, latent_dim)
            params = params._replace(
                mixture=Mixture(*(jnp.asarray(rng.normal(size=s)) for s in ((n_clusters,), shape, shape)))
            )
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)

        def loss(params: Parameters) -> jax.Array:
            terms = elbo_terms(params, jnp.asarray(x, dtype), jnp.asarray(noise, dtype), sizes, hyper)
            return -jnp.mean(terms.elbo())

        ours, slopes = jax.jit(jax.value_and_grad(loss))(params)
        largest = 0.0
        for transposed in (False, True):
            model = Vade(n_features, latent_dim, n_clusters, transposed=transposed)
            model = model.to(getattr(torch, dtype)).load(params.to_arrays())
            like = Vade(n_features, latent_dim, n_clusters, transposed=transposed)
            like = like.to(getattr(torch, dtype)).load(slopes.to_arrays())
            rows, draws = (torch.as_tensor(part).to(model.output.bias) for part in (x, noise))
            theirs = model(rows, draws).mean()
            theirs.backward()
            pairs = zip(model.parameters(), like.parameters(), strict=True)
            differences = [
                float((a.grad - b).norm() / b.norm()) for a, b in ((a, b.detach()) for a, b in pairs)
            ]
            largest = max(largest, abs(theirs.item() / float(ours) - 1), *differences)
    return largest
