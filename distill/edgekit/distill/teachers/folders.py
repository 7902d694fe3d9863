"""Teacher folders: found here, in the cache or on the hub, and described without loading a weight.

Weights are read from safetensors only, nothing in a folder is executed, and the network is used for
one thing: an id that was given explicitly and is neither a folder here nor in the cache.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import logging
import os
import re
import socket
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np

from edgekit.core.assets import asset_folder
from edgekit.core.errors import BadInput, unknown_name
from edgekit.core.store import file_sha256, read_json
from edgekit.distill.teachers.pipelines import ADAPTERS, Sampling, changed
from edgekit.distill.teachers.vocabulary import edit_named

BUNDLED = "bundled"
INDEX = "model_index.json"
CARD = "card.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_NOISY = ("torchao", "torch.utils._pytree", "diffusers", "transformers", "huggingface_hub")


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherInfo:
    """What a folder says about its teacher, read without loading a weight."""

    name: str
    folder: Path
    class_name: str
    identity: str
    parameters: int
    size_bytes: int
    sampling: Sampling
    """Default sampling: the card's recommendation if there is one, else the class's."""
    concepts: tuple[str, ...]
    """Prompts that it knows; empty for a teacher that takes any prompt."""
    card: dict[str, Any]
    """The content of ``card.json``, empty without one."""


def describe_teacher(where: str | Path = BUNDLED) -> TeacherInfo:
    """Return what is known about a teacher without loading it; raises as `load_teacher` does."""
    name, folder = found_folder(where)
    index = index_of(folder)
    class_name = str(index.get("_class_name"))
    if class_name not in ADAPTERS:
        raise unknown_name("teacher pipeline class", class_name, ADAPTERS)
    weights = weights_of(folder, index, ADAPTERS[class_name].without)
    card = read_json(folder / CARD) if (folder / CARD).is_file() else {}
    recommended = {
        key: value
        for key, value in card_sampling(card).items()
        if key in ("steps", "guidance", "image_guidance", "strength")
    }
    return TeacherInfo(
        name=name,
        folder=folder,
        class_name=class_name,
        identity=f"{name}@{digest_of(folder, weights)[:12]}",
        parameters=sum(_parameters(file) for file in weights),
        size_bytes=sum(file.stat().st_size for file in weights),
        sampling=changed(
            ADAPTERS[class_name].sampling(folder),
            class_name,
            **cast(dict[str, Any], {**_NOTHING, **recommended}),
        ),
        concepts=known_concepts() if name == BUNDLED or "edits" in card else (),
        card=card,
    )


_NOTHING: dict[str, None] = dict.fromkeys(
    ("steps", "guidance", "image_guidance", "strength", "batch_size")
)


def known_concepts() -> tuple[str, ...]:
    """Return one wording of each edit that a teacher trained by edgekit knows."""
    return edit_named("").known


def check_concept(prompt: str) -> None:
    """Raise BadInput, naming the known concepts, if the vocabulary does not have `prompt`."""
    known = edit_named(prompt).known
    if not known:
        return
    near = difflib.get_close_matches(prompt, known, n=1)
    suggestion = f"did you mean {near[0]!r}? " if near else ""
    raise BadInput(
        f"this teacher does not know {prompt!r}",
        hint=f"{suggestion}known: {', '.join(known)}; any prompt works with another --teacher",
    )


def found_folder(where: str | Path) -> tuple[str, Path]:
    """Return name and folder of a pipeline, fetching a hub id if need be; raises BadInput."""
    if str(where) == BUNDLED:
        return BUNDLED, asset_folder("teacher")
    path = Path(where).expanduser()
    if path.is_dir():
        return path.resolve().name, path
    if path.exists():
        raise BadInput(
            f"{where} is a file, not a diffusers pipeline folder",
            hint="load it with diffusers' from_single_file and call save_pretrained(DIR)",
        )
    if not isinstance(where, str) or not _HUB_ID.fullmatch(where):
        raise BadInput(
            f"{where} does not exist",
            hint="name a diffusers pipeline folder, a hub id such as timbrooks/instruct-pix2pix, "
            f"or {BUNDLED}",
        )
    return where, _fetched(where)


def _fetched(hub_id: str) -> Path:
    """Return the folder of a hub id: from the cache, else from the hub."""
    from huggingface_hub import errors

    with quiet():
        from diffusers import DiffusionPipeline

    def download(**options: Any) -> Path:
        with quiet():
            return Path(DiffusionPipeline.download(hub_id, use_safetensors=True, **options))

    with contextlib.suppress(OSError, ValueError, errors.HfHubHTTPError):
        return download(local_files_only=True)
    by_hand = f"hf download {hub_id} --local-dir DIR"
    if not _hub_reachable():
        raise BadInput(
            f"{hub_id} is no folder here, it is not in the cache, and the hub cannot be reached",
            hint=f"where there is a network, run: {by_hand} ; then use --teacher DIR",
        )
    try:
        return download()
    except errors.GatedRepoError as error:
        raise BadInput(
            f"{hub_id} asks for its licence to be accepted first",
            hint="accept it on the hub's page, run: hf auth login",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise BadInput(f"the hub has no {hub_id}", hint="check the spelling") from error
    except (OSError, ValueError, errors.HfHubHTTPError) as error:
        raise BadInput(
            f"{hub_id} cannot be fetched: {first_line(error)}",
            hint=f"try: {by_hand} ; then use --teacher DIR",
        ) from error


def _hub_reachable() -> bool:
    """Tell at once whether a connection can be made; the hub's client retries for half a minute."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return False
    if any(
        os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    ):
        return True  # only the proxy knows
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=5):
            return True
    except OSError:
        return False


