"""The data folder: made once, opened with care, refused with words that help."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vms.durable import write_atomically
from vms.errors import UserError
from vms.site import AccessEntry, Site, operating_system_user
from vms.timeline import TimeRange

NS = 1_000_000_000


def test_created_once_and_never_changed_again(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "a" / "dane", {})
    assert stat.S_IMODE(site.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((site.path / "site.key").stat().st_mode) == 0o600
    assert (site.path / "FORMAT").read_text() == "1\n"
    before = {f: (site.path / f).read_bytes() for f in ("FORMAT", "site.key")}
    again = Site.create(site.path, {})
    assert again.key == site.key
    assert {f: (site.path / f).read_bytes() for f in before} == before
    assert sorted(os.listdir(site.path)) == ["FORMAT", "run", "site.key"]


def test_where_things_are(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "d", {})
    assert site.spool == site.path / "spool"
    assert site.assignment_file == site.path / "assignment.sealed"
    assert site.catalogue_url == f"sqlite:///{site.path}/catalogue.db"
    assert site.zone.key == "Europe/Warsaw"
    assert site.sealer.unseal(site.sealer.seal(b"x", "c"), "c") == b"x"
    assert repr(site.key)[2:-1] not in repr(site)


def test_an_empty_folder_of_someones_making_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("")
    tmp_path.chmod(0o755)
    Site.create(tmp_path, {})
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_creation_cut_short_is_finished(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "d", {})
    (site.path / "FORMAT").unlink()
    assert Site.create(site.path, {}).key == site.key


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")])
def test_no_data_folder(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "d")
    with pytest.raises(UserError, match=r"no data folder.*--data"):
        Site.open(tmp_path / "d", {})


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "d", {})
    (site.path / "FORMAT").write_text("2\n")
    (site.path / "run").rmdir()
    for attempt in (Site.open, Site.create):
        with pytest.raises(UserError, match="format 2, this version knows 1; nothing was changed"):
            attempt(site.path, {})
    assert sorted(os.listdir(site.path)) == ["FORMAT", "site.key"]


def test_a_format_that_is_no_number(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "d", {})
    (site.path / "FORMAT").write_text("x" * 100)
    with pytest.raises(UserError, match="does not hold a number"):
        Site.open(site.path, {})


def test_the_key_must_be_there_whole_and_private(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "d", {})
    key = site.path / "site.key"
    key.chmod(0o640)
    with pytest.raises(UserError, match="chmod 600"):
        Site.open(site.path, {})
    key.chmod(0o600)
    key.write_bytes(b"short")
    with pytest.raises(UserError, match="32 bytes"):
        Site.open(site.path, {})
    key.unlink()
    for attempt in (Site.open, Site.create):
        with pytest.raises(UserError, match=r"missing.*backup"):
            attempt(site.path, {})
    assert not key.exists()


def test_a_foreign_folder_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "faktury.ods").write_text("")
    with pytest.raises(UserError, match=r"faktury\.ods"):
        Site.create(tmp_path, {})
    assert os.listdir(tmp_path) == ["faktury.ods"]


def test_a_catalogue_without_its_key_gets_no_new_key(tmp_path: Path) -> None:
    (tmp_path / "catalogue.db").write_text("")
    with pytest.raises(UserError, match="restore"):
        Site.create(tmp_path, {})


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    for path in (tmp_path / "f", tmp_path / "f" / "d"):
        with pytest.raises(UserError, match="a file stands in its place"):
            Site.create(path, {})


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "the right to"), (errno.EROFS, "dmesg and SMART"), (errno.ENOSPC, "free space")],
)
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("vms.site.os.open", refuse)
    with pytest.raises(UserError, match=words) as caught:
        Site.create(tmp_path / "d", {})
    assert str(tmp_path / "d") in str(caught.value)


def test_a_wrong_setting_stops_the_opening(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "d", {})
    (site.path / "site.toml").write_text("[stor]\n")
    with pytest.raises(UserError, match="did you mean store"):
        Site.open(site.path, {})


def test_one_running_process_at_a_time(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "d", {})
    assert site.running_process() is None
    with site.lock():
        assert site.running_process() == str(os.getpid())
        with pytest.raises(UserError, match=f"in use by process {os.getpid()}"), Site.open(site.path, {}).lock():
            pass
    assert site.running_process() is None
    with site.lock():
        pass


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "d", {})
    code = (
        "import sys; from pathlib import Path; from vms.site import Site\n"
        "with Site.open(Path(sys.argv[1]), {}).lock(): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(site.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        assert site.running_process() == str(process.pid)
        process.kill()
        process.wait(10)
    assert site.running_process() is None


def test_who_called_sudo_is_named_whoever_sudo_made_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    me = operating_system_user()
    monkeypatch.setenv("SUDO_USER", "jkowalska")
    assert operating_system_user() == f"jkowalska (as {me})"
    monkeypatch.setenv("SUDO_USER", me)
    assert operating_system_user() == me


def test_the_access_log_keeps_every_entry(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "d", {})
    for i in range(3):
        site.access_log(
            AccessEntry(
                at_ns=NS * i,
                what="export",
                camera_id="id",
                camera_number=12,
                camera_name="Łąkowa \n róg",
                range=TimeRange(NS, 2 * NS),
                reason="sprawa 7/2026",
                files=(("a.mp4", "00ff"),),
            )
        )
    lines = [json.loads(line) for line in site.access_log_file.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 3
    assert stat.S_IMODE(site.access_log_file.stat().st_mode) == 0o600
    assert lines[1] == {
        "at": "1970-01-01T00:00:01.000000Z",
        "what": "export",
        "camera_id": "id",
        "camera_number": 12,
        "camera_name": "Łąkowa \n róg",
        "range": {"start": "1970-01-01T00:00:01.000000Z", "end": "1970-01-01T00:00:02.000000Z"},
        "reason": "sprawa 7/2026",
        "files": [{"file": "a.mp4", "sha256": "00ff"}],
        "who": operating_system_user(),
    }


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "f"
    write_atomically(file, b"one")
    monkeypatch.setattr("vms.site.os.fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "disk")))
    with pytest.raises(OSError, match="disk"):
        write_atomically(file, b"two")
    assert file.read_bytes() == b"one"
