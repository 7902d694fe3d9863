"""Core AI assets; on Linux in the interpreter that comes with coreai-core.

The interpreter computes what the file says (fp16 included), about a hundred times slower than a
phone: it proves numbers, never speed.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from coreai.authoring import AIModelAsset
from coreai.runtime import NDArray

from edgekit.core.seams import Port
from edgekit.core.store import file_sha256
from edgekit.core.tensors import Batch
from edgekit.runtime.sessions.ports import checked, native_chatter_muted, port_of, unreadable

_ENTRY = "main"
_T = TypeVar("_T")


class _Loop:
    """An event loop on a thread of its own, so that callers may or may not run one themselves."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="coreai")
        self.resources = contextlib.AsyncExitStack()

    def wait(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        return self.thread.submit(lambda: self.loop.run_until_complete(work())).result()

    def close(self) -> None:
        try:
            self.wait(self.resources.aclose)
        except RuntimeError:  # at interpreter exit the thread has ended already
            self.loop.run_until_complete(self.resources.aclose())
        self.thread.shutdown()
        self.loop.close()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class CoreAISession:
    """A Core AI asset that can be called."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    function: Any
    loop: _Loop

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays."""
        arrays = {name: NDArray(value) for name, value in checked(feeds, self.inputs).items()}
        results = self.loop.wait(lambda: _called(self.function, arrays))
        # The arrays of a result share the runtime's buffers, which its next call may use again.
        return {port.name: np.array(results[port.name].numpy()) for port in self.outputs}


async def _called(function: Any, arrays: Mapping[str, NDArray]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = await function(arrays)
    return found


async def _loaded(path: Path, resources: contextlib.AsyncExitStack) -> Any:
    asset = AIModelAsset.load(path)
    model = await resources.enter_async_context(asset.executable())
    names = list(model.function_names)
    return model.load_function(_ENTRY if _ENTRY in names else names[0])


def open_file(path: Path, *, threads: int, provider: str = "default") -> CoreAISession:
    """Load a Core AI asset; its interpreter chooses its own threads, so `threads` has no effect."""
    if broken := _broken(path):
        raise unreadable(path, ValueError(broken))
    loop = _Loop()
    try:
        with native_chatter_muted():
            function = loop.wait(lambda: _loaded(path, loop.resources))
        inputs = _ports(function.desc.input_names, function.desc.input_descriptor, path)
        outputs = _ports(function.desc.output_names, function.desc.output_descriptor, path)
    except (RuntimeError, ValueError, OSError) as error:
        loop.close()
        raise unreadable(path, error) from error
    session = CoreAISession(inputs, outputs, function, loop)
    weakref.finalize(session, loop.close)
    return session


def _broken(path: Path) -> str:
    """Say what is wrong with an asset; "" if nothing is.

    Asked before loading, because the runtime does not raise on a damaged asset: it ends the
    process (coreai-core 1.0.0b3: a segmentation fault, or terminate).
    """
    if not AIModelAsset.is_valid(path):
        return "it is not a Core AI asset"
    told, program = path / "main.hash", path / "main.mlirb"
    if told.is_file() and program.is_file() and told.read_bytes().hex() != file_sha256(program):
        return "its program was changed or cut short (other sha256)"
    return ""


def _ports(names: list[str], describe: Any, path: Path) -> tuple[Port, ...]:
    return tuple(
        port_of(name, list(describe(name).shape), str(describe(name).dtype), path) for name in names
    )
