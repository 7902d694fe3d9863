"""What makes a teacher fast without changing what it draws, beyond rounding.

* memory format: convolutions that run channels-last on CPUs and GPUs;
* graphs: on CUDA the networks of a small teacher wait for Python to issue their kernels; calls that
  repeat with the same shapes are recorded once and replayed;
* batches: on CUDA as many photos at once as the memory surely holds;
* texts: a prompt is encoded once, however many photos are edited.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

Pipeline = Any
"""A diffusers pipeline; diffusers ships no types."""
RECORD_AFTER = 2
"""Calls of one shape that run as usual. Recording costs one more of them, so a graph pays within
the first batch of a sampler of some steps."""
MOST_GRAPHS = 8
"""Shapes recorded for one network: each keeps its own memory."""
SMALL_BYTES = 6 << 30
"""Networks with more weights keep a GPU busy by themselves and are not recorded."""
SHARE = 0.5
"""Share of the memory left by the weights that a batch may fill."""
BYTES_A_PIXEL = 6144
"""Peak memory a pixel and photo in 16 bits, with guidance: an autoencoder's decoder with 256
channels at full resolution, in three copies. Generous, because running out costs the run."""
MOST_AT_ONCE = 64
"""Beyond it a GPU gains nothing."""


def tuned(pipeline: Pipeline) -> Pipeline:
    """Put the convolutions of `pipeline` in the format that is fast on its device, in place.

    On CUDA the calls of a small U-Net and autoencoder are recorded and replayed from then on.
    """
    networks = _networks(pipeline)
    for network in networks:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if pipeline.device.type == "cuda" and weight_bytes(pipeline) < SMALL_BYTES:
        for network in networks:
            network.forward = Replayed(network.forward)
    return pipeline


def _networks(pipeline: Pipeline) -> list[nn.Module]:
    """The parts whose calls repeat with equal shapes; transformers gain nothing from either."""
    if getattr(pipeline, "unet", None) is None:
        return []
    found = [pipeline.unet, pipeline.vae.encoder, pipeline.vae.decoder]
    return [network for network in found if isinstance(network, nn.Module)]


def weight_bytes(pipeline: Pipeline) -> int:
    """Return the memory of all weights of a pipeline."""
    parts = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    return sum(
        value.numel() * value.element_size() for part in parts for value in part.parameters()
    )


def batch_for_memory(total_bytes: int, weights_bytes: int, pixels: int) -> int:
    """Return how many photos of `pixels` are surely edited at once: a power of two, at most 64.

    It depends on the size of the memory and not on what is free now, so that a continued run makes
    the batches of the first one.

    >>> batch_for_memory(140 << 30, 21 << 20, 256 * 256)
    64
    >>> batch_for_memory(16 << 30, 2 << 30, 512 * 512)
    4
    """
    room = SHARE * max(0, total_bytes - weights_bytes)
    count = max(1, int(room / (BYTES_A_PIXEL * pixels)))
    return int(min(MOST_AT_ONCE, 1 << (count.bit_length() - 1)))


@dataclass(slots=True)
class Replayed:
    """A network's forward whose repeated calls are replayed as CUDA graphs.

    Arguments are told apart by the shapes and formats of tensors and the values of everything else.
    A call that cannot be recorded (tensors on the CPU, autocast, an operator that asks for a value)
    runs as it always did.
    """

    forward: Callable[..., Any]
    after: int = RECORD_AFTER
    calls: dict[Any, int] = field(default_factory=dict)
    graphs: dict[Any, Recorded | None] = field(default_factory=dict)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the network returns."""
        leaves, form = pytree.tree_flatten((args, kwargs))
        if torch.is_autocast_enabled("cuda"):  # its casts of weights do not outlive the context
            return self.forward(*args, **kwargs)
        if not all(leaf.is_cuda for leaf in leaves if isinstance(leaf, Tensor)):
            return self.forward(*args, **kwargs)
        key = (form, tuple(_kind(leaf) for leaf in leaves))
        recorded = self.graphs.get(key)
        if recorded is not None:
            return recorded.replay(leaves)
        self.calls[key] = self.calls.get(key, 0) + 1
        if key not in self.graphs and self.calls[key] > self.after:
            if len(self.graphs) < MOST_GRAPHS:
                self.graphs[key] = _recorded(self.forward, leaves, form)
            else:
                self.graphs[key] = None
            if (made := self.graphs[key]) is not None:
                return made.replay(leaves)
        return self.forward(*args, **kwargs)


def _kind(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return (tuple(leaf.shape), leaf.dtype, leaf.stride())
    return repr(leaf)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded call."""

    graph: Any
    inputs: tuple[Tensor, ...]
    outputs: Any

    def replay(self, leaves: list[Any]) -> Any:
        """Run it again on other values."""
        given = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        for place, value in zip(self.inputs, given, strict=True):
            place.copy_(value)
        self.graph.replay()
        # A copy, because the next replay writes over what this one returns.
        return pytree.tree_map_only(Tensor, torch.clone, self.outputs)


def _recorded(forward: Callable[..., Any], leaves: list[Any], form: Any) -> Recorded | None:
    own = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    args, kwargs = pytree.tree_unflatten(own, form)
    try:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            forward(*args, **kwargs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = forward(*args, **kwargs)
    except RuntimeError:  # an operator cannot be recorded, or there is no memory for a graph's own
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return None
    return Recorded(graph, tuple(leaf for leaf in own if isinstance(leaf, Tensor)), outputs)


_TEXTS: MutableMapping[Any, dict[Any, Any]] = WeakKeyDictionary()
MOST_TEXTS = 64


def remembered(pipeline: Pipeline, key: Any, encode: Callable[[], Any]) -> Any:
    """Return what `encode` made of the text `key` the first time; at most 64 texts are kept."""
    texts = _TEXTS.setdefault(pipeline, {})
    if key not in texts:
        if len(texts) >= MOST_TEXTS:
            texts.pop(next(iter(texts)))
        texts[key] = encode()
    return texts[key]
