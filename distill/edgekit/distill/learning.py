"""One training loop for many tasks: steps on a clock, saved on a timer, resumed after any end.

Restorers, identity codes, generators of meshes and teachers of views are trained by it; a concept,
which is scored while it learns, has a loop of its own (`fit_gan`). A stage is a `Task`: it says
what a step's batch is, a function of the step's number alone, and what one step does. On a GPU the
step is recorded as a CUDA graph (`graphs`); the batch is made outside of it.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from edgekit.core.store import write_bytes
from edgekit.distill.graphs import Graphs
from edgekit.distill.journal import Clock, Journal, averaged, learning_rate

Terms: TypeAlias = dict[str, Tensor]
Batch: TypeAlias = dict[str, Tensor]


class Learner:
    """Adam on some networks' weights, gradients clipped, with a running average of the weights."""

    def __init__(
        self,
        module: nn.Module,
        lr: float,
        *,
        clip: float = 1.0,
        beta: float = 0.9,
        slower: Mapping[str, float] = MappingProxyType({}),
    ):
        """Train what requires gradients in `module`, on its device.

        `slower` names parts of it (``encoder``) and the share of every rate that they get.
        """
        self.module, self.lr, self.clip = module, lr, clip
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        self.trained = [p for _, p in named]
        device = self.trained[0].device
        graphed = device.type == "cuda"
        more: dict[str, Any] = {"fused": True, "capturable": True} if graphed else {}
        by_share: dict[float, list[nn.Parameter]] = {}
        for name, parameter in named:
            by_share.setdefault(slower.get(name.split(".")[0], 1.0), []).append(parameter)
        groups: list[dict[str, Any]] = [
            {
                "params": some,
                "share": share,
                "lr": torch.tensor(lr, device=device) if graphed else lr,
            }
            for share, some in by_share.items()
        ]
        self.optimizer = torch.optim.AdamW(groups, lr, (beta, 0.99), weight_decay=1e-3, **more)
        self.average = [value.detach().clone() for value in self._averaged()]

    def use_rate(self, rate: float) -> None:
        """Set the learning rate of the next step."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * group.get("share", 1.0))
            else:
                group["lr"] = rate * group.get("share", 1.0)

    def step(self, loss: Tensor) -> None:
        """Move the weights against the gradient of `loss`."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained, self.clip)
        self.optimizer.step()

    def follow(self, step: int) -> None:
        """Move the average towards the weights."""
        averaged(self.average, [value.detach() for value in self._averaged()], step)

    @contextlib.contextmanager
    def averages(self) -> Iterator[None]:
        """Put the average into the network for the length of a with block."""
        mine = [value.detach().clone() for value in self._averaged()]
        self._use(self.average)
        try:
            yield
        finally:
            self._use(mine)

    def settle(self) -> None:
        """Put the average into the network for good."""
        self._use(self.average)

    def state(self) -> dict[str, Any]:
        """Return what a continued run needs."""
        return {
            "weights": [value.detach() for value in self._averaged()],
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "buffers": self._buffers(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self._use(state["weights"])
        with torch.no_grad():
            for mine, value in zip(self.average, state["average"], strict=True):
                mine.copy_(value)
            for mine, value in zip(self._buffers(), state["buffers"], strict=True):
                mine.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])

    def _buffers(self) -> list[Tensor]:
        """Return what else a step changes, such as the vectors of a spectral norm."""
        return [value for value in self.module.buffers() if value.is_floating_point()]

    def _averaged(self) -> list[Tensor]:
        statistics = [
            b for n, b in self.module.named_buffers() if n.endswith(("running_mean", "running_var"))
        ]
        return [*self.trained, *statistics]

    @torch.no_grad()
    def _use(self, values: list[Tensor]) -> None:
        for mine, value in zip(self._averaged(), values, strict=True):
            mine.copy_(value)


class Task(Protocol):
    """A stage of training."""

    learners: dict[str, Learner]
    """The first follows the clock's rate schedule with its own peak, and so do the others."""

    def batch(self, step: int) -> Batch:
        """Return the tensors of one step; shapes never change."""
        ...

    def advance(self, batch: Batch, phase: Hashable) -> Terms:
        """Do one step and return its terms; nothing in it may depend on values on the host."""
        ...

    def phase(self, share: float) -> Hashable:
        """Return which form of the step is due when `share` of the budget is used."""
        ...


class Recorded:
    """Calls a step; on a GPU replays it as one CUDA graph after a few eager calls."""

    def __init__(self, task: Task, device: torch.device, *, graphs: bool = True) -> None:
        """`graphs` False runs every step eagerly, anywhere."""
        self.task = task
        self.graphs: Graphs[Terms] = Graphs(device, self._forget, wanted=graphs)
        if self.graphs.recording:
            # Its plans are made on the host while a step runs, which a graph cannot record.
            torch.backends.cuda.enable_cudnn_sdp(False)
        self.inputs: Batch = {}

    def __call__(self, batch: Batch, phase: Hashable) -> Terms:
        """Do one step on `batch`."""
        if not self.graphs.recording:
            return self.task.advance(batch, phase)
        if not self.inputs:
            self.inputs = {name: value.clone() for name, value in batch.items()}
        else:
            for name, value in batch.items():
                self.inputs[name].copy_(value)
        return self.graphs(lambda: self.task.advance(self.inputs, phase), phase)

    def _forget(self) -> None:
        for learner in self.task.learners.values():
            learner.optimizer.zero_grad(set_to_none=True)


