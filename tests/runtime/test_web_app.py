"""The web demo: put together, and used in a real browser as a person would."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from platformdirs import user_cache_path
from tests.students import smooth_photos

from edgekit.cli.main import run
from edgekit.core.errors import BadInput, EdgekitError, TargetUnsupported
from edgekit.core.images import load_photo
from edgekit.core.manifest import read_bundle, write_bundle
from edgekit.runtime import open_bundle
from edgekit.runtime.apps.packages import Package, install, integrity, libraries
from edgekit.runtime.apps.web import HEADERS, build_site, policy, server, sources

pytestmark = pytest.mark.xdist_group("web")  # one browser, not one a worker


def archive(folder: Path, files: dict[str, str]) -> Package:
    """A package of npm's kind in a cache folder."""
    path = folder / "some-thing-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as made:
        for name, text in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(text)
            made.addfile(info, io.BytesIO(text.encode()))
    return Package(
        package="@some/thing",
        version="1.0.0",
        integrity=integrity(path),
        files={name: f"lib/{name}" for name in files},
        imports={"@some/other": "./other.js"},
    )


def test_a_packages_files_are_put_in_place_with_paths_for_imports(tmp_path):
    package = archive(tmp_path, {"index.js": 'import { x } from "@some/other";', "x.wasm": "@some"})

    placed = install(package, tmp_path / "app", cache=tmp_path)

    assert placed == ["lib/index.js", "lib/x.wasm"]
    assert (tmp_path / "app/lib/index.js").read_text() == 'import { x } from "./other.js";'
    assert (tmp_path / "app/lib/x.wasm").read_text() == "@some"


def test_an_archive_that_was_changed_is_not_used(tmp_path, monkeypatch):
    package = archive(tmp_path, {"index.js": "x"})
    (tmp_path / "some-thing-1.0.0.tgz").write_bytes(b"other")
    monkeypatch.setattr("edgekit.runtime.apps.packages.shutil.which", lambda name: None)

    with pytest.raises(EdgekitError, match="npm is not installed") as failed:
        install(package, tmp_path / "app", cache=tmp_path)

    assert failed.value.exit_code == 3


def test_every_library_is_pinned_and_no_page_names_a_host():
    listed = libraries(sources() / "libraries.json")

    assert set(listed) == {"tflite", "onnx"}
    for path in [
        place for part in (".", "core", "engines", "ui") for place in (sources() / part).glob("*.*")
    ]:
        if path.name not in ("package-lock.json", "icon.svg"):
            assert "://" not in path.read_text(encoding="utf-8"), path


def installed_libraries() -> Path:
    """Where the pinned libraries are, fetched once; skips where they cannot be had."""
    place = user_cache_path("edgekit") / "npm"
    try:
        for packages in libraries(sources() / "libraries.json").values():
            for package in packages:
                install(package, place / ".check", cache=place)
    except EdgekitError as error:
        pytest.skip(f"the web demo's libraries are not here: {error}")
    finally:
        shutil.rmtree(place / ".check", ignore_errors=True)
    return place


@pytest.fixture(scope="module")
def cache() -> Path:
    return installed_libraries()


def test_a_site_holds_what_browsers_run_and_nothing_else(toy_bundle, cache, tmp_path):
    site = build_site([toy_bundle], tmp_path / "site", cache=cache)

    held = {str(path.relative_to(site.folder)) for path in site.folder.rglob("*") if path.is_file()}
    listed = json.loads((site.folder / "site.json").read_text())
    assert site.engines == ("tflite",)
    assert not any(name.endswith(".onnx") for name in held)
    assert set(listed["shell"]) < held
    assert listed["version"] in (site.folder / "sw.js").read_text()
    assert f'"{policy(site.folder)}"' in (site.folder / "sw.js").read_text()
    assert [
        m.format for m in read_bundle(site.folder / "bundles/toy", check_files=True).models
    ] == ["tflite"]


def test_the_command_writes_a_site_and_says_what_it_is(toy_bundle, cache, tmp_path, capsys):
    code = run(["app", str(toy_bundle), "--out", str(tmp_path / "site"), "--json"])

    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (said["engines"], said["bundles"]) == (["tflite"], ["toy"])
    assert (tmp_path / "site" / "index.html").is_file()


