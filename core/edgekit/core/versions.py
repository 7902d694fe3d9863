"""Which packages each extra brings, and which of them are installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

EXTRAS: dict[str, dict[str, str]] = {
    "distill": {
        "torch": "torch",
        "diffusers": "diffusers",
        "transformers": "transformers",
        "peft": "peft",
        "webdataset": "webdataset",
        "safetensors": "safetensors",
        "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
        "pytorch_msssim": "pytorch-msssim",
        "flip_evaluator": "flip-evaluator",
        "skimage": "scikit-image",
        "sklearn": "scikit-learn",
        "optuna": "optuna",
        "accelerate": "accelerate",
    },
    "onnx": {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"},
    "android": {
        "litert_torch": "litert-torch",
        "ai_edge_litert": "ai-edge-litert",
        "ai_edge_quantizer": "ai-edge-quantizer",
    },
    "ios": {
        "coremltools": "coremltools",
        "coreai_torch": "coreai-torch",
        "coreai_opt": "coreai-opt",
    },
    "tensorrt": {
        "tensorrt_rtx_bindings": "tensorrt-rtx-cu13-bindings",
        "onnx": "onnx",
        "onnxscript": "onnxscript",
        "onnxruntime": "onnxruntime",
    },
    "tensorrt-full": {"tensorrt": "tensorrt"},
    "executorch": {"executorch": "executorch", "torchao": "torchao"},
    "mesh": {"xatlas": "xatlas", "trimesh": "trimesh"},
    "openvino": {"openvino": "openvino", "nncf": "nncf"},
}
"""Extra -> {module: distribution}."""


def extra_of(module: str) -> str | None:
    """Return the extra that brings `module` (or the package it lies in), None if none does."""
    root = module.split(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if root in modules), None)


def installed(distribution: str) -> str | None:
    """Return the installed version of a distribution, None if it is missing."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def edgekit_version() -> str:
    """Return the version of edgekit itself; "0+source" when run from an uninstalled tree."""
    return installed("edgekit-toolchain") or "0+source"


def installed_versions() -> dict[str, str]:
    """Return edgekit's version and those of every optional package that is installed."""
    found = {"edgekit": edgekit_version()}
    for modules in EXTRAS.values():
        for distribution in modules.values():
            if number := installed(distribution):
                found[distribution] = number
    return found
