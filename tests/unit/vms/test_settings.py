"""Settings from file, environment and secret files; every wrong one named; the reference page kept in step."""

from __future__ import annotations

import contextlib
import os
import re
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from vms.errors import UserError
from vms.settings import Listen, LogFormat, Secret, Settings, StoreKind
from vms.settings_network import ip_addresses, port_range
from vms.settings_reader import Setting, all_settings, load_settings

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"
CANARY = "kanarek-tajny-7"


def write(folder: Path, text: str) -> Path:
    (folder / "site.toml").write_text(text, encoding="utf-8")
    return folder


def test_defaults_without_a_file(tmp_path: Path) -> None:
    found = load_settings(tmp_path, {})
    assert found.site.time_zone == "Europe/Warsaw"
    assert found.site.host
    assert found.store.kind is StoreKind.FOLDER
    assert found.store.path == tmp_path / "store"
    assert found.spool.path == tmp_path / "spool"
    assert found.feed.socket == tmp_path / "run" / "feed.sock"
    assert found.legal.days == 30
    assert not found.legal.audio
    assert not found.publishing.enabled
    assert found.metrics.listen.is_loopback


def test_file_then_environment_then_secret_files(tmp_path: Path) -> None:
    (tmp_path / "klucz").write_text(CANARY + "\n")
    (tmp_path / "vlc").write_text("hasło-vlc")
    write(
        tmp_path,
        """
        site = { name = "Straż Miejska", host = "rej-1" }
        [store]
        kind = "s3"
        endpoint = "10.0.0.9:9000"
        bucket = "nagrania"
        tls = false
        access_key = "stroz"
        secret_key_file = "klucz"
        [recorder]
        workers = 2
        [[publishing.consumers]]
        name = "vlc"
        password_file = "vlc"
        """,
    )
    found = load_settings(tmp_path, {"VMS_RECORDER_WORKERS": "4", "VMS_STORE_TLS": "true", "VMS_LOG_FORMAT": "json"})
    assert found.store.secret_key.reveal() == CANARY
    assert found.store.tls
    assert found.recorder.workers == 4
    assert found.log.format is LogFormat.JSON
    assert found.publishing.consumers[0].password.reveal() == "hasło-vlc"
    assert CANARY not in repr(found)
    assert "hasło-vlc" not in repr(found)


def test_a_secret_file_named_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(CANARY)
    found = load_settings(tmp_path, {"VMS_METRICS_TOKEN_FILE": str(tmp_path / "token"), "VMS_DATA": "/elsewhere"})
    assert found.metrics.token == Secret(CANARY)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[stor]\n", ["site.toml", "unknown key stor", "did you mean store"]),
        ("[store]\nendpont = 'x'\n", ["unknown key store.endpont", "did you mean store.endpoint"]),
        ("[store]\nzzz = 1\n", ["unknown key store.zzz", "known are"]),
        ("[store]\npath_file = 'x'\n", ["unknown key store.path_file"]),
        ("store = 3\n", ["store must be a table"]),
        ("[recorder]\nworkers = 'two'\n", ["recorder.workers", "whole number"]),
        ("[recorder]\nworkers = true\n", ["recorder.workers", "whole number"]),
        ("[recorder]\nworkers = 65\n", ["recorder.workers", "0 to 64"]),
        ("[recorder]\nsegment_seconds = 1\n", ["recorder.segment_seconds", "2 to 300"]),
        ("[recorder]\ndigests = 'yes'\n", ["recorder.digests", "true or false"]),
        ("[site]\nname = 7\n", ["site.name", "text in quotes"]),
        ("[site]\nname = ''\n", ["site.name", "1 to 200"]),
        ("[site]\ntime_zone = 'Europe/Warszawa'\n", ["site.time_zone", "IANA"]),
        ("[site]\nhost = 'a/b'\n", ["site.host", "letters"]),
        ("[store]\nkind = 'ftp'\n", ["store.kind", "folder, s3", "ftp"]),
        ("[store]\nkind = 's3'\n", ["store.endpoint", "store.bucket", "store.secret_key"]),
        ("[store]\nbucket = 'Wielki_Kubeł'\n", ["store.bucket"]),
        ("[store]\nendpoint = 'https://host'\n", ["store.endpoint", "without scheme"]),
        ("[store]\nsecret_key = 'a'\nsecret_key_file = 'b'\n", ["either store.secret_key or store.secret_key_file"]),
        ("[store]\nsecret_key_file = 'nie-ma'\n", ["store.secret_key_file", "cannot be read"]),
        ("[store]\nsecret_key_file = 5\n", ["store.secret_key_file", "path of a file"]),
        ("[catalogue]\nurl = 'mysql://x'\n", ["catalogue.url", "sqlite:// or postgresql://"]),
        ("[metrics]\nlisten = 'localhost'\n", ["metrics.listen", "host:port"]),
        ("[metrics]\nlisten = '127.0.0.1:99999'\n", ["metrics.listen", "65535"]),
        ("[metrics]\nlisten = '0.0.0.0:9464'\n", ["metrics.listen", "metrics.token must be set"]),
        ("[publishing]\nenabled = true\nlisten = '0.0.0.0:8554'\n", ["publishing.consumers"]),
        ("[publishing]\nconsumers = 'vlc'\n", ["[[publishing.consumers]]"]),
        ("[[publishing.consumers]]\nname = 'vlc'\npasword = 'x'\n", ["consumers[0].pasword", "consumers[0].password"]),
        ("[[publishing.consumers]]\nname = 'vlc'\n", ["vlc", "no password"]),
        ("[legal]\ndays = 0\n", ["legal.days", "1 to 3650"]),
        ("[log]\nlevel = 'loud'\n", ["log.level", "debug, info, warning, error"]),
        ("[feed]\nsocket = '" + "x" * 120 + "'\n", ["feed.socket", "107 bytes"]),
        ("[site\n", ["site.toml", "not valid TOML"]),
        ("a = " + "[" * 5000, ["site.toml", "not valid TOML"]),
    ],
)
def test_a_wrong_file_is_named_with_key_and_what_is_allowed(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_settings(write(tmp_path, text), {})
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "parts"),
    [
        ({"VMS_STORE_SECRET_KEI": CANARY}, ["VMS_STORE_SECRET_KEI", "did you mean VMS_STORE_SECRET_KEY"]),
        ({"VMS_RECORDER_WORKERS": "zwei"}, ["environment: VMS_RECORDER_WORKERS", "whole number"]),
        ({"VMS_RECORDER_DIGESTS": "maybe"}, ["VMS_RECORDER_DIGESTS", "true or false"]),
        ({"VMS_METRICS_TOKEN": CANARY, "VMS_METRICS_TOKEN_FILE": "x"}, ["either", "not both"]),
        ({"VMS_METRICS_TOKEN_FILE": "/nie/ma"}, ["VMS_METRICS_TOKEN_FILE", "cannot be read"]),
        ({"VMS_CATALOGUE_URL": f"mysql://u:{CANARY}@h/d"}, ["VMS_CATALOGUE_URL", "sqlite"]),
        ({"VMS_PUBLISHING_CONSUMERS": "vlc"}, ["unknown variable"]),
    ],
)
def test_a_wrong_environment_is_named_without_its_secrets(
    tmp_path: Path, environ: dict[str, str], parts: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        load_settings(tmp_path, environ)
    assert CANARY not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"\xff\xfe", b"x" * 20_000, b"a\0b"])
