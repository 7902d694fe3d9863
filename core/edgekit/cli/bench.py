"""``edgekit bench``: how fast a bundle's files are here, beside what they replace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import ConsoleReport, note, planned, show
from edgekit.core.errors import EdgekitError, unknown_name

app = typer.Typer(rich_markup_mode=None, add_completion=False)

BASELINES = ("teacher", "pix2pix", "sd15", "pytorch")


@app.command()
def bench(
    bundle: Annotated[Path, typer.Argument(help="Folder written by `edgekit export`.")],
    target: Annotated[
        str | None, typer.Option(help="Only the files for onnx, android or ios.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.", show_default=True)] = 1,
    calls: Annotated[int, typer.Option(min=1, help="Calls kept a file.", show_default=True)] = 50,
    warmup: Annotated[int, typer.Option(min=0, help="Calls before.", show_default=True)] = 5,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="Also measure: teacher (at its default sampling), pix2pix (its ResNet-9 "
            "generator), sd15 (InstructPix2Pix of Stable Diffusion 1.5's size, random weights, "
            "20 steps; 5 GB and minutes), pytorch (the student before export). Repeatable."
        ),
    ] = None,
    teacher: Annotated[
        str, typer.Option(help="The teacher of --baseline teacher.", show_default=True)
    ] = "bundled",
    at_least: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BASELINE=RATIO",
            help="End with 6 unless the fastest file is so many times as fast. Repeatable.",
        ),
    ] = None,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Measure nothing: estimate the latency on phones with a Qualcomm NPU, with the "
            "error of such estimates.",
        ),
    ] = False,
    device: Annotated[
        list[str] | None,
        typer.Option(help="With --estimate: only this device. Repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="JSON to write.  [default: bench.json in the run folder, if there is one]"
        ),
    ] = None,
) -> None:
    """Measure the latency of a bundle's files, all taking turns; raw samples are kept.

    With --estimate nothing is measured and bench.json and the manifest stay as they are.

    Example: edgekit bench runs/night/bundle --baseline teacher --calls 30
    """
    from edgekit.benchmarks.bench import (
        bench_bundle,
        check_speedups,
        latency_entries,
        shown,
        timeable,
    )
    from edgekit.core.manifest import read_bundle, write_bundle
    from edgekit.core.store import prepared_folder, write_json
    from edgekit.runtime.bundle import bundle_folder

    folder = bundle_folder(bundle)
    if device and not estimate:
        raise EdgekitError("--device needs --estimate", hint="add --estimate, or leave it out")
    if estimate:
        _estimate(
            folder, target, device or [], out, measured=[*(baseline or []), *(at_least or [])]
        )
        return
    names = list(dict.fromkeys(baseline or []))
    for name in names:
        if name not in BASELINES:
            raise unknown_name("baseline", name, BASELINES)
    bars = _bars(at_least or [], names)
    file = out or _run_file(folder)
    manifest = read_bundle(folder)
    entries, skipped = timeable(manifest, target)
    if planned(
        {
            "command": "bench",
            "files": [entry.path for entry in entries],
            "skipped": {row.path: row.reason for row in skipped},
            "baselines": names,
            "threads": threads,
            "calls": calls,
            "warmup": warmup,
            "out": file,
        }
    ):
        return
    if file is not None:
        prepared_folder(file.parent)
    others = []
    if names:
        from edgekit.cli.baselines import baseline_candidates

        others = baseline_candidates(folder, names, threads=threads, teacher=teacher)
    result = bench_bundle(
        folder,
        target=target,
        threads=threads,
        calls=calls,
        warmup=warmup,
        baselines=others,
        report=ConsoleReport(),
    )
    if file is not None:
        write_json(file, result)
        note(f"raw samples: {file}")
    if out is None and file is not None:  # the bundle of a run: its own numbers travel with it
        told = manifest.model_copy(update={"latency": latency_entries(result)})
        write_bundle(folder, told)
    show(result, shown(result))
    for sentence in check_speedups(result, bars):
        note(sentence)


def _estimate(
    folder: Path, target: str | None, wanted: list[str], out: Path | None, *, measured: list[str]
) -> None:
    from edgekit.benchmarks.estimate import as_json, estimates, shown
    from edgekit.core.manifest import read_bundle
    from edgekit.core.store import prepared_folder, write_json

    if measured:
        raise EdgekitError(
            f"--estimate measures nothing, {measured[0]!r} needs a measurement",
            hint="run `edgekit bench` twice, once with --estimate",
        )
    manifest = read_bundle(folder)
    if target is not None:
        known = sorted({entry.target for entry in manifest.models})
        if target not in known:
            raise unknown_name("target", target, known)
        kept = tuple(entry for entry in manifest.models if entry.target == target)
        manifest = manifest.model_copy(update={"models": kept})
    made, none = estimates(manifest, wanted)
    result = as_json(made, none)
    files = [entry.path for entry in manifest.models]
    if planned({"command": "bench --estimate", "files": files, "out": out}):
        return
    if out is not None:
        prepared_folder(out.parent)
        write_json(out, result)
    show(result, shown(made, none))


def _run_file(folder: Path) -> Path | None:
    from edgekit.core.store import MANIFEST, read_json

    run = folder.resolve().parent
    if (run / MANIFEST).is_file() and read_json(run / MANIFEST).get("kind") == "student":
        return run / "bench.json"
    return None


def _bars(words: list[str], baselines: list[str]) -> dict[str, float]:
    bars = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            bars[name] = float(number)
        except ValueError:
            raise EdgekitError(
                f"--at-least {word!r} is not BASELINE=RATIO", hint="write --at-least teacher=30"
            ) from None
        if name not in baselines:
            raise EdgekitError(
                f"--at-least {name} needs --baseline {name}", hint=f"add --baseline {name}"
            )
    return bars
