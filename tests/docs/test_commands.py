"""Every ``bash`` block of the README and of docs/ is executed as it stands, in an empty home.

The environment makes the work small (`EDGEKIT_<COMMAND>_<OPTION>` is a feature of the command
line); not one character of a command is changed. ``make`` is asked for its plan instead of
running inside its own test.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests import needs

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if "```bash" in page.read_text(encoding="utf-8")
)
NEEDS = {"faces.md": (needs.KORNIA,), "mesh.md": (needs.MESH,), "targets.md": (needs.TENSORRT,)}
SMALL = {
    "EDGEKIT_DISTILL_STEPS": "6",
    "EDGEKIT_DISTILL_COUNT": "24",
    "EDGEKIT_DISTILL_SIZE": "64",
    "EDGEKIT_BENCH_CALLS": "4",
    "EDGEKIT_BENCH_WARMUP": "1",
    "EDGEKIT_PAIRS_MAKE_COUNT": "12",
    "EDGEKIT_PAIRS_MAKE_SIZE": "64",
    "EDGEKIT_PAIRS_SELECT_COUNT": "8",
    "EDGEKIT_DISTILL_TRIALS": "2",
}


def blocks(page: Path) -> list[str]:
    """Return the commands of a page in order; a Python block becomes a script on stdin."""
    found = re.findall(
        r"^```(bash|python)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S
    )
    return [text if kind == "bash" else f"python - <<'END'\n{text}END" for kind, text in found]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """Where exported files are kept for pages that export the same student."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exported"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    sys.path.insert(0, str(ROOT / "examples"))
    from scenes import scene_photo

    from edgekit.core.images import save_photo

    folder = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(("lake", "coast", "hills")):
        save_photo(scene_photo(name, 192), folder / f"photo{number + 1}.jpg")
    return folder


def test_there_are_pages_with_commands():
    assert ROOT / "README.md" in PAGES


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            id=page.name,
            marks=[pytest.mark.xdist_group(page.stem), *NEEDS.get(page.name, ())],
        )
        for page in PAGES
    ],
)
def test_the_commands_of_a_page_work_as_they_stand(page, photos, exported, tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    (work / "photos").symlink_to(photos)
    (work / "examples").symlink_to(ROOT / "examples")
    lines = [
        "set -euo pipefail",
        f'make() {{ command make --dry-run -C "{ROOT}" "$@" > /dev/null; }}',
        f'python() {{ "{sys.executable}" "$@"; }}',
        f'edgekit() {{ "{sys.executable}" -m edgekit.cli.main "$@"; }}',
        *blocks(page),
    ]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("EDGEKIT_")},
        **SMALL,
        "HOME": str(home),
        "EDGEKIT_CACHE_DIR": str(exported),
        "HF_HUB_OFFLINE": "1",
    }

    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def test_the_command_reference_is_what_the_commands_say():
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'docs')!r}); import generate as g; "
    code += "sys.stdout.write(g.commands_text())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == (ROOT / "docs/commands.md").read_text(encoding="utf-8")


def test_every_link_of_a_page_leads_somewhere():
    broken = []
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")

    assert not broken
