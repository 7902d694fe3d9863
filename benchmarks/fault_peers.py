"""The same faulty ONNX files before the check of optimum-onnx, in an environment of its own.

``python benchmarks/faults.py --keep KEPT --folder STUDENTS`` leaves the faulty and the right ONNX
files behind; then, where optimum-onnx is installed (it needs another transformers)::

    PEERS/bin/python benchmarks/fault_peers.py KEPT STUDENTS --out fault_peers.json

`_run_validation` of optimum.exporters.onnx.convert is called as it is, with its own tolerance
(`OnnxConfig.ATOL_FOR_VALIDATION`), on dummy inputs as its generators make them: noise in [-1, 1].
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from optimum.exporters.onnx import convert
from optimum.exporters.onnx.base import OnnxConfig


class Saved(torch.nn.Module):
    """The saved student with named inputs and outputs, as optimum calls a model."""

    def __init__(self, folder: Path) -> None:
        """Load the program."""
        super().__init__()
        self.facts = json.loads((folder / "manifest.json").read_text())
        self.program = torch.export.load(folder / "student.pt2").module()

    def forward(self, **feeds: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the outputs by name."""
        made = self.program(*(feeds[port["name"]] for port in self.facts["inputs"]))
        flat = torch.utils._pytree.tree_leaves(made)
        return {port["name"]: v for port, v in zip(self.facts["outputs"], flat, strict=True)}


class _Patch:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: Any) -> None: ...


def config_of(model: Saved, seed: int) -> Any:
    """Return what `_run_validation` asks of an OnnxConfig."""
    random = torch.Generator().manual_seed(seed)
    inputs = {
        port["name"]: torch.rand(port["shape"], generator=random) * 2 - 1
        for port in model.facts["inputs"]
    }
    return SimpleNamespace(
        ATOL_FOR_VALIDATION=OnnxConfig.ATOL_FOR_VALIDATION,
        inputs={name: {} for name in inputs},
        outputs={port["name"]: {} for port in model.facts["outputs"]},
        torch_to_onnx_output_map={},
        generate_dummy_inputs=lambda framework, **_: dict(inputs),
        rename_ambiguous_inputs=lambda given: given,
        patch_model_for_export=lambda model, model_kwargs: _Patch(),
        generate_dummy_inputs_for_validation=lambda given, names: given,
        flatten_output_collection_property=lambda name, value: {name: value},
    )


def verdict(model: Saved, path: Path) -> str:
    """Return what optimum says about a file, "" if nothing."""
    names = [port["name"] for port in model.facts["outputs"]]
    try:
        convert._run_validation(config_of(model, 0), model, path, names)
    except Exception as error:
        lines = str(error).splitlines()
        return f"{type(error).__name__}: {lines[-1][:120]}"
    return ""


def main() -> None:
    """Read the command line, check every file, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kept", type=Path)
    parser.add_argument("students", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    models = {name: Saved(given.students / name) for name in ("restorer", "base")}
    faults = {
        path.stem.replace("_", " "): verdict(
            models["base" if "base" in path.stem else "restorer"], path
        )
        for path in sorted(given.kept.glob("*.onnx"))
    }
    right = {
        f"onnx {path.stem} {folder.name.partition('.')[0]}": verdict(
            models[folder.name.partition(".")[0]], path
        )
        for folder in sorted(given.students.glob("*.onnx"))
        for path in sorted(folder.glob("*.onnx"))
    }
    result = {
        "kind": "fault-peers",
        "optimum-onnx": {
            "version": importlib.metadata.version("optimum-onnx"),
            "atol": OnnxConfig.ATOL_FOR_VALIDATION,
            "faults": faults,
            "right": right,
        },
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(sum(map(bool, faults.values())), "of", len(faults), "ONNX faults flagged")
    print(sum(map(bool, right.values())), "of", len(right), "right ONNX files flagged")


if __name__ == "__main__":
    main()
