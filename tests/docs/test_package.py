"""The sdist builds the wheel; installed alone, the wheel runs and finds its assets."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    subprocess.run([*build, "-t", "sdist"], cwd=ROOT, check=True, capture_output=True)
    (sdist,) = out.glob("*.tar.gz")
    subprocess.run(["tar", "xf", str(sdist), "-C", str(out)], check=True)
    unpacked = out / sdist.name.removesuffix(".tar.gz")
    subprocess.run([*build, "-t", "wheel"], cwd=unpacked, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def tracked(*folders: str) -> set[str]:
    """Return files below source roots as the wheel names them."""
    names = set()
    for folder in folders:
        root = ROOT / folder
        names |= {
            file.relative_to(root).as_posix()
            for file in (root / "edgekit").rglob("*")
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc"
        }
    return names


def test_the_wheel_built_from_the_sdist_holds_every_file_of_every_part(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())

    wanted = tracked("core", "distill", "export", "runtime", "benchmarks", "assets")
    assert wanted - inside == set()
    assert not [name for name in inside if name.startswith("tests/")]


def test_the_installed_wheel_runs_without_the_source_tree(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        "import edgekit.cli.main as m, edgekit.core.assets as a, sys;"
        "import edgekit.runtime.apps.web as w, edgekit.runtime.apps.ios as i;"
        "assert m.__file__.startswith(sys.argv[1]), m.__file__;"
        "print(a.asset_folder('teacher'));"
        "assert str(w.sources()).startswith(sys.argv[1]), w.sources();"
        "assert str(i.sources()).startswith(sys.argv[1]), i.sources();"
        "assert all((i.sources() / n).exists() for n in (*i.SOURCES, 'Bundles/README.md'));"
        "import edgekit.runtime.apps.android_assets as n, edgekit.runtime.apps.android_tools as t;"
        "assert str(t.sources()).startswith(sys.argv[1]), t.sources();"
        "assert all((t.sources() / name).exists() for name in n.PROJECT);"
        "sys.exit(m.run(['--help']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(site)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(site))
