"""`edgekit app --target android`, as far as it needs no tools: what is checked and said."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edgekit.cli.main import run
from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.manifest import read_bundle, write_bundle
from edgekit.runtime.apps.android_assets import ASSETS, LIST, build_project
from edgekit.runtime.apps.android_code import GRADLE, KOTLIN, MANIFEST, RESOURCES, facts
from edgekit.runtime.apps.android_tools import ENVIRONMENT, sources, tools
from edgekit.runtime.apps.android_zip import WORD, Apk, alignment_of, entries, misaligned

ANDROID = "{http://schemas.android.com/apk/res/android}"


def app(*words: object) -> int:
    return run(["app", *(str(word) for word in words), "--target", "android"])


def test_without_the_tools_the_command_says_how_to_get_them(
    toy_bundle, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "nothing"))

    assert app(toy_bundle, "--out", tmp_path / "demo.apk") == 3

    said = capsys.readouterr().err
    assert "not on this machine" in said
    assert "setup.sh" in said
    assert not (tmp_path / "demo.apk").exists()


def test_tools_of_another_version_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    (tmp_path / "ready").write_text("0" * 64)

    with pytest.raises(EdgekitError, match="older than this edgekit") as failed:
        tools()

    assert failed.value.exit_code == 3


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--abi", "mips", "--out", "x.apk"], 2, "unknown processor 'mips'"),
        (["--engine", "onnx"], 2, "--engine belongs to --target web"),
        (["--abi", "x86", "--out", "folder"], 2, "a Gradle project has its own processors"),
    ],
)
def test_a_mistake_is_one_sentence(
    toy_bundle, tmp_path, monkeypatch, capsys, words, code, sentence
):
    monkeypatch.chdir(tmp_path)

    assert app(toy_bundle, *words) == code
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_processor_belongs_to_an_android_app(toy_bundle, capsys):
    assert run(["app", str(toy_bundle), "--abi", "x86"]) == 2
    assert "--abi belongs to --target android" in capsys.readouterr().err


def test_a_bundle_without_a_file_that_the_app_runs_is_refused(make_bundle, tmp_path, capsys):
    bundle = make_bundle(tmp_path / "bundle")
    manifest = read_bundle(bundle)
    kept = tuple(model for model in manifest.models if model.format == "tflite")
    write_bundle(bundle, manifest.model_copy(update={"models": kept}))

    assert app(bundle, "--out", tmp_path / "demo.apk") == 7
    said = capsys.readouterr().err
    assert "toy holds no file that the app runs (onnx)" in said
    assert "--target onnx" in said


def test_a_damaged_bundle_is_refused_before_anything_is_written(make_bundle, tmp_path, capsys):
    bundle = make_bundle(tmp_path / "bundle")
    (bundle / "onnx/toy.fp32.onnx").write_bytes(b"changed")

    assert app(bundle, "--out", tmp_path / "demo.apk") == 4
    assert "not the file that was exported" in capsys.readouterr().err
    assert not (tmp_path / "demo.apk").exists()


def test_a_file_of_something_else_is_not_replaced(toy_bundle, tmp_path, capsys):
    (tmp_path / "demo.apk").write_text("my thesis")

    assert app(toy_bundle, "--out", tmp_path / "demo.apk") == 4
    assert "something else than an APK" in capsys.readouterr().err
    assert (tmp_path / "demo.apk").read_text() == "my thesis"


def test_stored_entries_begin_where_android_maps_them_and_the_bytes_repeat(tmp_path):
    for name in ("one.apk", "two.apk"):
        apk = Apk(tmp_path / name)
        apk.add("a", b"odd")
        for number in range(5):
            apk.add(f"assets/{'x' * number}.onnx", b"m" * (number + 1))
        apk.add("resources.arsc", b"r" * 7)
        apk.close()

    found = [entry for entry in entries(tmp_path / "one.apk") if entry.stored]
    assert len(found) == 6
    assert all(entry.start % WORD == 0 for entry in found)
    assert misaligned(tmp_path / "one.apk") == []
    assert alignment_of("lib/arm64-v8a/x.so") == 16384
    assert (tmp_path / "one.apk").read_bytes() == (tmp_path / "two.apk").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.apk") as held:
        assert held.testzip() is None
        assert held.read("assets/xx.onnx") == b"mmm"


def test_a_misaligned_entry_is_found(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.apk", "w") as made:
        made.writestr("resources.arsc", b"xx")  # its data begins at 30 + 14
        made.writestr("assets/a.onnx", b"x")

    assert misaligned(tmp_path / "x.apk") == ["assets/a.onnx"]
    (tmp_path / "y.apk").write_bytes(b"PK")
    with pytest.raises(BadInput, match="is not an APK"):
        misaligned(tmp_path / "y.apk")


def test_a_gradle_project_holds_sources_and_bundles_and_keeps_what_was_edited(
    toy_bundle, tmp_path, capsys
):
    out = tmp_path / "project"
    assert app(toy_bundle, toy_bundle, "--out", out) == 0
    listed = json.loads((out / ASSETS / LIST).read_text())
    assert [row["name"] for row in listed["bundles"]] == ["toy", "toy-2"]
    held = read_bundle(out / ASSETS / "bundles/toy", check_files=True)
    assert {model.format for model in held.models} == {"onnx", "tflite"}
    assert (out / "app/src/litert").is_dir()
    assert not (out / "tools.lock").exists()
    (out / GRADLE).write_text("// mine")

    made = build_project([toy_bundle], out)

    assert not made.fresh
    assert made.bundles == ("toy",)
    assert not (out / ASSETS / "bundles/toy-2").exists()
    assert (out / GRADLE).read_text() == "// mine"


def test_a_folder_of_something_else_is_no_project(toy_bundle, tmp_path):
    (tmp_path / "thesis.txt").write_text("x")

    with pytest.raises(BadInput, match="something else"):
        build_project([toy_bundle], tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def manifest() -> ElementTree.Element:
    return ElementTree.parse(sources() / MANIFEST).getroot()


def test_the_app_asks_for_the_camera_and_never_for_the_network():
    asked = {row.get(f"{ANDROID}name") for row in manifest().iter("uses-permission")}

    assert asked == {"android.permission.CAMERA"}
    required = [row.get(f"{ANDROID}required") for row in manifest().iter("uses-feature")]
    assert required
    assert set(required) == {"false"}


@pytest.mark.parametrize("flavour", ["onnx", "litert"])
def test_gradle_takes_away_what_libraries_ask_for(flavour):
    root = ElementTree.parse(sources() / f"app/src/{flavour}/AndroidManifest.xml").getroot()
    node = "{http://schemas.android.com/tools}node"
    gone = {row.get(f"{ANDROID}name") for row in root.iter() if row.get(node) == "remove"}

    assert {"android.permission.INTERNET", "android.permission.ACCESS_NETWORK_STATE"} < gone
    assert "ai.onnxruntime.TelemetryInitializer" in gone
    assert not [row for row in root.iter("uses-permission") if row.get(node) != "remove"]


def test_both_builds_take_package_versions_and_levels_from_gradles_file():
    told = facts()
    text = (sources() / GRADLE).read_text()

    assert (told.package, told.min_sdk, told.target_sdk) == ("dev.edgekit.demo", "26", "34")
    assert manifest().get("package") is None
    assert manifest().find("uses-sdk") is None
    assert manifest().get(f"{ANDROID}versionCode") is None
    assert f'namespace = "{told.package}"' in text
    legacy = manifest().find("application").get(f"{ANDROID}extractNativeLibs")
    assert (legacy == "true") == ("useLegacyPackaging = true" in text)


def test_the_runtime_that_gradle_names_is_the_one_that_is_tested():
    text = (sources() / GRADLE).read_text()
    notice = (sources() / "NOTICE.txt").read_text()

    assert 'onnxruntime-android:1.29.0"' in text
    assert "ONNX Runtime 1.29," in notice


def test_every_kotlin_folder_of_the_scripted_build_is_one_of_gradles_source_sets():
    for folder in KOTLIN:
        module, _, flavour, language = Path(folder).parts
        assert (sources() / module / "build.gradle.kts").is_file()
        assert language == "kotlin"
        assert flavour == "main" or f'create("{flavour}")' in (sources() / GRADLE).read_text()
        assert list((sources() / folder).rglob("*.kt"))
    assert 'include(":core", ":app")' in (sources() / "settings.gradle.kts").read_text()


def test_every_component_of_the_manifest_has_a_class_and_nothing_but_the_launcher_is_exported():
    application = manifest().find("application")
    names = [row.get(f"{ANDROID}name") for row in (application, *application)]
    exported = [
        row.get(f"{ANDROID}name") for row in application if row.get(f"{ANDROID}exported") == "true"
    ]

    for name in names:
        assert (sources() / "app/src/main/kotlin" / (name.replace(".", "/") + ".kt")).is_file()
    assert exported == ["dev.edgekit.demo.MainActivity"]
    assert application.get(f"{ANDROID}allowBackup") == "false"


def resource(name: str) -> ElementTree.Element:
    return ElementTree.parse(sources() / RESOURCES / name).getroot()


def test_dark_colours_replace_every_light_one_and_text_is_readable_on_both():
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = (
        {row.get("name"): row.text for row in resource(f"{folder}/colors.xml")}
        for folder in ("values", "values-night")
    )

    assert set(light) == set(dark)
    for colours in (light, dark):
        for ink in ("ink", "error", "accent"):
            for paper in ("paper", "panel"):
                pair = sorted((luminance(colours[ink]), luminance(colours[paper])))
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (ink, paper, colours)


@pytest.mark.parametrize("layout", ["main", "bench"])
def test_what_can_be_touched_is_large_enough_and_says_what_it_is(layout):
    styles = {
        row.get("name"): (row.get("parent"), {i.get("name"): i.text for i in row})
        for row in resource("values/styles.xml")
    }

    def style(name: str | None) -> dict[str, str]:
        parent, items = styles.get((name or "").split("/")[-1], (None, {}))
        return {**(style(parent) if parent else {}), **items}

    words = {row.get("name") for row in resource("values/strings.xml")}
    labelled = {
        row.get(f"{ANDROID}labelFor", "").split("/")[-1]
        for row in resource(f"layout/{layout}.xml").iter()
    }

    for view in resource(f"layout/{layout}.xml").iter():
        told = style(view.get("style"))
        told |= {f"android:{k.removeprefix(ANDROID)}": v for k, v in view.attrib.items()}
        text = told.get("android:text", "")
        if text.startswith("@string/"):
            assert text.removeprefix("@string/") in words
        elif view.tag != "EditText":
            assert text == "", f"{view.tag} has words that cannot be translated"
        if view.tag in ("Button", "Spinner", "SeekBar", "EditText"):
            assert told.get("android:minHeight") == "48dp", view.attrib
            name = told["android:id"].split("/")[-1]
            assert view.tag == "Button" or name in labelled, f"{name} has no label"
            if view.tag == "Button":
                assert text


def test_doctor_says_whether_apps_can_be_built(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))

    assert run(["doctor", "--json"]) == 0

    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["findings"]}
    assert not rows["android app"]["ready"]
    assert "setup.sh" in rows["android app"]["fix"]
