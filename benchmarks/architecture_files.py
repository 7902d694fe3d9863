"""Model files of generators with random weights, and their latency on this machine.

A latency depends on the layers and not on the weights, so no training is needed. The int8 recipe
is the first of each format, whatever a quality gate would say about random weights.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from edgekit.benchmarks.compare import Candidate, measure
from edgekit.benchmarks.statistics import summary
from edgekit.benchmarks.timing import Timing
from edgekit.core.errors import EdgekitError
from edgekit.core.manifest import Format
from edgekit.core.progress import silent
from edgekit.core.seams import Port, Precision, Session
from edgekit.core.store import write_json
from edgekit.distill.architecture.latency import LatencyTable
from edgekit.distill.architecture.space import shape_name
from edgekit.distill.students.cost import count_macs, count_parameters
from edgekit.distill.students.e2gan import E2GANShape, fresh_e2gan, specialized_e2gan
from edgekit.distill.students.gan import fresh_generator, specialized
from edgekit.distill.students.resnet9 import fresh_resnet9
from edgekit.distill.students.shape import Shape, shape_facts
from edgekit.distill.students.slim_resnet9 import EDGES2SHOES, HORSE2ZEBRA, fresh_slim_resnet9
from edgekit.distill.students.text_context import TOKENS
from edgekit.runtime.sessions import open_session

FILES = ("onnx.fp32", "onnx.int8", "tflite.fp32", "tflite.int8")
"""What is timed: ONNX Runtime's and LiteRT's files."""
SUFFIX = {"onnx": ".onnx", "tflite": ".tflite", "openvino": ".openvino", "pte": ".pte"}
CONTEXT = torch.randn(TOKENS, 128, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True, slots=True)
class Network:
    """Something to export and time: a name, what the table says about it, and how it is built."""

    name: str
    facts: Mapping[str, Any]
    build: Callable[[int], nn.Module]
    """Takes the size in pixels and returns the module that ships."""


def generator_of(shape: Shape) -> Network:
    """Return our generator with `shape`, a text folded in."""

    def build(size_px: int) -> nn.Module:
        return specialized(fresh_generator(shape, seed=0), CONTEXT, size_px=size_px)

    return Network(shape_name(shape), {"shape": shape_facts(shape)}, build)


def _e2gan(*, transposed: bool) -> nn.Module:
    return specialized_e2gan(fresh_e2gan(E2GANShape(transposed=transposed), seed=0), CONTEXT)


REFERENCES = (
    Network("pix2pix ResNet-9", {"paper_gmac": 56.8}, lambda _: fresh_resnet9(seed=0)),
    Network("E2GAN, paper size", {"paper_gmac": 23.58}, lambda _: _e2gan(transposed=True)),
    Network("E2GAN, resize and convolve", {}, lambda _: _e2gan(transposed=False)),
    Network(
        "GAN Compression, edges2shoes",
        {"paper_gmac": 4.99},
        lambda _: fresh_slim_resnet9(EDGES2SHOES, seed=0),
    ),
    Network(
        "GAN Compression, horse2zebra",
        {"paper_gmac": 2.55},
        lambda _: fresh_slim_resnet9(HORSE2ZEBRA, seed=0),
    ),
)
"""Published generators, at the sizes that their authors publish."""


def facts_of(network: Network, size_px: int) -> dict[str, Any]:
    """Return cost and size of a network, counted without computing anything."""
    module, image = network.build(size_px).eval(), torch.zeros(1, 3, size_px, size_px)
    parameters = count_parameters(module)
    module, image = module.to("meta"), image.to("meta")
    return {
        "name": network.name,
        **network.facts,
        "gmac": round(count_macs(module, image) / 1e9, 4),
        "gmac_by_output": round(count_macs(module, image, spread_by_output=True) / 1e9, 4),
        "parameters": parameters,
    }


def file_of(folder: Path, network: Network, size_px: int, kind: str) -> Path:
    """Return where the file of `kind` (one of `FILES`) of a network lies below `folder`."""
    form, precision = kind.split(".")
    plain = "".join(letter if letter.isalnum() else "-" for letter in network.name)
    return folder / f"{size_px}px" / f"{plain}.{precision}{SUFFIX[form]}"


def _made(folder: Path, network: Network, size_px: int, form: str, wanted: str) -> Path:
    return file_of(folder, network, size_px, f"{form}.{wanted}")


def make_files(
    folder: Path, network: Network, size_px: int, kinds: Sequence[str], *, photos: np.ndarray
) -> dict[str, str]:
    """Export a network and return kind -> what went wrong, for the kinds that failed.

    `photos` (n, 3, size, size) in [-1, 1] calibrate static int8. Files that are there stay.
    """
    from edgekit.export.graph import plain_graph
    from edgekit.export.program import Program
    from edgekit.export.targets import Sources, converter_of

    failed: dict[str, str] = {}
    paths = {kind: file_of(folder, network, size_px, kind) for kind in kinds}
    if all(path.exists() for path in paths.values()):
        return failed
    module = network.build(size_px).float().eval().requires_grad_(False)
    with torch.no_grad():
        exported = torch.export.export(module, (torch.zeros(1, 3, size_px, size_px),))
    shape = (1, 3, size_px, size_px)
    program = Program(plain_graph(exported), (Port("image", shape),), (Port("image_out", shape),))
    for kind, path in paths.items():
        if path.exists():
            continue
        form, precision = cast(tuple[Format, Precision], tuple(kind.split(".")))
        converter = converter_of(form)
        sources = Sources(
            partial(_made, folder, network, size_px, form),
            lambda: [{"image": photo[None]} for photo in photos],
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name("part-" + path.name)
        try:
            recipe = converter.recipes(precision)[0]
            converter.convert(program, part, precision=precision, recipe=recipe, sources=sources)
            part.replace(path)
        except Exception as error:  # a converter may raise anything; the table says what
            failed[kind] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return failed


def make_files_apart(
    folder: Path, names: Mapping[str, Any], size_px: int, kinds: Sequence[str] = FILES
) -> dict[str, Any]:
    """Run `make_files` for `kinds` in one process a format, which then gives its memory back.

    `names` is what `networks_of` understands. Returns network -> kind -> what went wrong.
    """
    folder.mkdir(parents=True, exist_ok=True)
    problems: dict[str, Any] = {}
    for form in dict.fromkeys(kind.split(".")[0] for kind in kinds):
        orders, answer = folder / f"{form}-{size_px}.job.json", folder / f"{form}-{size_px}.json"
        write_json(orders, {"names": names, "size_px": size_px, "form": form, "kinds": list(kinds)})
        answer.unlink(missing_ok=True)
        quiet = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
        with (folder / f"{form}-{size_px}.log").open("wb") as log:
            subprocess.run(
                [sys.executable, __file__, str(folder), str(orders), str(answer)],
                env={**os.environ, **quiet},
                stdout=log,
                stderr=subprocess.STDOUT,
                check=True,
            )
        for name, failed in json.loads(answer.read_text()).items():
            problems.setdefault(name, {}).update(failed)
    return problems


def networks_of(names: Mapping[str, Any]) -> list[Network]:
    """Return the networks that a job names: {"shapes": [facts], "references": True or names}."""
    ours = [generator_of(Shape(**facts)) for facts in names.get("shapes", ())]
    wanted = names.get("references", ())
    others = [row for row in REFERENCES if wanted is True or (wanted and row.name in wanted)]
    return [*ours, *others]


def calibration_photos(size_px: int, count: int = 8) -> np.ndarray:
    """Return crops of scikit-image's photos as (count, 3, size, size) in [-1, 1]."""
    import skimage.data

    draw = np.random.default_rng(0)
    photos = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.rocket()]
    crops = []
    for number in range(count):
        photo = photos[number % len(photos)]
        top, left = (int(draw.integers(side - size_px + 1)) for side in photo.shape[:2])
        crops.append(photo[top : top + size_px, left : left + size_px])
    pixels = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32)
    scaled: np.ndarray = pixels / np.float32(127.5) - np.float32(1)
    return scaled


