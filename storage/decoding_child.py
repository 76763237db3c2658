"""The process behind `storage.decoding`: FFmpeg's decoders through PyAV, alone with one file after another.

Reads a path a line from standard input, as JSON text, and answers each with a line: null, or why the file cannot be
decoded. Ends with its input. It opens files by name and nothing else: no other protocol is allowed.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys

import av
import av.error
import av.logging

from vms.secrecy import keep_memory_private

MAX_MEMORY_BYTES = 2 << 30


def problem_of(path: str) -> str | None:
    """Decode all of a file. None: every unit was taken, and something came of it."""
    try:
        with av.open(path, format="mp4", options={"protocol_whitelist": "file"}) as container:
            stream = container.streams[0]
            stream.codec_context.options = {"err_detect": "explode"}
            decoded = sum(1 for _ in container.decode(stream))
    except av.error.FFmpegError as error:
        return f"a decoder refuses it: {error.strerror}"
    except (IndexError, ValueError) as error:
        return f"there is nothing to decode: {error}"
    return None if decoded else "a decoder makes nothing of it"


def main() -> None:
    keep_memory_private()
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    av.logging.set_level(None)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(problem_of(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
