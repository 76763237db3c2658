"""Routes of cameras as a table: import with a dry run, export. The same functions as `vms camera import` and `export`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from storage.camera_registry import plan_table, write_table
from vms.cameras.camera_csv import RowVerdict, Verdict, check_columns, export_cameras, template_table
from vms.cameras.csv_table import MAX_BYTES, read_csv
from web.api import schemas, shapes
from web.api.camera_writing import writing
from web.api.parts import Need, parts_of
from web.identity.access import Act
from web.identity.callers import Caller
from web.identity.refusals import Code, Refusal

router = APIRouter(tags=["cameras"])
NAME = "the table"
_EXAMPLE = "numer;nazwa;adres\r\n1;Rynek 1;10.0.0.5\r\n"
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}, "example": _EXAMPLE}}}
}
Managing = Annotated[Caller, Depends(Need(Act.MANAGE_CAMERAS))]


@router.post(
    "/cameras/import",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"text/csv": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        }
    },
)
async def import_cameras(
    request: Request,
    caller: Managing,
    dry_run: Annotated[bool, Query(description="Only say what would be done.")] = True,
    skip_bad: Annotated[bool, Query(description="Write the good rows although others are bad.")] = False,
) -> schemas.ImportReport:
    """Add and change cameras by a table (UTF-8 or cp1250; columns in the guide). A bad row keeps all from being written."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/csv":
        raise Refusal(Code.UNSUPPORTED_TYPE, "the table is sent as text/csv")
    parts = parts_of(request)
    table = read_csv((await request.body())[: MAX_BYTES + 1], NAME)
    check_columns(table, NAME)
    async with writing(parts, caller) as registry:
        verdicts = await plan_table(registry, table, None, {})
        written = None if dry_run else await write_table(registry, verdicts, skip_bad=skip_bad)
    counts = {kind.value: sum(v.verdict is kind for v in verdicts) for kind in Verdict}
    return schemas.ImportReport(rows=[_row(v) for v in verdicts], counts=counts, written=written)


@router.get("/cameras/export", response_class=Response, responses=_CSV)
async def export_table(request: Request, caller: Managing) -> Response:
    """The cameras as the table that import reads. Passwords are left out."""
    parts = parts_of(request)
    await parts.catalogue.audit(caller.actor.does("export_cameras", parts.clock.wall_ns(), "cameras"))
    return _file(export_cameras(await parts.catalogue.cameras(), await parts.catalogue.profiles()), "kamery.csv")


@router.get("/cameras/import/template", response_class=Response, responses=_CSV)
async def template(request: Request, caller: Managing) -> Response:
    """An example of the table that import reads: every column, and one row with the next free number."""
    return _file(template_table(await parts_of(request).catalogue.next_number()), "kamery-wzor.csv")


def _file(content: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


def _row(v: RowVerdict) -> schemas.ImportRow:
    return schemas.ImportRow(
        line=v.line, number=v.number, name=v.name, verdict=v.verdict, column=v.column or None,
        said=[shapes.said(one) for one in v.said], warnings=[shapes.said(one) for one in v.warnings],
    )  # fmt: skip
