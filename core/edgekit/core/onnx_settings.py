"""How every ONNX Runtime session here runs: quiet, threads counted, alike on all processors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime

EXACT_INT8 = "session.x64quantprecision"
"""On an x86 processor without VNNI, products of uint8 and int8 are added up in 16 bits, and what is
larger is cut off. "1" takes kernels that add up in 32 bits; elsewhere it changes nothing."""
_ERRORS_ONLY = 3


def session_settings(threads: int = 1, *, exact: bool = True) -> onnxruntime.SessionOptions:
    """Return settings for `threads` threads, one operator after the other, errors alone logged.

    With `exact`, int8 files give the same numbers on every processor, within rounding; without it
    sums are what ONNX Runtime takes by itself.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.log_severity_level = _ERRORS_ONLY
    settings.add_session_config_entry(EXACT_INT8, "1" if exact else "0")
    return settings
