"""`vms camera …` against a real catalogue in a data folder."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from tests.unit.cli.conftest import Vms
from vms.assignment import read_assignment
from vms.site import Site

CANARY = "kanarek7"
URL = "rtsp://10.0.0.5/cam0"


def assignment(data: Path) -> Any:
    site = Site.open(data, {})
    return read_assignment(site.assignment_file, site.sealer)


def show(vms: Vms, camera: str = "1") -> dict[str, Any]:
    result = vms("camera", "show", camera, "--json")
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def snapshot(data: Path) -> tuple[bytes, ...]:
    return tuple((data / f).read_bytes() for f in ("catalogue.db", "assignment.sealed") if (data / f).exists())


def test_a_camera_is_added_shown_changed_and_removed(vms: Vms, data: Path, tmp_path: Path) -> None:
    (tmp_path / "p").write_text(CANARY)
    added = vms(
        "camera", "add", "Łąkowa 1", URL, "--sub", URL + "/sub", "--user", "stroz", "--password-file", tmp_path / "p",
        "--street", "Łąkowa", "--lat", "52,2297", "--lon=-0.5", "--azimuth", "90", "--angle", "60.5", "--transport", "udp",
        "--source", "rtsp", "--group", "Praga", "--pin", "AB:" * 31 + "ab", "--json",
    )  # fmt: skip
    assert added.exit_code == 0, added.output
    facts = show(vms, "łąkowa 1")
    assert {k: v for k, v in facts.items() if k != "history"} == json.loads(added.stdout)
    assert facts["number"] == 1
    assert facts["has_password"]
    assert facts["certificate_pin"] == "ab" * 32
    assert [(s["kind"], s["url"], s["record"]) for s in facts["streams"]] == [
        ("main", URL, True),
        ("sub", URL + "/sub", False),
    ]
    (assigned,) = assignment(data).cameras
    assert (assigned.username, assigned.password, assigned.transport) == ("stroz", CANARY, "udp")

    edited = vms("camera", "edit", facts["id"], "--name", "Łąkowa 2", "--record-sub", "--number", "7", "--disable")
    assert edited.exit_code == 0, edited.output
    assert 'name: "Łąkowa 1" → "Łąkowa 2"' in edited.stderr
    after = show(vms, "7")
    assert not after["enabled"]
    assert after["streams"][1] == {**facts["streams"][1], "record": True}
    assert after["history"][0]["kind"] == "added"
    (assigned,) = assignment(data).cameras
    assert (assigned.number, assigned.enabled) == (7, False)

    assert vms("camera", "remove", "7", "--yes").exit_code == 0
    assert assignment(data).cameras == ()
    assert json.loads(vms("camera", "list", "--json").stdout) == []
    (retired,) = json.loads(vms("camera", "list", "--retired", "--json").stdout)
    assert retired["retired"].endswith("Z")
    for file in data.rglob("*"):
        if file.is_file():
            assert CANARY.encode() not in file.read_bytes()


def test_lists_for_people(vms: Vms) -> None:
    vms("camera", "add", "Rynek", URL)
    listed = vms("camera", "list")
    assert "Rynek" in listed.stdout
    assert URL in listed.stdout
    shown = vms("camera", "show", "1")
    assert "not set" in shown.stdout
    assert "straż miejska" in shown.stdout


def test_numbers_are_given_in_turn(vms: Vms) -> None:
    for number in (["--number", "5"], []):
        assert vms("camera", "add", "x", URL, *number).exit_code == 0
    assert [c["number"] for c in json.loads(vms("camera", "list", "--json").stdout)] == [5, 6]


def test_a_first_camera_makes_the_site(tmp_path: Path, vms: Vms) -> None:
    added = vms("camera", "add", "x", URL, "--data", tmp_path / "new")
    assert added.exit_code == 0, added.output
    assert len(assignment(tmp_path / "new").cameras) == 1


def test_the_user_in_an_address_is_taken_out(vms: Vms, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("x")
    assert vms("camera", "add", "x", "rtsp://admin@10.0.0.5/x", "--password-file", tmp_path / "p").exit_code == 0
    facts = show(vms)
    assert (facts["username"], facts["streams"][0]["url"]) == ("admin", "rtsp://10.0.0.5/x")


def test_a_camera_that_wants_its_password_in_the_path(vms: Vms, data: Path, tmp_path: Path) -> None:
    literal = f"rtsp://10.0.0.5/user=jan&password={CANARY}&channel=1"
    places = "rtsp://10.0.0.5/user={user}&password={password}&channel=1"
    refused = vms("camera", "add", "x", literal)
    assert refused.exit_code == 2
    assert f"Write {places}, give --user, and --password-file" in refused.stderr
    (tmp_path / "p").write_text(CANARY)
    answers = [refused, vms("camera", "add", "x", places, "--user", "jan", "--password-file", tmp_path / "p")]
    assert show(vms)["streams"][0]["url"] == places
    (assigned,) = assignment(data).cameras
    assert (assigned.streams[0].url, assigned.password) == (places, CANARY)
    answers.append(vms("camera", "edit", "1", "--sub", places.replace("=1", "=2")))
    assert vms("camera", "edit", "1", "--url", literal).exit_code == 2
    table = tmp_path / "k.csv"
    answers += [vms("camera", "show", "1"), vms("camera", "list"), vms("camera", "list", "--json")]
    answers.append(vms("camera", "export", "-o", table))
    answers.append(vms("camera", "import", table))
    assert all(a.exit_code == 0 for a in answers[1:]), [a.output for a in answers]
    assert "1 unchanged" in answers[-1].output
    assert CANARY not in table.read_text() + "".join(a.output for a in answers)
    assert places in answers[3].output


def test_a_stored_password_is_not_taken_along_to_another_host(vms: Vms, data: Path, tmp_path: Path) -> None:
    (tmp_path / "p").write_text(CANARY)
    assert vms("camera", "add", "x", URL, "--user", "stroz", "--password-file", tmp_path / "p").exit_code == 0
    before = snapshot(data)
    refused = vms("camera", "edit", "1", "--url", "rtsp://10.0.0.66/cam0")
    assert refused.exit_code == 2
    assert "--password-file" in refused.stderr
    assert snapshot(data) == before
    (tmp_path / "p").write_text("another")
    moved = vms("camera", "edit", "1", "--url", "rtsp://10.0.0.66/cam0", "--password-file", tmp_path / "p")
    assert moved.exit_code == 0, moved.output
    (camera,) = assignment(data).cameras
    assert (camera.streams[0].url, camera.password) == ("rtsp://10.0.0.66/cam0", "another")


def test_the_password_from_standard_input_is_one_line(vms: Vms, tmp_path: Path) -> None:
    vms("camera", "add", "x", URL)
    assert vms("camera", "edit", "1", "--replaced").exit_code == 0
    assert show(vms)["history"][-1]["kind"] == "replaced"


def test_a_cancelled_import_leaves_assignment_and_catalogue_alike(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from storage.camera_registry import CameraRegistry
    from vms.cli.camera_import import import_table

    (tmp_path / "k.csv").write_text("numer;nazwa;adres\n1;a;h\n2;b;h\n3;c;h\n")
    add = CameraRegistry.add

    async def interrupted(registry: CameraRegistry, camera: Any) -> Any:
        if camera.number == 3:
            raise asyncio.CancelledError
        return await add(registry, camera)

    monkeypatch.setattr(CameraRegistry, "add", interrupted)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(import_table(Site.open(data, {}), tmp_path / "k.csv", commit=True, skip_bad=False))
    assert [c.number for c in assignment(data).cameras] == [1, 2]


def test_a_question_left_with_ctrl_c(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    vms("camera", "add", "x", URL)
    monkeypatch.setattr("vms.cli.cameras.typer.confirm", lambda *_: (_ for _ in ()).throw(typer.Abort))
    monkeypatch.setattr("vms.cli.cameras.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    assert vms("camera", "remove", "1").exit_code == 130


def test_streams_come_and_go(vms: Vms) -> None:
    vms("camera", "add", "x", URL, "--sub", URL + "/sub")
    main = show(vms)["streams"][0]
    assert vms("camera", "edit", "1", "--url", URL + "/other", "--no-sub", "--relay").exit_code == 0
    assert show(vms)["streams"] == [{**main, "url": URL + "/other", "record": False}]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["add", "x", "http//x"], "begins with rtsp"),
        (["add", "x", "file:///etc/passwd"], "libav"),
        (["add", "x", f"rtsp://u:{CANARY}@h/x"], "process list"),
        (["add", "x", URL, "--password", CANARY], "process list"),
        (["add", "x", URL, "--sub", f"rtsp://u:{CANARY}@h/x"], "process list"),
        (["add", "x", URL, "--user", "u"], "--password-file"),
        (["add", "x", URL, "--user", "u", "--password-file", "/nie/ma"], "cannot be read"),
        (["add", " ", URL], "1 to 120"),
        (["add", "a\x1b[2J", URL], "1 to 120"),
        (["add", "x", URL, "--street", "\udc85"], "UTF-8"),
        (["add", "x", URL, "--number", "1"], "number 1 belongs to camera"),
        (["add", "x", URL, "--number", "0"], "greater than or equal to 1"),
        (["add", "x", URL, "--transport", "quic"], "tcp or udp"),
        (["add", "x", URL, "--source", "magic"], "magic"),
        (["add", "x", URL, "--profile", "Sklep"], "known are straż miejska"),
        (["add", "x", URL, "--lat", "91"], "--lat: must be from -90"),
        (["add", "x", URL, "--pin", "abc"], "64 hex"),
        (["add", "x", URL, "--record-sub"], "no sub stream"),
        (["add", "x", URL, "--record-audio"], "does not allow sound"),
        (["edit", "1", "--sub", URL, "--no-sub"], "not both"),
        (["edit", "99", "--name", "x"], "99"),
        (["edit", "Ryne", "--name", "x"], "did you mean"),
        (["remove", "1"], "--yes"),
        (["remove", "99", "--yes"], "99"),
        (["show", "99"], "99"),
    ],
)
def test_what_cannot_be_carried_out_changes_nothing(vms: Vms, data: Path, args: list[str], words: str) -> None:
    assert vms("camera", "add", "Rynek", URL).exit_code == 0
    before = snapshot(data)
    result = vms("camera", *args)
    assert result.exit_code == 2
    assert words in result.stderr.replace("\n", " ")
    assert CANARY not in result.output
    assert "Traceback" not in result.output
    assert snapshot(data) == before


def test_an_edit_that_asks_for_nothing(vms: Vms) -> None:
    vms("camera", "add", "x", URL)
    result = vms("camera", "edit", "1")
    assert result.exit_code == 0
    assert "nothing to change" in result.stderr


def test_audio_where_the_profile_allows_it(vms: Vms, data: Path) -> None:
    (data / "site.toml").write_text("[legal]\naudio = true\n")
    assert vms("camera", "add", "x", URL, "--record-audio").exit_code == 0
    assert [(s["kind"], s["url"]) for s in show(vms)["streams"]] == [("main", URL), ("audio", URL)]
    assert assignment(data).cameras[0].audio
    vms("camera", "edit", "1", "--url", URL + "/b")
    assert [s["url"] for s in show(vms)["streams"]] == [URL + "/b"] * 2
    vms("camera", "edit", "1", "--no-audio")
    assert len(show(vms)["streams"]) == 1


def test_the_default_profile_follows_the_settings(vms: Vms, data: Path) -> None:
    (data / "site.toml").write_text("[legal]\nname = 'gmina'\ndays = 60\n")
    vms("camera", "add", "x", URL)
    assert show(vms)["profile"] == "gmina"


def rows_of_190() -> list[str]:
    return [f"{i};Kamera {i};Ulica {i};;;;;10.0.{i // 250}.{i % 250 + 1};;/main;/sub;;;;;" for i in range(1, 191)]


def test_190_cameras_with_seven_errors(vms: Vms, data: Path, tmp_path: Path) -> None:
    """Acceptance check 39: exactly the seven rows are named, 183 are written, a second import changes nothing."""
    from vms.cameras.camera_csv import COLUMNS

    rows = rows_of_190()
    seeded = {
        5: "x",
        20: "19",
        40: "40;;;;;;;10.0.0.1",
        60: "60;a;;91;;;;h",
        90: "90;a;;;;;;a b",
        120: "120;a;;;;;;h;0",
    }
    for i, text in seeded.items():
        rows[i - 1] = text
    rows[149] = rows[149].replace(";;/main", ";;/main#x")
    seeded[150] = ""
    file = tmp_path / "kamery.csv"
    file.write_bytes(("\r\n".join([";".join(COLUMNS), *rows])).encode("cp1250"))

    dry = vms("camera", "import", file, "--json")
    assert dry.exit_code == 2
    bad = [r for r in json.loads(dry.stdout)["rows"] if r["verdict"] == "error"]
    assert [r["line"] - 1 for r in bad] == sorted(seeded)
    assert [r["column"] for r in bad] == ["numer", "numer", "nazwa", "lat", "adres", "port", "profil_main"]
    before = snapshot(data)
    assert vms("camera", "import", file, "--commit").exit_code == 2
    assert snapshot(data) == before

    good = vms("camera", "import", file, "--commit", "--skip-bad", "--json")
    assert good.exit_code == 0, good.output
    assert json.loads(good.stdout)["written"] == 183
    assert len(assignment(data).cameras) == 183
    before = snapshot(data)
    again = vms("camera", "import", file, "--commit", "--skip-bad", "--json")
    assert json.loads(again.stdout)["written"] == 0
    assert snapshot(data)[1] == before[1]

    exported = vms("camera", "export", "-o", tmp_path / "out.csv")
    assert exported.exit_code == 0
    same = json.loads(vms("camera", "import", tmp_path / "out.csv", "--json").stdout)
    assert {r["verdict"] for r in same["rows"]} == {"unchanged"}


def test_a_dry_run_writes_nothing_and_says_so(vms: Vms, data: Path, tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text("numer;nazwa;adres\n1;Rynek;10.0.0.5\n")
    before = snapshot(data)
    result = vms("camera", "import", tmp_path / "k.csv")
    assert result.exit_code == 0
    assert "dry run" in result.stderr
    assert "Rynek" in result.stdout
    assert snapshot(data) == before
    assert vms("camera", "import", tmp_path / "none.csv").exit_code == 2
    assert vms("camera", "import", tmp_path / "k.csv", "--data", tmp_path / "new").exit_code == 2
    assert not (tmp_path / "new").exists()


def test_export_to_standard_output_and_to_nowhere(vms: Vms) -> None:
    vms("camera", "add", "Łąkowa", URL)
    assert "1;Łąkowa;" in vms("camera", "export").stdout
    assert vms("camera", "export", "-o", "/nie/ma/x.csv").exit_code == 2


def test_a_camera_like_another_one_is_told_and_not_refused(vms: Vms, tmp_path: Path) -> None:
    assert vms("camera", "add", "Rynek", URL).stderr.count("look again") == 0
    second = vms("camera", "add", "RYNEK", "rtsp://10.0.0.5:554/cam0")
    assert second.exit_code == 0
    assert "look again: camera 1 has the same name; camera 1 has the same address" in second.stderr
    assert "look again" not in vms("camera", "add", "Dworzec", URL + "/drugi").stderr
    assert "look again: camera 1 has the same name" in vms("camera", "edit", "3", "--name", "rynek").stderr
    assert "look again" not in vms("camera", "edit", "3", "--street", "Rynek").stderr  # as alike as before
    table = tmp_path / "t.csv"
    table.write_text("numer;nazwa;adres;profil_main\n4;Most;10.0.0.9;/a\n5;most;10.0.0.8;/a\n6;Park;10.0.0.9;/a\n")
    rows = json.loads(vms("camera", "import", table, "--json").stdout)["rows"]
    assert [row["verdict"] for row in rows] == ["new"] * 3
    assert [row["warning"] for row in rows] == [
        "camera 5 has the same name; camera 6 has the same address",
        "camera 4 has the same name",
        "camera 4 has the same address",
    ]
    imported = vms("camera", "import", table, "--commit")
    assert imported.exit_code == 0
    assert "look at 3 that are like another camera" in imported.stderr
    assert "camera 6 has the same address" in imported.stdout


def test_export_replaces_no_file_unless_it_is_told_to(vms: Vms, tmp_path: Path) -> None:
    assert vms("camera", "add", "Rynek", URL).exit_code == 0
    file = tmp_path / "kamery.csv"
    file.write_text("moje")
    refused = vms("camera", "export", "-o", file)
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert file.read_text() == "moje"
    assert vms("camera", "export", "-o", file, "--force").exit_code == 0
    assert "Rynek" in file.read_text(encoding="utf-8-sig")
