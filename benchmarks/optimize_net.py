"""A restorer of 0.7 M parameters for comparing quantizers, trained here on drawn pictures.

    python benchmarks/optimize_net.py runs/restorer --minutes 8

Convolutions, InstanceNorm, attention, LayerNorm, a transposed convolution, nearest and bilinear
upsampling at 128 pixels. It learns to take blur and noise off pictures of shapes and
textures that are drawn from a seed, so that decibels mean something. The student folder that comes
out is like one of `edgekit distill`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE_PX = 128
CALIBRATION, HELDOUT, TRAINING = 32, 32, 480
LR = 2e-3


def layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution with its norm and activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1),
        nn.InstanceNorm2d(outputs, affine=True),
        nn.ReLU(),
    )


class Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        """Keep the number of channels."""
        super().__init__()
        self.first = layer(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1)
        self.norm = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input plus what was learned."""
        learned: Tensor = self.norm(self.second(self.first(x)))
        return x + learned


class Block(nn.Module):
    """A transformer block over the pixels: attention, then a feed-forward part."""

    def __init__(self, channels: int, heads: int) -> None:
        """`heads` must divide `channels`."""
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.mixed = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.wide = nn.Linear(channels, 2 * channels)
        self.narrow = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (n, c, h, w) to the same shape."""
        count, channels, height, width = x.shape
        y = x.flatten(2).transpose(1, 2)
        parts = self.mixed(self.norm1(y)).reshape(count, -1, 3, self.heads, channels // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        y = y + self.out(seen.reshape(count, -1, channels))
        y = y + self.narrow(F.gelu(self.wide(self.norm2(y))))
        image: Tensor = y.transpose(1, 2).reshape(count, channels, height, width)
        return image


class Restorer(nn.Module):
    """Down to a quarter, three residual blocks around attention, up again, input skip."""

    def __init__(self, width: int = 24) -> None:
        """`width` channels at full size, four times as many at a quarter."""
        super().__init__()
        half, quarter = 2 * width, 4 * width
        self.stem = layer(3, width)
        self.down1, self.down2 = layer(width, half, 2), layer(half, quarter, 2)
        self.residual1, self.residual2 = Residual(quarter), Residual(quarter)
        self.residual3 = Residual(quarter)
        self.block = Block(quarter, heads=4)
        self.up1 = nn.ConvTranspose2d(quarter, half, 4, 2, 1)
        self.norm1 = nn.InstanceNorm2d(half, affine=True)
        self.merge = layer(2 * half, half)
        self.up2 = layer(half, width)
        self.detail = nn.Conv2d(width, width, 3, 1, 1)
        self.head = nn.Conv2d(width, 3, 3, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the restored `image`, (n, 3, h, w) in [-1, 1]."""
        full = self.stem(image)
        half = self.down1(full)
        y = self.block(self.residual1(self.down2(half)))
        y = self.residual3(self.residual2(y))
        y = F.relu(self.norm1(self.up1(y)))
        y = self.merge(torch.cat([y, half], 1))
        smooth = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
        y = self.up2(smooth) + F.interpolate(full[..., ::2, ::2], scale_factor=2.0, mode="nearest")
        y = F.relu(self.detail(y))
        return torch.tanh(self.head(y) + image)