def index_of(folder: Path) -> dict[str, Any]:
    """Return ``model_index.json``; raises BadInput if the folder is no pipeline."""
    if not (folder / INDEX).is_file():
        raise BadInput(
            f"{folder} is not a diffusers pipeline: it has no {INDEX}",
            hint="name the folder that pipeline.save_pretrained wrote",
        )
    index = read_json(folder / INDEX)
    if not isinstance(index, dict) or "_class_name" not in index:
        raise BadInput(
            f"{folder / INDEX} names no pipeline class",
            hint="name the folder that pipeline.save_pretrained wrote",
        )
    return index


def _components(index: dict[str, Any], without: Sequence[str]) -> list[str]:
    return [
        name
        for name, value in index.items()
        if isinstance(value, list) and value[0] is not None and name not in without
    ]


def weights_of(folder: Path, index: dict[str, Any], without: Sequence[str]) -> list[Path]:
    """Return the safetensors files that will be read, but those of the components `without`.

    Raises BadInput if a component is missing or holds pickled weights only.
    """
    chosen: list[Path] = []
    for name in _components(index, without):
        place = folder / name
        if not place.is_dir():
            raise BadInput(
                f"{folder} lacks its component {name}",
                hint="fetch the whole pipeline again (hf download ID --local-dir DIR)",
            )
        files = sorted(place.glob("*.safetensors"))
        pickled = [file for file in place.iterdir() if file.suffix in _PICKLED]
        if pickled and not files:
            raise BadInput(
                f"{place} holds {pickled[0].name} and no safetensors: a pickle can run any code",
                hint="on a machine where you trust it, load it with diffusers and call "
                "save_pretrained(DIR, safe_serialization=True)",
            )
        plain = [file for file in files if not re.search(r"\.(fp16|bf16|non_ema)[.-]", file.name)]
        chosen += plain or files
    if not chosen:
        raise BadInput(
            f"{folder} holds no weights",
            hint="fetch the whole pipeline again, with its safetensors",
        )
    return chosen


def variant_of(weights: Sequence[Path]) -> str | None:
    """Return the variant to ask for if some component exists in that variant only."""
    found = {match[1] for file in weights if (match := re.search(r"\.(fp16|bf16)[.-]", file.name))}
    return min(found) if found else None


def _parameters(file: Path) -> int:
    """Count the numbers in a safetensors file from its header."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length)) if length < 100e6 else None
        if not isinstance(header, dict):
            raise ValueError("its header is damaged")
    except (OSError, ValueError, struct.error) as error:
        raise BadInput(f"{file} is not readable safetensors", hint="fetch it again") from error
    return sum(
        int(np.prod(value["shape"], dtype=np.int64))
        for key, value in header.items()
        if key != "__metadata__"
    )


def digest_of(folder: Path, weights: Sequence[Path]) -> str:
    """Hash weights, configurations and vocabularies: everything that decides an edit."""
    texts = [
        file
        for pattern in ("*.json", "*/*.json", "*/*.txt", "*/*.model")
        for file in folder.glob(pattern)
        if file.name != CARD
    ]
    digest = hashlib.sha256()
    for file in sorted({*weights, *texts}):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file_sha256(file)}\n".encode())
    return digest.hexdigest()


def card_sampling(card: dict[str, Any]) -> dict[str, Any]:
    """Return what a card recommends: steps, guidance, image_guidance, sizes_px.

    They stand under ``sampling``; a card of `edgekit teacher train` that lacks it tells by what it
    measured: the steps of its protocol, the guidance with the best mean, the two trained sizes.
    """
    with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
        if "sampling" in card:
            return dict(card["sampling"])
        measured, side = card["metrics"], int(card["settings"]["resolution"])
        means = measured["mean_psnr_db_by_guidance"]
        return {
            "steps": int(measured["protocol"]["steps"]),
            "guidance": float(max(means, key=means.__getitem__)),
            "image_guidance": 1.0,
            "sizes_px": [side // 2, side],
        }
    return {}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the chatter of diffusers and its friends off the terminal, and put it back after."""
    # Imported first: they set the levels of their loggers when they are.
    chatty = [
        import_module("diffusers.utils.logging"),
        import_module("transformers.utils.logging"),
    ]
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    drawing = [module.is_progress_bar_enabled() for module in chatty]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        for module in chatty:
            module.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for module, drew in zip(chatty, drawing, strict=True):
            if drew:
                module.enable_progress_bar()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def first_line(error: Exception) -> str:
    """Return the first sentence of a foreign error, for one of ours."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:200]
