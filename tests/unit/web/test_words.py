"""What the interface says by code has words in both languages of the client; a new code without them fails."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import pytest

from storage.catalogue import Asked, Detail, Why
from tests.support.web_site import WebSite
from tests.unit.cli.test_cli_audit import ABOUT, ACTS
from tests.unit.web.test_audit import STEPS
from vms.cli.check import DepthName
from vms.sentences import ENGLISH, say
from vms.status.site_judgement import TroubleCode
from web.api.routes.camera_tables import NAME
from web.api.schemas_people import Language
from web.identity.access import Act, Role, Scope
from web.identity.refusals import Code

HOUSE = Path(__file__).parents[3]
ELSEWHERE = {"sign_in_failed", "wrong_password"}  # put on record where something did not succeed
LANGUAGES = ("pl", "en")


def catalogue(language: str) -> Any:
    return json.loads((HOUSE / "web/client/src/i18n" / f"{language}.json").read_text())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_problem_has_words(language: str) -> None:
    assert {code.value for code in Code} - catalogue(language)["problem"].keys() == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_trouble_of_a_site_has_a_why_and_a_next_step(language: str) -> None:
    words = catalogue(language)["health"]
    for kind in ("why_", "todo_"):
        codes = {key.removeprefix(kind) for key in words if key.startswith(kind)} - {"since"}
        assert codes == {code.value for code in TroubleCode}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_act_on_record_has_words(language: str) -> None:
    acts = {a for step in STEPS.values() for a in (step.act, *step.besides)} | {
        a for many in ACTS.values() for a in many
    }
    acts |= ELSEWHERE | {"confirm_deletion", "confirm_rebuild"}
    assert acts ^ catalogue(language)["audit_act"].keys() == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_fact_of_an_entry_has_a_label_and_each_of_its_words_too(language: str) -> None:
    """mypy holds whoever writes an entry to the facts of `Detail`."""
    words = catalogue(language)
    assert words["audit_detail"].keys() == Detail.__annotations__.keys()
    assert words["audit_asked"].keys() == Asked.__annotations__.keys()
    assert words["audit_why"].keys() == set(get_args(Why))
    assert words["audit_depth"].keys() == {depth.value for depth in DepthName}
    assert words["audit_language"].keys() == set(get_args(Language))
    assert words["acts"].keys() == {act.value for act in Act}
    assert words["role"].keys() == {role.value for role in Role}
    assert {f"scope_{scope.value}" for scope in Scope} <= words["grant"].keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_that_acts_are_done_to_has_words(language: str) -> None:
    words = catalogue(language)["audit_object"]
    about = {step.about for step in STEPS.values()} | ABOUT
    kinds = {one.split()[0] if one.startswith(("user ", "layout ", "token ", "camera ")) else one for one in about}
    assert {kind.replace(" ", "_") for kind in kinds - {STEPS["POST /api/v1/cameras/test"].about}} == words.keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_said_with_the_same_facts(language: str) -> None:
    words = catalogue(language)["said"]
    assert words.keys() == ENGLISH.keys()
    for code, english in ENGLISH.items():
        facts = set(re.findall(r"\{(\w+)(?::[^}]*)?\}", re.sub(r"\{\{.*?\}\}", "", english)))
        assert set(re.findall(r"\{\{(\w+)\}\}", words[code])) == facts, code


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_in_sentences_have_words(language: str) -> None:
    from vms.cameras.camera_edit import _SHOWN
    from vms.model import StreamKind

    assert {label.replace(" ", "_") for label in _SHOWN.values()} == catalogue(language)["said_field"].keys()
    assert {kind.value for kind in StreamKind} == catalogue(language)["said_stream"].keys()
    assert {"video", "audio"} == catalogue(language)["said_media"].keys()
    assert {NAME.replace(" ", "_")} == catalogue(language)["said_table"].keys()


def test_every_sentence_that_is_raised_is_in_the_list_and_none_is_there_in_vain() -> None:
    said = set()
    for folder in ("vms", "storage", "web", "recorder"):
        for file in (HOUSE / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and file.name != "sentences.py":
                    said.add(node.value)
    assert ENGLISH.keys() - said == set()


NOT_IN_A_TEST = {
    "setup": "a codec that is not ours is a report, and no track is set up",
    "_free_channel": "a test has one track",
    "_socket_address": "a test goes through no tunnel",
    "close": "nobody waits any more",
    "_raise_if_ended": "it repeats what is raised elsewhere",
}


def test_every_end_of_a_cameras_test_has_a_code() -> None:
    """Each SourceError of the client and the probe is made of a sentence, so that pages can say it."""
    plain, coded = set(), 0
    for name in ("client", "connection", "transport", "udp", "probe"):
        tree = ast.parse((HOUSE / f"vms/rtsp/{name}.py").read_text())
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SourceError":
                    made = ast.unparse(node.args[1])
                    says = made.startswith(("say(", "said", "self._stalled("))
                    plain |= set() if says else {function.name}
                    coded += says
    assert plain == NOT_IN_A_TEST.keys()
    assert coded > 20


FAULTS: list[tuple[str, dict[str, Any], str, str]] = [  # a request's path, body, the field, and what is said of it
    ("/users", {"name": "ą"}, "name", "login_name"),
    ("/users", {"name": ""}, "name", "text_short"),
    ("/users", {"name": "a" * 65}, "name", "text_long"),
    ("/users", {}, "name", "is_needed"),
    ("/users", {"name": 7}, "name", "not_text"),
    ("/users", {"name": "anna", "language": "de"}, "language", "not_known"),
    ("/users", {"name": "anna", "colour": "red"}, "colour", "not_expected"),
    ("/users/{user}/grants", {"role": "king"}, "role", "not_known"),
    ("/users/{user}/grants", {"role": "operator", "scope": "group"}, "group", "grant_group"),
    ("/users/{user}/grants", {"role": "operator", "camera_id": "x"}, "camera_id", "not_id"),
    ("/users/{user}/grants", {"role": "operator", "scope": "camera"}, "camera_id", "grant_camera"),
    ("/users/{user}/grants", {"role": "operator", "expires_at": "jutro"}, "expires_at", "time_form"),
    ("/users/{user}/grants", {"role": "operator", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at", "time_over"),
    ("/users/{user}/grants", {"role": "operator", "expires_at": "9001-01-01T00:00:00Z"}, "expires_at", "time_range"),
    ("/users/{user}/grants", {"role": "operator", "back_hours": -1}, "back_hours", "number_small"),
    ("/users/{user}/grants", {"role": "operator", "back_hours": 1.5}, "back_hours", "not_whole"),
    ("/tokens", {"name": "t", "acts": [], "days": 1}, "acts", "list_short"),
    ("/tokens", {"name": "t", "acts": ["view_live"] * 99, "days": 1}, "acts", "list_long"),
    ("/tokens", {"name": "t", "acts": ["view_live"], "days": 400}, "days", "number_large"),
    ("/cameras", {"name": "x", "main_url": "rtsp://10.0.0.1/a", "number": "abc"}, "number", "not_whole"),
    ("/cameras", {"name": "x", "main_url": "rtsp://10.0.0.1/a", "lat": "abc"}, "lat", "not_number"),
    ("/cameras", {"name": "x", "main_url": "rtsp://10.0.0.1/a", "enabled": "może"}, "enabled", "not_yes_no"),
    ("/cameras", {"name": "x", "main_url": "rtsp://10.0.0.1/a", "profile_id": str(UUID(int=1))}, "profile_id", "profile_gone"),
    ("/layouts", {"name": "x", "grid": "2x2", "tiles": [None]}, "tiles", "layout_tiles"),
    ("/layouts", {"name": "x", "grid": "1", "tiles": [None], "spot": 3}, "spot", "layout_spot"),
]  # fmt: skip


async def test_a_wrong_field_is_told_by_code_on_every_route(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR, Role.OPERATOR)
    user = str(client.user_id)
    for path, body, field, code in FAULTS:
        answer = await client("POST", path.format(user=user), json=body)
        assert (answer.status, answer.code) == (422, "invalid"), (path, body, answer.text)
        (fault,) = answer.json["errors"]
        assert (fault["field"], fault["said"]["code"]) == (field, code), (path, body)
        assert fault["detail"] == fault["said"]["text"]
    broken = await client("POST", "/users", data=b"{", headers={"Content-Type": "application/json"})
    assert broken.json["errors"][0]["said"]["code"] == "not_json"
    for path, code in (
        ("/cameras?after=!", "mark_form"),
        ("/audit/proof?size=1", "log_number_or_first"),
        ("/audit/proof?size=999999&number=1", "log_place"),
    ):
        assert (await client("GET", path)).json["errors"][0]["said"]["code"] == code


async def test_what_stands_in_the_way_is_told_by_code(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    camera = await web_site.camera(7)
    again = await client("POST", "/users", json={"name": "SZEF"})
    assert (again.code, again.json["field"], again.json["said"]["code"]) == ("conflict", "name", "user_exists")
    taken = await client("POST", "/cameras", json={"name": "x", "main_url": "rtsp://10.0.0.7/a", "number": 7})
    assert (taken.code, taken.json["field"], taken.json["said"]["code"]) == ("conflict", "number", "number_taken")
    (grant,) = (await client("GET", f"/users/{client.user_id}/grants")).json["items"]
    last = await client("DELETE", f"/grants/{grant['id']}")
    assert (last.code, last.json["said"]["code"]) == ("conflict", "last_holder")
    assert (await client("DELETE", f"/cameras/{camera.id}")).status == 204
    gone = await client("PATCH", f"/cameras/{camera.id}", json={"name": "C"}, headers={"If-Match": "1"})
    assert (gone.code, gone.json["said"]["code"]) == ("conflict", "camera_retired")


def test_a_sentence_is_its_english_and_knows_its_code() -> None:
    told = say("number_twice", number=12, line=2)
    assert told == "12 is already in line 2"
    assert told.as_json() == {
        "code": "number_twice",
        "facts": {"number": 12, "line": 2},
        "text": "12 is already in line 2",
        "note": "",
    }
    noted = told.noted("row 7").noted("").noted("of 9")
    assert (noted, noted.code, noted.note) == ("12 is already in line 2 (row 7) (of 9)", "number_twice", "row 7; of 9")
    assert say("url_placeholder", name="{pass}").endswith("known are {user} and {password}")


async def test_a_table_a_field_and_a_test_are_told_by_code(web_site: WebSite) -> None:
    client = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    await web_site.camera(1)
    text = "numer;nazwa;adres;lat\r\n1;Rynek;;\r\n1;x;10.0.0.2;\r\nx;y;10.0.0.3;\r\n5;Kamera 1;10.0.0.5;99\r\n"
    csv = {"Content-Type": "text/csv"}
    report = (await client("POST", "/cameras/import", data=text, headers=csv)).json
    assert [[one["code"] for one in row["said"]] for row in report["rows"]] == [
        ["changed"], ["number_twice"], ["whole_number"], ["degrees_range"]
    ]  # fmt: skip
    assert report["rows"][0]["said"][0]["facts"] == {"field": "name", "before": "Kamera 1", "after": "Rynek"}
    assert report["rows"][1]["said"][0]["facts"] == {"number": 1, "line": 2}
    whole = await client("POST", "/cameras/import", data="nr;nazwa\r\n", headers=csv)
    assert (whole.code, whole.json["said"]["code"]) == ("invalid", "table_column_unknown")
    field = await client("POST", "/cameras", json={"name": "x", "main_url": "gopher://10.0.0.5/a"})
    (fault,) = field.json["errors"]
    assert (fault["field"], fault["said"]["code"]) == ("main_url", "url_scheme")
    tested = await client("POST", "/cameras/test", json={"main_url": "rtsp://10.0.0.9/a"})
    (advice,) = tested.json["streams"][0]["advice"]
    assert (advice["code"], advice["facts"]) == ("rare_keyframes", {"seconds": 4.0})
