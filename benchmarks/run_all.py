"""Measure again what the documentation quotes: one entry for every file of benchmarks/results.

    python benchmarks/run_all.py --list
    python benchmarks/run_all.py                      # all that needs this machine alone: hours
    python benchmarks/run_all.py --only faults.json zoo.jsonl

A file whose commands need a GPU, or data that this repository does not bring, is skipped with the
commands to type. What a command finds finished below --work is not made again.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SNOW, RESTORER, NIGHT = "{work}/snow-256", "{work}/restorer", "{work}/night-128"
SNOW_RUN = f"edgekit distill --concept 'make it snowy' --size 256 --out {SNOW}"
NIGHT_RUN = f"edgekit distill --concept 'make it night' --size 128 --out {NIGHT}"
RESTORER_RUN = f"benchmarks/optimize_net.py {RESTORER} --minutes 8"
GPU = "a GPU"


@dataclass(frozen=True, slots=True)
class Measurement:
    """How one file of results is made: `{out}` is that file, `{work}` the scratch folder."""

    commands: tuple[str, ...]
    needs: str = ""
    """What this repository does not bring; empty if any machine will do."""


def three_runs(measured: str) -> tuple[str, ...]:
    """Return the runs of three concepts on one base, and the script that measures them."""
    names = {"night": "make it night", "snow": "make it snowy", "fog": "make it foggy"}
    runs = [f"{{work}}/{name}-128" for name in names]
    made = [
        f"edgekit distill --concept '{words}' --size 128 --out {run}"
        for run, words in zip(runs, names.values(), strict=True)
    ]
    return (*made, f"benchmarks/{measured} {' '.join(runs)} --out {{out}}")


def latency() -> tuple[str, ...]:
    """Return the run of a student at 256 px and its latency beside the baselines."""
    baselines = " ".join(f"--baseline {name}" for name in ("teacher", "pix2pix", "sd15"))
    bars = "--at-least teacher=30 --at-least sd15=1000"
    bench = f"edgekit bench {SNOW} --calls 30 {baselines} {bars} --out {{out}}"
    return (SNOW_RUN, f"edgekit export {SNOW}", bench)


PHOTOS = "a corpus of photos with held-out ones"
TRAINING = ("edgekit teacher train --photos PHOTOS --out TEACHER",)
EVALUATION = "python -m edgekit.distill.teachers.evaluate TEACHER PHOTOS {out}"
ADAPTERS = Measurement(three_runs("adapters.py"))
LATENCY = Measurement(latency())
SEARCH = "benchmarks/architecture.py search --photos PHOTOS --budget-ms 5 --out {work}/size"
E2GAN = "benchmarks/e2gan/experiment.py --photos PHOTOS --out {work}/e2gan --jobs D:all:0,1,2"
RANKS = "benchmarks/rank_search.py --work {work}/ranks --budget 6m --out {out}"
RESULTS: Mapping[str, Measurement] = {
    "adapters_base_export_128.json": Measurement(
        ("edgekit export --base --size 128 --out {work}/base",),
        "the manifest of the bundle it writes",
    ),
    "adapters_parity_latency.json": ADAPTERS,
    "adapters_parity_latency_busy_host.json": ADAPTERS,
    "architecture.json": Measurement(
        (SEARCH, "benchmarks/architecture.py front --found {work}/size --out {out}"), GPU
    ),
    "architecture_latency.json": Measurement(
        ("benchmarks/architecture.py table --work {work}/architecture --out {out}",)
    ),
    "architecture_references_h200.json": Measurement((f"{SEARCH} --references",), GPU),
    "architecture_watercolor_cpu.json": Measurement((SEARCH,), PHOTOS),
    "base_quality.json": Measurement(
        ("python -m edgekit.distill.fit_base --photos PHOTOS --out BASE",), GPU
    ),
    "concept_minutes.json": Measurement(
        ("benchmarks/concept_minutes.py --work {work}/minutes --out {out}",)
    ),
    "coreml_recipes.json": Measurement(
        (NIGHT_RUN, f"benchmarks/coreml_recipes.py {NIGHT} --out {{out}}")
    ),
    "device_latency.json": Measurement(
        (
            SNOW_RUN,
            f"edgekit export {SNOW}",
            f"benchmarks/device_latency.py --bundle {SNOW}/bundle --browser --out {{out}}",
        ),
        "Chromium and a C compiler",
    ),
    "e2gan": Measurement((E2GAN, "benchmarks/e2gan/table.py"), GPU),
    "eight_bit_weights.json": Measurement(three_runs("eight_bit_weights.py")),
    "export_all_256.json": Measurement(
        ("benchmarks/export_all.py --work {work}/export_all --out {out}",)
    ),
    "export_night_128.json": Measurement(
        (NIGHT_RUN, f"python -m edgekit.export.survey {NIGHT} {{out}}")
    ),
    "faces": Measurement(
        (
            "benchmarks/faces_detector.py --portraits PORTRAITS --out {out}/detector.json",
            "benchmarks/faces_detector.py --people FACES --out {out}/heads.json",
            "benchmarks/faces_speed.py --faces FACES --out {out}/speed_cpu.json",
            "benchmarks/faces_heads_speed.py --head-model HEADS.npz --out {out}/heads_speed.json",
            "benchmarks/faces_copies.py --faces FACES --out {out}/copies.json",
            "benchmarks/faces/export.py --toy --size 64 --precisions fp32 int8 "
            "--out {out}/restorer_export.json",
            "benchmarks/faces/latency.py --out {out}/restorer_latency.json",
            "benchmarks/faces/shipped.py --real PORTRAITS --rendered HEADS "
            "--out {out}/shipped.json",
            "benchmarks/faces/paste.py --faces PORTRAITS --out {out}/paste.json",
            # shipped_files.json is of the manifest of the first and the answer of the second.
            "edgekit export shipped:restorer --out {work}/restorer_files --target onnx "
            "--target android --target ios",
            "edgekit bench {work}/restorer_files --calls 20 --json",
            "benchmarks/faces/training_speed.py --faces PORTRAITS "
            "--out {out}/training_speed_h200.json",
            # On a GPU; its runs.jsonl is restorer_runs.jsonl, and with arms that end by seconds
            # restorer_runs_by_seconds.jsonl and phone_trial.json (arm untaught).
            "benchmarks/faces/experiment.py --real PORTRAITS --rendered HEADS "
            "--out {work}/restorer",
            "benchmarks/faces/table.py",
        ),
        "aligned portraits, and heads rendered by `edgekit pairs faces`",
    ),
    "fault_peers.json": Measurement(
        (
            "benchmarks/faults.py --keep {work}/kept --folder {work}/faults",
            "PEERS/bin/python benchmarks/fault_peers.py {work}/kept {work}/faults --out {out}",
        ),
        "optimum-onnx in an environment PEERS of its own",
    ),
    "faults.json": Measurement(("benchmarks/faults.py --folder {work}/faults --out {out}",)),
    "gpu_latency.json": Measurement(("benchmarks/gpu_latency.py --out {out}",), GPU),
    "identity": Measurement(
        (
            "benchmarks/identity/files.py --make {work}/identity",
            "edgekit export {work}/identity",
            "benchmarks/identity/files.py --bundle {work}/identity/bundle --out {out}/files.json",
        )
    ),
    "latency_256px_quiet_host.json": LATENCY,
    "latency_256px_shared_host.json": LATENCY,
    "mesh": Measurement(
        (
            "benchmarks/mesh/finish.py --out {out}/finish.json",
            "benchmarks/mesh/oracle.py lr=0.001 lr=0.003 lr=0.001,guidance=3"
            " --out {out}/oracle.jsonl",
            "benchmarks/mesh/files.py --shipped {work}/things",
            "edgekit export {work}/things --target onnx --target android",
            "benchmarks/mesh/files.py --run {work}/things --browser --out {out}/files.json",
            "edgekit export {work}/things --target ios --timeout 7200",  # its records: apple.json
            "edgekit export shipped:things --target onnx --target android --out {work}/shipped",
            "benchmarks/mesh/latency.py {work}/shipped --out {out}/latency.json",
            # The judge and the teacher of the committed scores were trained on a GPU.
            "edgekit teacher train --kind judge --out {work}/judge",
            "benchmarks/mesh/shipped.py --judge {work}/judge --sheets docs/images "
            "--out {out}/shipped.json",
            "benchmarks/mesh/shipped.py --judge {work}/judge --run {work}/shipped --target android "
            "--precision int8 --out {out}/shipped_int8.json",
            "edgekit teacher train --kind views --seconds 400 --out {work}/views",
            "benchmarks/views.py {work}/views {work}/judge --views 2 --guidance 1 "
            "--log {work}/views.work/log.jsonl --out {out}/teacher.json",
            # On a GPU; logs.jsonl is the logs of its work folders, each line with its run.
            "benchmarks/mesh/experiment.py --teacher {work}/views --judge {work}/judge "
            "--out {work}/arms --arm-s 62 --prompt-s 3 --seconds 3600",
            "benchmarks/mesh/table.py",
        )
    ),
    "onnx_int8_sums.json": Measurement(
        (
            "edgekit export shipped:restorer --target onnx --out {work}/restorer_files",
            "edgekit export shipped:things --target onnx --out {work}/things_files",
            "edgekit export --base --target onnx --out {work}/base_files",
            "benchmarks/onnx_int8_sums.py shipped:restorer={work}/restorer_files "
            "shipped:things={work}/things_files {work}/base_files={work}/base_files/bundle "
            "--out {out}",
        )
    ),
    "onnx_stored.json": Measurement(
        (
            "edgekit export --base --target onnx --out {work}/onnx_stored",
            "benchmarks/onnx_stored.py shipped:things=ends-2 shipped:restorer=ends-1 "
            "{work}/onnx_stored=ends-1 --out {out}",
        )
    ),
    "optimize_concept_gan.json": Measurement(
        (SNOW_RUN, f"benchmarks/optimize_peers.py --student {SNOW} --out {{out}}")
    ),
    "optimize_peers.json": Measurement(
        (RESTORER_RUN, f"benchmarks/optimize_peers.py --student {RESTORER} --out {{out}}")
    ),
    "optimize_qat.json": Measurement(
        (NIGHT_RUN, RESTORER_RUN, f"benchmarks/optimize_qat.py {NIGHT} {RESTORER} --out {{out}}")
    ),
    "parity_bars.json": Measurement(
        (NIGHT_RUN, RESTORER_RUN, f"benchmarks/parity_bars.py {NIGHT} {RESTORER} --out {{out}}")
    ),
    "phone_latency.json": Measurement(
        ("benchmarks/phone_latency_fit.py --table TABLE",), "a table of published latencies"
    ),
    "placement_real.json": Measurement(
        (
            NIGHT_RUN,
            f"edgekit export {NIGHT} --target android --target executorch",
            f"benchmarks/placement_real.py {NIGHT}/bundle --out {{out}}",
        )
    ),
    "rank_search_128.json": Measurement((f"{RANKS} --size 128",)),
    "rank_search_128_one_group.json": Measurement(
        (), "the doubling search as it first was, one group at a time (docs/search.md)"
    ),
    "rendering": Measurement(
        (
            "benchmarks/rendering.py --out {out}/speed_cpu.json",
            "benchmarks/rendering_shell.py --out {out}/shell.json",
            "benchmarks/rendering_fit.py --out {out}/fit.json --sheet {work}/rendering_fit.png",
        )
    ),
    "runtimes.jsonl": Measurement(
        (
            "benchmarks/runtimes.py --work {work}/architecture --out {out}",
            "benchmarks/runtimes_tables.py",
        ),
        "Chromium, and the extras executorch and openvino",
    ),
    "student_vs_teacher.json": Measurement(
        ("benchmarks/student_vs_teacher.py --work {work}/students",)
    ),
    "teacher_h200_psnr.json": Measurement(
        (*TRAINING, f"{EVALUATION} --per-set 12 --ceiling --device cuda"), GPU
    ),
    "teacher_h200_training.json": Measurement(TRAINING, GPU),
    "teacher_quality_128.json": Measurement((f"{EVALUATION} --size 128 --per-set 2",), PHOTOS),
    "teacher_quality_256.json": Measurement((f"{EVALUATION} --per-set 2 --ceiling",), PHOTOS),
    "teacher_sampling_256.json": Measurement(
        (f"{EVALUATION} --per-set 2 --other-steps 1 2 4 --other-guidance 1",), PHOTOS
    ),
    "teacher_throughput_cpu.json": Measurement(
        ("benchmarks/teacher_throughput.py --photos PHOTOS --out {out}",), PHOTOS
    ),
    "teacher_throughput_h200.json": Measurement(
        ("benchmarks/teacher_throughput.py --photos PHOTOS --device cuda --large --out {out}",), GPU
    ),
    "vector_width.json": Measurement(("benchmarks/vector_width.py --out {out}",)),
    "views_toy_cpu.json": Measurement(
        (
            "edgekit teacher train --kind views --toy --seconds 1500 --out {work}/views",
            "edgekit teacher train --kind judge --toy --seconds 420 --out {work}/judge",
            "benchmarks/views.py {work}/views {work}/judge --diagonal --out {out}",
        )
    ),
    "web_faces.json": Measurement(
        (
            "edgekit pairs faces --head-model HEADS --identities 24 --images 5 --size 128 "
            "-o {work}/web_heads",
            "edgekit distill --student restorer --faces {work}/web_heads --minutes 2 --places 2 "
            "--out {work}/web_restorer",
            "edgekit export {work}/web_restorer --target android --precision int8",
            "benchmarks/web_faces.py {work}/web_restorer --heads {work}/web_heads --pictures 20 "
            "--out {out}",
        ),
        "Chromium, the extra faces, and a head model (docs/faces.md)",
    ),
    "web_responsiveness.json": Measurement(
        (
            "edgekit export --base --target android --precision int8 --out {work}/web",
            "edgekit adapters add {work}/web --prompt 'make it night'",
            "benchmarks/web_responsiveness.py {work}/web --out {out}",
        ),
        "Chromium",
    ),
    "zoo.jsonl": Measurement(("benchmarks/zoo_run.py --out {out}", "benchmarks/zoo_table.py")),
}


def words_of(command: str) -> list[str]:
    """Return what to execute: `edgekit` and scripts run in the Python that runs this."""
    first, *rest = shlex.split(command)
    if first == "edgekit":
        return [sys.executable, "-m", "edgekit.cli.main", *rest]
    if first == "python":
        return [sys.executable, *rest]
    return [sys.executable, str(HERE.parent / first), *rest]


def main(words: Sequence[str] | None = None) -> int:
    """List the measurements, or run them; return the exit code of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--work", type=Path, default=Path("runs/bench"))
    parser.add_argument("--only", nargs="+", choices=sorted(RESULTS), default=list(RESULTS))
    parser.add_argument("--list", action="store_true", help="say what would be run, and stop")
    given = parser.parse_args(words)
    done: set[str] = set()
    for name in given.only:
        entry = RESULTS[name]
        heading = f"skipped, needs {entry.needs}" if entry.needs else "measured here"
        print(f"# {name}: {heading}", flush=True)
        for text in entry.commands:
            command = text.format(out=given.out / name, work=given.work)
            print(f"$ {command}", flush=True)
            if given.list or entry.needs or command in done:
                continue
            done.add(command)
            if code := subprocess.call(words_of(command)):
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
