"""8-bit weights for Core ML by coremltools; activations stay float16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coremltools as ct
import coremltools.optimize.coreml as cto

MIN_ELEMENTS = 512
"""Smaller weights stay float16: they save nothing."""


def eight_bit_weights(source: Path) -> Any:
    """Return the model of the package `source` with int8 weights per channel."""
    model = ct.models.MLModel(str(source), skip_model_load=True)
    config = cto.OptimizationConfig(
        global_config=cto.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int8", weight_threshold=MIN_ELEMENTS
        )
    )
    return cto.linear_quantize_weights(model, config)
