"""Int8 for ExecuTorch by torchao's PT2E: calibrated activations, int8 weights per channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from torch import fx
from torch.export import ExportedProgram
from torchao.quantization.pt2e import quantize_pt2e

from edgekit.export.program import Feed, Program, example_inputs, exported

INT8_RECIPES = ("static",)
"""Dynamic int8 is left out: XNNPACK refuses its convolutions when they run (ExecuTorch 1.5.1,
``Propagating input shapes failed``)."""


def quantized(
    program: Program, feeds: Sequence[Feed], *, recipe: str
) -> tuple[ExportedProgram, str]:
    """Return `program` with quantized layers, and the recipe in words."""
    assert recipe in INT8_RECIPES, recipe
    config = get_symmetric_quantization_config(is_per_channel=True)
    made = _calibrated(program, feeds, XNNPACKQuantizer().set_global(config))
    words = "PT2E static int8 by XNNPACKQuantizer, weights per channel (symmetric)"
    return made, f"{words}; {len(feeds)} calibration samples"


def layers_quantized(
    program: Program, feeds: Sequence[Feed], names: Sequence[str]
) -> ExportedProgram:
    """Return `program` with the modules `names` computed in int8, everything else in float."""
    config = get_symmetric_quantization_config(is_per_channel=True)
    quantizer = XNNPACKQuantizer()
    for name in names:
        quantizer.set_module_name(name, config)
    return _calibrated(program, feeds, quantizer)


def _calibrated(
    program: Program, feeds: Sequence[Feed], quantizer: XNNPACKQuantizer
) -> ExportedProgram:
    names = [port.name for port in program.inputs]
    with torch.no_grad(), _no_search_for_trained_norms():
        module = quantize_pt2e.prepare_pt2e(exported(program).module(), quantizer)
        for feed in feeds:
            module(*(torch.from_numpy(feed[name]) for name in names))
        return torch.export.export(quantize_pt2e.convert_pt2e(module), example_inputs(program))


@contextmanager
def _no_search_for_trained_norms() -> Iterator[None]:
    """Leave out a search for the patterns of quantization-aware training.

    torchao exports 108 small patterns, half a second each, to look for batch norms that were
    trained with fake quantization; ours were folded before, and those left stand alone.
    """
    search = quantize_pt2e._fold_conv_bn_qat
    quantize_pt2e._fold_conv_bn_qat = _unchanged
    try:
        yield
    finally:
        quantize_pt2e._fold_conv_bn_qat = search


def _unchanged(module: fx.GraphModule) -> fx.GraphModule:
    return module
