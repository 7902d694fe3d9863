"""What builds the Android app outside Gradle: fetched by ``android_demo/setup.sh``, found here."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.core.cache import cache_folder
from edgekit.core.errors import EdgekitError

ENVIRONMENT = "EDGEKIT_ANDROID_TOOLS"
MISSING = 3
"""Exit code of a missing dependency."""
ABIS = ("arm64-v8a", "armeabi-v7a", "x86", "x86_64")
_STAMPED = ("tools.lock", "setup.sh", "tools/jni_glue.c")
"""What setup.sh hashes to tell whether its folder is complete."""


def sources() -> Path:
    """Return the folder of the Android demo: beside the package, or in the working tree."""
    here = Path(__file__).resolve()
    for place in (here.parents[2] / "android_demo", here.parents[4] / "android_demo"):
        if (place / "tools.lock").is_file():
            return place
    raise EdgekitError(
        "the Android demo is not part of this installation", hint="install edgekit anew"
    )


@dataclass(frozen=True, slots=True)
class Tools:
    """The folder that setup.sh filled, and the Java that runs what is in it."""

    folder: Path
    stamp: str

    @property
    def android_jar(self) -> Path:
        """Android's classes, API 23, to compile against."""
        return self.jar("com.android.android-23")

    @property
    def framework(self) -> Path:
        """Android's resources, API 29, to link against."""
        return self.folder / "root/usr/share/android-framework-res/framework-res.apk"

    @property
    def onnxruntime(self) -> Path:
        """The unpacked AAR of ONNX Runtime; ``linux/`` holds what runs it on this machine."""
        return self.folder / "ort"

    @property
    def kotlin_library(self) -> Path:
        """Kotlin's standard library."""
        return self.folder / "kotlin/lib/kotlin-stdlib.jar"

    def jar(self, name: str) -> Path:
        """Return a jar of Debian's Java packages."""
        return self.folder / f"root/usr/share/java/{name}.jar"

    def libraries(self, abi: str) -> list[Path]:
        """Return ONNX Runtime's shared libraries for one kind of processor."""
        return sorted((self.onnxruntime / "jni" / abi).glob("*.so"))

    def java(
        self,
        main: str,
        *arguments: object,
        jars: Sequence[Path],
        options: Sequence[str] = (),
        check: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a class with `jars` on its class path."""
        path = os.pathsep.join(str(jar) for jar in jars)
        command = ["java", *options, "-cp", path, main, *(str(word) for word in arguments)]
        return called(command, check=check, environment=environment)


def called(
    command: Sequence[str], *, check: bool = True, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a tool and return what it said; raises EdgekitError with its last lines if it failed."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=None if environment is None else {**os.environ, **environment},
    )
    if check and done.returncode:
        said = "\n".join((done.stderr + done.stdout).strip().splitlines()[-12:])
        raise EdgekitError(
            f"{Path(command[0]).name} failed with code {done.returncode}:\n{said}",
            hint="if the app's sources were not changed, report this to edgekit",
        )
    return done


def tools_folder() -> Path:
    """Return where setup.sh puts the tools."""
    named = os.environ.get(ENVIRONMENT)
    return Path(named) if named else cache_folder() / "android"


def tools() -> Tools:
    """Return the tools; raises EdgekitError (exit code 3) if they or a JDK are not there."""
    folder = tools_folder()
    origin = sources()
    stamp = hashlib.sha256(b"".join((origin / name).read_bytes() for name in _STAMPED)).hexdigest()
    ready = folder / "ready"
    if not ready.is_file() or ready.read_text().strip() != stamp:
        state = "older than this edgekit" if ready.is_file() else "not on this machine"
        raise missing(
            f"the tools that build Android apps are {state}", f"run: bash {origin / 'setup.sh'}"
        )
    for program in ("java", "javac", "keytool"):
        if shutil.which(program) is None:
            raise missing(f"{program} is not installed", "on Debian: apt-get install default-jdk")
    return Tools(folder, stamp)


def missing(what: str, hint: str) -> EdgekitError:
    """Return the error of a tool that is not there."""
    error = EdgekitError(what, hint=hint)
    error.exit_code = MISSING
    return error