def drawn(count: int, *, seed: int, side: int = SIZE_PX) -> np.ndarray[Any, Any]:
    """Return pictures (n, h, w, 3) in uint8: a shaded ground, shapes, stripes and grain."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    pictures = []
    for _ in range(count):
        corners = random.uniform(0, 255, (4, 3)).astype(np.float32)
        ground = (1 - y)[..., None] * ((1 - x)[..., None] * corners[0] + x[..., None] * corners[1])
        ground += y[..., None] * ((1 - x)[..., None] * corners[2] + x[..., None] * corners[3])
        for _ in range(int(random.integers(5, 12))):
            colour = random.uniform(0, 255, 3).astype(np.float32)
            across, down = random.uniform(0, 1, 2)
            wide, high = random.uniform(0.05, 0.35, 2)
            angle = random.uniform(0, np.pi)
            u = (x - across) * np.cos(angle) + (y - down) * np.sin(angle)
            v = (y - down) * np.cos(angle) - (x - across) * np.sin(angle)
            if random.random() < 0.5:
                inside = (u / wide) ** 2 + (v / high) ** 2 < 1
            else:
                inside = (np.abs(u) < wide) & (np.abs(v) < high)
            shade = np.ones_like(x)
            if random.random() < 0.4:
                shade = 0.75 + 0.25 * np.sign(np.sin(u * random.uniform(30, 200)))
            ground = np.where(inside[..., None], colour * shade[..., None], ground)
        grain = random.normal(0, random.uniform(0, 8), (side, side, 1))
        pictures.append(np.clip(ground + grain, 0, 255).astype(np.uint8))
    return np.stack(pictures)


def spoiled(pictures: np.ndarray[Any, Any], *, seed: int) -> np.ndarray[Any, Any]:
    """Return the pictures with blur and noise."""
    random = np.random.default_rng(seed)
    made = []
    for picture in pictures:
        value = torch.from_numpy(picture).float().permute(2, 0, 1)[None]
        radius = float(random.uniform(0.6, 1.6))
        steps = torch.arange(-4, 5).float()
        kernel = torch.exp(-(steps**2) / (2 * radius**2))
        kernel = kernel / kernel.sum()
        value = F.pad(value, (4, 4, 4, 4), mode="reflect")
        value = F.conv2d(value, kernel.reshape(1, 1, 1, 9).expand(3, 1, 1, 9), groups=3)
        value = F.conv2d(value, kernel.reshape(1, 1, 9, 1).expand(3, 1, 9, 1), groups=3)
        array = value[0].permute(1, 2, 0).numpy()
        array = array + random.normal(0, random.uniform(4, 16), array.shape)
        made.append(np.clip(array, 0, 255).astype(np.uint8))
    return np.stack(made)


def as_tensor(pictures: np.ndarray[Any, Any]) -> Tensor:
    """Return uint8 pictures as (n, 3, h, w) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))) / 127.5 - 1


def trained(minutes: float, steps: int, *, seed: int = 0) -> tuple[Restorer, dict[str, float]]:
    """Train for `minutes` or `steps`, whichever ends first; return the network and its PSNR."""
    clean = drawn(TRAINING, seed=seed)
    dirty = as_tensor(spoiled(clean, seed=seed + 1))
    wanted = as_tensor(clean)
    torch.manual_seed(seed)
    network = Restorer()
    optimizer = torch.optim.AdamW(network.parameters(), LR, weight_decay=1e-4)
    random = torch.Generator().manual_seed(seed)
    start, step = time.monotonic(), 0
    while step < steps:
        done = max(step / steps, (time.monotonic() - start) / (60 * minutes))
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1.0, (step + 1) / 30) * max(0.02, 1 - done)
        chosen = torch.randint(TRAINING, (8,), generator=random)
        side = SIZE_PX if done > 0.7 else SIZE_PX // 2  # small crops first: four times the steps
        top, left = torch.randint(0, (SIZE_PX - side) // 8 + 1, (2,), generator=random) * 8
        there = (chosen, slice(None), slice(top, top + side), slice(left, left + side))
        loss = (network(dirty[there]) - wanted[there]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 50 == 0:
            print(f"step {step} {time.monotonic() - start:.0f} s L1 {loss.item():.4f}", flush=True)
    network.eval().requires_grad_(False)
    clean = drawn(HELDOUT, seed=seed + 1000)
    dirty = as_tensor(spoiled(clean, seed=seed + 1001))
    wanted = as_tensor(clean)
    gains = {}
    for name, value in (("source", dirty), ("restored", network(dirty))):
        errors = ((value - wanted) ** 2).mean((1, 2, 3))
        gains[name] = round(float((10 * torch.log10(4 / errors)).mean()), 3)
    return network, {**gains, "steps": step}


def write(folder: Path, network: Restorer, facts: dict[str, float], *, seed: int = 0) -> None:
    """Write the network as a student folder."""
    from edgekit.distill.program import StudentFacts, write_student

    held = drawn(HELDOUT, seed=seed + 1000)
    write_student(
        folder,
        network,
        size_px=SIZE_PX,
        calibration=spoiled(drawn(CALIBRATION, seed=seed + 2000), seed=seed + 2001),
        heldout=(spoiled(held, seed=seed + 1001), held),
        facts=StudentFacts(
            name="restorer",
            prompt="take blur and noise off",
            teacher="drawn pictures",
            recipe_sha256="0" * 64,
            extra={"training": facts},
        ),
    )


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--steps", type=int, default=2000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    network, facts = trained(given.minutes, given.steps)
    print(sum(value.numel() for value in network.parameters()), "parameters", facts, flush=True)
    write(given.folder, network, facts)


if __name__ == "__main__":
    main()