def test_the_setup_script_says_what_is_missing_and_installs_nothing_without_the_right(tmp_path):
    for name in ("bash", "id"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))

    done = subprocess.run(
        ["bash", str(sources() / "setup.sh")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    assert "apt-get install chromium nodejs npm" in done.stderr


def test_a_site_is_replaced_and_anything_else_is_not(toy_bundle, cache, tmp_path):
    build_site([toy_bundle], tmp_path / "site", cache=cache)
    (tmp_path / "site" / "old").write_text("x")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")

    build_site([toy_bundle], tmp_path / "site", cache=cache)

    assert not (tmp_path / "site" / "old").exists()
    with pytest.raises(BadInput, match="something else"):
        build_site([toy_bundle], tmp_path / "mine", cache=cache)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_bundle_for_no_browser_is_refused(make_bundle, tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    manifest = read_bundle(bundle)
    write_bundle(bundle, manifest.model_copy(update={"models": ()}))

    with pytest.raises(TargetUnsupported, match="a browser runs") as failed:
        build_site([bundle], tmp_path / "site")

    assert "--target web" in str(failed.value.hint)
    assert not (tmp_path / "site").exists()


def test_the_server_answers_on_loopback_with_the_headers_of_isolation(tmp_path):
    (tmp_path / "x.mjs").write_text("1")
    with server(tmp_path) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        answer = urllib.request.urlopen(f"http://127.0.0.1:{running.server_address[1]}/x.mjs")
        running.shutdown()

    assert running.server_address[0] == "127.0.0.1"
    assert answer.headers["Content-Type"] == "text/javascript"
    assert all(answer.headers[name] == value for name, value in HEADERS.items())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["--target", "tv"], "unknown target 'tv'"), (["--engine", "x"], "unknown engine 'x'")],
)
def test_a_mistake_is_one_sentence(toy_bundle, tmp_path, capsys, words, sentence):
    assert run(["app", str(toy_bundle), "--out", str(tmp_path / "site"), *words]) == 2
    assert sentence in capsys.readouterr().err


