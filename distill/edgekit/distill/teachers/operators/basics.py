"""Filters and color arithmetic that the edits are composed of.

Every function takes and returns float images of shape (n, c, h, w) with values in [0, 1], runs on
the CPU and on a GPU, and is deterministic. Lengths are given in pixels of a 256-pixel image and
scaled by `unit`, so that an edit looks alike at 128 and at 256 pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

LUMA = (0.299, 0.587, 0.114)


def unit(image: Tensor) -> float:
    """Length of one reference pixel (of a 256-pixel image) in pixels of `image`."""
    return min(image.shape[-2:]) / 256


def luma(image: Tensor) -> Tensor:
    """Brightness of a color image, one channel."""
    weights = torch.tensor(LUMA, dtype=image.dtype, device=image.device).view(1, 3, 1, 1)
    return (image * weights).sum(1, keepdim=True)


def color(red: float, green: float, blue: float, like: Tensor) -> Tensor:
    """One color that broadcasts against the batch `like`."""
    return torch.tensor((red, green, blue), dtype=like.dtype, device=like.device).view(1, 3, 1, 1)


def mix(first: Tensor, second: Tensor, share: Tensor | float) -> Tensor:
    """`first` where `share` is 0, `second` where it is 1, linear between."""
    return first + (second - first) * share


def smoothstep(low: float, high: float, value: Tensor) -> Tensor:
    """0 below `low`, 1 above `high`, with soft ends."""
    ramp = ((value - low) / (high - low)).clamp(0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def screen(first: Tensor, second: Tensor) -> Tensor:
    """Add light without overflow."""
    return 1 - (1 - first) * (1 - second)


def overlay(base: Tensor, layer: Tensor) -> Tensor:
    """Darken the shadows of `base` and brighten its lights by `layer`; gray 0.5 changes nothing."""
    return torch.where(base < 0.5, 2 * base * layer, 1 - 2 * (1 - base) * (1 - layer))


def saturated(image: Tensor, amount: float) -> Tensor:
    """Colors moved away from gray: 0 is gray, 1 changes nothing."""
    gray = luma(image)
    return (gray + (image - gray) * amount).clamp(0, 1)


def contrasted(image: Tensor, amount: float, pivot: float = 0.5) -> Tensor:
    """Values moved away from `pivot`: 1 changes nothing."""
    return (pivot + (image - pivot) * amount).clamp(0, 1)


def graded(tone: Tensor, stops: Sequence[tuple[float, float, float]]) -> Tensor:
    """Map one channel to colors on a ramp of equally spaced `stops`, linear between them."""
    table = torch.tensor(stops, dtype=tone.dtype, device=tone.device)
    position = tone[:, 0].clamp(0, 1) * (len(stops) - 1)
    low = position.floor().long().clamp(0, len(stops) - 2)
    share = (position - low).unsqueeze(-1)
    return mix(table[low], table[low + 1], share).permute(0, 3, 1, 2).contiguous()


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of `sigma` reference pixels; wide blurs run on a reduced image."""
    sigma = sigma * unit(image)
    if sigma < 0.3:
        return image
    if sigma > 6 and min(image.shape[-2:]) >= 32:
        small = F.avg_pool2d(image, 4)
        size = (image.shape[-2], image.shape[-1])
        soft = _gauss(small, sigma / 4)
        return F.interpolate(soft, size=size, mode="bilinear", align_corners=False)
    return _gauss(image, sigma)


def _gauss(image: Tensor, sigma: float) -> Tensor:
    radius = min(max(1, round(2.5 * sigma)), min(image.shape[-2:]) - 1)
    steps = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = image.shape[1]
    across = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    down = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    image = F.conv2d(F.pad(image, (radius, radius, 0, 0), "reflect"), across, groups=channels)
    return F.conv2d(F.pad(image, (0, 0, radius, radius), "reflect"), down, groups=channels)


def boxed(image: Tensor, radius: float) -> Tensor:
    """Mean over a square window of `radius` reference pixels."""
    pixels = min(max(1, round(radius * unit(image))), min(image.shape[-2:]) - 1)
    padded = F.pad(image, (pixels,) * 4, "reflect")
    return F.avg_pool2d(padded, 2 * pixels + 1, stride=1)


def smoothed(image: Tensor, radius: float = 4, noise: float = 0.06) -> Tensor:
    """Edge-preserving smoothing: detail weaker than `noise` disappears, strong edges stay.

    Source: the self-guided case of He, Sun and Tang 2013, "Guided Image Filtering", section 3.
    """
    guide = luma(image)
    mean_guide = boxed(guide, radius)
    mean_image = boxed(image, radius)
    covariance = boxed(guide * image, radius) - mean_guide * mean_image
    variance = boxed(guide * guide, radius) - mean_guide**2
    slope = covariance / (variance + noise**2)
    offset = mean_image - slope * mean_guide
    return (boxed(slope, radius) * guide + boxed(offset, radius)).clamp(0, 1)


