"""Fixtures for the whole suite. Real servers start lazily, once per test process, and are stopped at its end."""

from importlib.util import find_spec

pytest_plugins = ["tests.support.servers"] if find_spec("tests.support.servers") else []
