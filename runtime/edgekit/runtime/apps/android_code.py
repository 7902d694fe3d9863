"""The part of the Android app that no bundle changes: its code and its screens, built once.

Kotlin -> Java 8 classes -> without what is unused -> classes.dex, and resources -> base.apk. The
result lies beside the tools, named by the hash of what made it: a second app takes seconds.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from edgekit.core.errors import EdgekitError
from edgekit.core.progress import Report, silent
from edgekit.core.store import prepared_folder
from edgekit.runtime.apps.android_tools import Tools, called, sources

KOTLIN = (
    "core/src/main/kotlin",
    "app/src/main/kotlin",
    "app/src/onnx/kotlin",
)
"""What the app is compiled of; the Gradle project has the same and one flavour more."""
RESOURCES = "app/src/main/res"
MANIFEST = "app/src/main/AndroidManifest.xml"
GRADLE = "app/build.gradle.kts"
KOTLIN_OPTIONS = (
    *("-no-reflect", "-jvm-target", "1.8", "-Xlambdas=class"),
    *("-Xsam-conversions=class", "-Xstring-concat=inline", "-jvm-default=disable", "-Werror"),
)
"""Whatever would need a newer class file than the dexer takes is written out as a class."""
KEPT = 4
"""Builds of other sources that stay: another working tree may be using them."""
QUICK = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""For a Java that runs for seconds: half of the processor time."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What Gradle's file states about the app; both builds take it from there."""

    package: str
    version_code: str
    version_name: str
    min_sdk: str
    target_sdk: str


@dataclass(frozen=True, slots=True)
class Code:
    """The built part of the app."""

    base: Path
    """APK with the manifest and the resources alone."""
    dex: Path
    classes: Path
    """What kotlinc wrote, before anything was left out: tests are compiled against it."""


def facts(origin: Path | None = None) -> Facts:
    """Read package, versions and SDK levels from the Gradle file."""
    text = ((origin or sources()) / GRADLE).read_text(encoding="utf-8")
    found = {
        name: re.search(rf'^\s*{name} = "?([\w.]+)"?$', text, re.MULTILINE)
        for name in ("applicationId", "versionCode", "versionName", "minSdk", "targetSdk")
    }
    for name, match in found.items():
        if match is None:
            raise EdgekitError(f"{GRADLE} states no {name}", hint="install edgekit anew")
    return Facts(*(match[1] for match in found.values() if match is not None))


def built_code(tools: Tools, report: Report = silent) -> Code:
    """Return the app's code and resources, from the cache or built now (about a minute)."""
    origin = sources()
    place = tools.folder / "code" / _recipe(origin, tools)
    code = Code(place / "base.apk", place / "classes.dex", place / "classes")
    prepared_folder(place.parent)
    with FileLock(place.parent / ".lock"):
        if not code.dex.is_file():
            _build(origin, tools, place, report)
    return code


def _build(origin: Path, tools: Tools, place: Path, report: Report) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        work = Path(folder)
        steps = (_resources, _compiled, _lowered, _shrunk, _dexed)
        for number, step in enumerate(steps):
            report("code", number, len(steps), step.__name__.strip("_"))
            step(origin, tools, work)
        made = work / "made"
        made.mkdir()
        for name in ("base.apk", "classes", "classes.dex"):
            (work / name).rename(made / name)
        made.rename(place)
    builds = [path for path in place.parent.iterdir() if path.is_dir()]
    for old in sorted(builds, key=lambda path: -path.stat().st_mtime)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def _recipe(origin: Path, tools: Tools) -> str:
    """Hash every file that the code is made of, and what makes it."""
    digest = hashlib.sha256(f"{tools.stamp} {facts(origin)}".encode())
    files = [origin / name for name in (MANIFEST, "tools/Lower.java", "tools/shrink.pro")]
    for folder in (*KOTLIN, RESOURCES):
        files += [path for path in (origin / folder).rglob("*") if path.is_file()]
    for path in [*sorted(files), Path(__file__)]:
        name = path.relative_to(origin) if path.is_relative_to(origin) else path.name
        digest.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