def timed_files(
    folder: Path,
    networks: Sequence[Network],
    size_px: int,
    *,
    threads: int,
    calls: int,
    warmup: int,
    slow: Mapping[str, int] | None = None,
    report: Callable[..., None],
    kinds: Sequence[str] = FILES,
) -> dict[str, dict[str, Any]]:
    """Time every file of `networks` that exists, all in turns; network -> kind -> samples.

    `slow` gives networks fewer calls.
    """
    picture = calibration_photos(size_px, 1)
    places, candidates = [], []
    for network in networks:
        for kind in kinds:
            path = file_of(folder, network, size_px, kind)
            if not path.is_file():
                continue
            places.append((network.name, kind, path))
            candidates.append(
                Candidate(
                    f"{network.name} {kind}",
                    partial(_opened, path, threads, picture),
                    calls=(slow or {}).get(network.name),
                )
            )
    timings = measure(candidates, calls=calls, warmup=warmup, report=report)
    found: dict[str, dict[str, Any]] = {}
    for (name, kind, path), timing in zip(places, timings, strict=True):
        found.setdefault(name, {})[kind] = _row(timing, path, threads)
    return found


class Measuring:
    """A table that exports and times what it lacks, beside the default, and remembers it.

    What is predicted to miss `limit_ms` by a third is not worth a measurement. Milliseconds are on
    the table's scale: what the default takes now stands for what it took then.
    """

    def __init__(self, table: LatencyTable, kind: str, work: Path, limit_ms: float) -> None:
        """Go on with what `work` already holds; `kind` is one of `FILES`."""
        self.table, self.kind, self.work, self.limit_ms = table, kind, work, limit_ms
        self.place = work / f"measured-{kind}.json"
        kept = self.place.is_file()
        self.found: dict[str, float] = json.loads(self.place.read_text()) if kept else {}

    def lookup(self, shape: Shape) -> tuple[float, bool]:
        """Return the milliseconds of `shape`, and whether they were measured."""
        ms, measured = self.table.lookup(shape)
        if measured or ms > self.limit_ms * 4 / 3:
            return ms, measured
        name = shape_name(shape)
        if name not in self.found:
            self.found[name] = self._measured(generator_of(shape), generator_of(Shape()))
            write_json(self.place, self.found)
        return self.found[name], True

    def _measured(self, network: Network, default: Network) -> float:
        size_px = self.table.size_px
        kinds = list(dict.fromkeys((f"{self.kind.split('.')[0]}.fp32", self.kind)))
        photos = calibration_photos(size_px)
        for one in (network, default):
            failed = make_files(self.work, one, size_px, kinds, photos=photos)
            if failed:
                raise EdgekitError(
                    f"{one.name} cannot be written: {next(iter(failed.values()))}",
                    hint="search without --measure",
                )
        timed = timed_files(
            self.work,
            (network, default),
            size_px,
            threads=1,
            calls=20,
            warmup=3,
            report=silent,
            kinds=(self.kind,),
        )
        mine, usual = (timed[one.name][self.kind]["cpu_p50_ms"] for one in (network, default))
        factor: float = mine / usual
        return round(self.table.measured[default.name] * factor, 4)


