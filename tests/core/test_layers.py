"""Decisions about the structure, kept by tests: who may import whom, what help may load, sizes."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("core", "distill", "export", "runtime", "benchmarks")
MAY_IMPORT = {
    "core": {"core"},
    "distill": {"core", "distill"},
    "export": {"core", "export"},
    "runtime": {"core", "runtime"},
    "benchmarks": {"core", "runtime", "benchmarks"},
}
JOINED = ("core", "cli")
HEAVY = {"torch", "diffusers", "transformers", "coremltools", "onnx", "onnxruntime", "litert_torch"}
HEAVY |= {
    "scipy",
    "pydantic",
    "rich",
    "PIL",
    "numpy",
    "jinja2",
    "sklearn",
    "skimage",
    "peft",
    "optuna",
}


def sources(part: str) -> list[Path]:
    return sorted((ROOT / part / "edgekit").rglob("*.py"))


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_the_parts_are_where_the_layer_rule_looks():
    counts = {part: len(sources(part)) for part in PARTS}

    assert all(count >= 3 for count in counts.values()), counts


@pytest.mark.parametrize("part", PARTS)
def test_a_part_imports_only_what_flows_into_it(part):
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sources(part)
        if "cli" not in file.relative_to(ROOT).parts
        for name in imported(file)
        if name.startswith("edgekit.") and name.split(".")[1] not in MAY_IMPORT[part]
    ]

    assert not wrong


def test_only_the_command_line_joins_parts_and_only_inside_functions():
    wrong = []
    for file in (ROOT / "core/edgekit/cli").rglob("*.py"):
        top = ast.parse(file.read_text(encoding="utf-8")).body
        for node in top:
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if (
                module
                and module.startswith("edgekit.")
                and module.split(".")[1] not in ("core", "cli")
            ):
                wrong.append(f"{file.name} imports {module} at its top")

    assert not wrong


def test_nothing_imports_torchvision():
    wrong = [
        str(file.relative_to(ROOT))
        for folder in (*PARTS, "tests", "examples")
        for file in (ROOT / folder).rglob("*.py")
        if any(name.split(".")[0] == "torchvision" for name in imported(file))
    ]

    assert not wrong


def test_no_file_is_longer_than_400_lines():
    long = [
        f"{file.relative_to(ROOT)}: {len(file.read_text(encoding='utf-8').splitlines())}"
        for folder in (*PARTS, "tests", "examples")
        for file in (ROOT / folder).rglob("*.py")
        if len(file.read_text(encoding="utf-8").splitlines()) > 400
    ]

    assert not long


def modules_after(code: str) -> tuple[set[str], float]:
    """Run `code` in a fresh interpreter; return the root modules it loaded and its CPU seconds."""
    program = (
        f"import sys, json, time, contextlib, io\n"
        f"with contextlib.redirect_stdout(io.StringIO()):\n    {code}\n"
        f"print(json.dumps([sorted(m.split('.')[0] for m in sys.modules), time.process_time()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    modules, cpu_s = json.loads(done.stdout.splitlines()[-1])
    return set(modules), cpu_s


def test_help_imports_nothing_heavy():
    modules, cpu_s = modules_after("from edgekit.cli.main import run; assert run(['--help']) == 0")

    assert not modules & HEAVY
    assert cpu_s <= 0.6  # 0.1 to 0.25 s when the machine is quiet; the list above is the real check


def test_core_and_runtime_work_without_torch():
    modules, _ = modules_after(
        "import edgekit.core.manifest, edgekit.core.images, edgekit.runtime.sessions"
    )

    assert "torch" not in modules


def test_every_part_says_what_it_is_and_is_typed():
    missing = [
        part
        for part in PARTS
        if not (ROOT / part / "edgekit" / part / "py.typed").is_file()
        or not ast.get_docstring(
            ast.parse((ROOT / part / "edgekit" / part / "__init__.py").read_text())
        )
    ]

    assert not missing
    assert not list(ROOT.glob("*/edgekit/__init__.py"))
