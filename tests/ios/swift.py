"""A Swift compiler for the tests, and LiteRT behind the app's own classes on Linux."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "ios_demo"
WORK = "/tmp/edgekit-swift"


def linux(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the toolchain in ios_demo."""
    return subprocess.run(
        [DEMO / "toolchain.sh", "run", *words],
        cwd=DEMO,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def engine(shelf: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run LinuxEngine, which sees the folder `shelf`."""
    import ai_edge_litert

    library = Path(next(iter(ai_edge_litert.__path__))) / "libLiteRt.so"
    seen = shelf / library.name
    if not seen.exists():
        shutil.copyfile(library, seen)
    return linux(
        f"{WORK}/linux/debug/edgekit-linux",
        *words,
        EDGEKIT_SEE=str(shelf),
        EDGEKIT_LITERT=str(seen),
        **environment,
    )
