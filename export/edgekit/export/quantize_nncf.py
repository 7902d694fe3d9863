"""Int8 by NNCF's post-training quantization, for ONNX files and for OpenVINO's own format.

NNCF and OpenVINO carry openvino-telemetry; it is switched off before they are imported.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekit.core.store import write_bytes
from edgekit.export.program import Feed


def without_telemetry() -> None:
    """Keep NNCF and OpenVINO from sending anything; call it before they are imported."""
    os.environ["OPENVINO_TELEMETRY_DISABLE"] = "1"
    os.environ["NNCF_TELEMETRY_DISABLE"] = "1"


def quantize_onnx(
    source: Path, path: Path, *, feeds: Sequence[Feed], fast_bias: bool = True
) -> str:
    """Quantize the float32 ONNX file `source` into `path` and return the recipe in words."""
    without_telemetry()
    import nncf
    import onnx

    data = nncf.Dataset([dict(feed) for feed in feeds])
    made: Any = nncf.quantize(
        onnx.load(source), data, subset_size=len(feeds), fast_bias_correction=fast_bias
    )
    write_bytes(path, made.SerializeToString(deterministic=True))
    bias = "fast" if fast_bias else "accurate"
    return f"NNCF post-training int8, {bias} bias correction; {len(feeds)} calibration samples"
