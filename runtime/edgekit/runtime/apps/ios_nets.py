"""The nets that find faces as Core ML packages: parts of the portrait bundles in an iOS app.

They compute in float32, so that an iPhone finds a face at the points where Python finds it. Each
part brings golden vectors that LiteRT computed with the original file: `edgekit verify` compares.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.errors import DependencyMissing
from edgekit.core.face_nets import NETS, PACKAGE, FaceNet, net_file
from edgekit.core.manifest import (
    BundleManifest,
    GoldenEntry,
    ModelEntry,
    PartEntry,
    PortEntry,
    StudentEntry,
    write_bundle,
)
from edgekit.core.store import MANIFEST, file_sha256, size_bytes, value_sha256, write_bytes
from edgekit.core.tensors import Batch
from edgekit.core.versions import edgekit_version
from edgekit.runtime.apps.face_graphs import Graph, Node, face_graph, unknown

PLACE = "faces"
FORM = "face_net"
MINIMUM_IOS = 16
SAMPLES = 2
LICENCES = {"face nets of MediaPipe": "Apache-2.0", PACKAGE: "MIT"}
READERS = (("coremltools", "ios"), ("ai_edge_litert", "faces"))
"""Modules that write and read the files, and the extras that bring them."""


def check_nets() -> None:
    """Raise DependencyMissing, with the command that installs it, for what `write_nets` lacks."""
    for net in NETS:
        net_file(net.name)
    for module, extra in READERS:
        if find_spec(module) is None:
            raise DependencyMissing(module.replace("_", "-"), extra=extra)


def write_nets(bundle: Path) -> tuple[PartEntry, ...]:
    """Write each net as a part of the bundle in `bundle`; return how its manifest lists them.

    Needs what `check_nets` looks for.
    """
    return tuple(write_net(net, bundle, package) for net in NETS)


def write_net(
    net: FaceNet, bundle: Path, made: Callable[[FaceNet, Graph, Path], ModelEntry]
) -> PartEntry:
    """Write one net as a part of a bundle; `made` writes its file below the folder it is given."""
    graph = face_graph(net.name)
    path = f"{PLACE}/{net.name}"
    folder = bundle / path
    model = made(net, graph, folder)
    manifest = BundleManifest(
        recipe_sha256=value_sha256(PACKAGE),
        name=net.name,
        prompt="",
        edgekit=edgekit_version(),
        form=FORM,
        student=StudentEntry(
            sha256=file_sha256(net_file(net.name)),
            recipe_sha256=value_sha256(PACKAGE),
            teacher=PACKAGE,
            parameters=graph.parameters,
            gmac=graph.gmac,
            size_px=net.side_px,
        ),
        models=(model,),
        golden=_golden(net, model, folder),
        licences=LICENCES,
    )
    write_bundle(folder, manifest)
    return PartEntry(name=net.name, path=path, form=FORM, sha256=file_sha256(folder / MANIFEST))


def net_entry(net: FaceNet, graph: Graph, folder: Path, path: str, **facts: Any) -> ModelEntry:
    """Return how a manifest lists the net's file `path` in `folder`."""
    # The mesh net takes a picture from 0 to 1, the others from -1 to 1.
    low = 0.0 if "landmark" in net.name else -1.0
    scale = float(net.side_px)
    picture = _port(net.input, (1, net.side_px, net.side_px, 3), "nhwc", low, 1.0)
    outputs = [_port(graph.names[i], graph.shapes[i], "flat", -scale, scale) for i in graph.outputs]
    return ModelEntry(
        path=path,
        sha256=file_sha256(folder / path),
        bytes=size_bytes(folder / path),
        precision="fp32",
        inputs=(picture,),
        outputs=tuple(outputs),
        parity=None,
        **facts,
    )


def _port(name: str, shape: tuple[int, ...], layout: Any, low: float, high: float) -> PortEntry:
    return PortEntry(name=name, shape=shape, dtype="float32", layout=layout, low=low, high=high)


def _golden(net: FaceNet, model: ModelEntry, folder: Path) -> GoldenEntry:
    """Write what LiteRT says of coarse noise with the original file."""
    random = np.random.default_rng(0)
    cells = random.uniform(-1, 1, (SAMPLES, 3, 8, 8)).astype(np.float32)
    side = net.side_px // 8
    pictures = cells.repeat(side, 2).repeat(side, 3)
    from ai_edge_litert.interpreter import Interpreter

    original = Interpreter(str(net_file(net.name)), num_threads=1)  # it has no signature to call
    original.allocate_tensors()
    port = model.inputs[0]
    arrays: dict[str, list[Batch]] = {net.input: [], **{row.name: [] for row in model.outputs}}
    for picture in pictures:
        share = (picture.transpose(1, 2, 0)[None] + 1) / 2
        given = (share * (port.high - port.low) + port.low).astype(np.float32)
        original.set_tensor(original.get_input_details()[0]["index"], given)
        original.invoke()
        arrays[net.input].append(picture[None])
        for row in original.get_output_details():
            arrays[row["name"]].append(original.get_tensor(row["index"]))
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.concatenate(rows) for name, rows in arrays.items()})  # type: ignore[arg-type]
    path = "golden/vectors.npz"
    write_bytes(folder / path, buffer.getvalue())
    return GoldenEntry(path=path, sha256=file_sha256(folder / path), samples=SAMPLES)


