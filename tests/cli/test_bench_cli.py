import json
import shutil
import subprocess
import sys

import pytest

from edgekit.cli.main import run
from edgekit.core.manifest import read_bundle


def test_raw_samples_are_written_and_the_table_shown(toy_bundle, tmp_path, capsys):
    file = tmp_path / "results" / "toy.json"

    code = run(["bench", str(toy_bundle), "--calls", "3", "--warmup", "0", "--out", str(file)])

    said = capsys.readouterr().out
    assert code == 0
    assert "p50 ms" in said
    assert [len(row["wall_ms"]) for row in json.loads(file.read_text())["rows"]] == [3, 3]


def test_a_bundle_in_a_run_folder_leaves_its_result_there(toy_bundle, tmp_path):
    shutil.copytree(toy_bundle, tmp_path / "run" / "bundle")
    (tmp_path / "run" / "manifest.json").write_text('{"kind": "student"}')

    code = run(["bench", str(tmp_path / "run"), "--calls", "2", "-q"])

    assert code == 0
    assert json.loads((tmp_path / "run" / "bench.json").read_text())["name"] == "toy"
    latency = read_bundle(tmp_path / "run" / "bundle", check_files=True).latency
    assert [(row.path, row.calls, row.p90_ms) for row in latency] == [
        ("onnx/toy.fp32.onnx", 2, None),
        ("android/toy.fp32.tflite", 2, None),
    ]
    assert all(row.p50_ms > 0 for row in latency)


def test_a_dry_run_lists_what_would_be_timed(toy_bundle, capsys, monkeypatch):
    monkeypatch.setattr("edgekit.runtime.sessions.sys.platform", "linux")

    run(["bench", str(toy_bundle), "--dry-run", "--baseline", "teacher"])

    plan = json.loads(capsys.readouterr().out)
    assert plan["files"] == ["onnx/toy.fp32.onnx", "android/toy.fp32.tflite"]
    assert list(plan["skipped"]) == ["ios/toy.fp16.mlpackage"]
    assert plan["baselines"] == ["teacher"]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--baseline", "tecaher"], 2, "did you mean 'teacher'"),
        (["--at-least", "teacher=30"], 2, "add --baseline teacher"),
        (["--baseline", "teacher", "--at-least", "teacher"], 2, "BASELINE=RATIO"),
        (["--target", "web"], 2, "unknown target"),
        (["--calls", "0"], 2, "calls"),
        (["--baseline", "pytorch"], 4, "student.pt2"),
        (["--out", f"{__file__}/y.json"], 4, "cannot be written"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_code(toy_bundle, capsys, words, code, sentence):
    pytest.importorskip("torch")

    got = run(["bench", str(toy_bundle), "-q", *words])

    complaint = capsys.readouterr().err
    assert got == code
    assert sentence in complaint


def test_pix2pix_is_measured_in_the_same_run_and_a_missed_bar_ends_with_6(
    toy_bundle, tmp_path, capsys
):
    pytest.importorskip("torch")
    file = tmp_path / "b.json"
    words = ["bench", str(toy_bundle), "--calls", "2", "--warmup", "0", "--out", str(file), "-q"]

    passed = run([*words, "--baseline", "pix2pix", "--at-least", "pix2pix=2"])
    missed = run([*words, "--baseline", "pix2pix", "--at-least", "pix2pix=1e9"])

    assert (passed, missed) == (0, 6)
    assert [row["name"] for row in json.loads(file.read_text())["rows"]][-1] == "pix2pix"
    assert "times as fast as pix2pix" in capsys.readouterr().err


def test_measuring_a_bundle_without_baselines_loads_no_torch(toy_bundle):
    program = (
        "import sys; from edgekit.cli.main import run\n"
        f"assert run(['bench', {str(toy_bundle)!r}, '--calls', '2', '-q']) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_the_large_baseline_has_the_size_of_instruct_pix2pix_on_stable_diffusion():
    pytest.importorskip("diffusers")
    from edgekit.cli.baselines import parts_of_sd15_size

    sizes = {
        name: round(sum(p.numel() for p in part.parameters()) / 1e6)
        for name, part in parts_of_sd15_size().items()
    }

    assert sizes == {"unet": 860, "vae": 84, "text_encoder": 123}


def test_the_bundled_teacher_is_measured_at_its_own_sampling(toy_bundle, tmp_path):
    pytest.importorskip("diffusers")
    file = tmp_path / "b.json"
    words = ["--calls", "2", "--warmup", "0", "--target", "onnx", "--out", str(file), "-q"]

    code = run(["bench", str(toy_bundle), *words, "--baseline", "teacher"])

    row = json.loads(file.read_text())["rows"][-1]
    assert code == 0
    assert row["name"] == "teacher"
    assert row["sampling"]["steps"] >= 1
    assert len(row["wall_ms"]) == 2
