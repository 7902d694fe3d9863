"""Students of other kinds than a picture editor, toy-sized but with their real ports.

A restorer takes cached keys and values of a reference (1, 1024, 128) and attends to them; a mesh
generator takes a text (1, 256), makes three planes (3, 16, 64, 64), and reads a field off them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tests.export.programs import port, trained
from torch import nn

TOKENS, WIDTH = 1024, 128
TEXT, PLANES, PLANE, FIELD = 256, 16, 64, 12


class Restorer(nn.Module):
    """Attends from an 8 x 8 map to itself and to a reference's cached keys and values."""

    def __init__(self, channels: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.down = nn.Sequential(
            nn.Conv2d(3, channels, 3, 2, 1), nn.ReLU(), nn.Conv2d(channels, 32, 3, 2, 1), nn.ReLU()
        )
        self.query = nn.Conv2d(32, WIDTH, 1)
        self.own = nn.Conv2d(32, 2 * WIDTH, 1)
        self.out = nn.Conv2d(WIDTH, 32, 1)
        self.up = nn.Conv2d(32, channels, 3, 1, 1)
        self.head = nn.Conv2d(channels, 3, 3, 1, 1)

    def split(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.reshape(1, -1, self.heads, WIDTH // self.heads).transpose(1, 2)

    def forward(
        self, image: torch.Tensor, ref_k: torch.Tensor, ref_v: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.down(image)
        _, _, height, width = y.shape
        query = self.query(y).flatten(2).transpose(1, 2)
        key, value = self.own(y).flatten(2).transpose(1, 2).chunk(2, -1)
        keys, values = torch.cat([key, ref_k], 1), torch.cat([value, ref_v], 1)
        weights = torch.softmax(
            self.split(query) @ self.split(keys).transpose(2, 3) * (WIDTH // self.heads) ** -0.5, -1
        )
        mixed = (weights @ self.split(values)).transpose(1, 2).reshape(1, -1, WIDTH)
        y = y + self.out(mixed.transpose(1, 2).reshape(1, WIDTH, height, width))
        y = F.interpolate(F.relu(self.up(y)), scale_factor=4.0, mode="nearest")
        return torch.tanh(self.head(y) + image), weights.mean((1, 2))


class MeshGenerator(nn.Module):
    """Text to triplanes to a field on a lattice: planes are resampled and added, no grid sample."""

    def __init__(self, channels: int = 24) -> None:
        super().__init__()
        self.start = nn.Linear(TEXT, 3 * channels * 8 * 8)
        self.channels = channels
        self.grow = nn.ModuleList(nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(3))
        self.planes = nn.Conv2d(channels, PLANES, 3, 1, 1)
        self.decode = nn.Sequential(nn.Linear(PLANES, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.start(text).reshape(3, self.channels, 8, 8)
        for layer in self.grow:
            y = F.relu(layer(F.interpolate(y, scale_factor=2.0, mode="nearest")))
        planes = self.planes(y)
        small = F.avg_pool2d(planes, 5, 5)[..., :FIELD, :FIELD]
        xy, xz, yz = small[0], small[1], small[2]
        features = xy[:, :, :, None] + xz[:, :, None, :] + yz[:, None, :, :]
        field = self.decode(features.reshape(PLANES, -1).transpose(0, 1))
        return planes, field.transpose(0, 1).reshape(1, 4, FIELD, FIELD, FIELD)


def write(folder: Path, network: nn.Module, ports: Mapping[str, list[dict[str, object]]]) -> Path:
    """Write a student folder; every array of the samples is drawn within its port's range."""
    folder.mkdir(parents=True)
    examples = tuple(torch.zeros([*entry["shape"]]) for entry in ports["inputs"])
    with torch.no_grad():
        torch.export.save(torch.export.export(network, examples), folder / "student.pt2")
    random = np.random.default_rng(5)
    arrays = {}
    for entry in ports["inputs"]:
        shape = entry["shape"]
        if entry["layout"] == "nchw":
            arrays[entry["name"]] = random.integers(0, 256, (8, *shape[2:], 3), np.uint8)
        else:
            drawn = random.uniform(entry["low"], entry["high"], (8, *shape[1:]))
            arrays[entry["name"]] = drawn.astype(np.float32)
    np.savez(folder / "calibration.npz", **{name: value[:5] for name, value in arrays.items()})
    np.savez(folder / "heldout.npz", **{name: value[5:] for name, value in arrays.items()})
    facts = {
        "kind": "student",
        "schema": 1,
        "recipe_sha256": "0" * 64,
        "name": "toy",
        "size_px": 32,
        "licences": {"weights": "CC0-1.0"},
        **ports,
    }
    (folder / "manifest.json").write_text(json.dumps(facts))
    return folder


def write_restorer(folder: Path) -> Path:
    torch.manual_seed(0)
    cached = [port(name, 1, TOKENS, WIDTH, layout="flat") for name in ("ref_k", "ref_v")]
    ports = {
        "inputs": [port("image", 1, 3, 32, 32, layout="nchw"), *cached],
        "outputs": [
            port("image_out", 1, 3, 32, 32, layout="nchw"),
            port("attention", 1, TOKENS + 64, layout="flat"),
        ],
    }
    return write(folder, trained(Restorer(), seed=2), ports)


def write_mesh_generator(folder: Path) -> Path:
    torch.manual_seed(0)
    ports = {
        "inputs": [port("text", 1, TEXT, layout="flat")],
        "outputs": [
            port("planes", 3, PLANES, PLANE, PLANE, layout="flat"),
            port("field", 1, 4, FIELD, FIELD, FIELD, layout="flat"),
        ],
    }
    return write(folder, trained(MeshGenerator(), seed=3), ports)
