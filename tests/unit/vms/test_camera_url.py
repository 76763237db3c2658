"""S-01: a stream URL is code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.camera_url import CameraUrl, check_placeholders
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


@pytest.mark.parametrize(
    ("text", "path", "username", "password"),
    [
        ("/user=admin&password=tajne1&channel=1&stream=0.sdp", "/user={user}&password={password}&channel=1&stream=0.sdp", "admin", "tajne1"),
        ("/user=admin_password=taj_ne1_channel=1_stream=0.sdp", "/user={user}_password={password}_channel=1_stream=0.sdp", "admin", "taj_ne1"),
        ("/live.sdp?USER=jan&PWD=taj%40ne", "/live.sdp?USER={user}&PWD={password}", "jan", "taj@ne"),
        ("?loginuse=jan&loginpas=tajne", "/?loginuse={user}&loginpas={password}", "jan", "tajne"),
        ("/a;passwd=tajne/b", "/a;passwd={password}/b", "", "tajne"),
        ("/a?pass=tajne&password=tajne", "/a?pass={password}&password={password}", "", "tajne"),
        ("/user={user}&password={password}", "/user={user}&password={password}", "", ""),
        ("/user=jan&password={password}", "/user=jan&password={password}", "", ""),
        ("/user=jan&password=&channel=1", "/user=jan&password=&channel=1", "", ""),
        ("/bypass=1&user=3", "/bypass=1&user=3", "", ""),
    ],
)  # fmt: skip
def test_credentials_in_path_and_query_are_parted_too(text: str, path: str, username: str, password: str) -> None:
    url = CameraUrl.parse(f"rtsp://10.0.0.1{text}")
    assert (url.path, url.username, url.password) == (path, username, password)
    for shown in (str(url), repr(url), f"{url}"):
        assert "taj" not in shown
    assert CameraUrl.parse(str(url)).path == path
    if password:
        assert CameraUrl.parse(url.filled(username, password)) == url


def test_places_for_credentials_are_filled_and_quoted() -> None:
    url = CameraUrl.parse("rtsp://10.0.0.1/user={user}&password={password}&channel=1")
    assert url.filled("jan", "taj/ne&{user}") == "rtsp://10.0.0.1/user=jan&password=taj%2Fne%26%7Buser%7D&channel=1"
    assert url.filled("", "") == "rtsp://10.0.0.1/user=&password=&channel=1"
    file = CameraUrl.parse("file:///srv/{password}.mp4", SourceKind.LIBAV)
    assert file.filled("jan", "tajne") == "file:///srv/{password}.mp4"


@pytest.mark.parametrize(
    "text",
    ["rtsp://h/a?pwd=tajne1&pass=tajne2", "rtsp://jan:tajne1@h/password=tajne2", "rtsp://jan@h/user=eh&pwd=tajne"],
)
def test_two_credentials_of_a_kind_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(UserError, match="two user names or passwords") as caught:
        CameraUrl.parse(text)
    assert "tajne" not in str(caught.value)


@pytest.mark.parametrize("name", ["{username}", "{pass}", "{PASSWORD}"])
def test_a_placeholder_that_means_nothing_is_told(name: str) -> None:
    with pytest.raises(UserError, match=r"known are \{user\} and \{password\}"):
        check_placeholders(CameraUrl.parse(f"rtsp://h/a?pwd2={name}"))
    check_placeholders(CameraUrl.parse("rtsp://h/{user}/{password}/a"))


@given(
    st.lists(
        st.sampled_from([*"/?&;_=ax", "user=", "pass=", "password=", "{user}", "{password}", "kanarek"]), max_size=25
    )
)
def test_what_is_shown_of_any_path_parses_back_and_holds_no_password(parts: list[str]) -> None:
    try:
        url = CameraUrl.parse("rtsp://h/" + "".join(parts))
    except UserError as error:
        assert "kanarek" not in str(error)
        return
    again = CameraUrl.parse(str(url))
    assert (again.path, again.username, again.password) == (url.path, "", "")
    assert "password=kanarek" not in str(url)
