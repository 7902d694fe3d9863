"""A member of the zoo, and how it becomes a student folder."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.core.store import finish_folder, prepared_folder

CALIBRATION, HELDOUT = 4, 3
GAIN = 1.2


@dataclass(frozen=True, slots=True)
class Input:
    """An input port: pictures and feature maps are nchw, everything else flat."""

    name: str
    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0


def image(size: int = 16) -> Input:
    """Return the port of a picture."""
    return Input("image", (1, 3, size, size))


def features(channels: int = 8, size: int = 16, name: str = "features") -> Input:
    """Return the port of a feature map."""
    return Input(name, (1, channels, size, size))


def vector(width: int, name: str = "style") -> Input:
    """Return the port of a vector."""
    return Input(name, (1, width))


@dataclass(frozen=True, slots=True)
class Member:
    """A module, and what it takes."""

    name: str
    build: Callable[[], nn.Module]
    inputs: tuple[Input, ...] = field(default_factory=lambda: (features(),))

    @property
    def seed(self) -> int:
        """A number that only the name decides."""
        return zlib.crc32(self.name.encode())

    def samples(self) -> dict[str, np.ndarray]:
        """Return input name -> samples, pictures as bytes, in the range of each port."""
        random = np.random.default_rng(self.seed)
        count = CALIBRATION + HELDOUT
        return {port.name: _drawn(port, count, random) for port in self.inputs}

    def module(self) -> nn.Module:
        """Return the module as if it were trained: weights seeded, norms in their statistics."""
        torch.manual_seed(self.seed)
        made = self.build()
        random = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                noise = torch.randn(parameter.shape, generator=random)
                if parameter.ndim > 1:
                    parameter.copy_(noise * GAIN / parameter[0].numel() ** 0.5)
                elif name.endswith("slope"):
                    parameter.copy_(0.25 + noise * 0.1)
                else:  # norms scale by about 1
                    parameter.copy_(noise * 0.1 + name.endswith("weight"))
        _settle_norms(made, self.tensors(CALIBRATION))
        return made.eval()

    def tensors(self, count: int) -> list[tuple[Tensor, ...]]:
        """Return the first `count` samples as the module takes them."""
        arrays = self.samples()
        return [
            tuple(_tensor(arrays[port.name], port, place) for port in self.inputs)
            for place in range(count)
        ]


def write(member: Member, folder: Path) -> Path:
    """Write the student folder of a member: program, ports, samples, manifest."""
    prepared_folder(folder)
    module = member.module()
    with torch.no_grad():
        program = torch.export.export(module, member.tensors(1)[0])
        torch.export.save(program, folder / "student.pt2")
        given = [_leaves(module(*feed)) for feed in member.tensors(CALIBRATION + HELDOUT)]
    arrays = member.samples()
    for name, part in (("calibration", slice(CALIBRATION)), ("heldout", slice(CALIBRATION, None))):
        np.savez(
            folder / f"{name}.npz",
            **{port.name: _stacked(arrays[port.name][part], port) for port in member.inputs},  # type: ignore[arg-type]
        )
    facts = {
        "name": member.name,
        "prompt": member.name,
        "size_px": member.inputs[0].shape[-1],
        "inputs": [_port(p.name, p.shape, p.low, p.high) for p in member.inputs],
        "outputs": [_output(i, [given_of[i] for given_of in given]) for i in range(len(given[0]))],
        "parameters": sum(value.numel() for value in module.parameters()),
        "licences": {"weights": "CC0-1.0"},
    }
    finish_folder(folder, kind="student", recipe_sha256=f"{member.seed:064x}", facts=facts)
    return folder


def _stacked(array: np.ndarray, port: Input) -> np.ndarray:
    """Return samples as a file of feeds holds them: batches one behind the other."""
    return array if array.dtype == np.uint8 else array.reshape(-1, *port.shape[1:])


def _leaves(result: object) -> list[Tensor]:
    return list(torch.utils._pytree.tree_leaves(result))


def _drawn(port: Input, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw samples with large and small structure, like photos and what is computed of them."""
    if len(port.shape) != 4:
        drawn = random.uniform(port.low, port.high, (count, *port.shape))
        return drawn.astype(np.float32)
    batch, channels, height, width = port.shape
    coarse = random.uniform(0, 1, (count, batch, channels, 4, 4))
    wide = coarse.repeat(-(-height // 4), 3).repeat(-(-width // 4), 4)[..., :height, :width]
    mixed = 0.7 * wide + 0.3 * random.uniform(0, 1, (count, *port.shape))
    if channels == 3:
        return (mixed[:, 0].transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)
    return (mixed * (port.high - port.low) + port.low).astype(np.float32)


def _tensor(array: np.ndarray, port: Input, place: int) -> Tensor:
    value = array[place]
    if value.dtype == np.uint8:
        scaled = value.astype(np.float32) / 255 * (port.high - port.low) + port.low
        return torch.from_numpy(scaled.transpose(2, 0, 1)[None].astype(np.float32).copy())
    return torch.from_numpy(value.copy())


def _port(name: str, shape: tuple[int, ...], low: float, high: float) -> dict[str, object]:
    layout = "nchw" if len(shape) == 4 else "flat"
    return {
        "name": name,
        "shape": list(shape),
        "dtype": "float32",
        "layout": layout,
        "low": low,
        "high": high,
    }


def _output(place: int, values: list[Tensor]) -> dict[str, object]:
    """Return an output's port; the range of its values is what decibels are measured against."""
    shape = tuple(values[0].shape)
    most = max(float(value.abs().max()) for value in values)
    if len(shape) == 4 and shape[1] == 3:  # a picture
        most = 1.0
    return _port(f"out{place}", shape, -round(most, 4), round(most, 4))


def _settle_norms(module: nn.Module, feeds: list[tuple[Tensor, ...]]) -> None:
    """Give batch norms the statistics of the values that go through them."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all feeds
    module.train()
    with torch.no_grad():
        for feed in feeds:
            module(*feed)
    for norm in norms:
        norm.momentum = 0.1
