"""S-01: a stream URL is code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.camera_url import CameraUrl
from vms.errors import UserError
from vms.model import SourceKind


@pytest.mark.parametrize(
    ("text", "shown", "port"),
    [
        ("rtsp://10.0.0.5/cam0", "rtsp://10.0.0.5/cam0", 554),
        ("RTSP://Kamera.Miasto.PL:8554/a?b=c&d", "rtsp://kamera.miasto.pl:8554/a?b=c&d", 8554),
        ("rtsps://[2001:db8::1]/x", "rtsps://[2001:db8::1]/x", 322),
        ("rtsp://h", "rtsp://h", 554),
        ("http://h/mjpg", "http://h/mjpg", 80),
        ("srt://h:9000?mode=caller", "srt://h:9000?mode=caller", 9000),
    ],
)
def test_addresses_that_are_fine(text: str, shown: str, port: int) -> None:
    url = CameraUrl.parse(text)
    assert (str(url), url.effective_port) == (shown, port)
    assert CameraUrl.parse(str(url)) == url


def test_credentials_are_parted_and_never_shown() -> None:
    url = CameraUrl.parse("rtsp://stra%C5%BCnik:ta%3Ajne%40@10.0.0.5:554/x")
    assert (url.username, url.password) == ("strażnik", "ta:jne@")
    for text in (str(url), repr(url), f"{url}"):
        assert "jne" not in text
        assert "stra" not in text


@pytest.mark.parametrize(
    "text",
    [
        "", "cam0", "10.0.0.5", "/dev/video0", "exec:/bin/sh", "rtsp:", "rtsp://", "rtsp:///x", "rtsp://:554/x",
        "concat:a|b", "pipe:0", "data:text/plain,x", "subfile,,start,0,end,0,,:/etc/passwd", "gopher://h/x", "file:///etc/passwd",
        "rtsp://h/a b", "rtsp://h/a\nb", "rtsp://h/\x00", "rtsp://h\\@evil/x", "rtsp://h/x#exec:id", "rtsp://ł.pl/",
        "rtsp://h:0/", "rtsp://h:99999/", "rtsp://h:x/", "rtsp://[::1/x", "rtsp://[v1.x]/x", "rtsp://1.2.3/x", "rtsp://1.2.3.256/",
        "rtsp://-h/", "rtsp://h_-/", "rtsp://h..pl/", "rtsp://$(id)/", "rtsp://h;id/", "srt://h", "rtsp://u%0d%0aX:p@h/",
        "rtsp://h/" + "x" * 3000,
    ],
)  # fmt: skip
def test_addresses_that_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        CameraUrl.parse(text)


def test_what_each_source_may_open() -> None:
    assert CameraUrl.parse("file:///srv/a.mp4", SourceKind.LIBAV).path == "/srv/a.mp4"
    for text in ("file:///srv/a.mp4", "http://h/x", "rtmp://h/x"):
        with pytest.raises(UserError):
            CameraUrl.parse(text, SourceKind.RTSP)
    for text in ("file://evil/a", "file:relative", "file:///", "file:///a?b"):
        with pytest.raises(UserError):
            CameraUrl.parse(text, SourceKind.LIBAV)


@pytest.mark.parametrize(
    "text", ["rtsp://u:kanarek@h:x/", "rtsp://u:kanarek@[::1/", "foo://u:kanarek@h/", "rtsp://u:kanarek@h h/"]
)
def test_a_refusal_never_repeats_the_password(text: str) -> None:
    with pytest.raises(UserError) as caught:
        CameraUrl.parse(text)
    assert "kanarek" not in str(caught.value)


@given(
    st.one_of(st.text(max_size=60), st.text(max_size=40).map("rtsp://".__add__), st.from_regex(r"rtsps?://[!-~]{1,40}"))
)
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        url = CameraUrl.parse(text)
    except UserError:
        return
    assert url.scheme in ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "srt")
    assert url.host
    assert "@" not in str(url).split("://")[1].split("/")[0].split("?")[0]
    again = CameraUrl.parse(str(url))
    assert (again.host, again.port, again.path) == (url.host, url.port, url.path)


@pytest.mark.parametrize(
    "text", ["rtsp://jan:tajne5/x@10.0.0.5/a", "rtsp://jan:taj#ne@10.0.0.5", "rtsp://jan:[tajne@h/"]
)
def test_a_password_that_breaks_the_address_is_not_repeated(text: str) -> None:
    with pytest.raises(UserError, match="does not parse") as caught:
        CameraUrl.parse(text)
    assert "tajne" not in str(caught.value)


def test_a_query_right_after_the_host_gets_its_path() -> None:
    url = CameraUrl.parse("rtsp://10.0.0.5?channel=1")
    assert url.path == "/?channel=1"
    assert CameraUrl.parse(str(url)) == url
