"""RTSP session ids on disk."""

from pathlib import Path

from recorder.sessions import MAX_IDS, SessionFolder

URL = "rtsp://10.0.0.1/main"


def test_remembered_until_forgotten_across_processes(tmp_path: Path) -> None:
    SessionFolder(tmp_path, "a").remember(URL, "1")
    SessionFolder(tmp_path, "a").remember(URL, "2")
    assert SessionFolder(tmp_path, "a").pending(URL) == ["1", "2"]
    SessionFolder(tmp_path, "a").forgotten(URL, "1")
    SessionFolder(tmp_path, "a").forgotten(URL, "2")
    assert SessionFolder(tmp_path, "a").pending(URL) == []
    assert list(tmp_path.iterdir()) == []


def test_two_streams_of_one_address_never_see_each_others_sessions(tmp_path: Path) -> None:
    SessionFolder(tmp_path, "a").remember(URL, "1")
    assert SessionFolder(tmp_path, "b").pending(URL) == []


def test_bounded_and_deaf_to_garbage(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path, "a")
    for number in range(3 * MAX_IDS):
        folder.remember(URL, str(number))
    assert len(folder.pending(URL)) == MAX_IDS
    (file,) = tmp_path.iterdir()
    for content in (b"{", b"7", b"[1, {}]", b"\xff", b"[" * 100_000):
        file.write_bytes(content)
        assert folder.pending(URL) == []
