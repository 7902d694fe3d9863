"""What leaves the workshop: one program with named ports for each form of the restorer.

    none      ``image`` -> ``image_out``
    channels  ``image``, ``references`` (1, 3 x places, S, S) -> ``image_out``
    memory    ``image``, ``memory_8`` …, ``reference_mask`` (1, places) -> ``image_out``
    code      ``image``, ``code`` (1, 32, 256) -> ``image_out``
    enroller  ``image`` -> ``memory_8`` …, of one reference: run once a photo, when it is enrolled

A memory port holds the layers of one scale: (1, 2 x layers, places x tokens, channels), a layer's
keys before its values, a place's tokens together. The enroller's outputs are put side by side
along the third axis; places that stay empty have mask 0 and any finite content. In a code, zeros
stand for nobody.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.core.seams import Port
from edgekit.core.tensors import Batch
from edgekit.distill.restorer.attention import Memory
from edgekit.distill.restorer.diffusion import ONE_STEP_LEVEL, REFERENCE_LEVEL, picture_of
from edgekit.distill.restorer.one_step import (
    CODE_TOKENS,
    CODE_WIDTH,
    OneStep,
    enrolled,
)
from edgekit.distill.restorer.phone import PhoneRestorer
from edgekit.distill.restorer.unet import PER_SCALE, UNet, UNetShape, at_level

MEMORY_RANGE, CODE_RANGE = 4.0, 4.0
"""Most of the values of a memory and of a code: files are compared on this scale."""


class Program(nn.Module):
    """A one-step restorer with its references as flat ports, the noise level folded in."""

    def __init__(self, restorer: OneStep) -> None:
        """Copy what is needed of `restorer`; the reference branch is not."""
        super().__init__()
        self.form = restorer.form
        self.network = at_level(restorer.network, ONE_STEP_LEVEL)

    def forward(self, image: Tensor, *given: Tensor) -> Tensor:
        """Return the restored picture in [-1, 1]."""
        level = torch.tensor([ONE_STEP_LEVEL])
        noisy = image * math.cos(ONE_STEP_LEVEL * math.pi / 2)  # `noised` with no noise
        memory, extra = None, None
        if self.form.conditioning == "memory":
            memory = Memory(layers_of(given[:-1], given[-1].shape[1]), given[-1])
        elif self.form.conditioning == "code":
            layers, _ = self.network.memory_of_code(given[0])
            somebody = (given[0] * given[0]).sum((1, 2))[:, None] > 0
            memory = Memory(layers, somebody.to(image.dtype))
        elif self.form.conditioning == "channels":
            extra = given[0]
        velocity = self.network(noisy, level, memory, extra)
        return picture_of(noisy, velocity, level).clamp(-1, 1)


class Enroller(nn.Module):
    """The reference branch as it ships: one photo to its part of the memory ports."""

    def __init__(self, branch: UNet) -> None:
        """Copy `branch`, its noise level folded in."""
        super().__init__()
        self.network = at_level(branch, REFERENCE_LEVEL)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return one tensor a scale, (1, 2 x layers, tokens, channels)."""
        return packed(enrolled(self.network, image))


def packed(layers: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
    """Put layers (keys and values, 1 x M x C or 1 x R x M x C) into memory ports, one a scale."""
    ports = []
    for start in range(0, len(layers), PER_SCALE):
        both = [part for layer in layers[start : start + PER_SCALE] for part in layer]
        flat = [part.reshape(1, -1, part.shape[-1]) for part in both]
        ports.append(torch.stack(flat, 1))
    return tuple(ports)


def layers_of(ports: Sequence[Tensor], places: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Undo `packed` for a number of places: keys and values 1 x R x M x C of every layer."""
    layers = []
    for port in ports:
        num, both, tokens, channels = port.shape
        split = [port[:, i].reshape(num, places, tokens // places, channels) for i in range(both)]
        layers += list(zip(split[0::2], split[1::2], strict=True))
    return tuple(layers)


def memory_ports(shape: UNetShape, size_px: int, places: int) -> tuple[Port, ...]:
    """Return the ports of `places` references."""
    ports = []
    for start in range(0, len(shape.channels), PER_SCALE):
        grid, width = shape.grids(size_px)[start], shape.channels[start]
        ports.append(
            Port(
                f"memory_{grid}",
                (1, 2 * PER_SCALE, places * grid * grid, width),
                layout="flat",
                low=-MEMORY_RANGE,
                high=MEMORY_RANGE,
            )
        )
    return tuple(ports)


def code_port() -> Port:
    """Return the port of an identity code."""
    shape = (1, CODE_TOKENS, CODE_WIDTH)
    return Port("code", shape, layout="flat", low=-CODE_RANGE, high=CODE_RANGE)


def image_port(size_px: int) -> Port:
    """Return the degraded picture's port."""
    return Port("image", (1, 3, size_px, size_px))


def input_ports(restorer: OneStep | PhoneRestorer, size_px: int) -> tuple[Port, ...]:
    """Return what the program of `restorer` takes at this size."""
    image = image_port(size_px)
    if restorer.conditioning == "code" or isinstance(restorer, PhoneRestorer):
        return image, code_port()
    places = restorer.form.places
    if restorer.conditioning == "memory":
        mask = Port("reference_mask", (1, places), layout="flat", low=0.0, high=1.0)
        return image, *memory_ports(restorer.network.shape, size_px, places), mask
    if restorer.conditioning == "channels":
        return image, Port("references", (1, 3 * places, size_px, size_px), layout="flat")
    return (image,)


def output_port(size_px: int) -> Port:
    """Return the restored picture's port."""
    return Port("image_out", (1, 3, size_px, size_px))


@torch.no_grad()
def feeds_of(
    restorer: OneStep | PhoneRestorer,
    references: Tensor,
    mask: Tensor,
    code: Tensor | None,
) -> dict[str, Batch]:
    """Return the arrays of every port but the picture's, for each of a batch of people."""
    restorer = restorer.float().cpu().eval()
    if isinstance(restorer, PhoneRestorer) or restorer.conditioning == "code":
        assert code is not None
        known = torch.where(mask.any(1).cpu()[:, None, None], code.float().cpu(), 0.0)
        return {"code": known.numpy()}
    places = restorer.form.places
    references, mask = references[:, :places].cpu(), mask[:, :places].cpu()
    if restorer.conditioning == "channels":
        kept = restorer.given(references, mask).extra
        assert kept is not None
        return {"references": kept.numpy()}
    if restorer.conditioning == "none":
        return {}
    rows: dict[str, list[Batch]] = {}
    for i in range(len(references)):
        layers = tuple(
            (keys[None], values[None]) for keys, values in restorer.enrolled(references[i])
        )
        for port, value in zip(
            memory_ports(restorer.network.shape, references.shape[-1], places),
            packed(layers),
            strict=True,
        ):
            rows.setdefault(port.name, []).append(value.numpy())
    stacked = {name: np.concatenate(values) for name, values in rows.items()}
    return {**stacked, "reference_mask": mask.float().numpy()}
