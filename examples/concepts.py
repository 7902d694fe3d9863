"""One base, many concepts: a photo in each of them and in a mix, with one session.

python examples/concepts.py runs/base/bundle photo.jpg out
"""

from __future__ import annotations

import sys
from pathlib import Path

from edgekit.core.images import load_photo, save_photo
from edgekit.runtime import open_bundle


def main(base_folder: str, photo_file: str, out: str) -> None:
    """Write a picture for each concept of the base, and one halfway between the first two."""
    base = open_bundle(Path(base_folder))
    photo = load_photo(Path(photo_file))
    names = [row.name for row in base.manifest.concepts]
    for name in names:
        save_photo(base.switched(name).edit(photo), Path(out) / f"{name}.png")
    if len(names) > 1:
        mixed, blend = base.blended({names[0]: 0.5, names[1]: 0.5})
        save_photo(mixed.edit(photo), Path(out) / f"{names[0]}-{names[1]}.png")
        print(f"the mix lost {blend.lost:.1%} of the change")


if __name__ == "__main__":
    main(*sys.argv[1:])
