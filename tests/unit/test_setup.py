"""`scripts/setup`, with everything it would install replaced by stand-ins: what it does again, and what it leaves alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = (
    "bash",
    "env",
    "cat",
    "chmod",
    "cut",
    "dirname",
    "head",
    "ln",
    "mkdir",
    "mktemp",
    "rm",
    "sha256sum",
    "sort",
    "tail",
)
UV = """#!/bin/sh
mkdir -p .venv/bin
printf '#!/bin/sh\\n' >.venv/bin/python
chmod +x .venv/bin/python
"""  # a Python that says nothing, as when all is compiled
DPKG = "#!/bin/sh\nprintf 'install ok installed'\n"
GO = """#!/bin/sh
case $1 in
env) echo VERSION ;;
install) : >"$GOBIN/minio" && chmod +x "$GOBIN/minio" ;;
esac
"""


class Machine:
    """A checkout, a home and a PATH of its own."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.bin, self.home = folder / "tree", folder / "bin", folder / "home"
        for made in (self.tree / "scripts", self.bin, self.home):
            made.mkdir(parents=True)
        for name in ("pyproject.toml", "uv.lock", "scripts/setup"):
            shutil.copy(ROOT / name, self.tree / name)
        for name in SYSTEM:
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(found)
        (self.bin / "python3.11").symlink_to(sys.executable)
        self.install("uv", UV)
        self.install("dpkg-query", DPKG)

    def install(self, name: str, script: str) -> None:
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def setup(self, goal: str = "test") -> str:
        """What `scripts/setup GOAL` says."""
        done = subprocess.run(
            [shutil.which("bash") or "bash", "scripts/setup", goal],
            cwd=self.tree,
            env={"PATH": str(self.bin), "HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_minio_is_built_once_go_is_there_and_until_then_the_second_run_is_quiet(machine: Machine) -> None:
    assert "no Go 1.24 or newer: MinIO cannot be built" in machine.setup()
    assert machine.setup() == ""
    machine.install("go", GO.replace("VERSION", "go1.19.8"))
    assert machine.setup() == ""
    machine.install("go", GO.replace("VERSION", "go1.25.1"))
    assert "building MinIO with go1.25.1" in machine.setup()
    assert os.access(machine.home / ".cache/stroz/bin/minio", os.X_OK)
    assert machine.setup() == ""


def test_the_demo_needs_no_minio(machine: Machine) -> None:
    machine.install("go", GO.replace("VERSION", "go1.25.1"))
    assert "MinIO" not in machine.setup("demo")
    assert machine.setup("demo") == ""
    assert "building MinIO" in machine.setup("minio")
    assert machine.setup("minio") == ""


def test_a_changed_lock_is_set_up_anew(machine: Machine) -> None:
    machine.setup()
    with (machine.tree / "uv.lock").open("a") as lock:
        lock.write("# changed\n")
    assert "installing Python packages" in machine.setup()
    assert machine.setup() == ""
