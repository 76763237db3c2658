"""What is measured once, however many test processes look at it."""

from __future__ import annotations

import fcntl
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def measured_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str, Callable[[], Any]], Any]:
    """`measured_once(name, measure)`: the result of `measure`, which one of the test processes runs for all."""
    base = tmp_path_factory.getbasetemp()
    folder: Path = base if worker_id == "master" else base.parent

    def take(name: str, measure: Callable[[], Any]) -> Any:
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = folder / f"{name}.pickle"
            if not file.exists():
                file.write_bytes(pickle.dumps(measure()))
            return pickle.loads(file.read_bytes())

    return take
