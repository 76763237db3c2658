"""The interface's description as a file, for the client's types: `python -m web.api.openapi [--check]`.

Owns `openapi.json` beside it: written from the routes, compared with them by a test.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from web.api.app import create_app
from web.api.client_files import ClientFiles

FILE = Path(__file__).with_name("openapi.json")


def described() -> str:
    """The description as the file should have it."""
    return json.dumps(create_app(None, ClientFiles({})).openapi(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="web.api.openapi")
    parser.add_argument("--check", action="store_true", help="say whether the file is what the routes describe")
    now = described()
    if parser.parse_args().check:
        if FILE.read_text(encoding="utf-8") != now:
            sys.exit("web/api/openapi.json is not what the routes describe; run: python -m web.api.openapi")
        return
    FILE.write_text(now, encoding="utf-8")


if __name__ == "__main__":
    main()
