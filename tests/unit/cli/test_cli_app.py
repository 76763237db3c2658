"""The root command: help, exit codes, errors without tracebacks, as a real process and in process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from vms.cli.app import app, hoist_global_options

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"
COMMAND = [sys.executable, "-c", "from vms.cli import main; main()"]


def run(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload, no-any-return]


def leaves() -> dict[str, object]:
    """Every command by its words."""
    found = {}

    def walk(command: object, words: tuple[str, ...]) -> None:
        children = getattr(command, "commands", None)
        if children is None:
            found[" ".join(words)] = command
        else:
            for name, child in children.items():
                walk(child, (*words, name))

    walk(get_command(app), ())
    return found


def test_help_is_quick() -> None:
    """Bounded by the processor's time, so that busy neighbours do not matter."""
    code = (
        "import resource, sys; sys.argv = ['vms', '--help']\n"
        "from vms.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'av', 'cryptography', 'aiohttp', 'prometheus_client', 'numpy'} & set(sys.modules)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_utime, heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    seconds, heavy = done.stderr.strip().split(" ", 1)
    assert heavy == "set()"
    assert float(seconds) < 1.0  # 0.25 on a quiet machine
    assert "camera" in done.stdout


@pytest.mark.parametrize("words", leaves())
def test_every_command_has_help_with_an_example_and_a_place_in_the_reference(words: str) -> None:
    shown = CliRunner().invoke(app, [*words.split(), "--help"])
    assert shown.exit_code == 0
    assert f"Example: vms {words}" in re.sub(r"\s+", " ", shown.output)
    assert f"`vms {words}" in REFERENCE.read_text(encoding="utf-8")


def test_every_option_stands_in_the_reference() -> None:
    page = REFERENCE.read_text(encoding="utf-8")
    for words, command in leaves().items():
        section = re.search(rf"^#+ `vms {re.escape(words)}[ `].*?(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
        assert section, words
        for parameter in command.params:  # type: ignore[attr-defined]
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("--") and not parameter.hidden and option not in ("--help", "--json"):
                    assert f"`{option}" in section[0], f"{words}: {option}"


def test_the_reference_names_no_command_that_is_not_there() -> None:
    named = set(re.findall(r"^#+ `vms ([a-z]+(?: [a-z]+)?)", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE))
    assert named == set(leaves())


def test_exit_codes_of_the_real_process(tmp_path: Path) -> None:
    assert run("version").returncode == 0
    wrong = run("camera", "list", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "vms: " in wrong.stderr
    assert "vms-data" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert wrong.stdout == ""
    assert run("camera", "lost").returncode == 2
    assert run("camera", "show").returncode == 2


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    shown = run("camera", "list", "--debug", "--data", str(tmp_path / "none"))
    assert shown.returncode == 2
    assert "Traceback" in shown.stderr


def test_data_folder_from_environment(tmp_path: Path) -> None:
    done = run("migrate", env={**os.environ, "VMS_DATA": str(tmp_path / "d")})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "d" / "catalogue.db").exists()


def test_a_failure_of_the_catalogue_is_exit_code_1(tmp_path: Path) -> None:
    environ = {**os.environ, "VMS_CATALOGUE_URL": "postgresql://stroz:kanarek@127.0.0.1:1/stroz"}
    done = run("migrate", "--data", str(tmp_path / "d"), env=environ)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "kanarek" not in done.stderr


def test_polish_names_reach_a_pipe_without_a_locale(tmp_path: Path) -> None:
    environ = {**os.environ, "LC_ALL": "C"}
    data = str(tmp_path / "d")
    assert run("--data", data, "camera", "add", "Łąkowa", "rtsp://10.0.0.5/x", env=environ).returncode == 0
    listed = subprocess.run([*COMMAND, "--data", data, "camera", "list"], capture_output=True, env=environ, check=True)
    assert "Łąkowa" in listed.stdout.decode()


def test_ctrl_c_is_exit_code_130() -> None:
    file = Path(__file__)  # not footage: the simulator is never reached
    code = (
        "import asyncio, vms.cli.run\n"
        "async def forever(*_): print('up', flush=True); await asyncio.sleep(60)\n"
        "vms.cli.run._footage = lambda files, sub: []\n"
        "import vms.simulate; vms.simulate.simulate = forever\n"
        "from vms.cli import main; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "simulate", str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - began < 20
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("given", "hoisted"),
    [
        (["camera", "list", "--data", "d"], ["--data", "d", "camera", "list"]),
        (["camera", "list", "--data=d", "--debug"], ["--data=d", "--debug", "camera", "list"]),
        (["camera", "add", "--", "--data", "x"], ["camera", "add", "--", "--data", "x"]),
        (["x", "--data"], ["--data"]),
    ],
)
def test_global_options_may_stand_anywhere(given: list[str], hoisted: list[str]) -> None:
    assert hoist_global_options(given) == hoisted


def test_version_in_json() -> None:
    facts = json.loads(CliRunner().invoke(app, ["version", "--json"]).output)
    assert facts["version"]
    assert facts["data_format"] == 1
