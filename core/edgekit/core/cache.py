"""Where edgekit keeps what it can make again: the user's cache folder, or EDGEKIT_CACHE_DIR."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from edgekit.core.errors import EdgekitError
from edgekit.core.store import locked

ENVIRONMENT = "EDGEKIT_CACHE_DIR"
LIMIT_BYTES = 2 << 30
"""Most that the exported files there may take."""
UNUSED_S = 24 * 3600.0
"""Seconds after which nobody is taken to be reading a folder that another one has replaced."""


def cache_folder() -> Path:
    """Return the folder; it need not exist."""
    import platformdirs

    named = os.environ.get(ENVIRONMENT)
    return Path(named) if named else platformdirs.user_cache_path("edgekit")


def touch(folder: Path) -> None:
    """Note that `folder` is used now, if it is there."""
    with contextlib.suppress(OSError):
        os.utime(folder)


def drop_unused(folders: Iterable[Path], *, unused_s: float = UNUSED_S) -> list[Path]:
    """Remove those of `folders` that were not touched for `unused_s` seconds, and return them.

    One in which a process works, by its lock, stays; so does what cannot be removed. A folder goes
    at once, by a rename, so that nobody who looks for it later finds half of it.
    """
    gone = []
    for folder in folders:
        with contextlib.suppress(OSError, EdgekitError):
            if time.time() - folder.stat().st_mtime < unused_s:
                continue
            leaving = folder.with_name(f".{folder.name}.{os.getpid()}")
            with locked(folder):
                folder.rename(leaving)
            gone.append(folder)
            shutil.rmtree(leaving)
    return gone
