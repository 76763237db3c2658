"""`vms camera import`: from a table's bytes to verdicts, and to the catalogue when asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vms.cli.camera_csv import Known, RowVerdict, Verdict, check_columns, plan_import
from vms.cli.csv_table import MAX_BYTES, read_csv
from vms.cli.registry import CameraRegistry, changing, reading
from vms.errors import UserError

if TYPE_CHECKING:
    from vms.cli.csv_table import CsvTable
    from vms.site import Site


async def import_table(site: Site, file: Path, *, commit: bool, skip_bad: bool) -> tuple[list[RowVerdict], int | None]:
    """Verdicts of all rows, and how many cameras were written: None when nothing was to be."""
    table, folder = _read(file)
    if not commit:
        async with reading(site) as registry:
            return await _plan(registry, table, folder), None
    async with changing(site) as registry:
        verdicts = await _plan(registry, table, folder)
        if not skip_bad and any(v.verdict is Verdict.ERROR for v in verdicts):
            return verdicts, None
        written = 0
        for v in verdicts:
            if v.camera is None or v.verdict is Verdict.UNCHANGED:
                continue
            try:
                await (registry.add(v.camera) if v.verdict is Verdict.NEW else registry.update(v.camera))
            except UserError as error:
                raise UserError(f"line {v.line}: {error}; {written} rows before it are written") from error
            written += 1
        return verdicts, written


def verdict_json(verdict: RowVerdict) -> dict[str, Any]:
    return {
        "line": verdict.line,
        "number": verdict.number,
        "name": verdict.name,
        "verdict": verdict.verdict.value,
        "column": verdict.column or None,
        "detail": verdict.detail or None,
        "warning": verdict.warning or None,
    }


def _read(file: Path) -> tuple[CsvTable, Path]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    table = read_csv(content, file.name)
    check_columns(table, file.name)
    return table, file.absolute().parent


async def _plan(registry: CameraRegistry, table: CsvTable, folder: Path) -> list[RowVerdict]:
    profiles, default = await registry.profiles()
    cameras = {c.number: c for c in await registry.cameras()}
    known = profiles if default in profiles else [*profiles, default]
    return plan_import(table, Known(cameras, known, default, folder, os.environ))
