"""Footage whose pictures say which picture they are, the reading of it off a page, and when each picture was sent.

Across the top of every picture lie two rows of black and white cells: the bits of its number, and below them their
opposites, so that nothing else reads as a number. Numbers count the pictures of one loop. The simulator's journal says
when each was handed to the camera's socket, on the clock by which the page says when it stood on the screen.
"""

from __future__ import annotations

import bisect
import hashlib
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.video.frame import VideoFrame

from vms.model import VIDEO_CLOCK_HZ
from vms.simulate import Footage
from vms.simulate.footage import probe

BITS = 10  # 1024 pictures: 40 s at 25 a second
ROW_SHARE = 16  # each of the two rows is a sixteenth of the picture high
BLACK, WHITE, GREY = 16, 235, 128
FORMAT = 1  # of the name in the cache
SCRIPT = f"({Path(__file__).with_suffix('.js').read_text()})({BITS}, {ROW_SHARE})"  # for the page


def numbered(footage: Footage, cache: Path) -> Footage:
    """The same pictures with their numbers, encoded anew as they were; in the cache."""
    return Footage(_numbered(footage.main, cache), None if footage.sub is None else _numbered(footage.sub, cache))


@dataclass(frozen=True, slots=True)
class Loop:
    """How many pictures a stream's loop has, and how far apart they are at 90 kHz."""

    pictures: int
    ticks: int


def loops_of(footage: Footage) -> dict[str, Loop]:
    """By what the simulator calls the stream."""
    files = {"main": footage.main, "sub": footage.sub}
    facts = {kind: probe(path) for kind, path in files.items() if path is not None}
    return {kind: Loop(f.pictures, int(VIDEO_CLOCK_HZ / f.fps)) for kind, f in facts.items()}


def _numbered(path: Path, cache: Path) -> Path:
    with path.open("rb") as file:
        key = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    target = cache / f"numbered-{FORMAT}-{key}.mp4"
    if not target.is_file():
        handle, name = tempfile.mkstemp(prefix=".preparing-", suffix=".mp4", dir=cache)
        os.close(handle)
        try:
            _encode(path, Path(name))
            Path(name).replace(target)
        finally:
            Path(name).unlink(missing_ok=True)
    return target


def _encode(path: Path, target: Path) -> None:
    facts = probe(path)
    assert facts.pictures < 1 << BITS
    kbit = facts.bit_rate // 1000
    x264 = (
        f"keyint={facts.gop}:min-keyint={facts.gop}:scenecut=0:bframes=0:sliced-threads=0:"
        f"vbv-maxrate={kbit}:vbv-bufsize={kbit}"
    )
    options = {"preset": "superfast", "profile": "high", "x264-params": x264}
    with av.open(str(path)) as source, av.open(str(target), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=facts.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = facts.width, facts.height, "yuv420p"
        stream.bit_rate, stream.gop_size, stream.max_b_frames = facts.bit_rate, facts.gop, 0
        stream.time_base = 1 / facts.fps
        for number, frame in enumerate(_copies(source.decode(video=0))):
            _draw(frame, number)
            frame.pts, frame.time_base = number, 1 / facts.fps
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _copies(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """Pictures of our own: what a decoder gives, later pictures still refer to."""
    for frame in frames:
        copy = VideoFrame(frame.width, frame.height, "yuv420p")
        for ours, theirs in zip(copy.planes, frame.planes, strict=True):
            to, of = memoryview(ours), memoryview(theirs)
            for y in range(ours.height):
                line = of[y * theirs.line_size :][: ours.width]
                to[y * ours.line_size :][: ours.width] = line
        yield copy


def _draw(frame: VideoFrame, number: int) -> None:
    height = frame.height // ROW_SHARE
    edges = [frame.width * i // BITS for i in range(BITS + 1)]
    bits = [number >> BITS - 1 - i & 1 for i in range(BITS)]
    luma, *colours = frame.planes
    for row in range(2):
        line = b"".join(
            bytes([WHITE if bit != row else BLACK]) * (edges[i + 1] - edges[i]) for i, bit in enumerate(bits)
        )
        for y in range(row * height, (row + 1) * height):
            memoryview(luma)[y * luma.line_size :][: frame.width] = line
    for plane in colours:
        for y in range(height):
            memoryview(plane)[y * plane.line_size :][: plane.width] = bytes([GREY]) * plane.width


class Sendings:
    """When numbers were sent, from the simulator's journal; `loops` is of every camera's footage."""

    def __init__(self, journal: Iterable[dict[str, Any]], loops: Mapping[str, Loop]) -> None:
        self._loops = loops
        self._at: dict[tuple[str, str, int], list[float]] = defaultdict(list)
        for record in journal:
            if "event" not in record and not record["lost"]:
                number = record["index"] % loops[record["stream"]].pictures
                self._at[record["camera"], record["stream"], number].append(record["utc_ns"] / 1e6)

    def age_ms(self, camera: str, kind: str, number: int, at_ms: float) -> float | None:
        """How long before `at_ms` this number was last sent; None when it never was."""
        times = self._at.get((camera, kind, number), [])
        found = bisect.bisect_right(times, at_ms)
        return at_ms - times[found - 1] if found else None

    def ages_ms(self, camera: str, kind: str, seen: Sequence[Sequence[Any]]) -> list[float | None]:
        """How old each picture of `burnedIn.watch` was when it stood on the screen.

        None where no number was read, or another picture's: a canvas may be given a newer picture than the callback is
        about. Which it is, the steps of the RTP timestamps say.
        """
        loop, first = self._loops[kind], seen[0][4] if seen else 0
        steps = [round((rtp - first) / loop.ticks) for *_, rtp in seen]
        offsets = [
            None if one[0] is None else (one[0] - step) % loop.pictures for one, step in zip(seen, steps, strict=True)
        ]
        (usual, _), *_ = Counter(o for o in offsets if o is not None).most_common(1) or [(None, 0)]
        return [
            self.age_ms(camera, kind, one[0], one[2]) if offset is not None and offset == usual else None
            for one, offset in zip(seen, offsets, strict=True)
        ]
