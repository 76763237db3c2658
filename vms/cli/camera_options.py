"""The options that `vms camera add` and `edit` share, and what they make of a camera.

Owns the options' names and help and their checks; passwords are read here, and refused on the command line.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from vms.errors import UserError
from vms.model import Camera, LegalProfile, SourceKind, StreamKind

CameraArgument = Annotated[str, typer.Argument(metavar="CAMERA", help="Number, name or id.", show_default=False)]
User = Annotated[str | None, typer.Option("--user", help="User name on the camera.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", help='File with the password in one line; "-" reads it from standard input.'),
]
Password = Annotated[str | None, typer.Option("--password", hidden=True)]
Sub = Annotated[str | None, typer.Option("--sub", metavar="URL", help="Address of the sub-stream.")]
Transport = Annotated[str | None, typer.Option("--transport", help="tcp or udp; the other is tried when refused.")]
Source = Annotated[SourceKind | None, typer.Option("--source", help="Who receives: ours (rtsp), PyAV, or ours first.")]
Profile = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="Legal profile.")]
Street = Annotated[str | None, typer.Option("--street")]
Lat = Annotated[str | None, typer.Option("--lat", metavar="DEGREES")]
Lon = Annotated[str | None, typer.Option("--lon", metavar="DEGREES")]
Azimuth = Annotated[str | None, typer.Option("--azimuth", metavar="DEGREES", help="Where it looks, from north.")]
Angle = Annotated[str | None, typer.Option("--angle", metavar="DEGREES", help="How wide it looks.")]
Group = Annotated[str | None, typer.Option("--group")]
Pin = Annotated[str | None, typer.Option("--pin", metavar="SHA256", help="Certificate to expect on rtsps, in hex.")]
TrustClock = Annotated[
    bool | None, typer.Option("--trust-clock/--distrust-clock", help="Take the time from the camera's clock.")
]
RecordSub = Annotated[bool | None, typer.Option("--record-sub/--relay-sub", help="Record the sub-stream too.")]
Record = Annotated[bool | None, typer.Option("--record/--relay", help="Record the main stream.")]
RecordAudio = Annotated[
    bool | None, typer.Option("--record-audio/--no-audio", help="Record sound, where the legal profile allows it.")
]
Enabled = Annotated[bool | None, typer.Option("--enable/--disable", help="In service, or switched off with a gap.")]

_SHARED: dict[str, Any] = {
    "sub": Sub, "user": User, "password_file": PasswordFile, "password": Password, "transport": Transport,
    "source": Source, "profile": Profile, "street": Street, "lat": Lat, "lon": Lon, "azimuth": Azimuth, "angle": Angle,
    "group": Group, "pin": Pin, "trust_clock": TrustClock, "record": Record, "record_sub": RecordSub,
    "record_audio": RecordAudio, "enabled": Enabled,
}  # fmt: skip


def with_camera_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the shared options too, which come to it as one dictionary, its parameter `wishes`.

    typer reads options from the signature: the shared ones stand there in place of `wishes`.
    """
    shape = inspect.signature(command, eval_str=True)
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _SHARED.items()
    ]
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in shape.parameters.values() if p.name != "wishes"]

    @wraps(command)
    def taking(**given: Any) -> None:
        wishes = {name: given.pop(name) for name in _SHARED}
        command(**given, wishes=wishes)

    # The command's own come first, but for the last, which says how to answer.
    vars(taking)["__signature__"] = shape.replace(parameters=[*own[:-1], *shared, own[-1]])
    taking.__annotations__ = {p.name: p.annotation for p in (*own, *shared)}
    return taking


