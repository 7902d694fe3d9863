"""Pack a finished run as weights that ship: an asset folder with its card.

Three runs make three assets, the encoder before the restorer that understands its codes. A
restorer `--alone` has no port for a code, and answers as it does for nobody:

    python -m edgekit.distill.ship identity runs/identity --faces faces/heads
    python -m edgekit.distill.ship restorer runs/portraits --faces faces/heads
    python -m edgekit.distill.ship restorer runs/portraits --faces faces/heads --alone
    python -m edgekit.distill.ship things runs/things

`--faces` is a set of rendered people (`edgekit pairs faces --head-model`): the portraits that
files are calibrated and compared with lie in the repository, and so must show nobody who exists.
What was packed is compared with the run on the run's own held-out samples, and refused below 40 dB
or above the bytes that the asset may take; so is an encoder whose codes do not tell people apart.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_values
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from edgekit.core.assets import STUDENTS
from edgekit.core.errors import BadInput, EdgekitError, QualityFailed
from edgekit.core.identity import NEAR_CHANCE
from edgekit.core.samples import read_feeds
from edgekit.core.seams import Port
from edgekit.core.store import (
    file_sha256,
    prepared_folder,
    read_manifest,
    size_bytes,
    write_bytes,
)
from edgekit.distill.base import CARD, WEIGHTS
from edgekit.distill.compact import in_8_bits, packed, unpacked
from edgekit.distill.identity.encoder import IdentityEncoder, OnePhoto
from edgekit.distill.identity.student import read_encoder
from edgekit.distill.mesh.generator import Generator
from edgekit.distill.mesh.student import read_generator
from edgekit.distill.mesh.words import tokens
from edgekit.distill.metrics import as_photos, quality
from edgekit.distill.program import HELDOUT, KIND, PROGRAM
from edgekit.distill.restorer.phone import PHONE, PhoneRestorer, fresh_phone
from edgekit.distill.restorer.phone import alone as without_code
from edgekit.distill.ship_samples import SAMPLED, write_samples
from edgekit.distill.ship_words import TEXTS
from edgekit.distill.shipped import (
    ALONE,
    fresh_network,
    load,
    needs_encoder,
    read_shipped,
)
from edgekit.distill.students.cost import count_parameters
from edgekit.distill.students.shape import Shape, shape_facts
from edgekit.distill.teachers.card import write_card

BAR_DB = 40.0
"""Least PSNR of every output of every held-out sample, packed against as it was trained."""
MOST_BYTES = {"identity": 8 << 20, "restorer": 8 << 20, "things": 5 << 20}
TOGETHER = frozenset({"identity", "restorer"})
"""Their bytes count as one."""
POINTS = 4096
CODE = "code"
Check = tuple[list[tuple[Tensor, ...]], tuple[float, ...]]
"""Inputs, sample by sample, and the peak-to-peak range of each output."""


def ship(
    name: str,
    run: Path,
    out: Path,
    *,
    faces: Path | None = None,
    identity: Path | None = None,
    alone: bool = False,
    bar_db: float = BAR_DB,
) -> dict[str, Any]:
    """Pack the finished `run` as the asset `name` into `out` and return its card.

    `faces` are rendered people; `identity` is the packed encoder of a restorer, by default the
    asset beside `out`, unless the restorer is to stand `alone`. What was in `out` is replaced once
    all is well.

    Raises BadInput for a run that is not finished or of something else, EdgekitError for what does
    not go together, QualityFailed below `bar_db`, above the bytes that the asset may take, or for
    codes that do not tell people apart.
    """
    if name not in STUDENTS:
        raise EdgekitError(f"no asset is called {name!r}", hint=f"choose of {', '.join(STUDENTS)}")
    run = run / "phone" if name == "restorer" and (run / "phone").is_dir() else run
    if name != "things" and faces is None:
        raise EdgekitError(
            "portraits of rendered people go with these weights",
            hint="add --faces FOLDER, of `edgekit pairs faces --head-model`",
        )
    network, facts, card = _trained(name, run, alone=alone and name == "restorer")
    _check_codes(name, run, card)
    encoder = None
    if needs_encoder(card):
        encoder = read_shipped(identity or out.parent / "identity")
        told = (facts.get("references") or {}).get("encoder_sha256")
        if told != encoder.card["made_of"]["student_sha256"]:
            raise BadInput(
                f"{run} understands the codes of another encoder than {encoder.folder} was made of",
                hint="pack the encoder that the restorer was distilled with first",
            )
        card["encoder_sha256"] = encoder.card["sha256"]
    checks = _checks(network, run, facts, card)
    if isinstance(network, PhoneRestorer) and not needs_encoder(card):
        card["quality"] = _quality_alone(network, run)  # the run's own scores were taken with codes
    stored, worst_db, exact = fitting(network, card, checks, bar_db)
    prepared_folder(out.parent)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{name}-") as place:
        made = Path(place) / name
        write_bytes(made / WEIGHTS, safetensors_bytes(stored))
        if faces is not None and name != "things":
            smaller = _loaded(card, stored)
            card["samples"] = write_samples(made, smaller, encoder, faces, card)
        card |= {
            "sha256": file_sha256(made / WEIGHTS),
            "parameters": count_parameters(network),
            "packing": {
                "psnr_db": round(worst_db, 2),
                "bar_db": bar_db,
                "held_out_samples": len(checks[0]),
                "in_16_bits": exact,
            },
        }
        write_card(made, card)
        read_shipped(made)
        _check_bytes(name, made, out)
        if out.exists():
            shutil.rmtree(out)
        made.rename(out)
    return card


def _check_codes(name: str, run: Path, card: Mapping[str, Any]) -> None:
    wrong = card["quality"].get("identity", {}).get("equal_error", 0.0)
    if name == "identity" and wrong > NEAR_CHANCE:
        raise QualityFailed(
            f"the codes of {run} are wrong about {wrong:.1%} of pairs of people, {NEAR_CHANCE:.0%} "
            "are allowed",
            hint="train the encoder longer; after a restorer, look whether its codes still differ",
        )


def _trained(
    name: str, run: Path, *, alone: bool
) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    """Return the network of a run, its manifest, and the card as far as it follows from them."""
    facts = read_manifest(run, kind=KIND)
    more: dict[str, Any]
    network: nn.Module
    if name == "identity":
        network, _ = read_encoder(run)
        more = {"form": "identity", "shape": asdict(network.shape)}
    elif name == "things":
        network, prompts, _ = read_generator(run)
        told = {"train": list(prompts.train), "unseen": list(prompts.unseen)}
        more = {"form": "mesh", "shape": asdict(network.shape), "prompts": told}
        more["words"] = list(prompts.words)
    else:
        references = dict(facts.get("references") or {})
        if references.get("form") != "phone":
            raise BadInput(
                f"{run} holds no restorer for phones",
                hint="name a run of `edgekit distill --student restorer --phone`",
            )
        shape = references.pop("shape", None) or shape_facts(PHONE)
        references.pop("encoder_sha256", None)
        more = {"form": "restorer", "shape": shape, "references": references}
        phone = fresh_phone(Shape(**shape), seed=0)
        path = run / WEIGHTS
        try:
            if file_sha256(path) != facts["files"][WEIGHTS]["sha256"]:
                raise ValueError("its sha256 is not the one in the manifest")
            load(phone, safetensors_values(path.read_bytes()))
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise BadInput(
                f"{path} does not hold the restorer of its manifest: {error}",
                hint="copy the run again, or train it anew",
            ) from error
        network = phone.eval()
        if alone:
            more["references"] = {"form": ALONE, "places": 0}
    texts = TEXTS[ALONE if alone else name]
    host = facts.get("host") or {}
    card = {
        "name": texts["name"],
        "what": texts["what"],
        "licence": "Apache-2.0; data under the licences below",
        "student": name,
        **more,
        "size_px": int(facts["size_px"]),
        "data": {
            "licences": {**texts.get("data", {}), **_flat(facts.get("licences") or {})},
            "teacher": facts["teacher"],
        },
        "training": {
            "seconds": facts["seconds"],
            "device": host.get("gpu") or host.get("processor"),
            "recipe": _recipe(run),
        },
        "quality": facts["quality"],
        "seed": facts["seed"],
        "made_of": {
            "student_sha256": file_sha256(run / PROGRAM),
            "recipe_sha256": facts["recipe_sha256"],
        },
        "intended_use": texts["intended_use"],
        "limits": list(texts["limits"]),
        "consent": texts["consent"],
    }
    return network.eval().requires_grad_(False), facts, card


def _quality_alone(phone: PhoneRestorer, run: Path) -> dict[str, Any]:
    """Return the scores of a restorer alone on its run's held-out portraits."""
    with np.load(run / HELDOUT) as stored:
        degraded, true = stored["image"], stored["teacher"]
    images = torch.from_numpy(degraded).permute(0, 3, 1, 2).float() / 127.5 - 1
    network = without_code(phone, size_px=images.shape[-1])
    with torch.no_grad():
        made = torch.cat([network(image[None]) for image in images])
    return quality(degraded, true, as_photos(made))


