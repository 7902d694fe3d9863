"""A camera's newest frame through a bundle, again and again: raw RGB in, raw RGB out.

ffmpeg -f v4l2 -i /dev/video0 -vf scale=320:240 -pix_fmt rgb24 -f rawvideo - |
  python examples/live_video.py runs/night/bundle 320x240 |
  ffplay -f rawvideo -pixel_format rgb24 -video_size 320x240 -

With --every no frame is dropped, for video files.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edgekit.runtime import live, open_bundle
from edgekit.runtime.video import raw_frames


def main(bundle_folder: str, size: str, *words: str) -> None:
    """Edit what stands on stdin until it ends or nobody reads the result any more."""
    bundle = open_bundle(Path(bundle_folder))
    width, height = (int(side) for side in size.split("x"))
    frames = raw_frames(sys.stdin.buffer, width, height)
    edited = dropped = 0
    try:
        if "--every" in words:
            for frame in frames:
                sys.stdout.buffer.write(bundle.edit(frame).tobytes())
                edited += 1
        else:
            for shown in live(bundle.edit, frames):
                sys.stdout.buffer.write(shown.photo.tobytes())
                sys.stdout.buffer.flush()
                edited, dropped = edited + 1, dropped + shown.dropped
    except BrokenPipeError:
        sys.stderr.close()  # whoever looked has closed the window
    else:
        print(f"{edited} frames edited, {dropped} dropped", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
