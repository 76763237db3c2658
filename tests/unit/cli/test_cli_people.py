"""`vms user|role|token|audit …` against a real catalogue in a data folder."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from storage.catalogue import Catalogue
from tests.unit.cli.conftest import Vms
from vms.clock import SystemClock
from vms.site import Site
from web.identity.refusals import Refusal
from web.identity.signing_in import Identity


def said(result: Any) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def signs_in(data: Path, name: str, password: str) -> bool:
    site = Site.open(data, {})

    async def work() -> bool:
        async with Catalogue(site.catalogue_url) as catalogue:
            identity = Identity(catalogue, site.key, SystemClock())
            try:
                await identity.sign_in(name, password, ip="10.0.0.1", agent="", device=None)
            except Refusal:
                return False
            return True

    return asyncio.run(work())


def test_a_user_is_added_switched_off_and_removed(vms: Vms, data: Path) -> None:
    made = vms("user", "add", "anna.nowak", "--display-name", "Anna Nowak", "--role", "operator")
    assert made.exit_code == 0, made.output
    first = made.stdout.strip()
    assert signs_in(data, "Anna.Nowak", first)
    (listed,) = said(vms("user", "list", "--json"))
    assert (listed["name"], listed["roles"], listed["must_change_password"]) == ("anna.nowak", ["operator"], True)
    assert "Anna Nowak" in vms("user", "list").stdout
    second = vms("user", "password", "anna.nowak").stdout.strip()
    assert second != first
    assert not signs_in(data, "anna.nowak", first)
    assert signs_in(data, "anna.nowak", second)
    boss = said(vms("user", "add", "szef", "--role", "administrator", "--json"))
    assert signs_in(data, "szef", boss["password"])
    assert vms("user", "disable", "anna.nowak").exit_code == 0
    assert not signs_in(data, "anna.nowak", second)
    assert vms("user", "enable", "anna.nowak").exit_code == 0
    assert signs_in(data, "anna.nowak", second)
    assert vms("user", "remove", "anna.nowak").exit_code == 2
    assert vms("user", "remove", "anna.nowak", "--yes").exit_code == 0
    assert [u["name"] for u in said(vms("user", "list", "--json"))] == ["szef"]
    for wrong in (
        ("user", "disable", "szef"), ("user", "remove", "szef", "--yes"), ("user", "password", "nikt"),
        ("user", "add", "szef"), ("user", "add", "ż ó"), ("user", "add", "ola", "--role", "król"),
        ("user", "add", "ola", "--language", "de"), ("role", "take", "szef", "administrator"),
    ):  # fmt: skip
        refused = vms(*wrong)
        assert refused.exit_code == 2, (wrong, refused.output)
        assert "vms: " in refused.stderr


def test_roles_are_given_shown_and_taken(vms: Vms) -> None:
    vms("camera", "add", "Rynek", "rtsp://10.0.0.5/a", "--group", "Centrum")
    vms("camera", "add", "Dwór", "rtsp://10.0.0.6/a", "--group", "Praga")
    vms("user", "add", "anna")
    assert vms("role", "give", "anna", "operator", "--group", "Centrum", "--back-hours", "24").exit_code == 0
    one = vms("role", "give", "anna", "technician", "--camera", "2", "--expires", "2099-01-01 00:00").stdout.strip()
    seen = {c["camera"]: c["acts"] for c in said(vms("role", "sees", "anna", "--json"))}
    assert "view_live" in seen[1]
    assert seen[2] == ["manage_cameras", "read_health"]
    grants = said(vms("role", "grants", "anna", "--json"))
    assert [(g["role"], g["scope"]) for g in grants] == [("operator", "group"), ("technician", "camera")]
    assert grants[1]["expires"] == "2098-12-31T23:00:00.000000Z"
    assert "Centrum" in vms("role", "grants", "anna").stdout
    assert vms("role", "take", "anna", one).stderr == "1 grant taken from user anna\n"
    vms("role", "give", "anna", "operator", "--group", "Praga")
    assert vms("role", "take", "anna", "operator").stderr == "2 grants taken from user anna\n"
    assert said(vms("role", "sees", "anna", "--json")) == []
    assert {r["role"] for r in said(vms("role", "list", "--json"))} >= {"operator", "administrator"}
    assert "view_live" in vms("role", "list").stdout
    for wrong in (
        ("role", "give", "anna", "operator", "--group", "x", "--camera", "1"), ("role", "give", "anna", "operator", "--camera", "99"),
        ("role", "give", "anna", "operator", "--expires", "2001-01-01"), ("role", "take", "anna", "operator"),
    ):  # fmt: skip
        assert vms(*wrong).exit_code == 2, wrong


def test_tokens_are_made_listed_and_revoked(vms: Vms) -> None:
    vms("user", "add", "monitoring", "--role", "auditor")
    made = vms("token", "create", "monitoring", "--name", "zabbix", "--act", "read_health", "--days", "30")
    assert made.stdout.startswith("stroz_")
    (listed,) = said(vms("token", "list", "--json"))
    assert (listed["name"], listed["acts"], listed["state"]) == ("zabbix", ["read_health"], "good")
    assert made.stdout.strip() not in vms("token", "list").stdout
    assert vms("token", "revoke", listed["id"]).exit_code == 0
    assert said(vms("token", "list", "--json"))[0]["state"] == "revoked"
    for wrong in (
        ("token", "revoke", "x"), ("token", "revoke", "7c7a1d5e-6b0c-4c5e-9b7e-0f1a2b3c4d5e"),
        ("token", "create", "monitoring", "--name", "x", "--act", "fly"), ("token", "create", "nikt", "--name", "x", "--act", "export"),
    ):  # fmt: skip
        assert vms(*wrong).exit_code == 2, wrong


def test_the_audit_log_is_read_signed_verified_and_taken_elsewhere(vms: Vms, data: Path, tmp_path: Path) -> None:
    assert vms("audit", "checkpoint").exit_code == 2  # nothing yet
    vms("user", "add", "anna", "--role", "operator")
    entries = said(vms("audit", "list", "--reason", "kontrola", "--json"))
    assert [e["act"] for e in entries] == ["read_audit", "create_user"]
    assert entries[0]["purpose"] == "kontrola"
    assert "create_user" in vms("audit", "list", "--reason", "kontrola", "--act", "create_user").stdout
    witness = tmp_path / "note.txt"
    assert vms("audit", "checkpoint", "-o", witness).exit_code == 0
    exported = tmp_path / "log.jsonl"
    assert vms("audit", "export", "--reason", "kopia", "-o", exported).exit_code == 0
    lines = [json.loads(line) for line in exported.read_text().splitlines()]
    assert [line["number"] for line in lines[:-1]] == list(range(lines[-1]["checkpoint"]["size"]))
    whole = said(vms("audit", "verify", "--against", witness, "--json"))
    assert (whole["ok"], whole["problem"]) == (True, None)
    assert vms("audit", "verify").exit_code == 0
    for wrong in (
        ("audit", "list", "--reason", "x"), ("audit", "export", "--reason", "kopia", "-o", exported),
        ("audit", "verify", "--against", exported), ("audit", "verify", "--against", tmp_path / "none"),
    ):  # fmt: skip
        assert vms(*wrong).exit_code == 2, wrong
    with sqlite3.connect(data / "catalogue.db") as database:
        database.execute("UPDATE audit_entries SET user_name = 'ola' WHERE number = 0")
    database.close()
    found = vms("audit", "verify")
    assert found.exit_code == 1
    assert "entry 0 was changed" in found.stderr


def test_the_audit_key_is_sealed_for_its_owner_alone_and_never_replaced(vms: Vms, data: Path) -> None:
    vms("user", "add", "anna")
    vms("audit", "checkpoint")
    file = data / "audit.key"
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    vms("audit", "checkpoint")
    assert file.read_bytes() == before
    file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    refused = vms("audit", "verify")
    assert refused.exit_code == 2
    assert "audit.key" in refused.stderr


def test_thousands_entries_are_verified_in_no_time(vms: Vms, data: Path) -> None:
    """E-11 asks for ten million in two minutes; the bench measures, this guards against something quadratic."""
    from storage.catalogue import Happening

    site = Site.open(data, {})

    async def fill() -> None:
        async with Catalogue(site.catalogue_url) as catalogue:
            for start in range(0, 3_000, 1000):
                await catalogue.audit(*(Happening(start + i, "test", detail={"i": i}) for i in range(1000)))

    asyncio.run(fill())
    began = time.process_time()
    assert said(vms("audit", "verify", "--json"))["entries"] == 3_000
    assert time.process_time() - began < 5