class Ahead:
    """Makes batches; on a GPU the next one in a thread, on a stream of its own, during a step.

    A batch asks the device for values now and then (kornia checks JPEG's quality): on the stream of
    the steps each such question would wait until a whole step is done.
    """

    def __init__(self, task: Task, device: torch.device) -> None:
        """Start nothing yet."""
        self.task, self.device = task, device
        self.pool: ThreadPoolExecutor | None = None
        if device.type == "cuda":
            self.pool = ThreadPoolExecutor(1)
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self.stream.wait_stream(torch.cuda.current_stream(device))
        self.coming: dict[int, Future[tuple[Batch, torch.cuda.Event]]] = {}
        self.steps: deque[torch.cuda.Event] = deque()

    def begin(self, step: int) -> None:
        """Let the batch of `step` be made while the step before it runs."""
        if self.pool is None:
            return
        self.coming[step] = self.pool.submit(self._made, step)
        # No more than two steps wait on the device, so that a clock sees the time that they take.
        self.steps.append(_event())
        self.steps[-1].record(torch.cuda.current_stream(self.device))
        if len(self.steps) > 2:
            self.steps.popleft().synchronize()

    def batch(self, step: int) -> Batch:
        """Return the batch of `step`, ready for the current stream."""
        if self.pool is None:
            return self.task.batch(step)
        coming = self.coming.pop(step, None) or self.pool.submit(self._made, step)
        batch, made = coming.result()
        now = torch.cuda.current_stream(self.device)
        now.wait_event(made)
        for value in batch.values():
            value.record_stream(now)
        return batch

    def close(self) -> None:
        """Wait for what is being made."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def _made(self, step: int) -> tuple[Batch, torch.cuda.Event]:
        with torch.cuda.device(self.device), torch.cuda.stream(self.stream):
            batch, made = self.task.batch(step), _event()
            made.record(torch.cuda.current_stream(self.device))
        return batch, made


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]


def learn(
    task: Task,
    clock: Clock,
    *,
    stage: str,
    folder: Path,
    fingerprint: str,
    device: torch.device,
    save_every: float = 30.0,
    log_every: float = 20.0,
    warmup: int = 100,
    graphs: bool = True,
    saved: Callable[[], None] | None = None,
) -> bool:
    """Train until the budget of `clock` is used up, and return True; False if the run must end.

    What a GPU spends on recording the step is not counted, so that short runs can be compared.
    ``folder/STAGE.pt`` holds the state, written at once or not at all; one with the same
    `fingerprint` is continued. `saved` is called after each time that steps were saved, say for a
    preview. At the end the averaged weights are in the networks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, journal = folder / f"{stage}.pt", Journal(folder)
    if _resumed(path, task, clock, fingerprint, device):
        journal.write(stage, {"step": clock.step, "resumed_at_s": round(clock.spent, 1)})
    record, ahead = Recorded(task, device, graphs=graphs), Ahead(task, device)
    kept = logged = clock.spent
    logged_step = begun = clock.step
    while not clock.over:
        share = clock.share
        rate = 0.0
        for learner in task.learners.values():
            rate = learning_rate(share, clock.step, peak=learner.lr, warmup=warmup)
            learner.use_rate(rate)
        before = record.graphs.preparing_s
        terms = record(ahead.batch(clock.step), task.phase(share))
        clock.forgive(record.graphs.preparing_s - before)
        ahead.begin(clock.step + 1)
        for learner in task.learners.values():
            learner.follow(clock.step)
        clock.step += 1
        if clock.spent - logged >= log_every or clock.step == 1 or clock.over:
            values = {name: round(float(value), 5) for name, value in terms.items()}
            speed = (clock.step - logged_step) / max(1e-6, clock.spent - logged)
            logged, logged_step = clock.spent, clock.step
            facts = {"step": clock.step, "seconds": round(clock.spent, 1), "rate": rate}
            journal.write(stage, {**facts, "steps_per_s": round(speed, 3), **values})
        if clock.spent - kept >= save_every:
            kept = clock.spent
            _save(path, task, clock, fingerprint)
            if saved is not None:
                saved()
    _save(path, task, clock, fingerprint)
    if saved is not None and clock.step > begun:
        saved()
    if clock.share < 1:
        return False
    for learner in task.learners.values():
        learner.settle()
    return True


def _save(path: Path, task: Task, clock: Clock, fingerprint: str) -> None:
    buffer = io.BytesIO()
    learners = {name: learner.state() for name, learner in task.learners.items()}
    facts = {"fingerprint": fingerprint, "step": clock.step, "spent": clock.spent}
    torch.save({**facts, "learners": learners}, buffer)
    write_bytes(path, buffer.getvalue())


def _resumed(path: Path, task: Task, clock: Clock, fingerprint: str, device: torch.device) -> bool:
    if not path.is_file():
        return False
    state = torch.load(path, map_location=device, weights_only=True)
    if state["fingerprint"] != fingerprint:
        return False
    for name, learner in task.learners.items():
        learner.restore(state["learners"][name])
    clock.step, clock.spent_before = state["step"], state["spent"]
    clock.started = time.monotonic()
    return True
