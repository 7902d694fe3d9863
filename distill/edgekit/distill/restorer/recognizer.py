"""A small face recognizer for the identity term; never the one that a metric uses.

It is trained on the identities of the training split alone, so no test person is in it.

Source: Wang et al. 2018, "CosFace: Large Margin Cosine Loss for Deep Face Recognition"
(arXiv:1801.09414), equation 4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EMBEDDING = 128
SCALE, MARGIN = 30.0, 0.25


class Recognizer(nn.Module):
    """Aligned faces (B x 3 x S x S in [-1, 1]) to unit vectors (B x 128)."""

    def __init__(self, width: int = 32) -> None:
        """`width` is the channels at half the resolution, doubled with each halving."""
        super().__init__()
        layers: list[nn.Module] = []
        into = 3
        for out in (width, 2 * width, 4 * width, 8 * width):
            layers += [_layer(into, out, 2), _Residual(out)]
            into = out
        self.body = nn.Sequential(*layers, _layer(into, into, 2))
        self.embed = nn.Linear(into, EMBEDDING)

    def forward(self, faces: Tensor) -> Tensor:
        """Return unit vectors; the angle between two tells two people apart."""
        pooled = self.body(faces).mean((2, 3))
        return F.normalize(self.embed(pooled).float(), dim=1)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _layer(channels, channels, 1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.norm(self.second(self.first(x)))
        return F.relu(x + added)


def _layer(into: int, out: int, stride: int) -> nn.Module:
    conv = nn.Conv2d(into, out, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU())


def fresh_recognizer(width: int, *, seed: int) -> Recognizer:
    """Return a recognizer with random weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Recognizer(width)


def cosface_loss(embedded: Tensor, centres: Tensor, identity: Tensor) -> Tensor:
    """Cross-entropy of cosines to `centres` (people x 128) with a margin on the right one."""
    cosines = embedded @ F.normalize(centres.float(), dim=1).T
    right = torch.zeros_like(cosines).scatter_(1, identity[:, None], MARGIN)
    return F.cross_entropy(SCALE * (cosines - right), identity)


def identity_distance(recognizer: nn.Module, made: Tensor, target: Tensor) -> Tensor:
    """Return 1 - cosine of each pair of faces, B numbers; 0 for the same picture."""
    with torch.no_grad():
        wanted = recognizer(target)
    cosines: Tensor = (recognizer(made) * wanted).sum(1)
    return 1 - cosines
