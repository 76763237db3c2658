"""`vms demo` as a real process: records, exports what ffprobe plays, shows a wall in the browser, ends by itself or by
Ctrl-C, leaves nothing running."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.browser_site import PASSWORD, await_words, chromium, needs_client
from tests.support.vms_process import processes_of, until, vms, vms_running
from vms.simulate import prepare_small

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.xdist_group("browser")]

CAMERAS = range(1, 6)  # the sixth goes away again and again
DIFFERENT = """async (camera) => {
    // How many of a tile's next ten pictures differ from those before them.
    const video = document.querySelector(`.tile[data-camera="${camera}"] .tile__face--shown video`);
    const canvas = new OffscreenCanvas(64, 36), paint = canvas.getContext('2d', {willReadFrequently: true});
    const seen = new Set();
    for (let i = 0; i < 10; i++) {
        await new Promise((then) => video.requestVideoFrameCallback(then));
        paint.drawImage(video, 0, 0, 64, 36);
        seen.add(paint.getImageData(0, 0, 64, 36).data.join());
    }
    return seen.size;
}"""


@pytest.fixture(autouse=True)
def _footage() -> None:
    prepare_small()


def codec_of(file: Path) -> str:
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", str(file)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert shown.stderr == ""
    return shown.stdout.strip()


async def test_records_exports_and_ends_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    async with vms_running(tmp_path / "run", "demo", "--small", "--seconds", "15", "--dir", folder) as demo:
        assert await asyncio.wait_for(demo.process.wait(), 90) == 0, demo.out + demo.err
    lines = demo.out.splitlines()
    clips = [Path(found[1]) for line in lines[-4:] if (found := re.fullmatch(r"clip: ffplay -autoexit (\S+)", line))]
    assert [clip.name for clip in clips] == ["camera-1-h264.mp4", "camera-2-h265.mp4"]
    assert re.search(
        r"recorded .* of 6 cameras in \d+ segments, .* of them in the store; gaps: .*recorder_restart", demo.out
    )
    if shutil.which("ffprobe"):
        assert [codec_of(clip) for clip in clips] == ["h264", "hevc"]
    assert list((folder / "spool" / "open").iterdir()) == []
    look = re.search(r"; look: vms (.+)", demo.out)
    assert look is not None
    assert (await vms(*shlex.split(look[1]))).code == 0
    await until("no process is left", lambda: not processes_of(folder), 5)


async def test_ctrl_c_ends_it_in_order_and_the_folder_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    async with vms_running(tmp_path / "first", "demo", "--small", "--dir", folder) as demo:
        await until("the demo runs", lambda: "cameras recording" in demo.out, 40)
        second = await vms("demo", "--small", "--dir", folder)
        assert second.code == 2
        assert "a demo runs in" in second.err
        code, seconds = await demo.stop(signal.SIGINT)
        assert code == 0, demo.out + demo.err
        assert seconds < 30
    assert "Traceback" not in demo.err
    await until("no process is left", lambda: not processes_of(folder), 5)
    left = folder / "clips" / "left"
    left.parent.mkdir(exist_ok=True)
    left.touch()
    async with vms_running(tmp_path / "again", "demo", "--small", "--dir", folder) as again:
        await until("it was emptied and made anew", lambda: not left.exists() and (folder / "demo.log").exists())
        assert (await again.stop())[0] == 0, again.out + again.err


@pytest.mark.timeout(240)
async def test_a_newcomer_opens_the_page_it_names_and_watches_moving_cameras(tmp_path: Path) -> None:
    needs_client()
    async with vms_running(
        tmp_path / "run", "demo", "--small", "--dir", tmp_path / "demo", env={"VMS_WEB_ENABLED": "true"}
    ) as demo:

        def told() -> re.Match[str] | None:
            assert demo.process.returncode is None, demo.out + demo.err
            return re.search(
                r"^open (http://\S+) and sign in; .*\n  operator \(operator\)  password (\S+)\n", demo.out, re.MULTILINE
            )

        said = await until("where to go and who may come in", told, 60)
        different = await asyncio.to_thread(newcomer, said[1], said[2])
        assert min(different.values()) >= 5, different
        code, _ = await demo.stop(signal.SIGINT)
        assert code == 0, demo.out + demo.err
    assert "Traceback" not in demo.err


def newcomer(address: str, one_time: str) -> dict[int, int]:
    """Sign in as the operator, take a password of one's own, watch; how many of ten pictures of each tile were new."""
    with chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        page.locator("input[name=username]").fill("operator")
        page.locator("input[name=password]").fill(one_time)
        page.keyboard.press("Enter")
        fields = page.locator("input[type=password]")
        fields.nth(2).wait_for()
        for index, text in enumerate((one_time, PASSWORD, PASSWORD)):
            fields.nth(index).fill(text)
        page.keyboard.press("Enter")
        await_words(page, dict.fromkeys(CAMERAS, "live"), 60)
        return {camera: page.evaluate(DIFFERENT, camera) for camera in CAMERAS}


async def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "one.jpg").touch()
    (tmp_path / "file").touch()
    for name in ("pictures", "file"):
        answer = await vms("demo", "--small", "--dir", tmp_path / name)
        assert answer.code == 2, answer
        assert "name another --dir" in answer.err
    assert (tmp_path / "pictures" / "one.jpg").exists()
