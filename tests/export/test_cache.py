"""Exported files are found again on this machine, if nothing that made them has changed."""

import shutil

import pytest
from tests.export.programs import write_student

from edgekit.core.errors import TargetUnsupported
from edgekit.core.manifest import read_bundle
from edgekit.export import bundle as step
from edgekit.export import cache as module
from edgekit.export import memory, processes, rows
from edgekit.export.bundle import export_student
from edgekit.export.cache import Cache
from edgekit.export.memory import available_mib, estimate_mib, resident_mib
from edgekit.export.records import read_record, record_path
from edgekit.export.targets import Options, options_of
from edgekit.export.worker import Job
from edgekit.runtime.sessions import open_session


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("cache") / "student")


@pytest.fixture(scope="module")
def filled(student, tmp_path_factory):
    """A cache that one export has filled, and its bundle."""
    cache = Cache(tmp_path_factory.mktemp("entries"))
    out = tmp_path_factory.mktemp("first") / "b"
    return cache, out, made(student, out, cache)


def made(student, out, cache, *, options=None, precisions=("fp32", "fp16")):
    return export_student(
        student,
        ["onnx"],
        out,
        open_session=open_session,
        precisions=precisions,
        options=options or Options(),
        isolated=False,
        cache=cache,
    )


def copy_of(cache, place):
    shutil.copytree(cache.folder, place)
    return Cache(place)


@pytest.fixture
def no_converter(monkeypatch):
    """Fail if anything is converted."""

    def refuse(*_, **__):
        raise AssertionError("a file was made that the cache holds")

    monkeypatch.setattr(processes, "work", refuse)


def test_a_second_bundle_takes_its_files_from_the_cache(student, filled, tmp_path, no_converter):
    cache, _, first = filled

    second = made(student, tmp_path / "b", cache)

    assert [m.sha256 for m in second.models] == [m.sha256 for m in first.models]
    assert read_bundle(tmp_path / "b", check_files=True) == second
    assert read_record(record_path(tmp_path / "b", "onnx", "fp32")).cached


def test_a_damaged_entry_is_dropped_and_the_file_made_anew(student, filled, tmp_path):
    cache = copy_of(filled[0], tmp_path / "entries")
    for file in cache.folder.rglob("*.onnx"):
        file.write_bytes(file.read_bytes()[:-1] + b"x")

    bundle = made(student, tmp_path / "b", cache)

    assert [m.sha256 for m in bundle.models] == [m.sha256 for m in filled[2].models]
    assert not read_record(record_path(tmp_path / "b", "onnx", "fp32")).cached


@pytest.mark.parametrize("change", ["samples", "tools", "code", "student"])
def test_nothing_is_taken_from_the_cache_after_a_change(
    student, filled, tmp_path, monkeypatch, change
):
    other = tmp_path / "student"
    shutil.copytree(student, other)
    if change == "samples":
        (other / "heldout.npz").write_bytes((other / "calibration.npz").read_bytes())
    elif change == "tools":
        versions = {"torch": "0.1"}
        monkeypatch.setattr(step, "tool_versions", lambda form: versions)
    elif change == "code":
        monkeypatch.setattr(module, "code_sha256", lambda: "another version")
    else:
        other = write_student(tmp_path / "other", size=64)
    cache = filled[0]
    monkeypatch.setattr(Cache, "keep", lambda *_: None)

    made(other, tmp_path / "b", cache, precisions=("fp32",))

    assert not read_record(record_path(tmp_path / "b", "onnx", "fp32")).cached


def test_only_options_that_a_format_uses_make_its_files_others():
    asked = Options(ios=17, compute_capabilities=("8.6",), delegate="coreml")

    assert options_of("onnx", asked) == {}
    assert options_of("mlpackage", asked) == {"ios": 17}
    assert options_of("engine", asked) == {"compute_capabilities": ("8.6",)}
    assert options_of("pte", asked) == {"ios": 17, "delegate": "coreml"}
    assert options_of("pte", Options()) == {}


def test_the_entries_that_were_not_used_for_the_longest_time_go_first(student, filled, tmp_path):
    cache = copy_of(filled[0], tmp_path / "entries")
    small = Cache(cache.folder, limit_bytes=1)

    made(student, tmp_path / "b", small, precisions=("fp32", "int8"))

    assert len(list(cache.folder.glob("*/*/record.json"))) == 1


