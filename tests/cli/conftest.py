"""What the tests of several commands share."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny, randomly initialised InstructPix2Pix pipeline that no test may change."""
    file = Path(__file__).parents[1] / "distill" / "tiny_pipelines.py"
    spec = importlib.util.spec_from_file_location("edgekit_tests_tiny_pipelines", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder: Path = module.save_tiny(
        "StableDiffusionInstructPix2PixPipeline", tmp_path_factory.mktemp("teacher") / "tiny"
    )
    return folder
