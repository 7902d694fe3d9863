"""Core AI assets for iOS 27: the student's own ports, float32 outside in every precision."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import coreai.authoring.func
import coreai.authoring.graph_builder
import torch
from coreai.authoring import AIModelAsset
from coreai_opt.casting import cast_fp32_to_fp16
from coreai_torch import TorchConverter, get_decomp_table
from torch.export import ExportedProgram

from edgekit.core.seams import Precision
from edgekit.core.store import write_bytes
from edgekit.export import quantize_coreai
from edgekit.export.adversarial import half_feeds
from edgekit.export.program import Program, example_inputs
from edgekit.export.quantize_coreai import INT8_RECIPES, small_weights
from edgekit.export.ranges import outside_half_operators
from edgekit.export.rewrites import rewritten_for
from edgekit.export.targets import Options, Refused, Sources
from edgekit.export.targets.ports import file_port as file_port
from edgekit.export.weight_recipes import Recipe, described, parsed

_STRUCTURE = {"constant", "invoke", "graph", "output"}
"""Entries of an asset's statistics that compute nothing."""


def recipes(precision: Precision) -> tuple[str, ...]:
    """Return the recipes of `precision`, the best first."""
    return tuple(INT8_RECIPES) if precision == "int8" else ("plain",)


def convert(
    program: Program, path: Path, *, precision: Precision, recipe: str, sources: Sources
) -> str:
    """Write `program` to the folder `path`."""
    if sources.options.sizes:
        raise Refused(
            "a Core AI asset of several picture sizes is not written; export one for each size"
        )
    half = precision == "fp16"
    program, rewrites = rewritten_for("aimodel", program, half=half)
    module: torch.nn.Module = program.module
    words = "float32"
    if precision in ("int8", "mixed"):
        wanted, half, words = _wanted(recipe)
        module = small_weights(module, example_inputs(program), wanted, _names(program))
    elif half:
        words = "weights and computation in float16, inputs and outputs stay float32"
    made = _exported(module, program)
    if half:
        floats = _outside_half(made, program, sources)
        words += f"; float32 for {', '.join(sorted(map(str, floats)))}" if floats else ""
        made = _exported(_HalfInside(cast_fp32_to_fp16(made, floats)), program)
    _write(made, program, path)
    return f"coreai-torch, {words}{rewrites}"


def recipes_for_search(options: Options) -> tuple[str, ...]:
    """Return what a search may choose for the weights of each layer, from large to small."""
    return quantize_coreai.recipes_for_search()


def _wanted(recipe: str) -> tuple[Recipe, bool, str]:
    """Return the weights of a recipe, whether it computes in float16, and its words."""
    if recipe in INT8_RECIPES:
        choice = INT8_RECIPES[recipe]
        return choice.recipe, *choice.half()
    wanted = parsed(recipe)
    if wanted.int8_activations:
        raise Refused("int8 activations are not made for Core AI; its weights alone get small")
    return wanted, True, described(wanted)


def _names(program: Program) -> dict[str, str]:
    """Return the path of each layer in the student -> its name in the program's module."""
    from edgekit.export.optimize.layers import layers_of

    return {
        layer.name: layer.weight.removesuffix(".weight")
        for layer in layers_of(program)
        if layer.weight.endswith(".weight")  # of a module: coreai-opt looks for modules
    }


def _outside_half(made: ExportedProgram, program: Program, sources: Sources) -> list[Any]:
    """Return the operators that stay float32: what gives or takes a value outside float16."""
    return outside_half_operators(made.module(), program.inputs, half_feeds(program, sources))


def _exported(module: torch.nn.Module, program: Program) -> ExportedProgram:
    with torch.no_grad():
        made = torch.export.export(module, example_inputs(program))
    decomposed: ExportedProgram = made.run_decompositions(get_decomp_table())
    return decomposed


class _HalfInside(torch.nn.Module):
    """Takes and returns float32 around a float16 program."""

    def __init__(self, half: ExportedProgram) -> None:
        super().__init__()
        self.half_program = half.module()

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        results = self.half_program(*(value.half() for value in inputs))
        return tuple(value.float() for value in results)


def _write(made: ExportedProgram, program: Program, path: Path) -> None:
    with _repeatable_names():
        converted = (
            TorchConverter(mode=TorchConverter.Mode.RELEASE)
            .add_exported_program(
                made,
                input_names=[port.name for port in program.inputs],
                output_names=[port.name for port in program.outputs],
                entrypoint_name="main",
            )
            .to_coreai()
        )
        # The asset must be written under the suffix .aimodel, whatever the final name is.
        beside = path.with_name("asset.aimodel")
        asset = converted.save_asset(beside)
        asset.update_metadata(lambda metadata: setattr(metadata, "creation_date", 0.0))
    metadata = beside / "metadata.json"
    facts = json.loads(metadata.read_text(encoding="utf-8"))
    write_bytes(metadata, json.dumps(facts, indent=2, sort_keys=True).encode())
    shutil.rmtree(path, ignore_errors=True)
    beside.rename(path)


@contextmanager
def _repeatable_names() -> Iterator[None]:
    """Let coreai draw its random suffixes from a seed, so that equal programs give equal files."""
    modules = (coreai.authoring.func, coreai.authoring.graph_builder)
    kept = [module.choice for module in modules]
    chosen = random.Random(0).choice
    for module in modules:
        module.choice = chosen
    try:
        yield
    finally:
        for module, original in zip(modules, kept, strict=True):
            module.choice = original


def operators(path: Path) -> dict[str, int]:
    """Return operator -> count, as stored in the asset."""
    found = _summary(path).operation_distribution
    return {name: int(count) for name, count in sorted(found) if name not in _STRUCTURE}


def weight_elements(path: Path) -> dict[str, int]:
    """Return stored type -> number of constants."""
    return {name.lower(): int(count) for name, count in _summary(path).storage_types}


def _summary(path: Path):  # type: ignore[no-untyped-def]
    return AIModelAsset.load(path).summary()
