"""Fixtures for the whole suite. Real servers start lazily, once per test process, and are stopped at its end."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is; pytest's time limit is there for what hangs.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# On a server every run tries the same examples, so that a change is judged by itself; here they are new each time.
settings.register_profile("ci", settings.get_profile("house"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "house")

if subprocess.run(
    [sys.executable, Path(__file__).parent.parent / "scripts/compile.py", "--check"], check=False
).returncode:
    pytest.exit("what is compiled is older than its sources: run scripts/compile.py, or scripts/compile.py --remove", 4)

pytest_plugins = ["tests.support.servers"] if find_spec("tests.support.servers") else []
