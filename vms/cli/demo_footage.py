"""The six cameras of the demo: names, what they show, what is wrong with them. Footage is prepared, not owned, here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from vms.errors import UserError
from vms.simulate import CameraScript, Footage, prepare, prepare_small
from vms.simulate.materials import default_cache, find
from vms.simulate.recipes import CAMERAS, Material, Pair

AWAY_EVERY_S, AWAY_S = 20.0, 6.0


@dataclass(frozen=True, slots=True)
class DemoCamera:
    """A simulated camera; `footage` is its index in what `demo_footage` gives."""

    name: str
    street: str
    footage: int
    script: CameraScript = field(default_factory=CameraScript)


DEMO_CAMERAS = (
    DemoCamera("Rynek 1", "Rynek", 0),
    DemoCamera("Dworzec (H.265)", "Dworcowa", 1),
    DemoCamera("Plac Wolności", "plac Wolności", 2),
    DemoCamera("Most (H.265)", "Mostowa", 3),
    DemoCamera("Łąkowa (0.1 % loss)", "Łąkowa", 4, CameraScript(loss=0.001)),
    DemoCamera(
        "Park (goes away)", "Parkowa", 0, CameraScript(disconnect_every=AWAY_EVERY_S, disconnect_seconds=AWAY_S)
    ),
)
H264_CAMERA, H265_CAMERA = 1, 2  # numbers; clips are exported of these

CODEC_NAMES: Mapping[int, str] = MappingProxyType({H264_CAMERA: "h264", H265_CAMERA: "h265"})


def demo_footage(
    *, small: bool, progress: Callable[[str, int, int], None], tell: Callable[[str], None]
) -> tuple[Footage, ...]:
    """One footage a camera, encoded on first use. Material that cannot be had is told and replaced by other."""
    if small:
        made = prepare_small(progress=progress)
        return tuple(made[c.footage % len(made)] for c in DEMO_CAMERAS)
    pairs = [_available(pair, tell) for pair in CAMERAS]
    prepared = prepare(progress=progress, pairs=pairs)
    return tuple(prepared[c.footage] for c in DEMO_CAMERAS)


def _available(pair: Pair, tell: Callable[[str], None]) -> Pair:
    """The pair, or one of the same codec from other material: of the bikes, or reckoned where there is no network."""
    if _problem(pair.main.material) is None:
        return pair
    tell(f"{pair.main.name} is replaced: {_problem(pair.main.material)}")
    if _problem(Material.BIKES) is None:
        return next(p for p in CAMERAS if p.main.material is Material.BIKES and p.main.codec is pair.main.codec)
    main = replace(pair.main, name=f"pattern-{pair.main.codec.value}", material=Material.PATTERN)
    if pair.sub is None:
        return Pair(main, None)
    return Pair(main, replace(pair.sub, name="pattern-sub", material=Material.PATTERN))


def _problem(material: Material) -> str | None:
    try:
        find(material, default_cache())
    except UserError as error:
        return str(error)
    return None
