"""A step of training as a CUDA graph: run a few times, then recorded once and replayed.

The networks are so small that the processor could not issue their kernels as fast as they run.
What changes from step to step has to be copied into tensors that the step reads.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

import torch

Answer = TypeVar("Answer")
EAGER_STEPS = 3
"""Steps before a graph is recorded: libraries choose kernels and optimizers make their state."""


def bfloat16(device: torch.device, *, enabled: bool) -> torch.autocast:
    """Return the context in which products of a step run in bfloat16, if `enabled`."""
    graphed = device.type == "cuda"  # a cached cast would belong to the graph in which it was made
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=not graphed)


class Graphs(Generic[Answer]):
    """Runs the steps of one training; on a GPU each form of the step becomes a CUDA graph.

    A step that cannot be recorded is run eagerly from then on, and stderr says so.
    """

    def __init__(
        self, device: torch.device, forget: Callable[[], None], *, wanted: bool = True
    ) -> None:
        """`forget` drops the gradients, since a graph holds its own; without `wanted`, no graph."""
        self.device, self._forget = device, forget
        self.recording = wanted and device.type == "cuda"
        self.preparing_s = 0.0
        """Seconds spent on steps before a recording, and on recordings, so far."""
        self._left = EAGER_STEPS
        self._recorded: dict[Hashable, tuple[torch.cuda.CUDAGraph, Answer]] = {}

    def __call__(self, step: Callable[[], Answer], form: Hashable = None) -> Answer:
        """Do `step` and return its answer; a replay writes into the tensors of the recorded one."""
        if not self.recording:
            return step()
        if form not in self._recorded:
            with self._preparing():
                if self._left:
                    self._left -= 1
                    return self._eager(step)
                try:
                    self._recorded[form] = self._record(step)
                except RuntimeError as error:
                    self.recording = False
                    print(f"no CUDA graph, steps run one by one: {error}", file=sys.stderr)
                    return step()
            self._left = EAGER_STEPS
        graph, answer = self._recorded[form]
        graph.replay()
        return answer

    @contextlib.contextmanager
    def _preparing(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.preparing_s += time.monotonic() - began

    def _eager(self, step: Callable[[], Answer]) -> Answer:
        # What is recorded later must not have run on the default stream before.
        side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            answer = step()
        torch.cuda.current_stream(self.device).wait_stream(side)
        return answer

    def _record(self, step: Callable[[], Answer]) -> tuple[torch.cuda.CUDAGraph, Answer]:
        self._forget()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answer = step()
        return graph, answer
