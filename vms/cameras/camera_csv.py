"""The list of cameras as a table: which cells mean what, and what importing one would do. Pure but for password files.

Owns the columns and the verdict on each row. Invariants: an empty cell leaves a thing as it is; a row is found by
`numer`, so importing twice changes nothing; a password stands in no cell, only the reference to one, and is never
repeated in a message; nothing is written here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from vms.camera_url import RTSP_SCHEMES, CameraUrl, check_placeholders
from vms.cameras.camera_edit import (
    changes_between,
    check_name,
    check_text,
    likenesses,
    parse_degrees,
    takes_password_along,
    with_stream_url,
)
from vms.cameras.csv_table import MAX_CELL_CHARS, CsvTable, Row, write_csv
from vms.errors import UserError
from vms.model import Camera, LegalProfile, SourceKind, StreamKind
from vms.sentences import Sentence, say, sentence_of

COLUMNS = (
    "numer", "nazwa", "ulica", "lat", "lon", "azymut", "kąt", "adres", "port", "profil_main", "profil_sub", "login",
    "hasło_ref", "grupa", "retencja", "rola_prawna",
)  # fmt: skip
_ALIASES = {"kat": "kąt", "haslo_ref": "hasło_ref"}
_MAX_PASSWORD_BYTES = 4096


class Verdict(StrEnum):
    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """What importing one row would do. `camera` is the camera as it would be; None for an error."""

    line: int
    number: str
    name: str
    verdict: Verdict
    column: str = ""
    said: tuple[Sentence, ...] = ()  # what is wrong with it, or what differs
    camera: Camera | None = None
    warnings: tuple[Sentence, ...] = ()  # nothing is wrong by itself, but a person should look

    @property
    def detail(self) -> str:
        return "; ".join(self.said)

    @property
    def warning(self) -> str:
        return "; ".join(self.warnings)


class _CellError(Exception):
    """A cell that cannot be used."""

    def __init__(self, column: str, problem: Sentence) -> None:
        super().__init__(problem)
        self.column, self.problem = column, problem

    @classmethod
    def of(cls, column: str, error: UserError) -> _CellError:
        """What was raised about a cell's text."""
        said = sentence_of(error)
        assert said is not None, error
        return cls(column, said)


@dataclass(frozen=True, slots=True)
class Known:
    """What is registered, and where password references point."""

    cameras: dict[int, Camera]
    profiles: Sequence[LegalProfile]
    default_profile: LegalProfile
    folder: Path | None  # relative `file:` references start here; None: no reference is followed
    environ: Mapping[str, str]


def check_columns(table: CsvTable, name: str) -> None:
    """UserError for a column that is unknown, there twice, or missing."""
    columns = [_ALIASES.get(c, c) for c in table.columns]
    for column in columns:
        if column not in COLUMNS:
            close = get_close_matches(column, COLUMNS, 1)
            facts = {"table": name, "column": column[:60]}
            if close:
                raise UserError(say("table_column_close", close=close[0], **facts))
            raise UserError(say("table_column_unknown", known=", ".join(COLUMNS), **facts))
        if columns.count(column) > 1:
            raise UserError(say("table_column_twice", table=name, column=column))
    if "numer" not in columns:
        raise UserError(say("table_no_number", table=name))


def plan_import(table: CsvTable, known: Known) -> list[RowVerdict]:
    """A verdict for every row, in order."""
    seen: dict[int, int] = {}
    verdicts = []
    for row in table.rows:
        cells = {_ALIASES.get(c, c): cell for c, cell in row.cells.items()}
        number, name = cells.get("numer", "")[:20], cells.get("nazwa", "")[:60]
        try:
            camera, before = _plan_row(row, cells, known, seen)
        except _CellError as error:
            verdicts.append(RowVerdict(row.line, number, name, Verdict.ERROR, error.column, (error.problem,)))
            continue
        if before is None:
            verdicts.append(RowVerdict(row.line, number, camera.name, Verdict.NEW, camera=camera))
        elif changes := changes_between(before, camera):
            verdicts.append(RowVerdict(row.line, number, camera.name, Verdict.CHANGED, "", tuple(changes), camera))
        else:
            verdicts.append(RowVerdict(row.line, number, camera.name, Verdict.UNCHANGED, camera=camera))
    afterwards = known.cameras | {v.camera.number: v.camera for v in verdicts if v.camera is not None}
    alike = likenesses(afterwards.values())
    return [replace(v, warnings=alike.get(v.camera.id, ())) if v.camera is not None else v for v in verdicts]


