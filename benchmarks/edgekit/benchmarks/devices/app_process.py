"""Android without the NDK: the runner as bytecode for app_process, with ONNX Runtime's own AAR.

Built by the tools that ``android_demo/setup.sh`` fetches. Its bytecode was run on a JVM; on a phone
it was never started.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from pathlib import Path

from edgekit.benchmarks.devices.facts import DeviceFacts
from edgekit.benchmarks.devices.runners import SOURCES, Kit
from edgekit.core.errors import DeviceUnreachable
from edgekit.core.store import prepared_folder
from edgekit.runtime.apps.android_code import QUICK, facts
from edgekit.runtime.apps.android_tools import ABIS, Tools, called, sources, tools

MAIN = "dev.edgekit.bench.EdgekitRunner"
SOURCE = SOURCES / "android" / "EdgekitRunner.java"
LEAST_SDK = 26


def app_process_kit(form: str, device: DeviceFacts) -> Kit:
    """Return the bytecode runner and ONNX Runtime's libraries for a phone.

    Raises DeviceUnreachable for a format or a processor that it cannot do and for an Android that
    is too old, EdgekitError (exit code 3) without the tools that build it.
    """
    if form != "onnx":
        raise DeviceUnreachable(
            f"no runner for {device.abi} and .{form} files without a compiler for it",
            hint="give --cc (the NDK's clang for that processor) and --library (libLiteRt.so of "
            "LiteRT's AAR), or measure in the demo app",
        )
    if device.abi not in ABIS:
        raise DeviceUnreachable(
            f"no runner for {device.abi} and .{form} files (there are: {', '.join(ABIS)})",
            hint="use a device with one of these processors",
        )
    if device.sdk is not None and device.sdk < LEAST_SDK:
        raise DeviceUnreachable(
            f"{device.name} has Android API level {device.sdk}, the runner needs {LEAST_SDK}",
            hint="use a newer phone (Android 8)",
        )
    found = tools()
    libraries = {path.name: path for path in found.libraries(device.abi)}
    # app_process finds native libraries by their names in one folder, so they are linked there.
    return Kit(
        "app-process",
        "onnxruntime",
        "",
        "env CLASSPATH={classes} LD_LIBRARY_PATH={work} "
        f"app_process -Djava.library.path={{work}} / {MAIN} --engine onnxruntime",
        {"classes": runner_jar(found), **libraries},
        tuple(libraries),
    )


def runner_jar(found: Tools) -> Path:
    """Return the runner as a jar with a classes.dex, from the cache or built now (a minute)."""
    origin = sources()
    level = facts(origin).min_sdk
    recipe = hashlib.sha256(f"{found.stamp} {level}".encode() + SOURCE.read_bytes())
    jar = found.folder / "runner" / recipe.hexdigest()[:16] / "edgekit-runner.jar"
    if jar.is_file():
        return jar
    prepared_folder(jar.parent)
    with tempfile.TemporaryDirectory(dir=jar.parent) as folder:
        work = Path(folder)
        compiled(found, work / "classes")
        _dexed(found, origin, work, level)
        with zipfile.ZipFile(work / "made.jar", "w", zipfile.ZIP_DEFLATED) as made:
            made.write(work / "classes.dex", "classes.dex")
        (work / "made.jar").replace(jar)
    return jar


def compiled(found: Tools, made: Path) -> Path:
    """Compile the runner's one class against Android's own; return the folder of classes."""
    made.mkdir(parents=True)
    flags = ["-nowarn", "-Xlint:-options", "-source", "8", "-target", "8", "-encoding", "UTF-8"]
    flags += ["-bootclasspath", str(found.android_jar), "-d", str(made)]
    path = str(found.onnxruntime / "classes.jar")
    called(["javac", *flags, "-classpath", path, str(SOURCE)])
    return made


def _dexed(found: Tools, origin: Path, work: Path, level: str) -> None:
    """Lower ONNX Runtime's classes to what the dexer takes, leave out what is unused, dex."""
    asm = found.jar("asm")
    lower = work / "lower"
    lower.mkdir()
    called(["javac", "-cp", str(asm), "-d", str(lower), str(origin / "tools/Lower.java")])
    words = (found.onnxruntime / "classes.jar", work / "onnxruntime.jar")
    found.java("Lower", *words, jars=[lower, asm], options=QUICK)
    with zipfile.ZipFile(work / "runner.jar", "w") as jar:
        for path in sorted((work / "classes").rglob("*.class")):
            jar.write(path, path.relative_to(work / "classes"))
    found.java(
        "proguard.ProGuard",
        f"@{origin / 'tools/shrink.pro'}",
        *("-injars", work / "runner.jar", "-injars", work / "onnxruntime.jar"),
        *("-outjars", work / "shrunk.jar", "-libraryjars", found.android_jar),
        jars=[found.jar("proguard")],
        options=QUICK,
    )
    found.java(
        "com.android.dx.command.Main",
        *("--dex", f"--min-sdk-version={level}", f"--output={work / 'classes.dex'}"),
        work / "shrunk.jar",
        jars=[found.jar("com.android.dx")],
        options=QUICK,
    )