def browser_tools() -> tuple[str, Path]:
    """The browser and the folder of node's modules; skips, saying what is missing."""
    chromium = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if chromium is None or shutil.which("npm") is None:
        pytest.skip("Chromium or npm is not installed: run web_demo/setup.sh to try the web demo")
    lock = (sources() / "package-lock.json").read_bytes()
    place = user_cache_path("edgekit") / f"browser-test-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (place / "node_modules" / "playwright-core").is_dir():
        place.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(sources() / name, place / name)
        done = subprocess.run(
            ["npm", "ci", "--silent"], cwd=place, capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(
                "npm did not fetch playwright-core: the web demo was not tried in a browser"
            )
    return chromium, place


@pytest.fixture(scope="module")
def seen(toy_bundle, base, cache, tmp_path_factory) -> dict[str, Any]:
    """What a browser saw: see web_demo/test/browser.mjs."""
    chromium, modules = browser_tools()
    folder = tmp_path_factory.mktemp("browser")
    Image.fromarray(smooth_photos(1, 48)[0][:, :40]).save(folder / "photo.png")
    Image.fromarray(smooth_photos(1, 160)[0]).save(folder / "large.png")
    site = build_site([toy_bundle, base], folder / "site", cache=cache)
    running = server(site.folder)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{running.server_address[1]}/"
    process = subprocess.Popen(
        ["node", str(sources() / "test" / "browser.mjs"), url, str(folder)],
        env={**os.environ, "EDGEKIT_NODE_MODULES": str(modules), "EDGEKIT_CHROMIUM": chromium},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ends = time.monotonic() + 540
    while process.poll() is None and not (folder / "stop").exists() and time.monotonic() < ends:
        time.sleep(0.1)
    running.shutdown()
    running.server_close()
    (folder / "stopped").touch()
    out, problems = process.communicate(timeout=120)
    assert process.returncode == 0, problems[-3000:]
    facts: dict[str, Any] = json.loads(out)
    facts.update(url=url, folder=folder, site=site.folder)
    return facts


def picture(values: list[int], height: int, width: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]


def test_no_request_leaves_the_site_and_nothing_breaks_the_policy(seen):
    others = [u for u in seen["requests"] if not u.startswith((seen["url"], "blob:", "data:"))]

    assert others == []
    assert seen["errors"] == []
    assert seen["isolated"]


def test_every_file_gives_pythons_golden_vectors_in_the_browser(seen):
    assert len(seen["golden"]) == 2
    assert all(found["max_abs"] <= 1e-4 for found in seen["golden"].values()), seen["golden"]
    assert seen["base"]["golden"]["max_abs"] <= 1e-4


def test_what_the_browser_fetched_beside_models_weighs_less_than_6_mb_compressed(seen):
    names = {url.removeprefix(seen["url"]).partition("?")[0] for url in seen["requests"]}
    files = [seen["site"] / (name or "index.html") for name in names if "bundles/" not in name]
    files = [file for file in files if file.is_file()]

    assert any(file.name.endswith("litert_wasm_internal.wasm") for file in files)
    assert any(file.parent.name == "onnx" for file in files)
    one_engine = [file for file in files if "onnx" not in file.parts]
    assert compressed(one_engine) < 6e6
    assert compressed([file for file in files if "litert" not in file.parts]) < 6e6


def compressed(files: list[Path]) -> int:
    return sum(len(gzip.compress(path.read_bytes(), 6)) for path in files)


def test_a_photo_is_edited_as_the_python_runtime_does_it(seen, toy_bundle):
    photo = load_photo(seen["folder"] / "photo.png")

    wanted = open_bundle(toy_bundle, target="android", threads=1).edit(photo)

    made = picture(seen["first"]["pixels"], *photo.shape[:2])
    assert np.abs(made.astype(int) - wanted).max() <= 1
    assert seen["first"]["engine"].startswith("tflite")
    assert all(word in seen["first"]["latency"] for word in ("prepare", "first call", "steady"))


def test_the_model_runs_in_a_worker_and_the_page_says_on_how_many_threads(seen):
    assert seen["first"]["workers"] >= 1
    assert "thread" in seen["first"]["engineSaid"]


def test_no_width_scrolls_sideways_and_reduced_motion_moves_nothing(seen):
    moving, still = seen["motion"]

    assert seen["wide"] == [0, 0, 0]
    assert moving != "0s"
    assert still == "0s"


def test_the_slider_moves_by_keyboard_and_says_where_it_is(seen):
    before, after, words = seen["slider"]

    assert int(after) == int(before) + 10
    assert words == "60 percent before, 40 percent after"


def test_axe_finds_nothing_empty_filled_or_dark(seen):
    assert seen["empty"] == seen["light"] == seen["dark"] == []
    assert seen["paper"] == "rgb(17, 20, 25)"


def test_photos_come_by_picker_paste_drop_and_camera(seen):
    assert seen["paste"]
    assert seen["drop"]
    assert seen["frames"] >= 5
    assert seen["pressed"] == "true"
    assert "not a picture that this browser can read" in seen["broken"]


def test_concepts_switch_and_mix_without_loading_a_model(seen, base):
    photo = load_photo(seen["folder"] / "photo.png")
    opened = open_bundle(base, threads=1)

    for name, values in zip(seen["base"]["names"], seen["base"]["pictures"], strict=True):
        wanted = opened.switched(name).edit(photo)
        assert np.abs(picture(values, *photo.shape[:2]).astype(int) - wanted).max() <= 1
    first, second = seen["base"]["names"]
    mixed = opened.blended({second: 0.5, first: 0.5})[0].edit(photo)
    assert np.abs(picture(seen["base"]["mixed"], *photo.shape[:2]).astype(int) - mixed).max() <= 1
    assert seen["base"]["loads"] == 0


def test_a_choice_in_the_middle_of_a_large_photo_is_the_one_that_counts(seen, base):
    photo = load_photo(seen["folder"] / "large.png")

    wanted = open_bundle(base, threads=1).switched(seen["base"]["names"][-1]).edit(photo)

    made = picture(seen["base"]["large"], *photo.shape[:2])
    assert np.abs(made.astype(int) - wanted).max() <= 1


def test_a_benchmark_is_exported_with_raw_samples(seen):
    row = seen["exported"]["rows"][0]

    assert seen["exported"]["protocol"] == "web-latency-2"
    assert len(row["samples_ms"]) == row["calls"] == 12
    assert row["p50_ms"] <= row["p90_ms"]
    assert row["first_ms"] > 0
    assert row["p99_ms"] is None


def test_a_benchmark_started_by_the_address_tells_a_line_a_call(seen):
    ended, lines = seen["bench"]["ended"], seen["bench"]["lines"]
    events = [line["event"] for line in lines]

    assert ended == "done"
    assert events == ["start", "loaded", "first", "warm", *["run"] * 12, "end", "accuracy"]
    assert [json.loads(line) for line in seen["bench"]["shown"].splitlines()] == lines
    assert (lines[0]["threads"], lines[0]["accelerator"], lines[0]["isolated"]) == (1, "wasm", True)
    assert sorted(line["ms"] for line in lines[4:16])[5] <= lines[16]["p50_ms"]
    assert lines[-1]["passes"]
    assert seen["rows"] >= 2


def test_a_benchmark_of_nothing_says_what_there_is(seen):
    assert seen["benchFailed"]["ended"] == "failed"
    assert seen["benchFailed"]["lines"][-1]["event"] == "failed"
    assert "toy.fp32.tflite" in seen["benchFailed"]["lines"][-1]["hint"]


def test_without_webgpu_it_runs_all_the_same_and_says_so(seen):
    engine, said = seen["webgpu"]["engine"], seen["webgpu"]["said"]

    if engine == "tflite webgpu":
        assert "on the graphics card" in said
    else:
        assert "on the processor" in said
        assert seen["webgpu"]["noted"], seen["webgpu"]
        assert "WebGPU is not used" in seen["webgpu"]["note"]


def test_webgpu_computes_pythons_golden_vectors(seen):
    start, accuracy = seen["gpu"][0], seen["gpu"][-1]

    assert start["accelerator"] == "webgpu", start["note"]
    assert accuracy["event"] == "accuracy"
    assert accuracy["max_abs"] <= 1e-4


def test_it_works_with_the_server_gone(seen):
    assert seen["offline"] == "Done."
