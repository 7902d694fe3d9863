"""Tiny pipelines of every teacher class, saved and loaded once for all tests of this part."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edgekit.distill.teachers.loader import DiffusionTeacher


@pytest.fixture(scope="session")
def tiny_pipelines() -> ModuleType:
    """The module beside this file: in pytest's importlib mode its folder is not on sys.path."""
    name = "edgekit_tests_tiny_pipelines"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, Path(__file__).with_name("tiny_pipelines.py")
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def saved(tmp_path_factory, tiny_pipelines) -> Callable[..., Path]:
    """Folder of a tiny pipeline, built once; no test may change it."""
    root = tmp_path_factory.mktemp("tiny")

    def folder(class_name: str, *, turbo: bool = False) -> Path:
        place = root / f"{class_name}{'-turbo' * turbo}"
        if not place.exists():
            tiny_pipelines.save_tiny(class_name, place, turbo=turbo)
        return place

    return folder


@pytest.fixture(scope="session")
def loaded(saved) -> Callable[[str], DiffusionTeacher]:
    """Load a tiny teacher once; Qwen's classes choose their working size themselves."""
    from edgekit.distill.teachers.loader import load_teacher

    teachers: dict[str, DiffusionTeacher] = {}

    def teacher(class_name: str) -> DiffusionTeacher:
        if class_name not in teachers:
            small = {} if class_name.startswith("Qwen") else {"work_px": 32}
            folder = saved(class_name)
            teachers[class_name] = load_teacher(
                folder, device="cpu", steps=2, batch_size=2, **small
            )
        return teachers[class_name]

    return teacher


@pytest.fixture
def small_qwen(monkeypatch):
    """Qwen's classes always work at a megapixel; a test does with less of the same code."""
    import diffusers.pipelines.qwenimage.pipeline_qwenimage_edit as edit
    import diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus as plus

    for module in (edit, plus):
        whole = module.calculate_dimensions
        small = functools.partial(lambda of, area, ratio: of(64 * 64, ratio), whole)
        monkeypatch.setattr(module, "calculate_dimensions", small)
