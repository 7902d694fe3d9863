"""Small students of the kind that `edgekit distill` writes, made here without it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

STYLE = 12


def layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Attention(nn.Module):
    """Attention with pooled keys and values and its softmax written out."""

    def __init__(self, channels: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.BatchNorm2d(channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key_value = nn.Conv2d(channels, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        part = channels // self.heads
        y = self.norm(x)
        query = self.query(y).reshape(batch, self.heads, part, height * width).transpose(2, 3)
        pooled = self.key_value(F.avg_pool2d(y, 2)).reshape(batch, 2 * self.heads, part, -1)
        key, value = pooled.chunk(2, 1)
        weights = torch.softmax(query @ key * part**-0.5, -1)
        mixed = (weights @ value.transpose(2, 3)).transpose(2, 3)
        return x + self.out(mixed.reshape(batch, channels, height, width))


class Network(nn.Module):
    """Down, residual blocks, attention, up (convolution first, then nearest), input skip."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        wide = 2 * channels
        self.down1, self.down2 = layer(3, channels, 2), layer(channels, wide, 2)
        self.residual1 = nn.Sequential(layer(wide, wide), layer(wide, wide))
        self.residual2 = nn.Sequential(layer(wide, wide), layer(wide, wide))
        self.attention = Attention(wide)
        self.up1, self.up2 = layer(wide, channels), layer(channels, channels)
        self.head = nn.Conv2d(channels, 3, 3, 1, 1)

    def features(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first = self.down1(image)
        y = self.down2(first)
        y = y + self.residual1(y)
        return first, y + self.residual2(y)

    def painted(self, image: torch.Tensor, first: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        y = F.interpolate(self.up1(self.attention(y)), scale_factor=2.0, mode="nearest") + first
        y = F.interpolate(self.up2(y), scale_factor=2.0, mode="nearest")
        return torch.tanh(self.head(y) + image)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.painted(image, *self.features(image))


class Styled(Network):
    """Also takes a vector, and also returns one: ports that are not pictures."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__(channels)
        self.style = nn.Linear(STYLE, 2 * channels)

    def forward(
        self, image: torch.Tensor, style: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        first, y = self.features(image)
        y = y + self.style(style)[:, :, None, None]
        return self.painted(image, first, y), y.mean((2, 3))


def trained(network: nn.Module, *, seed: int) -> nn.Module:
    """Give every norm statistics that matter, and the weights the strides of channels_last."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=random)
            if parameter.ndim > 1:
                parameter.copy_(noise * 1.2 / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(noise * 0.1 + name.endswith("weight"))  # norms scale by about 1
        for name, statistic in network.named_buffers():
            if name.endswith("running_mean"):
                statistic.copy_(torch.randn(statistic.shape, generator=random) * 0.1)
            elif name.endswith("running_var"):
                statistic.copy_(torch.rand(statistic.shape, generator=random) + 0.5)
    return network.to(memory_format=torch.channels_last).eval()


def port(name: str, *shape: int, layout: str) -> dict[str, object]:
    return {
        "name": name,
        "shape": list(shape),
        "dtype": "float32",
        "layout": layout,
        "low": -1.0,
        "high": 1.0,
    }


def write_student(
    folder: Path, network: nn.Module | None = None, *, size: int = 32, styled: bool = False
) -> Path:
    """Write a student folder; `styled` ones have two inputs and two outputs."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    made = network or trained(Styled() if styled else Network(), seed=1)
    inputs = [port("image", 1, 3, size, size, layout="nchw")]
    outputs = [port("image_out", 1, 3, size, size, layout="nchw")]
    examples = [torch.zeros(1, 3, size, size)]
    random = np.random.default_rng(3)
    arrays = {"image": random.integers(0, 256, (10, size, size, 3), np.uint8)}
    if styled:
        inputs.append(port("style", 1, STYLE, layout="flat"))
        outputs.append(port("code", 1, 32, layout="flat"))
        examples.append(torch.zeros(1, STYLE))
        arrays["style"] = random.uniform(-1, 1, (10, STYLE)).astype(np.float32)
    with torch.no_grad():
        torch.export.save(torch.export.export(made, tuple(examples)), folder / "student.pt2")
    np.savez(folder / "calibration.npz", **{name: value[:6] for name, value in arrays.items()})
    np.savez(folder / "heldout.npz", **{name: value[6:] for name, value in arrays.items()})
    (folder / "adapter.safetensors").write_bytes(b"factors")
    facts = {
        "kind": "student",
        "schema": 1,
        "recipe_sha256": "0" * 64,
        "name": "Make it night",
        "prompt": "make it night",
        "teacher": "toy@000000000000",
        "size_px": size,
        "inputs": inputs,
        "outputs": outputs,
        "parameters": sum(value.numel() for value in made.parameters()),
        "gmac": 0.01,
        "adapter": {"path": "adapter.safetensors", "sha256": "0" * 64, "bytes": 7},
        "licences": {"photos": "CC0-1.0"},
        "quality": {"protocol": "toy", "student": {"psnr_db": 20.5}},
    }
    (folder / "manifest.json").write_text(json.dumps(facts))
    return folder
