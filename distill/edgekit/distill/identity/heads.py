"""What a code is trained for: two decoders, or the two losses of recognition they are compared to.

A head takes codes and the batch they were made of, and gives one number. What is random in it is
drawn outside, so that a step can be a CUDA graph and follows from its number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.distill.identity.decoders import FlowDecoder, MaskedDecoder
from edgekit.distill.identity.sampling import Batch
from edgekit.distill.restorer.recognizer import EMBEDDING, cosface_loss

Chance: TypeAlias = dict[str, Tensor]
Encode: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Photos B x N x 3 x S x S and their mask to codes."""


class Head(Protocol):
    """An objective; every head is an `nn.Module`."""

    def chance(self, pictures: int, generator: torch.Generator) -> Chance:
        """Draw the random numbers of one step for so many targets, on the generator's device."""
        ...

    def loss(self, encode: Encode, codes: Tensor, batch: Batch, chance: Chance) -> Tensor:
        """Return the loss of `codes`, which are those of the batch's inputs."""
        ...


class MaskedHead(nn.Module):
    """Paint the targets from the code and a twentieth of their patches."""

    def __init__(self, decoder: MaskedDecoder) -> None:
        """Train with `decoder`."""
        super().__init__()
        self.decoder = decoder

    def chance(self, pictures: int, generator: torch.Generator) -> Chance:
        """Draw which patches are seen, anew for each target."""
        size = (pictures, self.decoder.num_patches)
        return {"lots": torch.rand(size, generator=generator, device=generator.device)}

    def loss(self, encode: Encode, codes: Tensor, batch: Batch, chance: Chance) -> Tensor:
        """Return the mean absolute difference of the hidden patches."""
        pictures = reduced(batch.targets.flatten(0, 1), self.decoder.size_px)
        loss: Tensor = self.decoder(repeated(codes, batch), pictures, chance["lots"])
        return loss


class FlowHead(nn.Module):
    """Turn noise into the targets."""

    def __init__(self, decoder: FlowDecoder) -> None:
        """Train with `decoder`."""
        super().__init__()
        self.decoder = decoder

    def chance(self, pictures: int, generator: torch.Generator) -> Chance:
        """Draw noise and times."""
        size, device = self.decoder.size_px, generator.device
        noise = torch.randn((pictures, 3, size, size), generator=generator, device=device)
        return {"noise": noise, "times": torch.rand(pictures, generator=generator, device=device)}

    def loss(self, encode: Encode, codes: Tensor, batch: Batch, chance: Chance) -> Tensor:
        """Return the squared difference of the velocity."""
        return self.decoder.loss(
            repeated(codes, batch),
            reduced(batch.targets.flatten(0, 1), self.decoder.size_px),
            batch.points.flatten(0, 1),
            batch.poses.flatten(0, 1),
            chance["noise"],
            chance["times"],
        )


class CosFaceHead(nn.Module):
    """Tell the people of the training set apart (arXiv:1801.09414); the code is mean-pooled."""

    def __init__(self, code_channels: int, people: int) -> None:
        """One centre for each of `people`."""
        super().__init__()
        self.embed = nn.Linear(code_channels, EMBEDDING)
        self.centres = nn.Parameter(torch.randn(people, EMBEDDING))

    def chance(self, pictures: int, generator: torch.Generator) -> Chance:
        """Draw nothing."""
        return {}

    def loss(self, encode: Encode, codes: Tensor, batch: Batch, chance: Chance) -> Tensor:
        """Return the cross-entropy with a margin."""
        embedded = F.normalize(self.embed(codes.mean(1)).float(), dim=1)
        return cosface_loss(embedded, self.centres, batch.people)


class ContrastHead(nn.Module):
    """Find the other photos of the same person in the batch (InfoNCE, arXiv:1807.03748)."""

    def __init__(self, code_channels: int) -> None:
        """Compare mean-pooled codes."""
        super().__init__()
        self.embed = nn.Linear(code_channels, EMBEDDING)
        self.sharpness = nn.Parameter(torch.tensor(2.3))

    def chance(self, pictures: int, generator: torch.Generator) -> Chance:
        """Draw nothing."""
        return {}

    def loss(self, encode: Encode, codes: Tensor, batch: Batch, chance: Chance) -> Tensor:
        """Return the cross-entropy both ways; a person who is drawn twice is no wrong answer."""
        everyone = torch.ones(batch.targets.shape[:2], dtype=torch.bool, device=codes.device)
        others = encode(batch.targets, everyone)
        one, two = (F.normalize(self.embed(c.mean(1)).float(), dim=1) for c in (codes, others))
        scores = one @ two.T * self.sharpness.exp().clamp(max=100)
        same = batch.people[:, None] == batch.people
        same.fill_diagonal_(False)
        scores = scores.masked_fill(same, float("-inf"))
        right = torch.arange(len(scores), device=scores.device)
        return (F.cross_entropy(scores, right) + F.cross_entropy(scores.T, right)) / 2


def repeated(codes: Tensor, batch: Batch) -> Tensor:
    """Return the codes once for each target."""
    return codes.repeat_interleave(batch.targets.shape[1], 0)


def reduced(pictures: Tensor, size_px: int) -> Tensor:
    """Return pictures at `size_px`, each pixel the mean of those that it stands for."""
    if pictures.shape[-1] == size_px:
        return pictures
    if pictures.shape[-1] % size_px:
        return F.interpolate(pictures, (size_px, size_px), mode="bilinear", antialias=True)
    return F.avg_pool2d(pictures, pictures.shape[-1] // size_px)