def _opened(path: Path, threads: int, picture: np.ndarray) -> Callable[[], object]:
    return _caller(open_session(path, threads=threads), picture)


def _caller(session: Session, picture: np.ndarray) -> Callable[[], object]:
    port = session.inputs[0]
    # LiteRT's files take pictures in NHWC, as Android's bitmaps are.
    image = picture if port.shape[1] == 3 else np.ascontiguousarray(picture.transpose(0, 2, 3, 1))
    return lambda: session.run({port.name: image})


def _row(timing: Timing, path: Path, threads: int) -> dict[str, Any]:
    found = asdict(summary(timing, threads=threads))
    kept = ("calls", "p50_ms", "p90_ms", "min_ms", "cpu_p50_ms", "spread", "warnings")
    return {
        "bytes": path.stat().st_size,
        **{name: found[name] for name in kept},
        "wall_ms": [round(value, 4) for value in timing.wall_ms],
        "cpu_ms": [round(value, 4) for value in timing.cpu_ms],
    }


def _work(folder: Path, orders: Path, answer: Path) -> None:
    job = json.loads(orders.read_text())
    kinds = [kind for kind in job["kinds"] if kind.split(".")[0] == job["form"]]
    photos = calibration_photos(job["size_px"])
    problems = {}
    for network in networks_of(job["names"]):
        failed = make_files(folder, network, job["size_px"], kinds, photos=photos)
        if failed:
            problems[network.name] = failed
        print(network.name, failed or "", flush=True)
    write_json(answer, problems)


if __name__ == "__main__":
    _work(*(Path(word) for word in sys.argv[1:4]))
