"""Encodes a `Recipe` into a camera-like MP4 with PyAV. Owns encoder options; knows nothing of caches or looping.

Fast presets: two cores must prepare everything in about a minute. The bit rate is held by a VBV buffer of one second.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.error import FFmpegError
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vms.errors import MalformedError
from vms.model import Codec
from vms.simulate.recipes import Material, RandomAccess, Recipe

Progress = Callable[[str, int, int], None]  # name of the footage, pictures done, pictures in all

PATTERN_SIZE = (640, 360)


def encode(recipe: Recipe, material: Path | None, target: Path, progress: Progress | None = None) -> None:
    """Write `recipe` to `target`. Raises `MalformedError` when the material cannot be decoded."""
    try:
        _encode(recipe, material, target, progress)
    except FFmpegError as error:
        raise MalformedError(f"footage {recipe.name}", str(error)) from error


def _encode(recipe: Recipe, material: Path | None, target: Path, progress: Progress | None) -> None:
    frames = _pattern(recipe) if recipe.material is Material.PATTERN or material is None else _decode(material)
    scaled = itertools.islice(_at_rate(frames, recipe), recipe.pictures)
    first = next(scaled, None)
    if first is None:
        raise MalformedError(f"footage {recipe.name}", "the material has no picture")
    with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as output:
        name, options = _encoder(recipe)
        stream = output.add_stream(name, rate=recipe.fps, options=options)
        if not isinstance(stream, VideoStream):
            raise MalformedError(f"footage {recipe.name}", f"{name} does not encode pictures")
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        stream.bit_rate, stream.gop_size, stream.max_b_frames = recipe.bit_rate, recipe.gop, recipe.b_frames
        stream.time_base = 1 / recipe.fps
        done = 0
        for index, frame in enumerate(itertools.chain([first], scaled)):
            frame.pts, frame.time_base = index, 1 / recipe.fps
            output.mux(stream.encode(frame))
            done = index + 1
            if progress and (done % 10 == 0 or done == recipe.pictures):
                progress(recipe.name, done, recipe.pictures)
        output.mux(stream.encode(None))
    if done != recipe.pictures:
        raise MalformedError(f"footage {recipe.name}", f"{done} pictures instead of {recipe.pictures}")


def _decode(path: Path) -> Iterator[VideoFrame]:
    """Pictures of a file, again and again, so that a short source fills any length."""
    while True:
        any_frame = False
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                any_frame = True
                yield frame
        if not any_frame:
            return


def _pattern(recipe: Recipe) -> Iterator[VideoFrame]:
    """A grey gradient that drifts and a bright box that crosses it; repeats after `recipe.pictures`."""
    width, height = PATTERN_SIZE
    for index in itertools.cycle(range(recipe.pictures)):
        frame = VideoFrame(width, height, "yuv420p")
        phase = index * width // recipe.pictures
        row = bytes(((x + phase) % width) * 200 // width + 20 for x in range(width))
        box = phase * (width - 60) // width
        bright = row[:box] + b"\xeb" * 60 + row[box + 60 :]
        for number, (plane, line, lit) in enumerate(
            ((frame.planes[0], row, bright), (frame.planes[1], b"", b""), (frame.planes[2], b"", b""))
        ):
            pad = plane.line_size
            if number == 0:
                top, bottom = height // 3, height // 2
                lines = [(lit if top <= y < bottom else line).ljust(pad, b"\x10") for y in range(height)]
                plane.update(b"".join(lines))
            else:
                plane.update(bytes([(96 + number * 20 + index) % 160 + 48]) * (pad * plane.height))
        yield frame


def _at_rate(frames: Iterator[VideoFrame], recipe: Recipe) -> Iterator[VideoFrame]:
    """Frames scaled to fill the recipe's size and taken or repeated to its rate, counting every input as 1/rate."""
    source_fps = _source_rate(recipe)
    graph: Graph | None = None
    emitted = 0
    for index, frame in enumerate(frames):
        if graph is None:
            graph = _scaler(frame, recipe)
        while Fraction(emitted) / recipe.fps < Fraction(index + 1) / source_fps:
            frame.pts, frame.time_base = emitted, 1 / recipe.fps
            graph.push(frame)
            scaled = graph.pull()
            if isinstance(scaled, VideoFrame):
                scaled.pict_type = 0  # the source's choice of key pictures is not ours
                yield scaled
            emitted += 1


def _source_rate(recipe: Recipe) -> Fraction:
    if recipe.material is Material.PATTERN:
        return recipe.fps
    return {Material.BIKES: Fraction(25), Material.VTEST: Fraction(10)}.get(recipe.material, recipe.fps)


def _scaler(frame: VideoFrame, recipe: Recipe) -> Graph:
    graph = Graph()
    width, height = (recipe.width, recipe.height) if recipe.width else (frame.width // 2 * 2, frame.height // 2 * 2)
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=1 / recipe.fps, name="in"
    )
    fill = graph.add("scale", f"{width}:{height}:force_original_aspect_ratio=increase:flags=bilinear")
    crop = graph.add("crop", f"{width}:{height}")
    pixels = graph.add("format", "yuv420p")
    square = graph.add("setsar", "1")
    sink = graph.add("buffersink")
    graph.link_nodes(source, fill, crop, pixels, square, sink)
    graph.configure()
    return graph


def _encoder(recipe: Recipe) -> tuple[str, dict[str, str]]:
    """Encoder name and private options. Scene cuts are off: cameras send key pictures by the clock."""
    kbit = recipe.bit_rate // 1000
    common: dict[str, int | str] = {
        "keyint": recipe.gop,
        "min-keyint": recipe.gop,
        "scenecut": 0,
        "bframes": recipe.b_frames,
        "vbv-maxrate": kbit,
        "vbv-bufsize": kbit,
        "open-gop": int(recipe.access is RandomAccess.OPEN_GOP),
    }
    if recipe.access is RandomAccess.OPEN_GOP:
        common["b-adapt"] = 0  # so that four B-frames and a GOP of a multiple of five leave some before the key picture
    if recipe.slices > 1:
        common["slices"] = recipe.slices
    if recipe.access is RandomAccess.INTRA_REFRESH:
        common["intra-refresh"] = 1
    if recipe.codec is Codec.H264:
        common["sliced-threads"] = 0  # PyAV asks for slice threads: as many slices as the host has processors
        if recipe.plain:
            common |= {"cabac": 0, "8x8dct": 0, "ref": 1}
        else:
            common |= {"cabac": 1, "8x8dct": 1, "ref": 2}
        text = ":".join(f"{k}={v}" for k, v in common.items())
        profile = "main" if recipe.plain else "high"
        return "libx264", {"preset": "superfast", "profile": profile, "x264-params": text}
    common |= {"ref": 1 if recipe.plain else 2, "sao": 0, "wpp": 1, "log-level": "none", "repeat-headers": 0}
    common["hash"] = 3  # a checksum SEI after every picture: something to keep bit for bit
    if recipe.plain:
        common["temporal-mvp"] = 0
    text = ":".join(f"{k}={v}" for k, v in common.items())
    return "libx265", {"preset": "ultrafast", "x265-params": text}
