"""Prepared footage: the cache of encoded files, and their access units for serving. Never re-encodes while serving.

A cache entry is written under a temporary name and renamed, so two processes may prepare at once and a reader never
sees half a file. Entries never change: their name has a digest of every parameter.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from av.error import FFmpegError

from vms.errors import MalformedError, UserError
from vms.model import VIDEO_CLOCK_HZ, Codec, CodecConfig
from vms.simulate import encoding, materials
from vms.simulate.nals import is_kept, is_recovery_point, parameter_sets, split
from vms.simulate.recipes import CAMERAS, Material, Pair, RandomAccess, Recipe, small

MAX_FILE_BYTES = 1 << 30  # whole files are held in memory while they are served
_CODECS = {"h264": Codec.H264, "hevc": Codec.H265}


@dataclass(frozen=True, slots=True)
class Footage:
    """A main file and the file of its sub-stream, if it has one."""

    main: Path
    sub: Path | None = None


@dataclass(frozen=True, slots=True)
class ClipUnit:
    """One access unit of a file. Times in 90 kHz ticks from the clip's start; `dts` never falls and starts at 0.

    `nals` are all NAL units of the sample without length or start code, parameter sets and AUDs left out;
    `sha256` is of `AccessUnit.data` as `vms.model` defines it. `pts` is at least `dts`.
    """

    pts: int
    dts: int
    key: bool
    nals: tuple[bytes, ...]
    sets: tuple[bytes, ...]  # parameter sets in force, whole NAL units
    sha256: str

    @property
    def size_bytes(self) -> int:
        """Length of `data`."""
        return sum(map(len, self.nals)) + 4 * len(self.nals)

    @property
    def data(self) -> bytes:
        return b"".join(len(nal).to_bytes(4, "big") + nal for nal in self.nals)


@dataclass(frozen=True, slots=True)
class Clip:
    """A file ready to be looped: after `duration` ticks the first unit follows the last."""

    name: str
    config: CodecConfig
    units: tuple[ClipUnit, ...]
    duration: int


def prepare(
    cache_dir: Path | None = None,
    progress: encoding.Progress | None = None,
    pairs: Sequence[Pair] = CAMERAS,
) -> list[Footage]:
    """Encode what the cache lacks; `progress(name, done, total)` counts pictures. Takes about a minute the first time.

    Raises `UserError` when the material is not on this host and cannot be had.
    """
    cache = cache_dir or materials.default_cache()
    return [Footage(cached(p.main, cache, progress), cached(p.sub, cache, progress) if p.sub else None) for p in pairs]


def prepare_small(
    cache_dir: Path | None = None, progress: encoding.Progress | None = None, *, pattern: bool = False
) -> list[Footage]:
    """Three small cameras (H.264, H.265, H.264 with B-frames) in a few seconds; the pattern where `bikes` cannot be had."""
    cache = cache_dir or materials.default_cache()
    if not pattern:
        try:
            materials.find(Material.BIKES, cache)
        except UserError:
            pattern = True
    return prepare(cache, progress, small(Material.PATTERN if pattern else Material.BIKES))


def cached(recipe: Recipe, cache_dir: Path, progress: encoding.Progress | None = None) -> Path:
    """Path of the encoded recipe, encoding it first if need be."""
    target = cache_dir / recipe.file_name
    if target.is_file():
        return target
    if recipe.material is Material.FILE:
        source: Path | None = Path(recipe.source)
    else:
        source = None if recipe.material is Material.PATTERN else materials.find(recipe.material, cache_dir)
    cache_dir.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".preparing-", suffix=".mp4", dir=cache_dir)
    os.close(handle)
    try:
        encoding.encode(recipe, source, Path(name), progress)
        os.chmod(name, 0o644)
        materials.publish(Path(name), target)
    finally:
        Path(name).unlink(missing_ok=True)
    return target


def recoded(path: Path, cache_dir: Path, change: Recoding, progress: encoding.Progress | None = None) -> Path:
    """`path` encoded anew with `change`, in the cache: what a quirk needs that only an encoder can make."""
    facts = probe(path)
    width, height = facts.width * change.size_percent // 100, facts.height * change.size_percent // 100
    fps = facts.fps
    recipe = Recipe(
        name=f"recoded-{change.name}",
        material=Material.FILE,
        codec=change.codec or facts.codec,
        width=max(64, width // 2 * 2),
        height=max(64, height // 2 * 2),
        fps=fps,
        seconds=max(1, int(facts.pictures / fps)),
        gop=facts.gop,
        bit_rate=facts.bit_rate,
        b_frames=change.b_frames,
        slices=change.slices,
        access=change.access,
        plain=change.plain,
        source=str(path),
        source_key=_digest(path),
    )
    if change.sub:
        recipe = replace(recipe, width=640, height=360, fps=min(fps, Fraction(25, 2)), bit_rate=512_000)
        recipe = replace(recipe, gop=max(1, int(recipe.fps * facts.gop / fps)))
    if change.gop_seconds:
        gop = int(fps * change.gop_seconds)
        recipe = replace(recipe, seconds=change.gop_seconds, gop=gop, bit_rate=min(recipe.bit_rate, 500_000))
    return cached(recipe, cache_dir, progress)


@dataclass(frozen=True, slots=True)
class Recoding:
    """What an encoder changes for a quirk; everything else stays as in the file."""

    name: str
    codec: Codec | None = None
    b_frames: int = 0
    slices: int = 1
    access: RandomAccess = RandomAccess.IDR
    plain: bool = False
    size_percent: int = 100
    sub: bool = False  # 640x360, at most 12.5 fps, 512 kbit/s
    gop_seconds: int = 0  # one GOP of this length, at a low bit rate


def with_sub(path: Path, cache_dir: Path | None = None, progress: encoding.Progress | None = None) -> Footage:
    """A file somebody named, and a sub-stream made from it (in the cache). Raises `UserError` when it cannot be served."""
    change = Recoding("sub", codec=Codec.H264, sub=True)
    return Footage(path, recoded(path, cache_dir or materials.default_cache(), change, progress))


def in_turn(first: Clip, second: Clip, units_each: int) -> Clip:
    """`units_each` units of one clip, then of the other, and so on. Both must have the same pictures and key pictures."""
    if [(u.key, u.dts) for u in first.units] != [(u.key, u.dts) for u in second.units]:
        raise UserError(f"{first.name} cannot be recoded picture by picture; use footage with GOPs of equal length.")
    units = [(first, second)[i // units_each % 2].units[i] for i in range(len(first.units))]
    return replace(first, units=tuple(units))


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a video file says of itself; `gop` is the distance of its first two key pictures, in pictures."""

    codec: Codec
    width: int
    height: int
    fps: Fraction
    pictures: int
    gop: int
    bit_rate: int


