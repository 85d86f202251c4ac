"""The visits that the benchmarks of training are run on."""

import jax
import jax.numpy as jnp

from jvade.data.matrix import fit_scaling, to_matrix
from jvade.paper.settings import PaperSettings
from jvade.paper.stages import cohort


def matrix(settings: PaperSettings) -> jax.Array:
    """Return the visits of a run, read or simulated, as the networks see them."""
    table, _, _ = cohort.read(settings)
    return jnp.asarray(to_matrix(table.frame, fit_scaling(table.frame, table.inputs)))
