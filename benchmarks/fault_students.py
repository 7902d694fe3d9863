"""The two students that faults are put into: the shipped base, and a restorer of many operators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SIZE = 48
BASE_SIZE = 64


class Restorer(nn.Module):
    """Two pictures in, one out: every kind of operator that a converter may get wrong."""

    def __init__(self) -> None:
        """Lay out the layers, untrained."""
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1)
        self.guide = nn.Conv2d(3, 16, 3, 1, 1)
        self.down = nn.Conv2d(16, 32, 3, 2, 1)
        self.instance = nn.InstanceNorm2d(32, affine=True)
        self.middle = nn.Conv2d(32, 32, 3, 1, 1)
        self.group = nn.GroupNorm(4, 32)
        self.query = nn.Conv2d(32, 32, 1)
        self.key = nn.Conv2d(32, 32, 1)
        self.value = nn.Conv2d(32, 32, 1)
        self.mixed = nn.Conv2d(32, 32, 1)
        self.token = nn.LayerNorm(32)
        self.up = nn.ConvTranspose2d(32, 16, 4, 2, 1)
        self.late = nn.Conv2d(16, 16, 3, 1, 1)
        self.head = nn.Conv2d(16, 3, 3, 1, 1)

    def forward(self, image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Return the restored picture."""
        first = torch.relu(self.stem(image)) + F.silu(self.guide(reference))
        y = F.gelu(self.instance(self.down(first)))
        y = y + torch.relu(self.group(self.middle(y)))
        batch, channels, height, width = y.shape
        parts = [
            layer(y).reshape(batch, 4, channels // 4, height * width).transpose(2, 3)
            for layer in (self.query, self.key, self.value)
        ]
        heads = F.scaled_dot_product_attention(*parts).transpose(2, 3)
        y = y + self.mixed(heads.reshape(batch, channels, height, width))
        y = self.token(y.movedim(1, -1)).movedim(-1, 1)
        small = F.avg_pool2d(y, 3, 2, 1)
        y = y + F.interpolate(small, scale_factor=2.0, mode="bilinear")
        z = self.up(y) + first
        z = z + F.interpolate(F.max_pool2d(self.late(z), 2), scale_factor=2.0, mode="nearest")
        return torch.tanh(self.head(z) * 0.5 + image)


def restorer(seed: int) -> Restorer:
    """Return a restorer with weights of trained size, drawn from `seed`."""
    network = Restorer().eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            noise = torch.randn(value.shape, generator=random)
            norm = name.split(".")[0] in ("instance", "group", "token")
            if value.ndim > 1:
                value.copy_(noise * 1.2 / value[0].numel() ** 0.5)
            else:
                value.copy_(noise * 0.2 + float(norm and name.endswith("weight")))
    return network


def write_restorer(folder: Path, *, seed: int = 1) -> Path:
    """Write the restorer as a student folder; its pictures are smooth noise."""
    folder.mkdir(parents=True)
    network = restorer(seed)
    example = (torch.zeros(1, 3, SIZE, SIZE), torch.zeros(1, 3, SIZE, SIZE))
    with torch.no_grad():
        torch.export.save(torch.export.export(network, example), folder / "student.pt2")
    random = np.random.default_rng(3)
    arrays = {name: _pictures(random, 14) for name in ("image", "reference")}
    np.savez(folder / "calibration.npz", **{name: value[:10] for name, value in arrays.items()})
    np.savez(folder / "heldout.npz", **{name: value[10:] for name, value in arrays.items()})
    facts = {
        "kind": "student",
        "schema": 1,
        "recipe_sha256": "0" * 64,
        "name": "restorer",
        "size_px": SIZE,
        "inputs": [_port("image"), _port("reference")],
        "outputs": [_port("image_out")],
    }
    (folder / "manifest.json").write_text(json.dumps(facts))
    return folder


def _pictures(random: np.random.Generator, count: int) -> Any:
    small = torch.from_numpy(random.uniform(0, 255, (count, 3, 6, 6)).astype(np.float32))
    large = F.interpolate(small, size=(SIZE, SIZE), mode="bicubic").clamp(0, 255)
    return large.permute(0, 2, 3, 1).round().to(torch.uint8).numpy()


def _port(name: str) -> dict[str, Any]:
    shape = [1, 3, SIZE, SIZE]
    return {
        "name": name,
        "shape": shape,
        "dtype": "float32",
        "layout": "nchw",
        "low": -1.0,
        "high": 1.0,
    }


def write_shipped_base(folder: Path) -> Path:
    """Write the base that the project ships as a student of 64 pixels."""
    from edgekit.core.progress import silent
    from edgekit.distill.adapters_base import write_base
    from edgekit.distill.base import load_base

    write_base(folder, load_base(None), size_px=BASE_SIZE, capacity=4, report=silent)
    return folder
