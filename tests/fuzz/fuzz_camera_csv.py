"""Fuzz target: the table of cameras: decoding, columns, the verdict on each row, and the table written back."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from vms.cameras.camera_csv import Known, Verdict, check_columns, export_cameras, plan_import
from vms.cameras.camera_edit import with_stream_url
from vms.cameras.csv_table import read_csv
from vms.errors import UserError
from vms.model import Camera, LegalProfile, StreamKind

_PROFILE = LegalProfile(UUID(int=1), "Monitoring", "art. 9a", 30, False)
_OLD = with_stream_url(Camera(UUID(int=2), 1, "Rynek", _PROFILE.id, ()), StreamKind.MAIN, "rtsp://10.0.0.5:8554/a")
_KNOWN = Known({1: _OLD}, [_PROFILE], _PROFILE, Path(tempfile.gettempdir()), {"P": "tajne"})


def fuzz(data: bytes) -> None:
    try:
        table = read_csv(data.replace(b"file:", b"fil:"), "kamery.csv")
        check_columns(table, "kamery.csv")
    except UserError:
        return
    verdicts = plan_import(table, _KNOWN)
    assert len(verdicts) == len(table.rows)
    for v in verdicts:
        assert (v.camera is None) == (v.verdict is Verdict.ERROR)
        assert "tajne" not in v.detail
    good = [v.camera for v in verdicts if v.camera is not None]
    if good:
        again = read_csv(export_cameras(good, [_PROFILE]), "kamery.csv")
        check_columns(again, "kamery.csv")
        known = replace(_KNOWN, cameras={c.number: c for c in good})
        for v in plan_import(again, known):
            assert v.verdict is Verdict.UNCHANGED, v


def seeds() -> list[bytes]:
    head = "numer;nazwa;ulica;lat;lon;azymut;kąt;adres;port;profil_main;profil_sub;login;hasło_ref;grupa;retencja;rola_prawna\r\n"
    return [
        (
            head + '2;Żurawia;"ul. Żurawia; 3";52,2;21.0;90;60;10.0.0.7;554;/main;/sub;jan;env:P;A;30;Monitoring\r\n'
        ).encode(),
        b"sep=,\nnumer,adres\n1,10.0.0.9\n1,10.0.0.9\n",
        "numer;nazwa;adres;profil_sub\n3;=SUM(A1);rtsps://[::1]:322/x;rtsp://10.0.0.8/y\n1;'=x;;\n".encode("cp1250"),
        b"\xef\xbb\xbfnumer;kat\n1;-0.5\n",
    ]
