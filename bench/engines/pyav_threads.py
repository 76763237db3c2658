"""A PyAV thread per camera: demux, mux fragmented MP4 segments of a minute, no decoding.

Usage: python -m bench.engines.pyav_threads FOLDER URL…   Runs until SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

import av

SEGMENT_SECONDS = 60


def record(url: str, folder: Path, name: str) -> None:
    """One camera, for ever."""
    with av.open(url, options={"rtsp_transport": "tcp"}, timeout=10) as source:
        video = source.streams.video[0]
        output: av.container.OutputContainer | None = None
        stream: Any = None
        began, number = 0.0, 0
        for packet in source.demux(video):
            if packet.dts is None:
                continue
            at = float(packet.dts * packet.time_base)
            if packet.is_keyframe and (output is None or at - began >= SEGMENT_SECONDS):
                if output is not None:
                    output.close()
                path = folder / f"{name}-{number}.mp4"
                output = av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"})
                stream = output.add_stream_from_template(video)
                began, number = at, number + 1
            if output is not None:
                packet.stream = stream
                output.mux(packet)


def main() -> None:
    folder = Path(sys.argv[1])
    for i, url in enumerate(sys.argv[2:]):
        threading.Thread(target=record, args=(url, folder, str(i)), daemon=True).start()
    print("recording", len(sys.argv) - 2, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
