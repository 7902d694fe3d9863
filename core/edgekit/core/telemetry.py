"""Telemetry of optional packages, switched off before they are imported.

OpenVINO and NNCF report every import and conversion through ``openvino-telemetry``, which also
writes a client id into the home folder. Both do without it if it cannot be imported.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast

_REPORTERS = ("openvino_telemetry",)


def silenced() -> None:
    """Make the packages that report home unimportable in this process.

    To be called before openvino or nncf is imported; if one was imported earlier, by code that is
    not edgekit's, its telemetry is that code's business.
    """
    modules = cast(dict[str, ModuleType | None], sys.modules)
    for name in _REPORTERS:
        modules[name] = None  # `import name` raises ImportError, for which both are prepared
