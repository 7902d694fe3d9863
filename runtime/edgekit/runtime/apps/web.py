"""The web demo as a folder of static files: page, engines, bundles, nothing from another host."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgekit.core.errors import BadInput, DependencyMissing, EdgekitError, TargetUnsupported
from edgekit.core.face_nets import NETS, net_file
from edgekit.core.manifest import BundleManifest, read_bundle, write_bundle
from edgekit.core.progress import Report, silent
from edgekit.core.store import (
    MANIFEST,
    file_sha256,
    prepared_folder,
    read_json,
    size_bytes,
    value_sha256,
    write_bytes,
    write_json,
)
from edgekit.runtime.apps.packages import install, libraries

FORMATS = ("tflite", "onnx")
SITE = "site.json"
NETS_PLACE = "lib/faces"
PAGE = ("*.html", "*.css", "*.js", "*.svg", "*.webmanifest", "core/*.js", "ui/*.js")
"""What the page is made of, below the sources; the service worker is written last."""
WORKER = "sw.js"
ENGINES = {"tflite": "engines/litert.js", "onnx": "engines/onnx.js"}
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Site:
    """A built site."""

    folder: Path
    bundles: tuple[str, ...]
    engines: tuple[str, ...]
    bytes: int
    finds_faces: bool | None = None
    """Whether it holds the nets for that; None if no bundle needs them."""


def sources() -> Path:
    """Return the folder of the web demo's sources: beside the package, or in the working tree."""
    here = Path(__file__).resolve()
    for place in (here.parents[2] / "web_demo", here.parents[4] / "web_demo"):
        if (place / "index.html").is_file():
            return place
    raise EdgekitError("the web demo is not part of this installation", hint="install edgekit anew")


def page_files(origin: Path) -> list[str]:
    """Return the files of the page below its sources, without engines and the service worker."""
    found = {
        path.relative_to(origin).as_posix() for pattern in PAGE for path in origin.glob(pattern)
    }
    return sorted(found - {WORKER})


def policy(origin: Path) -> str:
    """Return the content security policy of the page: workers need it as a header too."""
    page = (origin / "index.html").read_text(encoding="utf-8")
    found = re.search(r'Content-Security-Policy"\s+content="([^"]+)"', page)
    if found is None:
        raise BadInput(f"{origin / 'index.html'} has no policy", hint="install edgekit anew")
    return found[1]


