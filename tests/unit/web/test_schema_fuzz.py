"""The interface against its own description (schemathesis): whatever is sent, no answer is a bug's.

In its short form here; `make fuzz-api` sends a hundred times as much and prints what came back. Every answer is what the
description promises: a problem with a known code, or the shape of the route.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.web_site import WebSite, running
from web.api.app import create_app
from web.api.client_files import ClientFiles
from web.identity.access import Role
from web.identity.refusals import Code
from web.identity.throttling import Throttle

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "6"))  # of each operation
ENDING = {"DELETE /api/v1/session", "PUT /api/v1/session/password", "POST /api/v1/session/confirm"}
AWAY = {Code.GATEWAY_AWAY, Code.RECORDER_AWAY, Code.SLOW_DOWN, Code.TOO_MANY_SESSIONS}
DESCRIBED = create_app(None, ClientFiles({})).openapi()
OPERATIONS = [
    f"{method.upper()} {path}"
    for path, ops in DESCRIBED["paths"].items()
    for method in ops
    if f"{method.upper()} {path}" not in ENDING
]


@schemathesis.serializer("application/sdp")
def _sdp(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


class Unslowed(Throttle):
    """Takes the thousandth wrong password like the first: what comes back is what is looked at here."""

    def attempted(self, keys: tuple[tuple[str, ...], ...], mono_ns: int) -> None:
        pass


@dataclass
class Served:
    base: str
    headers: dict[str, str]
    ids: dict[str, str]
    answers: Counter[int] = field(default_factory=Counter)  # by status


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, site_template: Path) -> Iterator[Served]:
    """A site in a thread of its own, for schemathesis asks synchronously."""
    ready, ended = threading.Event(), asyncio.Event()
    found: list[Any] = []

    async def main() -> None:
        async with running(site_template, tmp_path_factory.mktemp("fuzz") / "data") as site:
            found.extend((asyncio.get_running_loop(), await _prepared(site)))
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(60)
        yield found[1]
        answers = found[1].answers
        by_status = ", ".join(f"{status}: {count}" for status, count in sorted(answers.items()))
        print(f"\n{len(OPERATIONS)} operations, {answers.total()} answers; by status {by_status}")
    finally:
        found[0].call_soon_threadsafe(ended.set)
        thread.join(30)


async def _prepared(site: WebSite) -> Served:
    site.parts.identity.throttle = Unslowed()
    camera = await site.camera(1, group="Centrum")
    client = await site.signed_in("szef", Role.ADMINISTRATOR, Role.OPERATOR)
    victim = await site.user("ofiara", Role.OPERATOR)
    (grant,) = await site.catalogue.grants(victim)
    layout = await client("POST", "/layouts", json={"name": "x", "grid": "1", "tiles": [None]})
    token = await client("POST", "/tokens", json={"name": "x", "acts": ["view_live"]})
    view = (await client.watch(camera)).headers["Location"].rpartition("/")[2]
    cookie = "; ".join(f"{c.key}={c.value}" for c in client.session.cookie_jar)
    return Served(
        site.base,
        {"Cookie": cookie, "X-CSRF-Token": client.csrf},
        {
            "camera_id": str(camera.id), "user_id": str(victim), "grant_id": str(grant.id),
            "layout_id": layout.json["id"], "token_id": token.json["token"]["id"], "session_id": view,
        },
    )  # fmt: skip


@pytest.mark.timeout(120 + EXAMPLES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_that_is_sent_meets_a_bug(served: Served, name: str) -> None:
    method, _, path = name.partition(" ")
    operation = schemathesis.openapi.from_dict(DESCRIBED)[path][method]

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=bool(os.environ.get("CI")), database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(case=operation.as_strategy(), known=st.booleans())
    def ask(case: Any, known: bool) -> None:
        if known:
            case.path_parameters = {k: served.ids.get(k, v) for k, v in (case.path_parameters or {}).items()}
        for own in ("Cookie", "X-CSRF-Token", "Authorization"):
            case.headers.pop(own, None)
        case.cookies.clear()
        answer = case.call(base_url=served.base, headers=served.headers, timeout=30)
        served.answers[answer.status_code] += 1
        _judge(name, answer)

    ask()


def _judge(name: str, answer: Any) -> None:
    said = (name, answer.request.url, answer.request.body, answer.status_code, answer.text[:500])
    if answer.status_code < 400:
        return
    assert answer.headers["content-type"] == ["application/problem+json"], said
    problem = json.loads(answer.text)
    assert problem["code"] in set(Code), said
    assert problem["status"] == answer.status_code, said
    assert answer.status_code < 500 or problem["code"] in AWAY, said


HOSTILE = ("\x00", "ł" * 5000, "' OR 1=1 --", "../../etc/passwd", "<script>", "%00", "\ud800", "{}", "=1+1", "A" * 9999)


def test_hostile_texts_in_every_place_for_a_text(served: Served) -> None:
    for text in HOSTILE:
        quoted = requests.utils.quote(text.encode("utf-8", "surrogatepass"))
        for path in (
            f"/api/v1/cameras?q={quoted}&group={quoted}", f"/api/v1/cameras?after={quoted}", f"/api/v1/users?q={quoted}&after={quoted}",
            f"/api/v1/audit?reason=x{quoted}&user={quoted}&act={quoted}", f"/api/v1/cameras/{quoted}", f"/{quoted}", f"/api/{quoted}",
        ):  # fmt: skip
            answer = requests.get(served.base + path, headers=served.headers, timeout=30)
            assert answer.status_code < 500, (path, answer.text)
        for path, body in (
            ("/users", {"name": text, "display_name": text}), ("/layouts", {"name": text, "grid": "1", "tiles": [None]}),
            ("/cameras", {"name": text, "main_url": f"rtsp://10.0.0.1/{text}", "street": text, "username": text, "group": text}),
            ("/session", {"name": text, "password": text}), ("/tokens", {"name": text, "acts": ["view_live"]}),
            ("/setup", {"name": text, "password": text, "setup_code": text}),
        ):  # fmt: skip
            content = json.dumps(body)  # a lone surrogate is \ud800 in JSON, which is a text to Python
            headers = served.headers | {"Content-Type": "application/json"}
            answer = requests.post(f"{served.base}/api/v1{path}", data=content, headers=headers, timeout=30)
            assert answer.status_code < 500, (path, text[:20], answer.text)
