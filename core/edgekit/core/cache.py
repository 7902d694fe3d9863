"""Where edgekit keeps what it can make again: the user's cache folder, or EDGEKIT_CACHE_DIR."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT = "EDGEKIT_CACHE_DIR"
LIMIT_BYTES = 2 << 30
"""Most that the exported files there may take."""


def cache_folder() -> Path:
    """Return the folder; it need not exist."""
    import platformdirs

    named = os.environ.get(ENVIRONMENT)
    return Path(named) if named else platformdirs.user_cache_path("edgekit")