def export_cameras(cameras: Sequence[Camera], profiles: Sequence[LegalProfile]) -> bytes:
    """The same table back. Password references are left empty: passwords do not leave the catalogue."""
    by_id = {p.id: p for p in profiles}
    rows = []
    for c in cameras:
        main, sub = _url_of(c, StreamKind.MAIN), _url_of(c, StreamKind.SUB)
        profile = by_id[c.profile_id]
        rows.append(
            [
                str(c.number), c.name, c.street, _decimal(c.lat), _decimal(c.lon), _decimal(c.azimuth_deg),
                _decimal(c.angle_deg), *_address_cells(main), _sub_cell(sub, main), c.username, "", c.group,
                str(profile.days), profile.name,
            ]
        )  # fmt: skip
    return write_csv(COLUMNS, rows)


def template_table(number: int) -> bytes:
    """The table with one row as an example: a camera of this number, which should be free, at an address for documents."""
    example = [
        str(number), "Rynek, płyta", "Rynek Główny 1", _decimal(50.0617), _decimal(19.9373), "90", "60", "192.0.2.10", "554",
        "/Streaming/Channels/101", "/Streaming/Channels/102", "stroz", "", "Śródmieście", "", "",
    ]  # fmt: skip
    return write_csv(COLUMNS, [example])


def _plan_row(row: Row, cells: dict[str, str], known: Known, seen: dict[int, int]) -> tuple[Camera, Camera | None]:
    if row.surplus:
        raise _CellError("", say("cells_surplus"))
    for column, cell in cells.items():
        if len(cell) > MAX_CELL_CHARS or re.search(r"[\x00-\x1f\x7f]", cell):
            raise _CellError(column, say("cell_text", most=MAX_CELL_CHARS))
    number = _number(cells.get("numer", ""), "numer", 1, 999_999)
    if number in seen:
        raise _CellError("numer", say("number_twice", number=number, line=seen[number]))
    seen[number] = row.line
    before = known.cameras.get(number)
    camera = before or _new_camera(number, cells, known)
    camera = _with_plain_cells(camera, cells)
    camera = _with_addresses(camera, cells)
    if cells.get("login"):
        camera = replace(camera, username=cells["login"])
    if cells.get("hasło_ref"):
        camera = replace(camera, password=_resolve_password(cells["hasło_ref"], known))
    elif before is not None and takes_password_along(before, camera):
        raise _CellError("hasło_ref", say("password_stays"))
    return _with_profile(camera, cells, known), before


def _new_camera(number: int, cells: Mapping[str, str], known: Known) -> Camera:
    for column in ("nazwa", "adres"):
        if not cells.get(column) and not (column == "adres" and _is_whole(cells.get("profil_main", ""))):
            raise _CellError(column, say("new_needs", number=number))
    return Camera(uuid4(), number, cells["nazwa"], known.default_profile.id, ())


def _with_plain_cells(camera: Camera, cells: Mapping[str, str]) -> Camera:
    def cell(column: str, parse: Callable[[str], object]) -> object:
        try:
            return parse(cells[column])
        except UserError as error:
            raise _CellError.of(column, error) from error

    readers: dict[str, tuple[str, Callable[[str], object]]] = {
        "nazwa": ("name", check_name),
        "ulica": ("street", check_text),
        "grupa": ("group", check_text),
        "lat": ("lat", lambda text: parse_degrees(text, -90, 90)),
        "lon": ("lon", lambda text: parse_degrees(text, -180, 180)),
        "azymut": ("azimuth_deg", lambda text: parse_degrees(text, 0, 360)),
        "kąt": ("angle_deg", lambda text: parse_degrees(text, 0, 360)),
    }
    changed = {f: cell(column, parse) for column, (f, parse) in readers.items() if cells.get(column)}
    return replace(camera, **changed)  # type: ignore[arg-type]  # each reader gives its field's type


def _with_addresses(camera: Camera, cells: Mapping[str, str]) -> Camera:
    """Main and sub stream from adres, port, profil_main, profil_sub; a sub-stream on the main's host follows it."""
    main_before, sub_before = _url_of(camera, StreamKind.MAIN), _url_of(camera, StreamKind.SUB)
    main = main_before
    if cells.get("adres") and not _is_whole(cells.get("profil_main", "")):
        main = _with_host(main, cells["adres"], camera.source)
    if cells.get("profil_main"):
        main = _with_path(main, cells["profil_main"], "profil_main", camera.source)
    if cells.get("port"):
        port = _number(cells["port"], "port", 1, 65_535)
        if main and main.scheme != "file":
            main = replace(main, port=port)
    if main is None:
        raise _CellError("adres", say("no_address"))
    sub = sub_before
    if cells.get("profil_sub"):
        sub = _with_path(main, cells["profil_sub"], "profil_sub", camera.source)
    elif sub and main_before and main != main_before and sub.host == main_before.host:
        moved = sub.port if sub.port != main_before.port else main.port
        sub = replace(sub, scheme=main.scheme, host=main.host, port=moved)
    if main != main_before:
        camera = with_stream_url(camera, StreamKind.MAIN, str(main))
    if sub is not None and sub != sub_before:
        camera = with_stream_url(camera, StreamKind.SUB, str(sub))
    return camera


