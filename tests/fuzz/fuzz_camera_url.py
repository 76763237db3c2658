"""Fuzz target: stream addresses for every kind of source; what is shown holds no credentials and parses back."""

from __future__ import annotations

from dataclasses import replace

from vms.camera_url import CameraUrl
from vms.errors import UserError
from vms.model import SourceKind


def fuzz(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for source in SourceKind:
        try:
            url = CameraUrl.parse(text, source)
        except UserError as error:
            _, at, _ = text.partition("@")
            assert not at or "tajne" not in str(error)
            continue
        assert CameraUrl.parse(str(url), source) == replace(url, username="", password="")
        assert repr(url)
        assert 0 <= url.effective_port <= 65_535


def seeds() -> list[bytes]:
    return [
        b"rtsp://jan:tajne@10.0.0.5:554/Streaming/Channels/101?x=1&y=%20",
        b"rtsps://[2001:db8::1]:322/a",
        b"srt://kamera.example:9000",
        b"file:///srv/film.mp4",
        b"http://jan:tajne@kamera_1.local./a#b",
        b"rtsp://10.0.0.1/user=jan&password=tajne&channel=1?pass={password}",
    ]
