"""The transposed convolution that doubles a resolution, in a form that every converter takes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Doubling(nn.ConvTranspose2d):
    """A 3x3 transposed convolution from (h, w) to (2h, 2w), without bias.

    It computes what ``ConvTranspose2d(into, out, 3, 2, padding=1, output_padding=1)`` does, but
    cuts the padding off afterwards: litert-torch 0.10 cannot convert an output padding.
    """

    def __init__(self, into: int, out: int) -> None:
        """Keep the names and shapes of the weights of torch's own layer."""
        super().__init__(into, out, 3, 2, bias=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return `x` at twice the resolution; `output_size` is torch's and not used."""
        whole = F.conv_transpose2d(x, self.weight, None, stride=2)
        return whole[..., 1:, 1:]
