"""From what `vms status` shows to what alarms are decided by. Pure: nothing is judged here a second time."""

from __future__ import annotations

from vms.alarms.decision import AlarmKind, Observation, Patience, Trouble
from vms.model import StreamKind
from vms.settings import AlarmsSection
from vms.status.site_judgement import (
    archiver_trouble,
    cameras,
    clock_trouble,
    live_trouble,
    not_recorded,
    spool_recovers,
    spool_trouble,
    store_trouble,
    web_trouble,
)
from vms.status.site_status import SiteStatus
from vms.timeline import SECOND_NS


def observe(status: SiteStatus, mono_ns: int) -> Observation:
    """What is wrong at the site now. A silent recorder is one trouble, not one of every camera."""
    troubles: list[Trouble] = []
    unknown: set[AlarmKind] = set()
    by_camera = cameras(status)
    if status.recorder_answers and not status.problem:
        troubles += _camera_troubles(status)
    else:
        unknown.add(AlarmKind.CAMERA)
    if not status.recorder_answers or status.problem:
        troubles.append(Trouble(AlarmKind.RECORDER, detail=status.problem or "it does not answer"))
    spool = spool_trouble(status)
    if spool is not None:
        troubles.append(Trouble(AlarmKind.SPOOL, detail=spool))
    elif not (status.recorder_answers and status.archiver_answers):  # who was given up, and how much room there is
        unknown.add(AlarmKind.SPOOL)
    elif spool_recovers(status):
        troubles.append(Trouble(AlarmKind.SPOOL, begins=False))
    archiver = archiver_trouble(status)
    if archiver is None:
        troubles += _archive_troubles(status)
    else:
        troubles.append(Trouble(AlarmKind.ARCHIVER, detail=archiver))
        unknown |= {AlarmKind.STORE, AlarmKind.CATALOGUE, AlarmKind.BRAKE}
    for kind, why in ((AlarmKind.WEB, web_trouble(status)), (AlarmKind.LIVE, live_trouble(status))):
        if why is not None:
            troubles.append(Trouble(kind, detail=why))
    clock, report = clock_trouble(status), status.archiver if status.archiver_answers else None
    if clock is not None:
        troubles.append(Trouble(AlarmKind.CLOCK, detail=clock))
    elif status.clock.synchronised is None and (report is None or report.clock_stepped_ns is None):
        unknown.add(AlarmKind.CLOCK)
    return Observation(status.at_ns, mono_ns, tuple(troubles), frozenset(unknown), frozenset(by_camera))


def _camera_troubles(status: SiteStatus) -> list[Trouble]:
    troubles = []
    for camera, lines in cameras(status).items():
        line = not_recorded(lines)
        if line is not None:
            which = "" if line.kind == StreamKind.MAIN else f"{line.kind} stream: "
            why = f"{which}{line.word}" + (f": {line.detail}" if line.detail else "")
            troubles.append(
                Trouble(AlarmKind.CAMERA, camera, f"camera {line.number} {line.name}", why, since_ns=line.since_ns)
            )
    return troubles


def _archive_troubles(status: SiteStatus) -> list[Trouble]:
    report = status.archiver
    assert report is not None
    troubles = []
    if report.catalogue_error:
        troubles.append(Trouble(AlarmKind.CATALOGUE, detail=report.catalogue_error))
    if store := store_trouble(report):
        troubles.append(Trouble(AlarmKind.STORE, detail=store))
    if report.retention_braked:
        troubles.append(Trouble(AlarmKind.BRAKE))
    return troubles


def patience_of(section: AlarmsSection) -> Patience:
    """How long each kind must last, by the settings."""
    seconds = {
        AlarmKind.CAMERA: section.camera_seconds,
        AlarmKind.RECORDER: section.process_seconds,
        AlarmKind.ARCHIVER: section.process_seconds,
        AlarmKind.WEB: section.process_seconds,
        AlarmKind.LIVE: section.process_seconds,
        AlarmKind.STORE: section.store_seconds,
        AlarmKind.CATALOGUE: section.store_seconds,
        AlarmKind.SPOOL: section.spool_seconds,
        AlarmKind.BRAKE: section.spool_seconds,
        AlarmKind.CLOCK: section.clock_seconds,
    }
    return Patience({kind: s * SECOND_NS for kind, s in seconds.items()}, section.clear_seconds * SECOND_NS)
