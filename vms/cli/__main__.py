"""`python -m vms.cli`: the `vms` command by this very interpreter, wherever the script itself was installed."""

from vms.cli import main

main()