def kuwahara(image: Tensor, radius: float = 4, sharpness: float = 8) -> Tensor:
    """Flat brush-like patches: each pixel takes the mean of its calmest neighboring window.

    Eight windows lie around the pixel; they are weighted by variance ** -sharpness, which is smooth
    where the classical filter would jump.

    Source: after Papari, Petkov and Campisi 2007, "Artistic edge and corner enhancing smoothing".
    """
    shift = max(1, round(radius * unit(image)))
    soft = boxed(image, radius * 0.75)
    gray = luma(image)
    spread = (boxed(gray * gray, radius * 0.75) - boxed(gray, radius * 0.75) ** 2).clamp(min=0)
    both = F.pad(torch.cat((soft, spread), 1), (shift,) * 4, "reflect")
    height, width = image.shape[-2:]
    total = torch.zeros_like(image)
    weight_sum = torch.zeros_like(gray)
    diagonal = max(1, round(0.7 * shift))
    offsets = [(0, shift), (0, -shift), (shift, 0), (-shift, 0)]
    offsets += [(y * diagonal, x * diagonal) for y in (-1, 1) for x in (-1, 1)]
    for down, across in offsets:
        top, left = shift + down, shift + across
        window = both[:, :, top : top + height, left : left + width]
        weight = (window[:, 3:].sqrt() * 40 + 0.3) ** -sharpness
        total = total + window[:, :3] * weight
        weight_sum = weight_sum + weight
    return total / weight_sum


def slopes(gray: Tensor) -> tuple[Tensor, Tensor]:
    """Horizontal and vertical Scharr derivatives, positive towards the right and the bottom."""
    side = torch.tensor([3.0, 10.0, 3.0], dtype=gray.dtype, device=gray.device) / 32
    edge = torch.tensor([-1.0, 0.0, 1.0], dtype=gray.dtype, device=gray.device)
    across = torch.outer(side, edge).view(1, 1, 3, 3)
    padded = F.pad(gray, (1, 1, 1, 1), "reflect")
    return F.conv2d(padded, across), F.conv2d(padded, across.transpose(2, 3).contiguous())


def edges(gray: Tensor) -> Tensor:
    """Length of the brightness slope, about 1 at a jump from black to white."""
    across, down = slopes(gray)
    return (across**2 + down**2 + 1e-8).sqrt() * 2


def lines(gray: Tensor, *, width: float = 1.0, detail: float = 0.97, gain: float = 12) -> Tensor:
    """A line drawing, 1 on paper and 0 on a line, from a difference of two Gaussian blurs.

    Source: Winnemoeller, Kyprianidis and Olsen 2012, "XDoG", equations 4 and 5.
    """
    sharp = blurred(gray, width)
    soft = blurred(gray, width * 1.6)
    difference = sharp - detail * soft
    low = 0.02 * sharp
    return (1 + torch.tanh((difference - low).clamp(max=0) * gain * 4)).clamp(0, 1)


def height_in_frame(image: Tensor) -> Tensor:
    """0 at the bottom row and 1 at the top row."""
    rows = torch.linspace(1, 0, image.shape[-2], dtype=image.dtype, device=image.device)
    return rows.view(1, 1, -1, 1)


def off_center(image: Tensor) -> Tensor:
    """0 in the middle of the frame and 1 in its corners."""
    down = torch.linspace(-1, 1, image.shape[-2], dtype=image.dtype, device=image.device)
    across = torch.linspace(-1, 1, image.shape[-1], dtype=image.dtype, device=image.device)
    return ((down.view(1, 1, -1, 1) ** 2 + across.view(1, 1, 1, -1) ** 2) / 2).clamp(0, 1)


def greenness(image: Tensor) -> Tensor:
    """How much a pixel looks like foliage: green, or the yellow-green of grass in the sun."""
    red, green, blue = image[:, :1], image[:, 1:2], image[:, 2:]
    lead = green - torch.maximum(blue, red * 0.82)
    return smoothstep(0.0, 0.14, lead / (green + 0.15))


def blueness(image: Tensor) -> Tensor:
    """How much a pixel looks like open sky or water."""
    red, green, blue = image[:, :1], image[:, 1:2], image[:, 2:]
    return smoothstep(0.02, 0.25, (blue - 0.5 * (red + green)) / (blue + 0.1))


def cells(image: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean color of each `size` x `size` cell, and the place in it, 0 to 1 across and down."""
    height, width = image.shape[-2:]
    mean = F.interpolate(
        F.avg_pool2d(image, size, ceil_mode=True), scale_factor=size, mode="nearest"
    )
    across = (torch.arange(width, device=image.device, dtype=image.dtype) % size + 0.5) / size
    down = (torch.arange(height, device=image.device, dtype=image.dtype) % size + 0.5) / size
    return mean[..., :height, :width], across.view(1, 1, 1, -1), down.view(1, 1, -1, 1)