def _resources(origin: Path, tools: Tools, work: Path) -> None:
    told = facts(origin)
    manifest = (origin / MANIFEST).read_text(encoding="utf-8")
    # Gradle takes the package from its own file and refuses it here.
    (work / "AndroidManifest.xml").write_text(
        manifest.replace("<manifest ", f'<manifest package="{told.package}" ', 1), encoding="utf-8"
    )
    aapt2 = str(tools.folder / "aapt2")
    packed = str(work / "res.zip")
    called([aapt2, "compile", "--dir", str(origin / RESOURCES), "-o", packed])
    called(
        [
            *(aapt2, "link", "-I", str(tools.framework)),
            *("--manifest", str(work / "AndroidManifest.xml"), "--java", str(work / "generated")),
            *("--min-sdk-version", told.min_sdk, "--target-sdk-version", told.target_sdk),
            *("--version-code", told.version_code, "--version-name", told.version_name),
            *("-o", str(work / "base.apk"), packed),
        ]
    )


def _compiled(origin: Path, tools: Tools, work: Path) -> None:
    made = work / "classes"
    made.mkdir()
    generated = [str(path) for path in (work / "generated").rglob("*.java")]
    flags = ["-nowarn", "-Xlint:none", "-source", "8", "-target", "8"]
    jar = str(tools.android_jar)
    called(["javac", *flags, "-bootclasspath", jar, "-d", str(made), *generated])
    folders = [origin / folder for folder in KOTLIN]
    # java.* comes from Android: what API 23 does not have is no mistake that a phone finds.
    kotlin(tools, made, folders, [tools.android_jar, made], "-no-jdk")


def kotlin(tools: Tools, made: Path, folders: list[Path], path: list[Path], *options: str) -> None:
    """Compile the Kotlin below `folders` to classes in `made`; `path` is what they may use."""
    jars = [*path, tools.onnxruntime / "classes.jar"]
    tools.java(
        "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
        *("-kotlin-home", tools.folder / "kotlin", *KOTLIN_OPTIONS, *options, "-d", made),
        *("-cp", ":".join(str(jar) for jar in jars), *folders),
        jars=sorted((tools.folder / "kotlin/lib").glob("kotlin*.jar")),
        options=QUICK,
    )


def _lowered(origin: Path, tools: Tools, work: Path) -> None:
    asm = tools.jar("asm")
    lower = work / "lower"
    lower.mkdir()
    called(["javac", "-cp", str(asm), "-d", str(lower), str(origin / "tools/Lower.java")])
    for jar, name in (
        (tools.onnxruntime / "classes.jar", "onnxruntime.jar"),
        (tools.kotlin_library, "kotlin.jar"),
    ):
        tools.java("Lower", jar, work / name, jars=[lower, asm], options=QUICK)
    with zipfile.ZipFile(work / "app.jar", "w") as made:
        for path in sorted((work / "classes").rglob("*.class")):
            made.write(path, path.relative_to(work / "classes"))


def _shrunk(origin: Path, tools: Tools, work: Path) -> None:
    tools.java(
        "proguard.ProGuard",
        f"@{origin / 'tools/shrink.pro'}",
        *(word for name in ("app", "onnxruntime", "kotlin") for word in _jar(work / f"{name}.jar")),
        *("-outjars", work / "shrunk.jar", "-libraryjars", tools.android_jar),
        jars=[tools.jar("proguard")],
        options=QUICK,
    )


def _jar(path: Path) -> tuple[str, Path]:
    return "-injars", path


def _dexed(origin: Path, tools: Tools, work: Path) -> None:
    level = facts(origin).min_sdk
    tools.java(
        "com.android.dx.command.Main",
        *("--dex", f"--min-sdk-version={level}"),
        *(f"--output={work / 'classes.dex'}", work / "shrunk.jar"),
        jars=[tools.jar("com.android.dx")],
        options=QUICK,
    )
