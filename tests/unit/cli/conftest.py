"""A data folder with a catalogue, and the command as a function."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from vms.cli.app import app

Vms = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_site_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VMS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@contextmanager
def _log_as_before() -> Iterator[None]:
    """Commands set up the process's log, which here is everybody's."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.fixture(autouse=True)
def _log_is_kept() -> Iterator[None]:
    with _log_as_before():
        yield


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("site") / "data"
    with _log_as_before():  # made before the first test's own fixtures
        result = CliRunner().invoke(app, ["--data", str(data), "migrate"])
    assert result.exit_code == 0, result.output
    return data


@pytest.fixture
def data(migrated: Path, tmp_path: Path) -> Path:
    """A data folder of this test's own with an empty catalogue."""
    return Path(shutil.copytree(migrated, tmp_path / "data"))


@pytest.fixture
def vms(data: Path) -> Vms:
    """`vms("camera", "list")` against the test's data folder; `stdin=` is what is typed."""

    def run(*args: Any, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["--data", str(data), *map(str, args)], input=stdin)

    return run
