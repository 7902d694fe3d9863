"""The conditional 70x70 PatchGAN discriminator; it helps to train and never ships.

Source: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks",
appendix 6.1.2 (arXiv:1611.07004); the projection on the text after Miyato and Koyama 2018,
"cGANs with Projection Discriminator" (arXiv:1802.05637).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class PatchGAN(nn.Module):
    """Tell for every 70x70 patch whether the second image is the teacher's edit of the first.

    Spectral norms take the place of the paper's batch norms, because real and made pictures in one
    batch would share statistics.
    """

    def __init__(self, width: int = 64, *, context_dim: int = 0) -> None:
        """With a `context_dim` the verdict also depends on the text, for many concepts at once."""
        super().__init__()
        sizes = (6, width, 2 * width, 4 * width, 8 * width)
        strides = (2, 2, 2, 1)
        layers: list[nn.Module] = []
        for into, out, stride in zip(sizes[:-1], sizes[1:], strides, strict=True):
            layers += [
                spectral_norm(nn.Conv2d(into, out, 4, stride, padding=1)),
                nn.LeakyReLU(0.2),
            ]
        self.body = nn.Sequential(*layers)
        self.verdict = spectral_norm(nn.Conv2d(8 * width, 1, 4, padding=1))
        self.text = nn.Linear(context_dim, 8 * width, bias=False) if context_dim else None

    def forward(self, image: Tensor, edit: Tensor, context: Tensor | None = None) -> Tensor:
        """Return one score a patch: 1 for the teacher's, 0 for the student's."""
        features = self.body(torch.cat((image, edit), dim=1))
        scores: Tensor = self.verdict(features)
        if self.text is None or context is None:
            return scores
        match = (features * self.text(context.mean(1))[..., None, None]).mean(1, keepdim=True)
        judged: Tensor = scores + match[..., : scores.shape[-2], : scores.shape[-1]]
        return judged


def fresh_discriminator(width: int, *, seed: int, context_dim: int = 0) -> PatchGAN:
    """Return a discriminator with random weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PatchGAN(width, context_dim=context_dim)