def _flat(value: Mapping[str, Any]) -> dict[str, str]:
    """Return what -> licences in words, also of a set that counts photos a licence."""
    return {
        str(what): ", ".join(f"{which} ({count})" for which, count in told.items())
        if isinstance(told, Mapping)
        else str(told)
        for what, told in value.items()
    }


def _recipe(run: Path) -> dict[str, Any]:
    import tomllib

    for folder in (run, run.parent):  # a restorer for phones lies in its run
        if (folder / "recipe.toml").is_file():
            return tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    return {}


def _checks(
    network: nn.Module, run: Path, facts: Mapping[str, Any], card: Mapping[str, Any]
) -> Check:
    """Return what the network is asked before and after packing."""
    ranges = [(float(p["low"]), float(p["high"])) for p in facts["outputs"]]
    if isinstance(network, Generator):
        told = card["prompts"]
        some = [*told["unseen"], *told["train"]][: SAMPLED["calibration"]]
        rows = tokens(some, card["words"], network.shape.length)
        generator = torch.Generator().manual_seed(0)
        points = torch.rand(1, POINTS, 3, generator=generator) * 2 - 1
        return [(row[None], points) for row in rows], (2.0, 2.0, 2.0, 1.0)
    inputs = [Port(**{**p, "shape": tuple(p["shape"])}) for p in facts["inputs"]]
    feeds = read_feeds(run / HELDOUT, inputs)
    if isinstance(network, PhoneRestorer) and not needs_encoder(card):
        feeds = [{**feed, CODE: np.zeros_like(feed[CODE])} for feed in feeds]
    asked = [tuple(torch.from_numpy(feed[port.name]) for port in inputs) for feed in feeds]
    return asked, tuple(high - low for low, high in ranges)


