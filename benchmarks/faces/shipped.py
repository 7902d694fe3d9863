"""Score the restorer that ships on test people, with codes of the encoder that ships if it has one.

    python benchmarks/faces/shipped.py --real PORTRAITS --rendered HEADS --out FILE.json

The same conditions as in the experiment: right, wrong and no references under every severity, or
the severities alone for a restorer that takes no references; the degraded portrait beside each.
What is scored are the packed weights, as users have them.
`--assets` names another folder that holds ``identity/`` and ``restorer/``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, cast

import torch
from judge import KEPT, USUAL, Judge, strips
from torch import Tensor

from edgekit.core.assets import asset_folder
from edgekit.core.store import write_bytes
from edgekit.distill.faces.sets import FaceBatch, load_faces
from edgekit.distill.identity.encoder import IdentityEncoder
from edgekit.distill.preview import write_preview
from edgekit.distill.program import host
from edgekit.distill.restorer.one_step import CODE_TOKENS, CODE_WIDTH
from edgekit.distill.restorer.phone import PhoneRestorer
from edgekit.distill.restorer.stages import CodeEncoder
from edgekit.distill.shipped import needs_encoder, read_shipped


def main() -> None:
    """Score every condition and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, help="default: what this installation ships")
    parser.add_argument("--real", type=Path, nargs="+", help="folders of `edgekit pairs faces`")
    parser.add_argument("--rendered", type=Path, nargs="+", help="the same of the head model")
    parser.add_argument("--judged", type=int, default=128, help="portraits of a condition")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pictures", type=Path, help=f"folder for the first {KEPT} of each")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()

    def asset(name: str) -> Path:
        return given.assets / name if given.assets else asset_folder(name)

    restorer, encoder = read_shipped(asset("restorer")), None
    facts: dict[str, Any] = {"restorer": restorer.card["sha256"]}
    if needs_encoder(restorer.card):
        identity = read_shipped(asset("identity"))
        encoder = CodeEncoder(cast(IdentityEncoder, identity.network))
        facts["identity"] = identity.card["sha256"]
    network = cast(PhoneRestorer, restorer.network)
    size_px = int(restorer.card["size_px"])
    folders = {"real": given.real, "rendered": given.rendered}
    sets = {
        name: load_faces(found, split="test", size_px=size_px)
        for name, found in folders.items()
        if found
    }
    judge = Judge(
        sets, torch.device("cpu"), judged=given.judged, recognizer=None, workers=given.workers
    )

    def restored(batch: FaceBatch) -> Tensor:
        if encoder is None:
            nobody = torch.zeros(len(batch.degraded), CODE_TOKENS, CODE_WIDTH)
            alone: Tensor = network(batch.degraded, nobody)
            return alone
        code = encoder(batch.references, batch.reference_mask)
        known = network.given(batch.references, batch.reference_mask, code)
        return network.restored(batch.degraded, known)

    scores: dict[str, Any] = {}
    for condition in judge.conditions():
        if encoder is None and (condition.references != USUAL or condition.wrong):
            continue
        batch = judge.batch(condition)
        made = judge.made(restored, batch)
        before = judge.scored(batch.degraded.clamp(-1, 1), batch)
        scores[condition.name] = {"degraded": before, "restored": judge.scored(made, batch)}
        print(condition.name, before["psnr_db"], scores[condition.name]["restored"]["psnr_db"])
        if given.pictures:
            name = condition.name.replace("/", "-").replace(" ", "-")
            given.pictures.mkdir(parents=True, exist_ok=True)
            write_preview(given.pictures / f"{name}.png", list(strips(made, batch)))
    judge.close()
    facts |= {"size_px": size_px, "host": host(), "scores": scores}
    write_bytes(given.out, (json.dumps(facts, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