def test_a_secret_file_holds_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(UserError, match="VMS_METRICS_TOKEN_FILE"):
        load_settings(tmp_path, {"VMS_METRICS_TOKEN_FILE": "s"})


def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_bytes(b"\xff")
    with pytest.raises(UserError, match="UTF-8"):
        load_settings(tmp_path, {})
    (tmp_path / "site.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(UserError, match="larger"):
        load_settings(tmp_path, {})
    os.remove(tmp_path / "site.toml")
    (tmp_path / "site.toml").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        load_settings(tmp_path, {})


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.binary(max_size=200))
def test_any_file_is_settings_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "site.toml").write_bytes(content)
    with contextlib.suppress(UserError):
        assert isinstance(load_settings(tmp_path, {}), Settings)


def test_a_secret_hides_itself() -> None:
    secret = Secret(CANARY)
    for text in (str(secret), repr(secret), f"{secret}", f"{secret:>40}", f"{secret}"):
        assert CANARY not in text
    assert secret == Secret(CANARY)
    assert secret != Secret("x")
    assert not Secret()
    assert len({secret, Secret(CANARY)}) == 1


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80, True),
        ("[::1]:80", "::1", 80, True),
        ("0.0.0.0:0", "0.0.0.0", 0, False),
        ("rej-1.miasto.pl:9464", "rej-1.miasto.pl", 9464, False),
    ],
)
def test_listen_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    listen = Listen.parse(text)
    assert (listen.host, listen.port, listen.is_loopback, str(listen)) == (host, port, loopback, text)


def reference_row(found: Setting) -> str:
    """The row of docs/reference/settings.md for a setting."""
    kinds = {
        str: "text",
        int: "whole number",
        bool: "true or false",
        Secret: "secret",
        Path: "path",
        Listen: "host:port",
        Listen | None: "host:port",
    }
    kind = kinds.get(found.kind) or ("tables" if "Consumer" in str(found.kind) else "path")
    if isinstance(found.kind, type) and issubclass(found.kind, StrEnum):
        kind = ", ".join(found.kind)
    if found.limits.least is not None:
        kind += f", {found.limits.least} to {found.limits.most}"
    default = "" if found.default in (None, (), "", Secret()) else str(found.default)
    default = default.lower() if isinstance(found.default, bool) else default
    env = "" if kind == "tables" else f"`{found.env}`"
    env += f", `{found.env}_FILE`" if found.kind is Secret else ""
    return f"| `{found.path}` | {kind} | {f'`{default}`' if default else ''} | {env} | {found.doc} |"


def test_the_reference_describes_every_setting_as_the_code_does() -> None:
    page = REFERENCE.read_text(encoding="utf-8")
    assert all(found.doc.endswith(".") for found in all_settings())
    assert re.findall(r"^\| `[a-z_]+\..*\|$", page, re.MULTILINE) == [reference_row(s) for s in all_settings()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('live = { addresses = "10.0.0.300" }', "IP addresses"),
        ('live = { addresses = "0.0.0.0" }', "not all of them"),
        ('live = { udp_ports = "50000" }', "50000-50199"),
        ('live = { udp_ports = "50199-50000" }', "50000-50199"),
        ('live = { udp_ports = "80-90" }', "1024"),
        ("live = { max_sessions = 0 }", "1"),
        ('live = { stun_url = "http://x" }', "stun:"),
        ('live = { turn_url = "turn:x:3478" }', "live.turn_secret"),
        ('live = { turn_secret = "geheim" }', "live.turn_url"),
        ('web = { certificate = "a.pem" }', "web.key"),
    ],
)
def test_what_is_wrong_about_live_pictures_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        load_settings(write(tmp_path, text), {})


def test_addresses_and_ports_of_live_pictures() -> None:
    assert ip_addresses(" 10.0.0.5, FD00::5,10.0.0.5") == ("10.0.0.5", "fd00::5")
    assert ip_addresses("") == ()
    assert port_range("50000-50199") == range(50_000, 50_200)
    assert port_range("") is None
