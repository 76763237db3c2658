"""`vms web` as a process: what it says, that it serves, and that it ends in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-c", "from vms.cli import main; main()"]


def vms(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, args)], capture_output=True, text=True, timeout=60, check=False, **options
    )  # fmt: skip


def ask(url: str, body: object = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.mark.network
def test_the_web_process_from_its_first_word_to_its_last(tmp_path: Path) -> None:
    data = tmp_path / "data"
    environ = {**os.environ, "VMS_WEB_LISTEN": "127.0.0.1:0", "VMS_LOG_FORMAT": "json"}
    unmigrated = vms("--data", data, "web", env=environ)
    assert unmigrated.returncode == 2
    assert "migrate" in unmigrated.stderr
    assert vms("--data", data, "migrate").returncode == 0
    with subprocess.Popen(
        [*COMMAND, "--data", str(data), "web"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        assert process.stdout is not None
        code = process.stdout.readline().rpartition(": ")[2].strip()
        base = process.stdout.readline().removeprefix("open ").strip()
        try:
            assert ask(f"{base}/health/live") == (200, {"ok": True})
            assert ask(f"{base}/api/v1/site")[1]["setup_needed"] is True
            assert ask(f"{base}/api/v1/cameras")[0] == 401
            wish = {"setup_code": code, "name": "anna", "password": "Krowa-na-rynku-7"}
            assert ask(f"{base}/api/v1/setup", wish)[0] == 201
            status, session = ask(f"{base}/api/v1/session", {"name": "anna", "password": "Krowa-na-rynku-7"})
            assert (status, session["roles"]) == (200, ["administrator"])
            second = vms("--data", data, "web", env=environ)
            assert second.returncode == 2
            assert "runs already" in second.stderr
            assert vms("--data", tmp_path / "other", "migrate").returncode == 0
            port = base.rpartition(":")[2]
            refused = vms("--data", tmp_path / "other", "web", env=environ | {"VMS_WEB_LISTEN": f"127.0.0.1:{port}"})
            assert refused.returncode == 2
            assert "web.listen" in refused.stderr
        finally:
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert time.monotonic() - began < 10
    assert "Traceback" not in errors
    assert code not in out + errors
    assert "Krowa" not in errors
    with pytest.raises(urllib.error.URLError):
        ask(f"{base}/health/live")
