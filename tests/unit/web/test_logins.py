"""Lists of what is open: tokens of programs and sessions of browsers."""

from __future__ import annotations

import pytest

from tests.support.web_site import WebSite
from web.api.paging import mark
from web.identity.access import Role


async def test_tokens_and_sessions_are_listed_page_by_page(web_site: WebSite) -> None:
    anna = await web_site.signed_in("anna", Role.OPERATOR)
    chief = await web_site.signed_in("szef", Role.ADMINISTRATOR)
    for client in (anna, chief):
        for i in range(3):
            assert (await client("POST", "/tokens", json={"name": f"t{i}", "acts": ["view_live"]})).status == 201
    for client, path, count in (
        (anna, "/tokens", 3),
        (chief, "/tokens", 6),
        (anna, "/sessions", 1),
        (chief, "/sessions", 2),
    ):
        ids, after = [], ""
        while after is not None:
            page = (await client("GET", f"{path}?limit=2&after={after}")).json
            assert len(page["items"]) <= 2
            ids += [one["id"] for one in page["items"]]
            after = page["next"]
        assert len(ids) == len(set(ids)) == count, path
        for wrong in ("x", "MTIz", mark("1 2"), mark("²  ")):
            assert (await client("GET", f"{path}?after={wrong}")).code == "invalid", (path, wrong)


async def test_one_token_too_many_is_a_conflict_that_says_what_to_do(
    web_site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.identity.people.MOST_TOKENS", 2)
    client, wish = await web_site.signed_in("anna", Role.OPERATOR), {"name": "t", "acts": ["view_live"]}
    made = [await client("POST", "/tokens", json=wish) for _ in range(3)]
    assert [one.status for one in made] == [201, 201, 409]
    assert (made[2].code, made[2].json["said"]["code"], made[2].json["said"]["facts"]) == (
        "conflict", "tokens_full", {"most": 2},
    )  # fmt: skip

    async def all_of_them(**_named: object) -> None:
        raise AssertionError("revoking one reads no list")

    monkeypatch.setattr(web_site.catalogue, "tokens", all_of_them)
    assert (await client("DELETE", f"/tokens/{made[0].json['token']['id']}")).status == 204
    assert (await client("DELETE", f"/tokens/{client.user_id}")).code == "not_found"
    assert (await client("POST", "/tokens", json=wish)).status == 201
