"""The VaDE of ClustPy, where it is installed (`pip install clustpy==0.0.3`): another's program, as it comes.

Networks of the same sizes, the same batches and as many steps. What it minimises is its own: a plain
autoencoder in the pretraining, squares where we have a density, Adam without clipping; rows are scored once,
at the end. Its `fit` also fits mixtures of scikit-learn before and after, so its loops are called alone.
"""

import torch
from clustpy.deep._data_utils import get_dataloader  # pyright: ignore[reportMissingImports]
from clustpy.deep._utils import mean_squared_error  # pyright: ignore[reportMissingImports]
from clustpy.deep.vade import _VaDE_Module, _VaDE_VAE  # pyright: ignore[reportMissingImports]

from jvade.core.settings import Hyperparameters

from .model import BATCH_SIZE, Vade


def train(
    model: Vade,
    training: torch.Tensor,
    validation: torch.Tensor,
    epochs: int,
    settings: Hyperparameters,
) -> list[float]:
    """Train a network of the sizes of `model`; return its loss of the validation rows at the end."""
    device, rate = training.device, {"lr": settings.learning_rate}
    layers = [model.hidden.in_features, model.hidden.out_features, model.decode.in_features]
    network = _VaDE_VAE(layers, decoder_output_fn=None).to(device)
    batches, held_out = (get_dataloader(x, BATCH_SIZE) for x in (training, validation))
    if not model.n_clusters:
        network.fit(epochs, rate, dataloader=batches)
        return [network.evaluate(held_out, mean_squared_error, device).item()]
    network.fitted = True  # as its pretraining leaves it
    centers = model.centers.detach().cpu().numpy()
    clusters = _VaDE_Module(*centers.shape, means=centers).to(device)
    optimizer = torch.optim.Adam([*network.parameters(), *clusters.parameters()], **rate)
    weights = mean_squared_error, 1.0, 1.0
    clusters.fit(network, held_out, batches, epochs, device, optimizer, *weights)
    with torch.no_grad():
        return [clusters.vade_loss(network, validation, *weights).item()]
