"""Fixtures for the whole suite. Real servers start lazily, once per test process, and are stopped at its end."""

import os
from importlib.util import find_spec

from hypothesis import settings

# On a server every run tries the same examples, so that a change is judged by itself; here they are new each time.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

pytest_plugins = ["tests.support.servers"] if find_spec("tests.support.servers") else []
