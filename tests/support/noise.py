"""Footage that takes all of its bit rate: noise, of which no encoder can make less."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import av

from vms.model import Codec
from vms.simulate import Footage
from vms.simulate.footage import cached
from vms.simulate.recipes import Material, Recipe

WIDTH, HEIGHT, FPS, SECONDS = 320, 180, 25, 4


def noisy(cache: Path, bits_per_s: int = 4_000_000) -> Footage:
    """H.264, a key picture every second, no sub-stream; in the cache."""
    source = cache / "noise.mkv"
    recipe = Recipe(
        "noise", Material.FILE, Codec.H264, WIDTH, HEIGHT, Fraction(FPS), SECONDS, FPS, bits_per_s,
        source=str(source), source_key="noise",
    )  # fmt: skip
    if not (cache / recipe.file_name).is_file():
        _write(source)
    return Footage(cached(recipe, cache))


def _write(path: Path) -> None:
    rng = random.Random(1)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(FPS * SECONDS):
            frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
            for plane in frame.planes:
                plane.update(rng.randbytes(plane.buffer_size))
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
