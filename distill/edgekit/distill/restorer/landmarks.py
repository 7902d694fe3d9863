"""Where a landmark of one photo is in another: what reference attention should look at.

Tokens are row-major: the token in row r and column c of a grid of G has the number r * G + c, and a
landmark is (x, y), so x belongs to the column. (The released code of the paper swaps them: there
column 3, row 12 of 16 becomes key 60 instead of 195.)

Shape key: B pictures, R references, L landmarks, G tokens a side, C channels, A heads.

Source: Zhang et al. 2025, "InstantRestore" (arXiv:2412.06753), landmark attention supervision. The
paper compares min-max normalized maps by squares with weight 5000; here a row of attention is a
distribution and is compared as one (Kullback-Leibler), on the landmark's rows alone, which need no
whole attention maps: 68 rows instead of 1,024 at 32 tokens a side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SIGMA = 0.03125
"""Standard deviation of the target, in sides of the picture (the paper's)."""
LEAST_SIGMA = 0.5
"""The same in tokens at least: on 8 tokens a side the paper's would be a quarter of one."""


def tokens_of(points: Tensor, *, size_px: int, grid: int) -> Tensor:
    """Return the number of the token that holds each point; points outside go to the border.

    `points` is (…, 2), (x, y) in pixels of a picture with `size_px` a side.

    >>> int(tokens_of(torch.tensor([3.5, 12.5]), size_px=16, grid=16))
    195
    """
    cells = (points * (grid / size_px)).floor().long().clamp(0, grid - 1)
    return cells[..., 1] * grid + cells[..., 0]


def landmark_maps(points: Tensor, *, size_px: int, grid: int) -> Tensor:
    """Return for each point a distribution over the tokens of a grid, a Gaussian around it.

    (…, 2) becomes (…, grid * grid), row-major; each sums to 1.
    """
    sigma = max(LEAST_SIGMA, SIGMA * grid)
    centres = torch.arange(grid, device=points.device, dtype=torch.float32) + 0.5
    places = points.float() * (grid / size_px)
    across = -((centres - places[..., 0:1]) ** 2) / (2 * sigma**2)
    down = -((centres - places[..., 1:2]) ** 2) / (2 * sigma**2)
    logits = (down[..., :, None] + across[..., None, :]).flatten(-2)
    return torch.softmax(logits, -1)


def landmark_loss(
    queries: Sequence[Tensor],
    keys: Sequence[Tensor],
    *,
    head_dims: Sequence[int],
    size_px: int,
    target_points: Tensor,
    reference_points: Tensor,
    mask: Tensor,
) -> Tensor:
    """Return how far attention at the target's landmarks is from the same ones of the references.

    `queries` (B x N x C) and reference `keys` (B x R x M x C) are those of each layer;
    `target_points` is B x L x 2, `reference_points` B x R x L x 2, in pixels; `mask` B x R. The
    value is a divergence in nats, 0 if all attention to a reference lies where it should, averaged
    over layers, landmarks and the references that are there; heads are averaged first.
    """
    total = target_points.new_zeros(())
    seen = mask.float()
    for q_BNC, k_BRMC, head_dim in zip(queries, keys, head_dims, strict=True):
        grid = math.isqrt(q_BNC.shape[1])
        rows = tokens_of(target_points, size_px=size_px, grid=grid)
        heads = q_BNC.shape[2] // head_dim
        q_BLC = q_BNC.gather(1, rows[..., None].expand(-1, -1, q_BNC.shape[2]))
        q_BALE = q_BLC.reshape(*q_BLC.shape[:2], heads, head_dim).transpose(1, 2)
        k_BRAME = k_BRMC.reshape(*k_BRMC.shape[:3], heads, head_dim).transpose(2, 3)
        logits = q_BALE[:, None] @ k_BRAME.transpose(3, 4) * head_dim**-0.5
        shares_BRLM = torch.softmax(logits.float(), -1).mean(2)
        wanted_BRLM = landmark_maps(reference_points, size_px=size_px, grid=grid)
        far_BRLM = wanted_BRLM * ((wanted_BRLM + 1e-8).log() - (shares_BRLM + 1e-8).log())
        far_BR = far_BRLM.sum(-1).mean(-1)
        total = total + (far_BR * seen).sum() / seen.sum().clamp(min=1.0)
    return total / len(queries)