def test_a_cache_that_cannot_be_written_costs_nothing_but_itself(student, tmp_path):
    (tmp_path / "file").write_text("in the way")

    bundle = made(student, tmp_path / "b", Cache(tmp_path / "file"), precisions=("fp32",))

    assert len(bundle.models) == 1


def test_a_single_file_ends_at_two_gigabytes(student, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "SINGLE_FILE_BYTES", 150_000)  # the float32 weights are 220 kB

    with pytest.raises(TargetUnsupported, match="file ends at 2 GB"):
        made(student, tmp_path / "b", None)


def test_a_file_that_turns_out_too_large_is_not_kept(student, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "SINGLE_FILE_BYTES", 220_000)

    bundle = made(student, tmp_path / "b", None)

    assert [model.precision for model in bundle.models] == ["fp16"]
    assert "it would be 0.0 GB" in bundle.refused[0].reason


def job(student, tmp_path, form):
    return Job(
        student=student,
        format=form,
        keys={"fp32": "key"},
        out=tmp_path,
        scratch=tmp_path / form,
        open_session="",
        name="x",
    )


class _Alive:
    def __init__(self, estimate_mib):
        self.estimate_mib = estimate_mib
        self.process = type("Process", (), {"pid": -1})


@pytest.mark.parametrize(
    ("free", "running", "starts"),
    [
        (100, 0, "tflite"),  # alone it is tried, whatever the estimate
        (20_000, 1, "tflite"),
        (None, 1, "tflite"),
        (700, 1, None),
    ],
)
def test_a_second_converter_waits_for_memory(student, tmp_path, monkeypatch, free, running, starts):
    monkeypatch.setattr(processes, "available_mib", lambda: free)
    waiting = [job(student, tmp_path, form) for form in ("tflite", "onnx")]

    found = processes._fitting(waiting, [_Alive(500)] * running)

    assert (found.format if found else None) == starts


def test_a_smaller_converter_goes_first_where_the_larger_does_not_fit(
    student, tmp_path, monkeypatch
):
    waiting = [job(student, tmp_path, form) for form in ("tflite", "onnx")]
    large, small = (estimate_mib(entry.format, 0) for entry in waiting)
    free = 500 + memory.RESERVE_MIB + (large + small) // 2
    monkeypatch.setattr(processes, "available_mib", lambda: free)

    assert processes._fitting(waiting, [_Alive(500)]).format == "onnx"


def test_memory_is_read_from_the_system_and_a_larger_program_needs_more():
    import os

    assert available_mib() > 100
    assert 10 < resident_mib(os.getpid()) < 100_000
    assert resident_mib(-1) == 0
    assert estimate_mib("onnx", 100 << 20) > estimate_mib("onnx", 1 << 20) + 500


def test_the_limit_of_a_container_counts(tmp_path):
    (tmp_path / "max").write_text(f"{3 << 30}\n")
    (tmp_path / "now").write_text(f"{1 << 30}\n")
    (tmp_path / "none").write_text("max\n")

    assert memory._cgroup_mib(str(tmp_path / "max"), str(tmp_path / "now")) == 2048
    assert memory._cgroup_mib(str(tmp_path / "none"), str(tmp_path / "now")) is None


def test_a_converter_that_takes_too_long_is_ended_and_named(student, tmp_path):
    with pytest.raises(TargetUnsupported, match=r"onnx converter was ended after 0\.5 s") as caught:
        export_student(student, ["onnx"], tmp_path / "b", open_session=open_session, timeout_s=0.5)

    assert "--timeout" in caught.value.hint
    assert processes.worker_facts(tmp_path / "b")["onnx"]["seconds"] < 10


@pytest.mark.slow
def test_peak_memory_is_told_for_each_converter(student, tmp_path):
    export_student(
        student, ["onnx"], tmp_path / "b", open_session=open_session, precisions=["fp32"]
    )

    facts = processes.worker_facts(tmp_path / "b")["onnx"]
    assert 100 < facts["peak_mib"] <= facts["estimate_mib"]