def package(net: FaceNet, graph: Graph, folder: Path) -> ModelEntry:
    """Write the net as a Core ML package, weight for weight."""
    with _quiet():
        import coremltools as ct
        from coremltools.converters.mil.mil import Builder, Function, Program

    target = ct.target.iOS16
    shape = graph.shapes[graph.inputs[0]]
    program = Program()
    with Function({net.input: Builder.placeholder(shape)}, opset_version=target) as function:
        values = _Values(Builder, graph)
        values.start(function.inputs[net.input])
        for node in graph.nodes:
            values.add(node)
        function.set_outputs(values.outputs())
        program.add_function("main", function)
    path = f"ios/{net.name}.fp32.mlpackage"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    with _quiet():
        model = ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=target,
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        )
        model.save(str(folder / path))
    return net_entry(
        net,
        graph,
        folder,
        path,
        target="ios",
        format="mlpackage",
        minimum_os=f"iOS {MINIMUM_IOS}",
        recipe=f"the .tflite file's operators and weights, coremltools, iOS {MINIMUM_IOS}, float32",
        executed=False,
        tools={"coremltools": str(ct.__version__)},
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and remarks on other packages' versions off the screen."""
    logger = logging.getLogger("coremltools")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


class _Values:
    """A graph on its way to Core ML's operators: pictures are NCHW inside, the rest as it was."""

    def __init__(self, builder: Any, graph: Graph) -> None:
        self.mb, self.graph = builder, graph
        self.held: dict[int, Any] = {}

    def start(self, picture: Any) -> None:
        """Take the net's input."""
        self.held[self.graph.inputs[0]] = self.mb.transpose(x=picture, perm=[0, 3, 1, 2])

    def outputs(self) -> list[Any]:
        """Return what the net says, in LiteRT's order and by its names."""
        found = []
        for i in self.graph.outputs:
            order = [0, 2, 3, 1] if len(self.graph.shapes[i]) == 4 else [0, 1, 2]
            named = {"perm": order, "name": self.graph.names[i]}
            found.append(self.mb.transpose(x=self.held[i], **named))
        return found

    def add(self, node: Node) -> None:
        """Put one operator behind those before it."""
        mb, x = self.mb, self.held[node.inputs[0]]
        rest = node.inputs[1:]
        if node.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            made = self._convolved(node, x)
        elif node.kind == "RELU":
            made = mb.relu(x=x)
        elif node.kind == "PRELU":
            made = mb.prelu(x=x, alpha=self.graph.stored[rest[0]].reshape(-1))
        elif node.kind == "ADD":
            made = mb.add(x=x, y=self.held[rest[0]])
        elif node.kind == "PAD":
            made = self._more_channels(node, x)
        elif node.kind == "MAX_POOL_2D":
            sides = [node.told.filterHeight, node.told.filterWidth]
            if any(self.graph.pads(node, sides)):
                raise unknown("MAX_POOL_2D beyond the border")
            steps = [node.told.strideH, node.told.strideW]
            made = mb.max_pool(x=x, kernel_sizes=sides, strides=steps, pad_type="valid")
        elif node.kind == "RESIZE_BILINEAR":
            made = self._enlarged(node, x)
        elif node.kind == "RESHAPE":
            rows = mb.transpose(x=x, perm=[0, 2, 3, 1])
            made = mb.reshape(x=rows, shape=list(self.graph.shapes[node.output]))
        elif node.kind == "CONCATENATION":
            parts = [self.held[i] for i in node.inputs]
            made = mb.concat(values=parts, axis=int(node.told.axis))
        else:
            raise unknown(node.kind)
        self.held[node.output] = made

    def _convolved(self, node: Node, x: Any) -> Any:
        deep = node.kind == "DEPTHWISE_CONV_2D"
        weight = self.graph.stored[node.inputs[1]]
        weight = weight.transpose((3, 0, 1, 2) if deep else (0, 3, 1, 2))
        return self.mb.conv(
            x=x,
            weight=np.ascontiguousarray(weight),
            bias=self.graph.stored[node.inputs[2]],
            strides=[node.told.strideH, node.told.strideW],
            pad_type="custom",
            pad=self.graph.pads(node, weight.shape[2:]),
            groups=self.graph.shapes[node.inputs[0]][3] if deep else 1,
        )

    def _more_channels(self, node: Node, x: Any) -> Any:
        around = self.graph.stored[node.inputs[1]]
        if around[:3].any() or around[3, 0]:
            raise unknown("PAD of something else than channels")
        n, h, w, _ = self.graph.shapes[node.inputs[0]]
        zeros = np.zeros((n, int(around[3, 1]), h, w), np.float32)
        return self.mb.concat(values=[x, zeros], axis=1)

    def _enlarged(self, node: Node, x: Any) -> Any:
        if node.told.alignCorners or not node.told.halfPixelCenters:
            raise unknown("RESIZE_BILINEAR between corners")
        _, height, width, _ = self.graph.shapes[node.inputs[0]]
        _, tall, wide, _ = self.graph.shapes[node.output]
        return self.mb.upsample_bilinear(
            x=x,
            scale_factor_height=tall / height,
            scale_factor_width=wide / width,
            align_corners=False,
        )
