"""Why a conversion that fails does so: (module, format, precision or "*") -> what is known."""

from __future__ import annotations

from zoo.cells import Cell

NOT_OFFERED = {("pte", "fp16")}
"""Rows that an export refuses for every student, so that there is nothing to convert."""
KNOWN: dict[tuple[str, str, str], str] = {
    ("grid_sample", "aimodel", "*"): (
        "coreai-torch 0.4.3 has no lowering of grid_sampler_2d; a lattice of sums "
        "(`triplane_lattice`) needs none"
    ),
    ("affine_warp", "aimodel", "*"): (
        "coreai-torch 0.4.3 has no lowering of grid_sampler_2d; a lattice of sums "
        "(`triplane_lattice`) needs none"
    ),
    ("local_response_norm", "pte", "fp32"): (
        "PyTorch writes this norm as avg_pool3d, which neither XNNPACK nor ExecuTorch 1.5.1's "
        "portable kernels have; the file is written and cannot be loaded"
    ),
    ("restorer", "aimodel", "fp16"): (
        "on a white picture with extreme keys and values float16 costs more than 55 dB allow "
        "(rounding alone leaves 61 dB); photos reach 68 dB"
    ),
    ("affine_warp", "tflite", "*"): (
        "litert-torch 0.10.0 leaves the iota of affine_grid as an operator that LiteRT 2.3.0 "
        "cannot run; grid_sample with a given grid passes"
    ),
    ("adapted_gan", "pte", "int8"): (
        "the per-channel scales of a kernel that is computed stay in the graph, and ExecuTorch "
        "1.5.1 has no operator for them"
    ),
    ("mesh_generator", "pte", "int8"): (
        "the XNNPACK delegate refuses to run the quantized file (error 0x10); why is open"
    ),
    ("mesh_generator", "openvino", "int8"): (
        "nncf's fast bias correction expects a batch of one; the three planes are a batch of three"
    ),
}
SHALLOW = (
    "too shallow or too small: its layers lie next to a port, or are below the size that the "
    "recipe quantizes, and stay float"
)


def reason_of(cell: Cell) -> str:
    """Return what is known about a failed cell, "" if nothing is."""
    for precision in (cell.precision, "*"):
        if found := KNOWN.get((cell.module, cell.format, precision)):
            return found
    if cell.precision == "int8" and cell.status == "quality":
        return SHALLOW
    return ""
