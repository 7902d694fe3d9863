"""Blocks of generators: pix2pix, ResNet-9, StyleGAN2, SPADE, SAGAN, CUT's anti-aliased steps."""

# ruff: noqa: D107 -- what a module is made of is its class's docstring

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.member import Member, features, image, vector


class Pix2pix(nn.Module):
    """Two steps down, two up by transposed convolutions, with a skip (Isola et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(3, 8, 4, 2, 1)
        self.down2 = nn.Sequential(nn.Conv2d(8, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16))
        self.up1 = nn.Sequential(nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8))
        self.up2 = nn.ConvTranspose2d(16, 3, 4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Paint a picture."""
        first = self.down1(image)
        second = self.down2(F.leaky_relu(first, 0.2))
        y = self.up1(F.relu(second))
        return torch.tanh(self.up2(F.relu(torch.cat([first, y], 1))))


class ResnetBlock(nn.Module):
    """Reflected borders and instance norms around a residual (Johnson et al. 2016)."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the path."""
        return x + self.path(x)


class Resnet9(nn.Module):
    """ResNet-9's stem, one block, and head with 7x7 kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, 8, 7), nn.InstanceNorm2d(8), nn.ReLU()
        )
        self.down = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.InstanceNorm2d(12), nn.ReLU())
        self.block = ResnetBlock(12)
        self.up = nn.Sequential(
            nn.ConvTranspose2d(12, 8, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(8), nn.ReLU()
        )
        self.head = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(8, 3, 7), nn.Tanh())

    def forward(self, image: Tensor) -> Tensor:
        """Paint a picture."""
        return self.head(self.up(self.block(self.down(self.stem(image)))))


class ModulatedConv(nn.Module):
    """A convolution whose kernel a style scales and demodulates (Karras et al. 2020)."""

    def __init__(self, channels: int = 8, style: int = 12) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, channels, 3, 3))
        self.style = nn.Linear(style, channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Convolve with the kernel of this style."""
        scaled = self.weight * (self.style(style) + 1)[:, :, None, None]
        kernel = scaled * torch.rsqrt(scaled.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        return F.leaky_relu(F.conv2d(x, kernel, padding=1), 0.2)


class ModulatedActivations(nn.Module):
    """The same with scaled activations and a stored kernel, as exports of StyleGAN do it."""

    def __init__(self, channels: int = 8, style: int = 12) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, channels, 3, 3))
        self.style = nn.Linear(style, channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Scale, convolve, demodulate."""
        scale = self.style(style) + 1
        power = self.weight.square().sum((2, 3)) @ scale.square().transpose(0, 1)
        y = F.conv2d(x * scale[:, :, None, None], self.weight, padding=1)
        return F.leaky_relu(y * torch.rsqrt(power.transpose(0, 1) + 1e-8)[:, :, None, None], 0.2)


class Blur(nn.Module):
    """Anti-aliased steps up and down with a fixed binomial kernel (Zhang 2019)."""

    kernel: Tensor

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0])
        kernel = line[:, None] * line / 64
        self.register_buffer("kernel", kernel[None, None].repeat(channels, 1, 1, 1))
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Halve and double."""
        small = F.conv2d(
            F.pad(x, (1, 2, 1, 2), mode="reflect"), self.kernel, stride=2, groups=self.channels
        )
        y = F.relu(self.conv(small))
        return F.conv_transpose2d(y, self.kernel * 4, stride=2, padding=1, groups=self.channels)


class Spade(nn.Module):
    """Scale and shift that a map decides, after a norm without its own (Park et al. 2019)."""

    def __init__(self, channels: int = 8, labels: int = 4) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)
        self.shared = nn.Conv2d(labels, 16, 3, 1, 1)
        self.gamma = nn.Conv2d(16, channels, 3, 1, 1)
        self.beta = nn.Conv2d(16, channels, 3, 1, 1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Normalize, then let the map scale."""
        wide = F.interpolate(labels, scale_factor=2.0, mode="nearest")
        shared = F.relu(self.shared(wide))
        return self.norm(x) * (1 + self.gamma(shared)) + self.beta(shared)


class Sagan(nn.Module):
    """Self attention over positions, with a learned share (Zhang et al. 2019)."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 2, 1)
        self.key = nn.Conv2d(channels, channels // 2, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        batch, channels, height, width = x.shape
        query = self.query(x).flatten(2)
        weights = torch.softmax(query.transpose(1, 2) @ self.key(x).flatten(2), -1)
        mixed = self.value(x).flatten(2) @ weights.transpose(1, 2)
        return x + (1 + self.share) * mixed.reshape(batch, channels, height, width)


MEMBERS = (
    Member("pix2pix", Pix2pix, (image(),)),
    Member("resnet_block", ResnetBlock),
    Member("resnet9", Resnet9, (image(),)),
    Member("stylegan_modulated_kernel", ModulatedConv, (features(), vector(12))),
    Member("stylegan_modulated_activations", ModulatedActivations, (features(), vector(12))),
    Member("blur_down_up", Blur),
    Member("spade", Spade, (features(), features(4, 8, "labels"))),
    Member("sagan_attention", Sagan),
)
