"""``edgekit bench``: how fast a bundle's files are here, beside what they replace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.bench_device import DeviceOptions, bench_on_device
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
    calls: Annotated[
        int | None,
        typer.Option(min=1, help="Calls kept a file.  [default: 50; 100 with --device]"),
    ] = None,
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
        typer.Option(
            help="Measure there instead of in this process: local (the C runner here), adb, "
            "adb:SERIAL, ssh:HOST, web:chromium or ios:UDID. With --estimate: a phone of the "
            "table, repeatable."
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="With --device: only files of this precision.")
    ] = None,
    min_seconds: Annotated[
        float, typer.Option(min=0, help="With --device: time the calls go on at least.")
    ] = 0.0,
    budget: Annotated[
        float | None,
        typer.Option(min=0.1, help="With --device: seconds of calls at most.  [default: 120]"),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="With --device: seconds until a file's run is ended.  [default: "
            "--budget and 180 more]",
        ),
    ] = None,
    cool: Annotated[
        float | None,
        typer.Option(help="With --device: °C to cool down to.  [default: phones 38, else 70]"),
    ] = None,
    cool_wait: Annotated[
        float,
        typer.Option(min=0, help="With --device: seconds to wait for it.", show_default=True),
    ] = 300.0,
    min_battery: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,
            help="With --device: least battery percent, uncharged.",
            show_default=True,
        ),
    ] = 20,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="With --device: MLPerf's rule: at least 1024 calls and 60 s a file, else 6.",
        ),
    ] = False,
    against: Annotated[
        Path | None, typer.Option(help="With --device: an earlier result to compare with.")
    ] = None,
    runner: Annotated[
        str, typer.Option(help="With --device: auto, native or app-process.", show_default=True)
    ] = "auto",
    cc: Annotated[
        str | None, typer.Option(help="With --device: C compiler for the device (Android's NDK).")
    ] = None,
    library: Annotated[
        Path | None, typer.Option(help="With --device: the runtime's shared library for it.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="JSON to write.  [default: bench.json, or bench-DEVICE.json, in the run folder, "
            "if there is one]"
        ),
    ] = None,
) -> None:
    """Measure the latency of a bundle's files, all taking turns; raw samples are kept.

    With --device each file is measured there, compared with its golden vectors in the same run,
    and judged; with --estimate nothing is measured. Both leave bench.json and the manifest alone.

    Example: edgekit bench runs/night/bundle --baseline teacher --calls 30
    Example: edgekit bench runs/night/bundle --device adb --min-seconds 10
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
    if estimate or not device:
        _refuse_without_device(
            {
                "--precision": precision,
                "--min-seconds": min_seconds,
                "--budget": budget,
                "--timeout": timeout,
                "--cool": cool,
                "--strict": strict,
                "--against": against,
                "--runner": runner != "auto",
                "--cc": cc,
                "--library": library,
            }
        )
    if estimate:
        _estimate(
            folder, target, device or [], out, measured=[*(baseline or []), *(at_least or [])]
        )
        return
    if device:
        _refuse_comparisons([*(baseline or []), *(at_least or [])])
        bench_on_device(
            folder,
            _run_folder(folder),
            DeviceOptions(
                device=_one(device),
                target=target,
                precision=precision,
                threads=threads,
                calls=calls,
                warmup=warmup,
                min_seconds=min_seconds,
                budget=budget,
                timeout=timeout,
                cool=cool,
                cool_wait=cool_wait,
                min_battery=min_battery,
                strict=strict,
                against=against,
                runner=runner,
                compiler=cc,
                library=library,
                out=out,
            ),
        )
        return
    calls = calls or 50
    names = list(dict.fromkeys(baseline or []))
    for name in names:
        if name not in BASELINES:
            raise unknown_name("baseline", name, BASELINES)
    bars = _bars(at_least or [], names)
    run_folder = _run_folder(folder)
    file = out or (run_folder and run_folder / "bench.json")
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


def _one(devices: list[str]) -> str:
    if len(devices) > 1:
        raise EdgekitError("--device is given twice", hint="measure one device after the other")
    return devices[0]


def _refuse_without_device(given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if value:
            raise EdgekitError(
                f"{name} needs a --device to measure on", hint="add --device local, or leave it out"
            )


def _refuse_comparisons(words: list[str]) -> None:
    if words:
        raise EdgekitError(
            f"{words[0]!r} is measured in this process, never on a --device",
            hint="leave --device out, or compare two results of the device with --against",
        )


def _run_folder(folder: Path) -> Path | None:
    """Return the folder of the run that the bundle belongs to, None for a bundle on its own."""
    from edgekit.core.store import MANIFEST, read_json

    run = folder.resolve().parent
    if (run / MANIFEST).is_file() and read_json(run / MANIFEST).get("kind") == "student":
        return run
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
