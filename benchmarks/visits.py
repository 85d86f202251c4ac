"""The visits that the benchmarks of training are run on."""

import jax
import jax.numpy as jnp
import numpy as np

from jvade.data.matrix import fit_scaling, to_matrix
from jvade.data.variables import Variable
from jvade.paper.settings import PaperSettings
from jvade.paper.stages import cohort


def matrix(settings: PaperSettings) -> jax.Array:
    """Return the visits of a run, read or simulated, as the networks see them."""
    return jnp.asarray(read(settings)[0])


def read(settings: PaperSettings) -> tuple[np.ndarray, tuple[Variable, ...]]:
    """Return the same on the host, and the inputs that the columns are."""
    table, _, _ = cohort.read(settings)
    return to_matrix(table.frame, fit_scaling(table.frame, table.inputs)), tuple(table.inputs)
