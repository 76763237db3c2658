"""Runs the real `vms` command many times without paying for its imports each time.

One process imports what commands import and then forks for every command: a process of its own with its own arguments,
environment, folder, and standard streams, which runs `vms.cli.main` and exits as it does. `Zygote.run` is what
`subprocess.run` would be.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

ROOT = Path(__file__).resolve().parents[2]
_IMPORTS = (
    "vms.cli.app", "vms.cli.registry", "vms.cli.footage", "vms.cameras.camera_csv", "vms.cameras.probing", "vms.cli.camera_import",
    "storage.objects.s3", "uvloop", "rich.table", "rich.progress", "vms.processes", "recorder.host",
)  # fmt: skip


class Zygote:
    """The process that forks. A context manager."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="vms-zygote-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        stdin, stdout = self._streams()
        stdin.close()
        self._process.wait(10)
        stdout.close()
        self._folder.cleanup()

    def run(self, args: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: int) -> tuple[int, str, str]:
        """`vms *args`: exit code, standard output, standard error. A code of -14 is that it did not end in time."""
        stdin, stdout = self._streams()
        out, err = Path(self._folder.name, "out"), Path(self._folder.name, "err")
        out.write_bytes(b"")
        err.write_bytes(b"")
        order = {
            "args": list(args), "cwd": str(cwd), "env": dict(env), "timeout": timeout, "out": str(out), "err": str(err)
        }  # fmt: skip
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        return int(stdout.readline()), out.read_text(), err.read_text()

    def _streams(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


def _serve() -> None:
    import importlib

    for name in _IMPORTS:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(order: dict[str, object]) -> None:
    """In the child: the command, to its end."""
    for number, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, order["out"], os.O_WRONLY),
        (2, order["err"], os.O_WRONLY),
    ):
        os.dup2(os.open(str(name), flags), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    signal.alarm(int(str(order["timeout"])))
    os.chdir(str(order["cwd"]))
    os.environ.clear()
    os.environ.update(order["env"])  # type: ignore[call-overload]
    sys.argv = ["vms", *order["args"]]  # type: ignore[misc]
    code: object = 70
    try:
        from vms.cli import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    _serve()