def build_site(
    bundles: Sequence[Path],
    out: Path,
    *,
    engines: Sequence[str] = (),
    cache: Path | None = None,
    report: Report = silent,
) -> Site:
    """Write the web demo for `bundles` to `out`; a site that is there is replaced.

    Without `engines` (formats, "tflite" or "onnx") each bundle's preferred format decides:
    LiteRT.js where it ships a .tflite file, ONNX Runtime Web elsewhere. A bundle keeps what those
    run and nothing else.

    Raises BadInput for a damaged bundle or a folder of something else, TargetUnsupported for a
    bundle without a file for browsers, and what `install` raises; `out` is then as it was.
    """
    manifests = [read_bundle(folder, check_files=True) for folder in bundles]
    chosen = _engines(manifests, engines)
    _check_replaceable(out)
    work = out.with_name(f".{out.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    try:
        site = _written(bundles, manifests, chosen, prepared_folder(work), cache, report)
        shutil.rmtree(out, ignore_errors=True)
        work.replace(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    restores = any(manifest.form == "restorer" for manifest in manifests)
    finds = (out / NETS_PLACE).is_dir() if restores else None
    return Site(out, site, chosen, size_bytes(out), finds)


def _engines(manifests: Sequence[BundleManifest], asked: Sequence[str]) -> tuple[str, ...]:
    needed = set()
    for manifest in manifests:
        held = {model.format for model in manifest.models}
        usable = [form for form in FORMATS if form in held and (not asked or form in asked)]
        if not usable:
            raise TargetUnsupported(
                f"{manifest.name} holds no file that a browser runs"
                + (f" with {', '.join(asked)}" if asked else ""),
                hint="export it with --target web",
            )
        needed |= set(usable) if asked else {usable[0]}
    return tuple(form for form in FORMATS if form in needed)


def _check_replaceable(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        found = read_json(out / SITE) if (out / SITE).is_file() else None
        if not isinstance(found, dict) or found.get("kind") != "site":
            raise BadInput(f"{out} holds something else than a site", hint="choose another --out")


def _written(
    bundles: Sequence[Path],
    manifests: Sequence[BundleManifest],
    engines: Sequence[str],
    out: Path,
    cache: Path | None,
    report: Report,
) -> tuple[str, ...]:
    origin = sources()
    files = [*page_files(origin), *(ENGINES[form] for form in engines)]
    for name in files:
        write_bytes(out / name, (origin / name).read_bytes())
    for number, form in enumerate(engines):
        report("engines", number, len(engines), form)
        for package in libraries(origin / "libraries.json")[form]:
            install(package, out, cache=cache)
    listed: list[dict[str, Any]] = []
    shell = list(files)
    for folder, manifest in zip(bundles, manifests, strict=True):
        name = manifest.name
        while any(row["name"] == name for row in listed):
            name += "-2"
        place = f"bundles/{name}"
        shell += [f"{place}/{path}" for path in _bundle(folder, manifest, engines, out / place)]
        listed.append({"name": name, "path": place})
    nets = []
    if "tflite" in engines and any(manifest.form == "restorer" for manifest in manifests):
        nets = _face_nets(out)
    hashes = {
        str(path.relative_to(out)): file_sha256(path) for path in out.rglob("*") if path.is_file()
    }
    version = value_sha256(hashes)[:16]
    worker = (origin / WORKER).read_text(encoding="utf-8")
    for word, value in (("SITE_VERSION", version), ("SITE_POLICY", policy(origin))):
        worker = worker.replace(word, value)
    write_bytes(out / WORKER, worker.encode())
    site = {
        "kind": "site",
        "version": version,
        "bundles": listed,
        "nets": nets,
        "shell": [*shell, SITE],
        "libraries": [
            f"{package.package}@{package.version}"
            for form in engines
            for package in libraries(origin / "libraries.json")[form]
        ],
    }
    write_json(out / SITE, site)
    return tuple(row["name"] for row in listed)


def _face_nets(out: Path) -> list[dict[str, Any]]:
    """Copy the nets that find faces; return how the page opens them, nothing without them."""
    rows = []
    for net in NETS:
        try:
            data = net_file(net.name).read_bytes()
        except DependencyMissing:
            return []
        path = f"{NETS_PLACE}/{net.name}.tflite"
        write_bytes(out / path, data)
        shape = [1, net.side_px, net.side_px, 3]
        rows.append(
            {
                "name": net.name,
                "path": path,
                "sha256": file_sha256(out / path),
                "inputs": [{"name": net.input, "shape": shape}],
            }
        )
    return rows


def _bundle(folder: Path, manifest: BundleManifest, engines: Sequence[str], out: Path) -> list[str]:
    """Copy what the page reads of a bundle; return what it keeps at the first visit."""
    models = tuple(model for model in manifest.models if model.format in engines)
    small = [row.path for row in manifest.concepts] + [row.path for row in manifest.assets]
    for path in [*(model.path for model in models), manifest.golden.path, *small]:
        write_bytes(out / path, (folder / path).read_bytes())
    kept, parts = [MANIFEST, *small], []
    for part in manifest.parts:
        inner = read_bundle(folder / part.path)
        found = _bundle(folder / part.path, inner, engines, out / part.path)
        kept += [f"{part.path}/{path}" for path in found]
        written = file_sha256(out / part.path / MANIFEST)
        parts.append(part.model_copy(update={"sha256": written}))
    fewer = {"models": models, "refused": (), "adapters": (), "parts": tuple(parts)}
    write_bundle(out, manifest.model_copy(update=fewer))
    return kept


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012 - the base class has it as a plain dict
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
        ".tflite": "application/octet-stream",
    }

    def end_headers(self) -> None:
        page = Path(self.directory)
        extra = {"Content-Security-Policy": policy(page)} if (page / "index.html").is_file() else {}
        for name, value in {**HEADERS, **extra}.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet: the terminal belongs to the command."""


def server(folder: Path, *, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of `folder` on this machine's loopback alone; 0 takes any free port.

    Raises EdgekitError if the port is taken.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        raise EdgekitError(
            f"port {port} cannot be opened: {error.strerror}", hint="choose another --port"
        ) from error
