"""Cameras for a rebuilt catalogue: out of journals, then the host's sealed assignment, then bare streams.

Owns the order in which these are believed. A stream known already is left alone. Invariant: afterwards every stream of
which anything was found is registered, so that nothing recorded needs to be left out; a camera that nobody described is
brought back retired, so that nobody tries to record from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby
from uuid import UUID, uuid5

from storage.catalogue import Catalogue
from storage.catalogue.values import Expectation, StreamAbout
from storage.journal import Journal
from storage.rebuild_report import RebuildReport
from vms.assignment import Assignment, CameraAssignment
from vms.model import Camera, GapReason, LegalProfile, Stream, StreamKind


async def last_statement(
    keys: Sequence[str], read: Callable[[str], Awaitable[tuple[Journal, bytes] | None]]
) -> tuple[Journal | None, str]:
    """Of a stream's newest journals, in the order of their hours, the one that states the registry last.

    Of the parts and hosts of an hour the one written last, whatever their names. Beside it the newest that cannot be
    read and might state more, or nothing.
    """
    unreadable = ""
    for _, of_hour in groupby(reversed(keys), key=_hour):
        stating: list[Journal] = []
        for key in of_hour:
            found = await read(key)
            if found is None:
                unreadable = unreadable or key
            elif found[0].about is not None:
                stating.append(found[0])
        if stating:
            return max(stating, key=lambda journal: journal.written_ns), unreadable
    return None, unreadable


def _hour(key: str) -> tuple[str, str]:
    folder, _, name = key.rpartition("/")
    return folder, name[:2]


async def restore_registry(
    catalogue: Catalogue,
    report: RebuildReport,
    stated: Sequence[StreamAbout],
    streams: Collection[UUID],
    *,
    assignment: Assignment,
    profile: LegalProfile,
    anew: Collection[UUID] = (),
) -> None:
    """Register what `stated` (oldest first) and the assignment tell, and every other one of `streams`.

    `anew`: streams that are known by what was stated earlier, and are to be told again.
    """
    assigned = {stream.id for camera in assignment.cameras for stream in camera.streams}
    wanted = {*streams, *assigned, *(about.stream.id for about in stated)}
    known = await catalogue.known_streams(wanted) - set(anew)
    told = [about for about in stated if about.stream.id not in known]
    default = _profile_named(profile, [*await catalogue.profiles(), *(about.profile for about in told)])
    cameras = {about.camera.id: about for about in told}
    missing = wanted - known - {about.stream.id for about in told}
    abouts = list(of_assignment(assignment, missing, cameras, default, report.started_ns))
    missing -= {about.stream.id for about in abouts}
    report.recovered_streams = sorted(missing & set(streams))
    bare = [bare_stream(stream_id, default, report.started_ns) for stream_id in report.recovered_streams]
    everything = [*bare, *abouts, *told]  # what journals state of a camera counts more
    if everything:
        report.renumbered = await catalogue.bring_back(everything, at_ns=report.started_ns)
        report.cameras = len({about.camera.id for about in everything})
    passwords = {c.camera_id: (c.username, c.password) for c in assignment.cameras if c.username or c.password}
    report.passwords = await catalogue.restore_passwords(passwords)


def _profile_named(wanted: LegalProfile, profiles: Sequence[LegalProfile]) -> LegalProfile:
    """The one of that name that was stated last, else `wanted`."""
    return next((p for p in reversed(profiles) if p.name == wanted.name), wanted)


def of_assignment(
    assignment: Assignment,
    missing: Collection[UUID],
    cameras: Mapping[UUID, StreamAbout],
    profile: LegalProfile,
    at_ns: int,
) -> Iterator[StreamAbout]:
    """What the assignment tells of the `missing` streams; a camera that is among `cameras` stays as it is there."""
    for camera in assignment.cameras:
        for stream in camera.streams:
            if stream.id not in missing:
                continue
            known = cameras.get(camera.camera_id)
            of = known.camera if known else _camera(camera, profile)
            since_ns = camera.since_ns.get(stream.id, at_ns)
            suspended = None if camera.enabled else GapReason.DISABLED
            wanted = (Expectation(stream.id, since_ns, None, suspended),) if stream.record else ()
            yield StreamAbout(of, stream, known.profile if known else profile, wanted)


def _camera(camera: CameraAssignment, profile: LegalProfile) -> Camera:
    return Camera(
        camera.camera_id, camera.number, camera.name, profile.id, (), camera.enabled, camera.source, camera.transport,
        trust_clock=camera.trust_clock, certificate_pin=camera.certificate_pin,
    )  # fmt: skip


def bare_stream(stream_id: UUID, profile: LegalProfile, at_ns: int) -> StreamAbout:
    """A stream of which only footage is left, under a retired camera of its own. The same stream gives the same camera."""
    camera = Camera(uuid5(stream_id, "camera"), 1, f"Recovered {stream_id.hex[:8]}", profile.id, (), retired_ns=at_ns)
    return StreamAbout(camera, Stream(stream_id, camera.id, StreamKind.MAIN, "", record=False), profile)
