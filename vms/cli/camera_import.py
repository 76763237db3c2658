"""`vms camera import`: from a table's bytes to verdicts, and to the catalogue when asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.camera_registry import plan_table, write_table
from vms.cameras.camera_csv import RowVerdict, check_columns
from vms.cameras.csv_table import MAX_BYTES, read_csv
from vms.cli.registry import changing, reading
from vms.errors import UserError

if TYPE_CHECKING:
    from vms.cameras.csv_table import CsvTable
    from vms.site import Site


async def import_table(site: Site, file: Path, *, commit: bool, skip_bad: bool) -> tuple[list[RowVerdict], int | None]:
    """Verdicts of all rows, and how many cameras were written: None when nothing was to be."""
    table, folder = _read(file)
    if not commit:
        async with reading(site) as registry:
            return await plan_table(registry, table, folder, os.environ), None
    async with changing(site) as registry:
        verdicts = await plan_table(registry, table, folder, os.environ)
        return verdicts, await write_table(registry, verdicts, skip_bad=skip_bad)


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
