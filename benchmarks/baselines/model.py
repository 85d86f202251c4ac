"""VaDE as a PyTorch module, and its pretraining without a mixture."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jvade.core.likelihoods import LOG_2PI
from jvade.core.settings import STUDY_BATCH, Architecture, Hyperparameters

#: As ours (section 2.3 of the study).
BATCH_SIZE = STUDY_BATCH


class Linear(nn.Linear):
    """A linear layer whose weight may be stored [in, out], as ours is where the output is the wider side.

    Args:
        transposed: store the weight as [in, out].
    """

    def __init__(self, n_in: int, n_out: int, transposed: bool) -> None:
        super().__init__(n_in, n_out)
        self.transposed = transposed
        if transposed:
            self.weight = nn.Parameter(self.weight.detach().T.contiguous())

    def forward(self, input: Tensor) -> Tensor:
        """Return x W + b."""
        return torch.addmm(self.bias, input, self.weight) if self.transposed else super().forward(input)


class Vade(nn.Module):
    """Encoder D-256-(L, L), decoder L-256-D, and a mixture of K diagonal Gaussians; no mixture if K is 0.

    Args:
        n_features: D.
        latent_dim: L.
        n_clusters: K; with 0 the prior is N(0, I), as in the pretraining.
        width: of the hidden layers.
        noise_variance: of the decoder.
        transposed: store the weights of layers to the wide side as [in, out].
    """

    def __init__(
        self,
        n_features: int,
        latent_dim: int,
        n_clusters: int,
        width: int = Architecture.widths[0],
        noise_variance: float = Hyperparameters().noise_variance,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        self.noise_variance, self.n_clusters = noise_variance, n_clusters
        self.hidden = Linear(n_features, width, transposed)
        self.heads = Linear(width, 2 * latent_dim, False)  # means and log-variances in one product
        self.decode = Linear(latent_dim, width, transposed)
        self.output = Linear(width, n_features, False)
        if n_clusters:
            self.logits = nn.Parameter(torch.zeros(n_clusters))
            self.centers = nn.Parameter(torch.randn(n_clusters, latent_dim))
            self.log_variances = nn.Parameter(torch.zeros(n_clusters, latent_dim))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return minus the ELBO of each row (Jiang et al. 2017, Eq. 12)."""
        means, log_variances = self.heads(torch.relu(self.hidden(x))).chunk(2, dim=-1)
        variances = log_variances.exp()
        z = means + variances.sqrt() * noise
        error = x - self.output(torch.relu(self.decode(z)))
        reconstruction = -0.5 * (
            error.square().sum(-1) / self.noise_variance
            + x.shape[-1] * (LOG_2PI + math.log(self.noise_variance))
        )
        entropy = 0.5 * (LOG_2PI + 1 + log_variances).sum(-1)
        if not self.n_clusters:
            cross = 0.5 * (LOG_2PI + means.square() + variances).sum(-1)
            return cross - entropy - reconstruction
        log_weights = self.logits.log_softmax(0)
        precisions = (-self.log_variances).exp()
        constants = LOG_2PI + self.log_variances

        def log_normal(squares: Tensor) -> Tensor:
            return -0.5 * (constants + squares * precisions).sum(-1)

        log_joint = log_weights + log_normal((z[:, None] - self.centers).square())
        log_gamma = log_joint.log_softmax(-1)
        gamma = log_gamma.exp()
        expected = log_normal((means[:, None] - self.centers).square() + variances[:, None])
        kl = (gamma * (log_gamma - log_weights)).sum(-1)
        return kl - (gamma * expected).sum(-1) - entropy - reconstruction

    def load(self, arrays: dict[str, Any]) -> "Vade":
        """Take over our parameters, as `Parameters.to_arrays` names them."""
        ours = {name: torch.as_tensor(np.array(value)) for name, value in arrays.items()}
        # Ours are stored with the wide axis last.
        wide_out = {"hidden": "encoder/Dense_0", "decode": "decoder/Dense_0"}
        state = {f"{layer}.bias": ours[f"{path}/bias"] for layer, path in wide_out.items()}
        for layer, path in wide_out.items():
            kernel = ours[f"{path}/kernel"]
            state[f"{layer}.weight"] = kernel if getattr(self, layer).transposed else kernel.T
        for part in ("weight", "bias"):
            name = {"weight": "kernel", "bias": "bias"}[part]
            heads = [ours[f"encoder/{head}/{name}"] for head in ("means", "log_variances")]
            state |= {f"heads.{part}": torch.cat(heads), f"output.{part}": ours[f"decoder/means/{name}"]}
        if self.n_clusters:
            state |= {"logits": ours["mixture/logits"], "centers": ours["mixture/means"]}
            state |= {"log_variances": ours["mixture/log_variances"]}
        self.load_state_dict(state)
        return self
