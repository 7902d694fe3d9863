"""What a restored portrait is trained to be: near in pixels and features, the same person, sharp.

Source: Zhang et al. 2025, "InstantRestore" (arXiv:2412.06753): perceptual, MS-SSIM, identity and
adversarial terms. Features are EfficientNet-Lite0's in place of LPIPS-VGG, the identity net is our
own, the judge is a PatchGAN instead of a vision-aided one, and a small L1 keeps colours.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.distill.losses.adversarial import generator_loss
from edgekit.distill.metrics import perceptual_distance
from edgekit.distill.restorer.recognizer import identity_distance

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales. Source: Wang, Simoncelli and Bovik 2003, MS-SSIM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TermWeights:
    """Weight of each training term; 0 leaves it out."""

    l1: float = 1.0
    """Mean absolute difference in [-1, 1]."""
    perceptual: float = 2.0
    ms_ssim: float = 0.5
    """1 - MS-SSIM."""
    identity: float = 0.5
    """1 - cosine of the recognizer's vectors."""
    adversarial: float = 0.1
    """A tenth of the others' sum at first; at 0.03 it was a seventieth, and changed nothing."""
    landmark: float = 0.05
    code: float = 1.0
    """1 - cosine of what an encoder that is trained on says now and said before. Without it, and at
    the restorer's own rate, its codes were all alike after 7,453 steps."""
    taught: float = 1.0
    """L1 and feature distance to a larger network's picture, where there is one."""


class MultiScaleSSIM(nn.Module):
    """MS-SSIM of pictures in [-1, 1], with its window on the device: CUDA graphs may record it."""

    def __init__(self, size_px: int) -> None:
        """Use as many scales as `size_px` holds windows of, at most five, of 11 or 7 pixels."""
        super().__init__()
        self.window = 11 if size_px >= 176 else 7
        while_fits = [i for i in range(len(SCALES)) if size_px // 2**i >= self.window]
        weights = torch.tensor(SCALES[: max(1, len(while_fits))])
        offsets = torch.arange(self.window) - self.window // 2
        bell = torch.exp(-(offsets**2) / (2 * 1.5**2))
        self.register_buffer("bell", bell / bell.sum(), persistent=False)
        self.weights = tuple((weights / weights.sum()).tolist())

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the mean over the batch, 1 for equal pictures."""
        one, two = (first.float() + 1) / 2, (second.float() + 1) / 2
        total = torch.ones_like(one[:, :, 0, 0])
        for scale, weight in enumerate(self.weights):
            if scale:
                one, two = F.avg_pool2d(one, 2), F.avg_pool2d(two, 2)
            whole, contrast = self._compared(one, two)
            last = scale == len(self.weights) - 1
            total = total * (whole if last else contrast).clamp(min=1e-4) ** weight
        return total.mean()

    def _compared(self, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
        c1, c2 = 0.01**2, 0.03**2
        mean1, mean2 = self._blurred(one), self._blurred(two)
        var1 = self._blurred(one * one) - mean1 * mean1
        var2 = self._blurred(two * two) - mean2 * mean2
        both = self._blurred(one * two) - mean1 * mean2
        contrast = (2 * both + c2) / (var1 + var2 + c2)
        light = (2 * mean1 * mean2 + c1) / (mean1 * mean1 + mean2 * mean2 + c1)
        return (light * contrast).mean((2, 3)), contrast.mean((2, 3))

    def _blurred(self, x: Tensor) -> Tensor:
        bell = self.get_buffer("bell")
        channels = x.shape[1]
        down = bell.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
        across = bell.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
        return F.conv2d(F.conv2d(x, down, groups=channels), across, groups=channels)


class Terms(nn.Module):
    """The terms that compare a made picture with the true one."""

    def __init__(self, weights: TermWeights, recognizer: nn.Module | None, size_px: int) -> None:
        """`recognizer` may be None if the identity term has no weight."""
        super().__init__()
        if weights.identity and recognizer is None:
            raise ValueError("the identity term needs a recognizer")
        self.weights = weights
        self.features = deepcopy(perceptual_distance()) if weights.perceptual else None
        self.recognizer = recognizer if weights.identity else None
        self.ssim = MultiScaleSSIM(size_px)
        self.eval().requires_grad_(False)

    def forward(self, made: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return each term, unweighted."""
        terms = {"l1": F.l1_loss(made, target)}
        inside = made.clamp(-1, 1)
        if self.features is not None:
            terms["perceptual"] = self.features(inside, target).float()
        if self.weights.ms_ssim:
            # Differences of squares: eight bits of mantissa would be noise.
            with torch.autocast(made.device.type, enabled=False):
                terms["ms_ssim"] = 1 - self.ssim(inside, target)
        if self.recognizer is not None:
            terms["identity"] = identity_distance(self.recognizer, inside, target).mean()
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of what is in `terms`."""
        weighted = [
            getattr(self.weights, name) * value
            for name, value in terms.items()
            if getattr(self.weights, name, 0)
        ]
        return torch.stack(weighted).sum()


def fooled(judge: nn.Module, degraded: Tensor, made: Tensor) -> Tensor:
    """Return the adversarial term of a restorer; the judge's weights get no gradient."""
    judge.requires_grad_(False)
    score = generator_loss(judge(degraded, made)).float()
    judge.requires_grad_(True)
    return score
