"""The `vms` command. One module per group of commands; the only part of `vms` that may reach upwards, lazily.

Commands are thin: parse, call once, shape the answer. Exit codes: 0 done, 1 it failed, 2 the input cannot be carried
out, 3 and 4 what `vms check` found, 130 Ctrl-C. Facts go to standard output, everything else to standard error.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of `vms`."""
    from vms.secrecy import keep_memory_private

    keep_memory_private()
    from vms.cli.app import app

    app(prog_name="vms")
