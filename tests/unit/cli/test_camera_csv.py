"""What importing a table would do, row by row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from vms.cameras.camera_csv import (
    COLUMNS,
    Known,
    RowVerdict,
    Verdict,
    check_columns,
    export_cameras,
    plan_import,
    template_table,
)
from vms.cameras.csv_table import read_csv
from vms.cli import cameras as cli_cameras
from vms.errors import UserError
from vms.model import Camera, LegalProfile, Stream, StreamKind

GUARD = LegalProfile(UUID(int=1), "straż miejska", "ustawa", 30)
SCHOOL = LegalProfile(UUID(int=2), "Szkoła", "ustawa", 14)
CANARY = "kanarek7"


def camera(number: int = 12, **fields: object) -> Camera:
    id_ = uuid4()
    streams = (
        Stream(uuid4(), id_, StreamKind.MAIN, "rtsp://10.0.0.5:8554/main", True),
        Stream(uuid4(), id_, StreamKind.SUB, "rtsp://10.0.0.5:8554/sub", False),
    )
    made = Camera(id_, number, "Rynek", GUARD.id, streams, username="u", password=CANARY)
    return replace(made, **fields)  # type: ignore[arg-type]


def plan(
    text: str, *cameras: Camera, folder: Path = Path("/nowhere"), environ: dict[str, str] | None = None
) -> list[RowVerdict]:
    table = read_csv(text.encode(), "k.csv")
    check_columns(table, "k.csv")
    return plan_import(table, Known({c.number: c for c in cameras}, [GUARD, SCHOOL], GUARD, folder, environ or {}))


def urls(verdict: RowVerdict) -> list[str]:
    assert verdict.camera, verdict.detail
    return [s.url for s in verdict.camera.streams]


def test_a_whole_new_row() -> None:
    header = ";".join(COLUMNS)
    (row,) = plan(
        f"{header}\n7;Łąkowa 3;Łąkowa;52,2297;21.0122;180;90;10.0.0.7;8554;/cam;/cam/sub;stroz;env:HASLO;Praga;14;szkoła\n",
        environ={"HASLO": CANARY},
    )
    assert row.verdict is Verdict.NEW
    made = row.camera
    assert made
    assert (made.number, made.name, made.street, made.lat, made.lon) == (7, "Łąkowa 3", "Łąkowa", 52.2297, 21.0122)
    assert (made.azimuth_deg, made.angle_deg, made.group, made.profile_id) == (180.0, 90.0, "Praga", SCHOOL.id)
    assert (made.username, made.password) == ("stroz", CANARY)
    assert urls(row) == ["rtsp://10.0.0.7:8554/cam", "rtsp://10.0.0.7:8554/cam/sub"]
    assert [s.record for s in made.streams] == [True, False]
    assert CANARY not in repr(row)


def test_empty_cells_and_missing_columns_change_nothing() -> None:
    known = camera()
    for text in ("numer\n12\n", f"{';'.join(COLUMNS)}\n12;;;;;;;;;;;;;;;\n"):
        (row,) = plan(text, known)
        assert row.verdict is Verdict.UNCHANGED
        assert row.camera == known


def test_exported_rows_come_back_unchanged() -> None:
    cameras = [
        camera(1),
        camera(
            2, name="=Wzór;x", street="„ulica”", lat=52.0, lon=-0.5, azimuth_deg=0.0, group="-x", profile_id=SCHOOL.id
        ),
        camera(3, streams=()),
    ]
    for i, url in enumerate(
        ("rtsps://[2001:db8::1]/x?a=b", "rtmp://h/live", "rtsp://h", "rtsp://h:554/a", "rtsp://u.pl/")
    ):
        id_ = uuid4()
        stream = Stream(uuid4(), id_, StreamKind.MAIN, url, True)
        sub = Stream(uuid4(), id_, StreamKind.SUB, "rtsps://other:7/sub", False)
        cameras.append(camera(10 + i, id=id_, streams=(stream, sub)))
    table = export_cameras(cameras, [GUARD, SCHOOL])
    assert CANARY.encode() not in table
    verdicts = plan(table.decode("utf-8-sig"), *cameras)
    assert [(v.verdict, v.column) for v in verdicts] == [
        (Verdict.UNCHANGED, ""),
        (Verdict.UNCHANGED, ""),
        (Verdict.ERROR, "adres"),  # a camera without any stream has no address to write
        *[(Verdict.UNCHANGED, "")] * 5,
    ]


def test_a_moved_camera_takes_its_sub_stream_along() -> None:
    (row,) = plan("numer;adres\n12;10.0.0.9\n", camera(password=""))
    assert urls(row) == ["rtsp://10.0.0.9:8554/main", "rtsp://10.0.0.9:8554/sub"]
    (row,) = plan("numer;adres;port\n12;kamera.miasto.pl;554\n", camera(password=""))
    assert urls(row) == ["rtsp://kamera.miasto.pl:554/main", "rtsp://kamera.miasto.pl:554/sub"]
    before = camera()
    (row,) = plan("numer;profil_main\n12;other\n", before)
    assert urls(row) == ["rtsp://10.0.0.5:8554/other", "rtsp://10.0.0.5:8554/sub"]
    assert row.camera
    assert [s.id for s in row.camera.streams] == [s.id for s in before.streams]


def test_a_stored_password_is_not_taken_along_to_another_host(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("another\n")
    for cells in ("adres\n12;10.6.6.6", "profil_sub\n12;rtsp://10.6.6.6/sub"):
        (row,) = plan(f"numer;{cells}\n", camera())
        assert (row.verdict, row.column, row.camera) == (Verdict.ERROR, "hasło_ref", None)
    (row,) = plan("numer;adres;hasło_ref\n12;10.6.6.6;file:p\n", camera(), folder=tmp_path)
    assert row.camera
    assert row.camera.password == "another"
    (row,) = plan("numer;adres;port\n12;10.0.0.5;554\n", camera())
    assert row.verdict is Verdict.CHANGED


def test_addresses_in_their_many_forms() -> None:
    text = (
        "numer;nazwa;adres;port;profil_main\n"
        "1;a;2001:db8::1;;x\n2;b;rtsps://h;;/x\n3;c;rtsp://h:8554/y;;\n4;d;;;rtmp://h/live\n5;e;h;8554;\n"
    )
    assert [urls(v)[0] for v in plan(text)] == [
        "rtsp://[2001:db8::1]/x", "rtsps://h/x", "rtsp://h:8554/y", "rtmp://h/live", "rtsp://h:8554",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("numer;nazwa\n;x", "numer", "is empty"),
        ("numer;nazwa\n0;x", "numer", "from 1 to 999999"),
        ("numer;nazwa\n1.5;x", "numer", "whole number"),
        ("numer;nazwa\n٣;x", "numer", "whole number"),
        ("numer;nazwa;adres\n5;;h", "nazwa", "new and needs it"),
        ("numer;nazwa;adres\n5;x;", "adres", "new and needs it"),
        ("numer;lat\n12;91", "lat", "-90 to 90"),
        ("numer;lat\n12;północ", "lat", "decimal number"),
        ("numer;lon\n12;1e9", "lon", "decimal number"),
        ("numer;azymut\n12;361", "azymut", "0 to 360"),
        ("numer;kąt\n12;nan", "kąt", "decimal number"),
        ("numer;adres\n12;a b", "adres", "plain ASCII"),
        ("numer;adres\n12;exec:id", "adres", "does not parse"),
        ("numer;adres\n12;file:///etc/passwd", "adres", "libav"),
        (f"numer;adres\n12;u:{CANARY}@h", "adres", "login and hasło_ref"),
        (f"numer;profil_main\n12;rtsp://u:{CANARY}@h/x", "profil_main", "login and hasło_ref"),
        (f"numer;profil_main\n12;/user=u&password={CANARY}", "profil_main", "write {user} and {password}"),
        (f"numer;adres\n12;h/a?pwd={CANARY}", "adres", "write {user} and {password}"),
        ("numer;profil_sub\n12;/{haslo}/a", "profil_sub", "known are {user} and {password}"),
        ("numer;port\n12;70000", "port", "1 to 65535"),
        ("numer;profil_sub\n12;a#b", "profil_sub", "%23"),
        (f"numer;hasło_ref\n12;{CANARY}", "hasło_ref", "env:NAME or file:PATH"),
        ("numer;hasło_ref\n12;env:NIE_MA", "hasło_ref", "NIE_MA"),
        ("numer;hasło_ref\n12;file:/nie/ma", "hasło_ref", "cannot be read"),
        ("numer;retencja\n12;14", "retencja", "keeps 30 days"),
        ("numer;retencja\n12;dużo", "retencja", "whole number"),
        ("numer;rola_prawna\n12;Sklep", "rola_prawna", "known are straż miejska, Szkoła"),
        ("numer;nazwa\n12;a;b", "", "more cells"),
        ('numer;nazwa\n12;"a\nb"', "nazwa", "one line"),
        ("numer;nazwa\n12;" + "x" * 121, "nazwa", "120"),
    ],
)
def test_a_bad_row_is_named_by_column_and_reason(text: str, column: str, words: str) -> None:
    (row,) = plan(text, camera())
    assert (row.verdict, row.column, row.camera) == (Verdict.ERROR, column, None)
    assert words in row.detail
    assert CANARY not in repr(row)


def test_a_number_stands_once() -> None:
    good, bad = plan("numer;nazwa\n12;a\n12;b", camera())
    assert good.verdict is Verdict.CHANGED
    assert (bad.column, bad.detail) == ("numer", "12 is already in line 2")


def test_passwords_by_reference(tmp_path: Path) -> None:
    (tmp_path / "p").write_text(f"{CANARY}\n")
    (row,) = plan("numer;haslo_ref\n12;file:p", camera(password="old"), folder=tmp_path)
    assert row.verdict is Verdict.CHANGED
    assert row.detail == "password"
    (row,) = plan("numer;hasło_ref\n12;file:p", camera(), folder=tmp_path)
    assert row.verdict is Verdict.UNCHANGED
    (tmp_path / "p").write_bytes(b"a\nb")
    (row,) = plan("numer;hasło_ref\n12;file:p", camera(), folder=tmp_path)
    assert row.verdict is Verdict.ERROR


def test_changes_are_told_in_words() -> None:
    (row,) = plan("numer;nazwa;adres\n12;Rynek 2;10.0.0.6", camera(password=""))
    assert row.detail == (
        'name: "Rynek" → "Rynek 2"; main stream: rtsp://10.0.0.5:8554/main → rtsp://10.0.0.6:8554/main; '
        "sub stream: rtsp://10.0.0.5:8554/sub → rtsp://10.0.0.6:8554/sub"
    )


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("numer;nazwaa", "did you mean nazwa"),
        ("numer;numer", "twice"),
        ("nazwa", '"numer" is missing'),
        ("numer;kat;kąt", "twice"),
    ],
)
def test_columns_that_are_wrong(header: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        plan(f"{header}\n")


@pytest.mark.parametrize("url", ["rtsp://10.0.0.5?channel=1", "rtsp://10.0.0.5/x://10.0.0.6/y"])
def test_odd_addresses_come_back_unchanged(url: str) -> None:
    (added,) = plan(f"numer;nazwa;adres\n3;Most;{url}")
    assert added.camera
    (again,) = plan(export_cameras([added.camera], [GUARD, SCHOOL]).decode("utf-8-sig"), added.camera)
    assert again.verdict is Verdict.UNCHANGED, again.detail


def test_the_template_is_a_table_of_one_good_row_with_every_column() -> None:
    content = template_table(12).decode("utf-8-sig")
    (verdict,) = plan(content, camera(1))
    assert content.splitlines()[0].split(";") == list(COLUMNS)
    assert (verdict.verdict, verdict.number, verdict.name) == (Verdict.NEW, "12", "Rynek, płyta")


def test_the_commands_help_names_the_columns() -> None:
    assert ", ".join(COLUMNS) == cli_cameras.COLUMNS
