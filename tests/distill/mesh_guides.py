"""A guide that knows the answer: the noise that an ideal diffusion model of known pictures sees."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from edgekit.distill.render.views import Cameras
from edgekit.distill.teachers.views.renders import cutouts
from edgekit.distill.teachers.views.solids import ColoredMesh

Cutouts = Callable[[Cameras, int], Tensor]
"""Cameras and a side to pictures B x 4 x S x S: colour times its share of the pixel, the share."""


def of_mesh(mesh: ColoredMesh) -> Cutouts:
    """Return the pictures of a mesh; the guide gives noise away, never the mesh."""
    return lambda cameras, size_px: cutouts(mesh, cameras, size_px)


class ExactGuide:
    """All that a diffusion model could learn of one thing a prompt over plain backgrounds.

    The background of a noisy picture is what its uncovered pixels are on average. Without a text
    the answer is the mean over all things, weighed by how well each explains the noisy picture.
    """

    def __init__(self, things: Mapping[str, Cutouts], *, size_px: int = 24) -> None:
        self.things, self.names, self.size_px = things, list(things), size_px
        self.alphas = torch.cos(torch.linspace(0.02, 0.98, 200) * torch.pi / 2) ** 2

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the number of each prompt, and the number after the last one for none."""
        known = [*self.names, ""]
        return torch.tensor([[[float(known.index(prompt))]] for prompt in prompts])

    def latents(self, pictures: Tensor) -> Tensor:
        """Return the pictures themselves."""
        return pictures

    def noise(self, noisy: Tensor, step: Tensor, text: Tensor, cameras: Cameras) -> Tensor:
        """Return what is left of `noisy` when the expected picture is taken away."""
        share = self.alphas[step].view(-1, 1, 1, 1)
        asked = text[:, 0, 0].long()
        mean = torch.zeros_like(noisy)
        for number, name in enumerate(self.names):
            which = asked == number
            if which.any():
                mean[which] = self._expected(noisy[which], share[which], name, cameras[which])
        if (free := asked == len(self.names)).any():
            mean[free] = self._any(noisy[free], share[free], cameras[free])
        return (noisy - share.sqrt() * mean) / (1 - share).sqrt()

    def _any(self, noisy: Tensor, share: Tensor, cameras: Cameras) -> Tensor:
        means = torch.stack([self._expected(noisy, share, name, cameras) for name in self.names], 1)
        distance = (noisy[:, None] - share[:, None].sqrt() * means).square().sum((2, 3, 4))
        likely = torch.softmax(-distance / (2 * (1 - share.view(-1, 1))), 1)
        return (likely[:, :, None, None, None] * means).sum(1)

    def _expected(self, noisy: Tensor, share: Tensor, name: str, cameras: Cameras) -> Tensor:
        colour, cover = self.things[name](cameras, self.size_px).split((3, 1), 1)
        bare = (1 - cover).square()
        seen = (noisy / share.sqrt() - (2 * colour - cover)) * (1 - cover)
        background = seen.sum((2, 3), keepdim=True) / bare.sum((2, 3), keepdim=True)
        return 2 * colour - cover + (1 - cover) * background


def box(half: tuple[float, float, float], color: tuple[float, float, float]) -> ColoredMesh:
    """Return a box of one colour about the origin."""
    corners = np.array(list(product(*((-side, side) for side in half))), np.float32)
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [part for a, b, c, d in faces for part in ((a, b, c), (a, c, d))]
    return ColoredMesh(corners, np.array(triangles), np.tile(np.float32(color), (12, 1)))
