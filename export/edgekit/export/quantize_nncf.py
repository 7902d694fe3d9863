"""Int8 ONNX files by NNCF's post-training quantization.

NNCF carries openvino-telemetry; it is switched off before NNCF is imported.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekit.core.store import write_bytes
from edgekit.core.telemetry import silenced
from edgekit.export.program import Feed


def quantize_onnx(
    source: Path, path: Path, *, feeds: Sequence[Feed], fast_bias: bool = True
) -> str:
    """Quantize the float32 ONNX file `source` into `path` and return the recipe in words."""
    silenced()
    import nncf
    import onnx

    nncf.set_log_level(logging.ERROR)

    data = nncf.Dataset([dict(feed) for feed in feeds])
    made: Any = nncf.quantize(
        onnx.load(source), data, subset_size=len(feeds), fast_bias_correction=fast_bias
    )
    write_bytes(path, made.SerializeToString(deterministic=True))
    bias = "fast" if fast_bias else "accurate"
    return f"NNCF post-training int8, {bias} bias correction; {len(feeds)} calibration samples"