def apply_wishes(camera: Camera, wishes: dict[str, Any]) -> Camera:
    """The camera with what the options ask for; an option not given leaves things as they are."""
    from vms.cameras.camera_edit import check_name, check_pin, check_text, parse_degrees

    if wishes.get("password") is not None:
        raise UserError(
            "--password is refused: it would stand in the process list and the shell's history. Give --password-file, "
            "or leave it out and type it when asked"
        )
    if wishes.get("transport") not in (None, "tcp", "udp"):
        raise UserError("--transport is tcp or udp")
    readers: dict[str, tuple[str, Any]] = {
        "name": ("name", check_name), "number": ("number", int), "transport": ("transport", str),
        "source": ("source", SourceKind), "street": ("street", check_text), "group": ("group", check_text),
        "lat": ("lat", lambda t: parse_degrees(t, -90, 90)), "lon": ("lon", lambda t: parse_degrees(t, -180, 180)),
        "azimuth": ("azimuth_deg", lambda t: parse_degrees(t, 0, 360)),
        "angle": ("angle_deg", lambda t: parse_degrees(t, 0, 360)), "pin": ("certificate_pin", check_pin),
        "trust_clock": ("trust_clock", bool), "enabled": ("enabled", bool), "user": ("username", check_text),
    }  # fmt: skip
    changed: dict[str, Any] = {}
    for wish, (field, read) in readers.items():
        if wishes.get(wish) is not None:
            try:
                changed[field] = read(wishes[wish])
            except UserError as error:
                raise UserError(f"--{wish}: {error}" if wish != "name" else str(error)) from error
    camera = _apply_streams(replace(camera, **changed), wishes)
    password = _read_password(wishes, camera)
    return camera if password is None else replace(camera, password=password)


def _apply_streams(camera: Camera, wishes: dict[str, Any]) -> Camera:
    from vms.cameras.camera_edit import parse_stream_url, with_stream_url

    for wish, kind, record in (
        ("url", StreamKind.MAIN, wishes.get("record")),
        ("sub", StreamKind.SUB, wishes.get("record_sub")),
    ):
        before = next((s for s in camera.streams if s.kind is kind), None)
        if wishes.get(wish) is not None:
            try:
                url = parse_stream_url(wishes[wish], camera.source)
            except UserError as error:
                raise UserError(f"--sub: {error}" if wish == "sub" else str(error)) from error
            if url.username:
                camera = replace(camera, username=url.username)
            camera = with_stream_url(camera, kind, str(url), record=record)
        elif record is not None:
            if before is None:
                raise UserError(f"the camera has no {kind} stream to record; give its address with --{wish}")
            camera = with_stream_url(camera, kind, before.url, record=record)
    main = next((s for s in camera.streams if s.kind is StreamKind.MAIN), None)
    audio = next((s for s in camera.streams if s.kind is StreamKind.AUDIO), None)
    if wishes.get("record_audio") is False:
        return with_stream_url(camera, StreamKind.AUDIO, None)
    if main is not None and (wishes.get("record_audio") or audio is not None):
        return with_stream_url(camera, StreamKind.AUDIO, main.url)  # sound comes in the main stream's session
    return camera


def _read_password(wishes: dict[str, Any], camera: Camera) -> str | None:
    """The new password, asked for when a user is given without one; None to leave it as it is."""
    from vms.cameras.camera_csv import read_password

    file: Path | None = wishes.get("password_file")
    if file is not None:
        return read_password(Path("/dev/stdin") if str(file) == "-" else file)
    if not wishes.get("ask_password") and (not camera.username or camera.password):
        return None
    if not sys.stdin.isatty():
        raise UserError("a password is needed for this user; give --password-file FILE (or - for standard input)")
    typed: str = typer.prompt(f"Password of {camera.username or 'the camera'}", hide_input=True, err=True)
    return typed


def with_profile(camera: Camera, profiles: list[LegalProfile], name: str | None) -> Camera:
    from vms.cameras.camera_edit import find_profile

    return camera if name is None else replace(camera, profile_id=find_profile(profiles, name).id)


def check_audio(camera: Camera, profiles: list[LegalProfile]) -> None:
    profile = next(p for p in profiles if p.id == camera.profile_id)
    if not profile.audio and any(s.kind is StreamKind.AUDIO for s in camera.streams):
        raise UserError(f'the legal profile "{profile.name}" does not allow sound; use --no-audio or another --profile')
