"""Every command that does something to people, cameras or footage is on record (ux check 34). A new command without its row fails."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.support.made_store import made_store
from tests.unit.cli.conftest import Vms
from vms.cli.app import app
from vms.site import Site, operating_system_user

WHY = "kontrola nocna"
# What is on record of each command; none of what only looks, or runs a process that puts its own acts on record.
ACTS: dict[str, tuple[str, ...]] = {
    "user add": ("create_user",), "user password": ("reset_password",), "user disable": ("change_user",),
    "user enable": ("change_user",), "role give": ("give_role",), "role take": ("take_role",),
    "token create": ("create_token",), "token revoke": ("revoke_token",), "user remove": ("remove_user",),
    "camera add": ("add_camera",), "camera edit": ("change_camera",), "camera test": ("test_camera",),
    "camera import": ("add_camera", "import_cameras"), "camera export": ("export_cameras",),
    "camera remove": ("retire_camera",), "audit list": ("read_audit",), "audit export": ("read_audit",),
    "audit checkpoint": ("sign_audit",), "check": ("repair",), "import": ("import_footage",),
    "export": ("export_footage",), "rebuild": ("rebuild",), "retention": ("believe_clock",),
}  # fmt: skip
ABOUT = {
    "a camera",
    "audit log",
    "cameras",
    "catalogue",
    "clock",
    "footage",
    "retention",
}  # beside users, cameras, tokens
LOOKS = {
    "version", "timeline", "status", "simulate", "camera list", "camera show", "alarm list", "user list", "role list",
    "role grants", "role sees", "token list", "audit verify",
}  # fmt: skip
PROCESSES = {"up", "recorder", "archiver", "web", "live", "publish", "demo", "alarm watch"}
NOT_ABOUT_ANYBODY = {"migrate", "alarm test"}  # the schema, before which there is no log; a message that names nobody


def commands(group: Any = None, before: str = "") -> set[str]:
    found: set[str] = set()
    for name, command in (group or typer.main.get_command(app)).commands.items():
        inner = hasattr(command, "commands")
        found |= commands(command, f"{before}{name} ") if inner else {before + name}
    return found


def test_every_command_has_its_row() -> None:
    assert commands() == ACTS.keys() | LOOKS | PROCESSES | NOT_ABOUT_ANYBODY


@pytest.fixture
def lines(tmp_path: Path) -> dict[str, list[object]]:
    """A line for each command that acts; `{}` is what the line before it printed."""
    table, folder = tmp_path / "kamery.csv", tmp_path / "inny"
    table.write_text("numer;nazwa;adres\n5;Most;10.0.0.5\n")
    folder.mkdir()
    return {
        "user add": ["anna"],
        "user password": ["anna"],
        "user disable": ["anna"],
        "user enable": ["anna"],
        "role give": ["anna", "operator"],
        "role take": ["anna", "operator"],
        "token create": ["anna", "--name", "zabbix", "--act", "read_health"],
        "token revoke": ["TOKEN"],
        "user remove": ["anna", "--yes"],
        "camera add": ["Rynek", "rtsp://127.0.0.1:1/x"],
        "camera edit": ["1", "--name", "Dwór"],
        "camera test": ["1", "--seconds", "1"],
        "camera import": [table, "--commit"],
        "camera export": ["-o", tmp_path / "wynik.csv"],
        "camera remove": ["1", "--yes"],
        "audit list": ["--reason", WHY],
        "audit export": ["--reason", WHY, "-o", tmp_path / "audyt.jsonl"],
        "audit checkpoint": ["-o", tmp_path / "note.txt"],
        "check": ["--repair"],
        "import": [folder, "--commit"],
        "export": ["5", "--day", "today", "-o", tmp_path / "k.mp4", "--reason", WHY],
        "rebuild": [],
        "retention": ["--clock-is-right"],
    }


def test_each_act_is_on_record_with_who_object_and_reason(vms: Vms, data: Path, lines: dict[str, list[object]]) -> None:
    assert vms("user", "add", "szef", "--role", "administrator").exit_code == 0
    assert lines.keys() == ACTS.keys()
    made_store(data / "store")
    for command, words in lines.items():
        rest = [json.loads(vms("token", "list", "--json").stdout)[0]["id"] if w == "TOKEN" else w for w in words]
        before = len(entries(data))
        answer = vms(*command.split(), *rest)
        fits = {"camera test": 1, "export": 2}  # nobody answers, and nothing was recorded: it was tried all the same
        assert answer.exit_code == fits.get(command, 0), (command, answer.output)
        made = entries(data)[before:]
        assert sorted(e["act"] for e in made) == sorted(ACTS[command]), (command, answer.output)
        for entry in made:
            assert entry["user_name"] == f"{operating_system_user()} (on the server)"
            assert (
                entry["object"] in ABOUT
                or entry["object"].startswith(("user ", "camera ", "token "))
                or (
                    command == "camera test"  # by the camera's name
                )
            )
            assert entry["purpose"] == (WHY if WHY in rest else "")
    assert vms("audit", "verify").exit_code == 0


def entries(data: Path) -> list[dict[str, Any]]:
    """From the catalogue itself: reading by command is an act too."""
    with sqlite3.connect(Site.open(data, {}).catalogue_file or "") as database:
        database.row_factory = sqlite3.Row
        found = [dict(row) for row in database.execute("SELECT * FROM audit_entries ORDER BY number")]
    database.close()
    return found