def probe(path: Path) -> FileFacts:
    """Facts of the file's first video track. Raises `UserError` for what cannot be served."""
    clip = read_clip(path)
    keys = [index for index, unit in enumerate(clip.units) if unit.key]
    count = len(clip.units)
    fps = Fraction(count * VIDEO_CLOCK_HZ, clip.duration).limit_denominator(1001)
    size_bytes = sum(len(nal) for unit in clip.units for nal in unit.nals)
    return FileFacts(
        codec=clip.config.codec,
        width=clip.config.width,
        height=clip.config.height,
        fps=fps,
        pictures=count,
        gop=keys[1] - keys[0] if len(keys) > 1 else count,
        bit_rate=max(50_000, size_bytes * 8 * VIDEO_CLOCK_HZ // clip.duration),
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_clip(path: Path) -> Clip:
    """The first video track of an MP4 (or anything libavformat stores with lengths) in decoding order.

    Raises `UserError` for a file that is absent, too large, neither H.264 nor H.265, or does not start with a key
    picture.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB; cut it first.")
        with av.open(str(path)) as container:
            return _read(path, container)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except (FFmpegError, MalformedError) as error:
        raise UserError(f"{path} is not footage that can be served: {error}") from error


def _read(path: Path, container: av.container.InputContainer) -> Clip:
    if not container.streams.video:
        raise UserError(f"{path} has no video track.")
    stream = container.streams.video[0]
    context = stream.codec_context
    codec = _CODECS.get(context.name)
    extradata = context.extradata
    if codec is None or not extradata or extradata[0] != 1:
        raise UserError(f"{path} holds {context.name}; an MP4 with H.264 or H.265 is needed.")
    base = stream.time_base
    if base is None:
        raise UserError(f"{path} has no time base.")
    length_size, sets = parameter_sets(codec, extradata)
    units: list[ClipUnit] = []
    end = 0
    for packet in container.demux(stream):
        if packet.size == 0 or packet.pts is None or packet.dts is None:
            continue
        nals = tuple(nal for nal in split(bytes(packet), length_size) if is_kept(codec, nal))
        key = packet.is_keyframe or any(is_recovery_point(codec, nal) for nal in nals)
        pts, dts = (int(Fraction(t) * base * VIDEO_CLOCK_HZ) for t in (packet.pts, packet.dts))
        unit = ClipUnit(pts, dts, key, nals, sets, "")
        units.append(replace(unit, sha256=hashlib.sha256(unit.data).hexdigest()))
        end = max(end, pts + int(Fraction(packet.duration or 0) * base * VIDEO_CLOCK_HZ))
    if not units or not units[0].key:
        raise UserError(f"{path} does not start with a key picture.")
    first = units[0].dts
    config = CodecConfig(
        codec=codec,
        parameter_sets=sets,
        width=context.width,
        height=context.height,
        reorder_depth=_reorder_depth([u.pts for u in units]),
        nominal_fps=float(stream.average_rate or 0),
    )
    shifted = tuple(replace(u, pts=u.pts - first, dts=u.dts - first) for u in units)
    start = min(u.pts for u in units)
    duration = end - start
    if duration <= shifted[-1].dts:
        duration = shifted[-1].dts + VIDEO_CLOCK_HZ // 25
    return Clip(path.stem, config, shifted, duration)


def _reorder_depth(times: list[int]) -> int:
    """How many pictures at most precede a picture in decoding order and follow it in output order."""
    return max(sum(1 for t in times[max(0, i - 16) : i] if t > times[i]) for i in range(len(times)))
