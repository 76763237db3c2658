"""Changing cameras: the registry as every door of the house uses it, and the recorder's assignment kept in step.

Owns the rule that every change of cameras is followed by a new sealed assignment, written from what the catalogue then
says, under a lock, so that two writers at once cannot leave the older one behind; and what importing a table writes. The
catalogue's default legal profile follows the settings' section [legal].
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack
from uuid import uuid4

from storage.catalogue import Actor, Catalogue, Detail, Happening, HistoryEntry
from vms.assignment import assign, read_assignment, write_assignment
from vms.cameras.camera_csv import Known, RowVerdict, Verdict, plan_import
from vms.cameras.camera_edit import changes_between
from vms.errors import MalformedError, UserError
from vms.model import Camera, LegalProfile
from vms.sentences import say

if TYPE_CHECKING:
    from vms.cameras.csv_table import CsvTable
    from vms.settings import LegalSection
    from vms.site import Site

LOCK_TIMEOUT_S = 30.0


class CameraRegistry:
    """An open catalogue, and who changes it: each change and its entry in the audit log are one transaction.

    `changed`: the assignment must be written anew.
    """

    def __init__(self, site: Site, catalogue: Catalogue, *, by: Actor) -> None:
        self._site = site
        self._catalogue = catalogue
        self._by = by
        self.changed = False

    async def profiles(self) -> tuple[list[LegalProfile], LegalProfile]:
        """All legal profiles, and the one for cameras that name none."""
        found = await self._catalogue.profiles()
        name = self._site.settings.legal.name
        default = next((p for p in found if p.name == name), None)
        return found, default or profile_of(self._site.settings.legal)

    async def cameras(self, *, include_retired: bool = False) -> list[Camera]:
        return await self._catalogue.cameras(include_retired=include_retired)

    async def history(self, camera: Camera) -> list[HistoryEntry]:
        return await self._catalogue.history(camera.id)

    async def next_number(self) -> int:
        return await self._catalogue.next_number()

    async def add(self, camera: Camera) -> Camera:
        now_ns = time.time_ns()
        record = self._by.does("add_camera", now_ns, camera=camera, name=camera.name)
        added = await self._catalogue.add_camera(camera, at_ns=now_ns, by=self._by.name, record=record)
        self.changed = True
        return added

    async def update(self, camera: Camera, *, replaced: bool = False, version: int | None = None) -> Camera:
        now_ns = time.time_ns()

        def record(before: Camera) -> Happening:
            said = [*changes_between(before, camera), *([say("device_replaced")] if replaced else [])]
            changes = [one.as_json() for one in said]
            return self._by.does("change_camera", now_ns, camera=camera, name=camera.name, changes=changes)

        updated = await self._catalogue.update_camera(
            camera, at_ns=now_ns, by=self._by.name, replaced=replaced, version=version, record=record
        )
        self.changed = True
        return updated

    async def retire(self, camera: Camera, *, version: int | None = None) -> Camera:
        now_ns = time.time_ns()
        record = self._by.does("retire_camera", now_ns, camera=camera, name=camera.name)
        retired = await self._catalogue.retire_camera(
            camera.id, at_ns=now_ns, by=self._by.name, version=version, record=record
        )
        self.changed = True
        return retired

    async def put_on_record(self, act: str, about: str, **detail: Unpack[Detail]) -> None:
        """An act on cameras that changes none, or what is about to change many; before it is done."""
        await self._catalogue.audit(self._by.does(act, time.time_ns(), about, **detail))


async def plan_table(
    registry: CameraRegistry, table: CsvTable, folder: Path | None, environ: Mapping[str, str]
) -> list[RowVerdict]:
    """What importing the table would do, row by row. `folder` None: references to passwords are refused."""
    profiles, default = await registry.profiles()
    cameras = {c.number: c for c in await registry.cameras()}
    known = profiles if default in profiles else [*profiles, default]
    return plan_import(table, Known(cameras, known, default, folder, environ))


async def write_table(registry: CameraRegistry, verdicts: Sequence[RowVerdict], *, skip_bad: bool) -> int | None:
    """Write what is new or changed; how many cameras, or None where a bad row keeps all from it."""
    if not skip_bad and any(v.verdict is Verdict.ERROR for v in verdicts):
        return None
    wanted = [v for v in verdicts if v.camera is not None and v.verdict in (Verdict.NEW, Verdict.CHANGED)]
    if wanted:
        await registry.put_on_record("import_cameras", "cameras", rows=len(verdicts), to_write=len(wanted))
    written = 0
    for v in wanted:
        assert v.camera is not None
        try:
            await (registry.add(v.camera) if v.verdict is Verdict.NEW else registry.update(v.camera))
        except UserError as error:
            raise UserError(say("row_refused", line=v.line, written=written).noted(str(error))) from error
        written += 1
    return written


async def refuse_lost(site: Site, catalogue: Catalogue) -> None:
    """UserError for a catalogue that was lost and is not whole again: from it the recorder would be told to record nothing.

    A camera once registered stays in the catalogue. So one that knows none, beside an assignment that names some, is new.
    """
    state = await catalogue.rebuild_state()
    if state is not None and state.finished_ns is None:
        raise UserError(say("rebuild_broken_off"))
    await refuse_emptied(site, catalogue)


async def refuse_emptied(site: Site, catalogue: Catalogue) -> None:
    """UserError for a catalogue that knows no camera although some are recorded: a new one in a lost one's place."""
    assigned = assigned_cameras(site)
    if assigned and not await catalogue.cameras(include_retired=True):
        raise UserError(say("catalogue_lost", cameras=assigned, file=str(site.assignment_file)))


def assigned_cameras(site: Site) -> int:
    """How many cameras the recorder was told to record; 0 where nobody can tell."""
    try:
        return len(read_assignment(site.assignment_file, site.sealer).cameras)
    except (MalformedError, OSError):
        return 0


async def follow_legal_settings(catalogue: Catalogue, legal: LegalSection) -> LegalProfile:
    """Make the catalogue's profile of that name say what the settings say, creating it if need be."""
    found = next((p for p in await catalogue.profiles() if p.name == legal.name), None)
    wanted = profile_of(legal)
    if found is None:
        return await catalogue.put_profile(wanted)
    wanted = replace(wanted, id=found.id)
    return found if found == wanted else await catalogue.put_profile(wanted)


async def refresh_assignment(site: Site, catalogue: Catalogue) -> None:
    """Write the sealed assignment from what the catalogue says now."""
    with site.hold("assignment") as try_to_take:
        try:
            async with asyncio.timeout(LOCK_TIMEOUT_S):
                while not try_to_take():  # noqa: ASYNC110 - the lock is another process's
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise UserError(say("cameras_busy", seconds=LOCK_TIMEOUT_S)) from error
        profiles = {p.id: p for p in await catalogue.profiles()}
        wanted = assign(await catalogue.cameras(), profiles, await catalogue.awaited())
        write_assignment(site.assignment_file, wanted, site.sealer)


def profile_of(legal: LegalSection) -> LegalProfile:
    """The legal profile that the settings describe, under a new id."""
    return LegalProfile(uuid4(), legal.name, legal.basis, legal.days, legal.audio)