def answers(network: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return what users get of `network`, one tensor an output."""
    with torch.no_grad():
        if isinstance(network, Generator):
            planes = network.codes(given[0])
            field = network.field(planes, given[1])
            return planes, field.sdf, field.deformation, field.colors
        program = OnePhoto(network) if isinstance(network, IdentityEncoder) else network
        made = program(*given)
    return made if isinstance(made, tuple) else (made,)


def worst_psnr_db(network: nn.Module, other: nn.Module, checks: Check) -> float:
    """Return the least PSNR of `other` against `network`, over samples and outputs."""
    worst, (asked, peaks) = math.inf, checks
    for given in asked:
        both = zip(answers(network, given), answers(other, given), peaks, strict=True)
        for wanted, got, peak in both:
            error = float((wanted.double() - got.double()).square().mean())
            found = math.inf if error == 0 else 10 * math.log10(peak**2 / error)
            worst = min(worst, found if math.isfinite(error) else -math.inf)
    return worst


def fitting(
    network: nn.Module, card: Mapping[str, Any], checks: Check, bar_db: float
) -> tuple[dict[str, Tensor], float, list[str]]:
    """Return weights as they are stored, their PSNR, and the layers that are kept in 16 bits.

    All are put in 8 bits first. If that misses the bar, those whose rounding alone costs most are
    taken out, half as many again each time. Raises QualityFailed if not even all of them help.
    """
    state = network.state_dict()

    def tried(exact: Sequence[str]) -> tuple[dict[str, Tensor], float]:
        stored = packed(state, exact=exact)
        return stored, worst_psnr_db(network, _loaded(card, stored), checks)

    stored, found = tried(())
    if found >= bar_db:
        return stored, found, []
    names = [name for name, value in state.items() if in_8_bits(name, value)]
    few: Check = (checks[0][:2], checks[1])
    cost = {}
    for name in names:
        alone = packed(state, exact=[other for other in names if other != name])
        cost[name] = worst_psnr_db(network, _loaded(card, alone), few)
    order = sorted(names, key=cost.__getitem__)
    count = 1
    while True:
        exact = order[:count]
        stored, found = tried(exact)
        if found >= bar_db:
            return stored, found, exact
        if count >= len(order):
            raise QualityFailed(
                f"packed weights answer {found:.1f} dB from those of the run, {bar_db:g} dB are "
                "asked for",
                hint="look at the run: weights of useful networks survive 16 bits",
            )
        count += max(1, count // 2)


def _loaded(card: Mapping[str, Any], stored: Mapping[str, Tensor]) -> nn.Module:
    network = fresh_network(card)
    load(network, unpacked(stored))
    return network.eval().requires_grad_(False)


def _check_bytes(name: str, made: Path, out: Path) -> None:
    others = [out.parent / other for other in sorted(TOGETHER - {name}) if name in TOGETHER]
    total = size_bytes(made) + sum(size_bytes(other) for other in others if other.is_dir())
    if total > MOST_BYTES[name]:
        beside = "".join(f" with {other.name}" for other in others if other.is_dir())
        raise QualityFailed(
            f"{name}{beside} takes {total / 2**20:.2f} MiB, {MOST_BYTES[name] / 2**20:g} are "
            "allowed",
            hint="train a smaller network",
        )


def main() -> None:
    """Pack a run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=STUDENTS)
    parser.add_argument("run", type=Path, help="finished run folder")
    parser.add_argument("--faces", type=Path, help="rendered people, for the samples that ship")
    parser.add_argument("--identity", type=Path, help="packed encoder; default: beside --out")
    parser.add_argument("--alone", action="store_true", help="a restorer without a code's port")
    parser.add_argument("--out", type=Path, help="default: assets/edgekit/assets/NAME")
    given = parser.parse_args()
    out = given.out or Path("assets/edgekit/assets") / given.name
    try:
        card = ship(
            given.name,
            given.run,
            out,
            faces=given.faces,
            identity=given.identity,
            alone=given.alone,
        )
    except EdgekitError as error:
        print(f"{error.what}\n  hint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    packing = card["packing"]
    print(
        f"{out}: {size_bytes(out) / 2**20:.2f} MiB, {packing['psnr_db']:.1f} dB from the run over "
        f"{packing['held_out_samples']} samples, {len(packing['in_16_bits'])} layers in 16 bits; "
        f"read {out / CARD} before it is committed"
    )


if __name__ == "__main__":
    main()
