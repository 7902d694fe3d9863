import json
import subprocess
import sys

from edgekit.cli.main import run


def test_the_page_is_written_and_its_place_printed(toy_bundle, tmp_path, capsys):
    file = tmp_path / "out" / "report.html"

    code = run(["report", str(toy_bundle), "-o", str(file), "--json", "-q"])

    assert code == 0
    assert json.loads(capsys.readouterr().out) == {
        "report": str(file),
        "bytes": file.stat().st_size,
    }


def test_a_dry_run_reads_the_run_and_writes_nothing(toy_bundle, tmp_path, capsys):
    file = tmp_path / "report.html"

    code = run(["report", str(toy_bundle), "-o", str(file), "--dry-run"])

    assert code == 0
    assert json.loads(capsys.readouterr().out)["bundle"] == str(toy_bundle)
    assert not file.exists()


def test_a_missing_run_is_one_sentence(tmp_path, capsys):
    code = run(["report", str(tmp_path / "nowhere")])

    complaint = capsys.readouterr().err
    assert code == 4
    assert complaint.startswith("edgekit: ")
    assert complaint.count("\n") == 2


def test_writing_the_report_loads_no_torch(make_bundle, tmp_path):
    folder = make_bundle(tmp_path / "b", files=(("onnx/toy.fp32.onnx", "onnx", "fp32"),))
    program = (
        "import sys; from edgekit.cli.main import run\n"
        f"words = ['report', {str(folder)!r}, '-o', {str(tmp_path / 'r.html')!r}, '-q']\n"
        "assert run(words) == 0 and 'torch' not in sys.modules\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
