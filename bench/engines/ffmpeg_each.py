"""One ffmpeg per camera, copying into fragmented MP4 segments of a minute: what most open recorders do.

Usage: python -m bench.engines.ffmpeg_each FOLDER URL…   Runs until SIGTERM, then stops what it started.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

SEGMENT_SECONDS = 60


def command(url: str, folder: Path, name: str) -> list[str]:
    """No decoding, no audio, TCP; fragments at key pictures, so that a crash leaves a file that plays, as ours does."""
    return [
        "ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error",
        "-rtsp_transport", "tcp", "-i", url,
        "-map", "0:v:0", "-c", "copy",
        "-f", "segment", "-segment_time", str(SEGMENT_SECONDS), "-reset_timestamps", "1",
        "-segment_format", "mp4",
        "-segment_format_options", "movflags=frag_keyframe+empty_moov+default_base_moof",
        str(folder / f"{name}-%05d.mp4"),
    ]  # fmt: skip


def main() -> None:
    folder = Path(sys.argv[1])
    waited = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for i, url in enumerate(sys.argv[2:]):
            started.append(
                subprocess.Popen(
                    command(url, folder, str(i)),
                    preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, waited),  # noqa: PLW1509 - one thread
                )
            )
        print("recording", len(started), flush=True)
        signal.sigwait(waited)
    finally:
        for process in started:
            process.terminate()
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
