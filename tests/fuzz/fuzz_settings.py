"""Fuzz target: site.toml, and after a line "----" variables of the environment (NAME=value a line)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from vms.errors import UserError
from vms.settings_reader import load_settings

_FOLDER = Path(tempfile.mkdtemp(prefix="vms-fuzz-settings-"))
(_FOLDER / "secret").write_text("tajne hasło\n")


def fuzz(data: bytes) -> None:
    toml, _, variables = data.partition(b"\n----\n")
    (_FOLDER / "site.toml").write_bytes(toml)
    environ = {}
    for line in variables.decode("utf-8", "surrogateescape").replace("\0", "").split("\n"):
        name, equals, value = line.partition("=")
        if equals and not name.endswith("_FILE"):
            environ[name] = value
    try:
        settings = load_settings(_FOLDER, environ)
    except UserError as error:
        assert "\n" not in str(error) or "TOML" in str(error)
        return
    assert "tajne" not in repr(settings)


def seeds() -> list[bytes]:
    return [
        b'[site]\nname = "Stroz"\ntime_zone = "Europe/Warsaw"\nhost = "r1"\n[log]\nlevel = "debug"\n',
        b'[store]\nkind = "s3"\nendpoint = "https://10.0.0.9:9000"\nbucket = "nagrania"\naccess_key = "a"\nsecret_key_file = "secret"\n',
        b'[catalogue]\nurl = "postgresql+psycopg://u:p@h/db"\n[legal]\nname = "Monitoring"\ndays = 30\naudio = false\n',
        b'[publishing]\nenabled = true\nlisten = "127.0.0.1:8554"\n[[publishing.consumers]]\nname = "x"\npassword = "y"\n',
        b"\n----\nVMS_STORE_KIND=folder\nVMS_LEGAL_DAYS=12\nVMS_METRICS_LISTEN=[::1]:9100",
    ]
