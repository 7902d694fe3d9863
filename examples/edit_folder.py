"""Edit every photo of a folder with a bundle, without torch: the runtime in a dozen lines.

python examples/edit_folder.py runs/night/bundle photos out
"""

from __future__ import annotations

import sys
from pathlib import Path

from edgekit.core.errors import BadInput
from edgekit.core.images import load_photo, photo_files, save_photo
from edgekit.runtime.bundle import open_bundle


def main(bundle_folder: str, photos: str, out: str) -> None:
    """Edit what can be read, name what cannot."""
    bundle = open_bundle(Path(bundle_folder))
    for file in photo_files(Path(photos)):
        try:
            photo = load_photo(file)
        except BadInput as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        target = Path(out) / f"{file.stem}.png"
        save_photo(bundle.edit(photo), target)
        print(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