def _with_host(url: CameraUrl | None, cell: str, source: SourceKind) -> CameraUrl:
    scheme = url.scheme if url and url.scheme in RTSP_SCHEMES else "rtsp"
    bracketed = f"[{cell}]" if cell.count(":") > 1 and not cell.startswith("[") else cell
    given = _parse_url(cell if "://" in cell else f"{scheme}://{bracketed}", "adres", source)
    kept = url or CameraUrl(given.scheme, "", None, "")
    return replace(
        kept, scheme=given.scheme, host=given.host, port=given.port or kept.port, path=given.path or kept.path
    )


def _with_path(url: CameraUrl | None, cell: str, column: str, source: SourceKind) -> CameraUrl:
    if _is_whole(cell):
        return _parse_url(cell, column, source)
    if url is None or url.scheme == "file":
        raise _CellError(column, say("address_needed"))
    path = cell if cell.startswith("/") else f"/{cell}"
    return replace(url, path=_parse_url(f"rtsp://host{path}", column, SourceKind.RTSP).path)


def _is_whole(cell: str) -> bool:
    """Whether a profile's cell is a whole address rather than a path, which may hold another address."""
    return "://" in cell and not cell.startswith("/")


def _parse_url(text: str, column: str, source: SourceKind) -> CameraUrl:
    try:
        url = CameraUrl.parse(text, source)
        check_placeholders(url)
    except UserError as error:
        raise _CellError.of(column, error) from error
    if url.username or url.password:
        raise _CellError(column, say("no_credentials_path" if "{password}" in url.path else "no_credentials"))
    return url


def _with_profile(camera: Camera, cells: Mapping[str, str], known: Known) -> Camera:
    profile = next((p for p in known.profiles if p.id == camera.profile_id), known.default_profile)
    if named := cells.get("rola_prawna"):
        found = next((p for p in known.profiles if p.name.casefold() == named.casefold()), None)
        if found is None:
            names = ", ".join(p.name for p in known.profiles)
            raise _CellError("rola_prawna", say("no_profile", name=named[:60], known=names))
        profile = found
    if cells.get("retencja") and _number(cells["retencja"], "retencja", 1, 3650) != profile.days:
        raise _CellError("retencja", say("profile_keeps", name=profile.name, days=profile.days))
    return replace(camera, profile_id=profile.id)


def _resolve_password(reference: str, known: Known) -> str:
    kind, _, target = reference.partition(":")
    if known.folder is None:
        raise _CellError("hasło_ref", say("reference_on_server"))
    if kind not in ("env", "file") or not target:
        raise _CellError("hasło_ref", say("reference_form"))
    if kind == "env":
        password = known.environ.get(target, "")
        if not password:
            raise _CellError("hasło_ref", say("no_variable", name=target[:60]))
        return password
    try:
        return read_password(known.folder / target)
    except UserError as error:
        raise _CellError.of("hasło_ref", error) from error


def read_password(file: Path) -> str:
    """The one line in `file`, without its line end; UserError says what is wrong with the file."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_MAX_PASSWORD_BYTES + 1)
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UserError(say("file_unread", file=str(file), why=error.strerror or "")) from error
    except UnicodeDecodeError as error:
        raise UserError(say("file_utf8", file=str(file))) from error
    if not password or len(content) > _MAX_PASSWORD_BYTES or re.search(r"[\x00-\x1f\x7f]", password):
        raise UserError(say("file_password", file=str(file)))
    return password


def _number(text: str, column: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise _CellError(column, say("whole_number", least=least, most=most) if text else say("is_empty"))
    return int(text)


def _url_of(camera: Camera, kind: StreamKind) -> CameraUrl | None:
    stream = next((s for s in camera.streams if s.kind is kind), None)
    return CameraUrl.parse(stream.url, SourceKind.LIBAV) if stream else None


def _address_cells(main: CameraUrl | None) -> list[str]:
    if main is None:
        return ["", "", ""]
    if main.scheme not in RTSP_SCHEMES:
        return [main.host, "", str(main)]
    host = main.host if main.scheme == "rtsp" else f"rtsps://{f'[{main.host}]' if ':' in main.host else main.host}"
    return [host, "" if main.port is None else str(main.port), main.path]


def _sub_cell(sub: CameraUrl | None, main: CameraUrl | None) -> str:
    if sub is None:
        return ""
    same = main and (sub.scheme, sub.host, sub.port) == (main.scheme, main.host, main.port)
    return sub.path if same and sub.path and sub.scheme in RTSP_SCHEMES else str(sub)


def _decimal(value: float | None) -> str:
    return "" if value is None else repr(value).removesuffix(".0")
