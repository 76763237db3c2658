"""Tables as spreadsheets write them: bytes to rows and back. Knows nothing of cameras.

Reads UTF-8 (with or without BOM) and cp1250 (Polish Excel), `;` or `,` by the header line, an Excel `sep=` line.
Bounded: `MAX_BYTES`, `MAX_ROWS`, `MAX_CELL_CHARS`. A cell that a spreadsheet would take for a formula is written after
an apostrophe, and read back without it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vms.errors import UserError
from vms.sentences import say

MAX_BYTES = 8 * 2**20
MAX_ROWS = 20_000
MAX_CELL_CHARS = 2_048
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Row:
    """One data row. `cells` by column name, stripped; `surplus`: it has more cells than the header."""

    line: int
    cells: dict[str, str]
    surplus: bool = False


@dataclass(frozen=True, slots=True)
class CsvTable:
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_csv(content: bytes, name: str) -> CsvTable:
    """The table in `content`; UserError (naming `name`) when it is not one. Empty lines are skipped."""
    text = _decode(content, name)
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().lower() in ("sep=;", "sep=,"):
        delimiter, text, skipped = first.strip()[-1], rest, 1
    else:
        delimiter = ";" if first.count(";") >= first.count(",") else ","
    if any(len(line) > 64 * MAX_CELL_CHARS for line in text.splitlines()):
        raise UserError(say("table_long_line", table=name, most=64 * MAX_CELL_CHARS))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if not header or not any(header):
            raise UserError(say("table_empty", table=name))
        columns = tuple(cell.strip().lower() for cell in header)
        rows: list[Row] = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(rows) >= MAX_ROWS:
                raise UserError(say("table_rows", table=name, most=MAX_ROWS))
            surplus = any(cell.strip() for cell in cells[len(columns) :])
            by_column = {c: _unescape(cell.strip()) for c, cell in zip(columns, cells, strict=False)}
            rows.append(Row(reader.line_num + skipped, by_column, surplus))
    except csv.Error as error:
        line = reader.line_num + skipped
        raise UserError(say("table_quotes", table=name, line=line).noted(str(error))) from error
    return CsvTable(columns, tuple(rows))


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """UTF-8 with BOM, `;` and CRLF: what Polish Excel opens by a double click."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_escape(cell) for cell in row] for row in rows)
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _decode(content: bytes, name: str) -> str:
    if len(content) > MAX_BYTES:
        raise UserError(say("table_large", table=name, most=MAX_BYTES))
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise UserError(say("table_binary", table=name))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("cp1250")
    except UnicodeDecodeError as error:
        raise UserError(say("table_encoding", table=name, byte=error.start)) from error


def _is_number(cell: str) -> bool:
    return cell.lstrip("+-").replace(".", "", 1).replace(",", "", 1).isdigit()


def _escape(cell: str) -> str:
    return f"'{cell}" if cell.startswith((*_FORMULA, "'")) and not _is_number(cell) else cell


def _unescape(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*_FORMULA, "'")) else cell
