"""Fixtures for the whole suite. Real servers start lazily, once per test process, and are stopped at its end."""

pytest_plugins = ["tests.support.servers"]
