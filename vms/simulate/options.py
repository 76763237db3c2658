"""What a simulator is asked for: one value for all cameras, and what single cameras do differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from vms.errors import UserError
from vms.simulate.camera import CameraScript
from vms.simulate.footage import Footage
from vms.simulate.quirks import parse_quirks

MAX_CAMERAS = 1_000
SCHEMES = {
    "basic": ("Basic",),
    "digest": ("SHA-256", "MD5"),
    "digest-md5": ("MD5",),
    "digest-sha256": ("SHA-256",),
}


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """Camera i (`/cam<i>`, `/cam<i>/sub`) shows footage i modulo their number, each from another phase of it.

    `default` holds for every camera; `quirks` are `NAME` or `NAME@camN`; `scripts` replaces the script of single
    cameras altogether. Port 0 takes any free one. With `own_ports` camera i listens on port + i (each on any, for 0),
    so that a stopped camera refuses connections; otherwise it hangs up at the first request.
    """

    footage: tuple[Footage, ...]
    cameras: int = 1
    host: str = "127.0.0.1"
    port: int = 8554
    own_ports: bool = False
    default: CameraScript = field(default_factory=CameraScript)
    quirks: tuple[str, ...] = ()
    scripts: Mapping[str, CameraScript] = field(default_factory=dict)
    log: Path | None = None
    seed: int = 0
    cache_dir: Path | None = None  # for what quirks recode
    session_timeout_s: float = 60.0
    write_buffer_bytes: int = 8 << 20  # per client

    def names(self) -> list[str]:
        return [f"cam{i}" for i in range(self.cameras)]


def scripts_of(options: SimulatorOptions) -> dict[str, CameraScript]:
    """The script of every camera. Raises `UserError` for anything that makes no sense."""
    if not options.footage:
        raise UserError("A simulator needs footage: name a file.")
    if not 1 <= options.cameras <= MAX_CAMERAS:
        raise UserError(f"The number of cameras must be between 1 and {MAX_CAMERAS}.")
    named = parse_quirks(options.quirks)
    names = options.names()
    if unknown := (set(named) | set(options.scripts)) - {"", *names}:
        raise UserError(f"There is no camera {min(unknown)}; they are cam0 to cam{options.cameras - 1}.")
    scripts = {}
    for name in names:
        script = options.scripts.get(name, options.default)
        quirks = script.quirks | named.get("", frozenset()) | named.get(name, frozenset())
        scripts[name] = replace(script, quirks=quirks)
        _check(name, scripts[name])
    return scripts


def _check(name: str, script: CameraScript) -> None:
    if not 0.0 <= script.loss <= 1.0:
        raise UserError(f"{name}: loss is a fraction of packets between 0 and 1, not {script.loss}.")
    amounts = (script.jitter_ms, script.stall_every, script.stall_seconds, script.disconnect_every)
    if min(*amounts, script.disconnect_seconds) < 0:
        raise UserError(f"{name}: times cannot be negative.")
    if script.transport not in ("tcp", "udp", "both"):
        raise UserError(f"{name}: transport is tcp, udp or both, not {script.transport}.")
    if script.auth and ":" not in script.auth:
        raise UserError(f"{name}: credentials are written user:password.")
    if script.auth_scheme not in SCHEMES:
        raise UserError(f"{name}: authentication is one of {', '.join(SCHEMES)}, not {script.auth_scheme}.")
