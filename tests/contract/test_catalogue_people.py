"""What every catalogue promises about people, logins, layouts, live views and the audit log, over SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import Connection, delete, text, update

from storage.catalogue import (
    Catalogue,
    Happening,
    LiveView,
    StoredCheckpoint,
    StoredGrant,
    StoredLayout,
    StoredSession,
    StoredToken,
    User,
    downgrade,
    migrate,
    sqlite_url,
)
from storage.catalogue.tables_people import audit_checkpoints, audit_entries, audit_nodes
from tests.support.footage_rows import HOUR, T0, PlainSealer, add_camera
from vms.errors import CatalogueError, ChangedMeanwhile, UserError
from vms.merkle import verify_consistency, verify_inclusion
from vms.sealing import Sealer
from web.identity.checkpoints import AuditKey, sign_head

RECORD = Happening(T0, "test")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "catalogue.db")
    return str(request.getfixturevalue("postgres_database"))


@pytest_asyncio.fixture
async def catalogue(url: str) -> AsyncIterator[Catalogue]:
    await migrate(url)
    async with Catalogue(url, PlainSealer()) as opened:
        yield opened


def person(name: str = "Anna.Nowak", **fields: Any) -> User:
    return replace(User(uuid4(), name, "Anna Nowak", "pl", "hash", must_change_password=False, created_ns=T0), **fields)


def grant(user: User, role: str = "operator", scope: str = "all", **fields: Any) -> StoredGrant:
    plain = StoredGrant(uuid4(), user.id, role, scope, None, None, None, None, T0, "test")
    return replace(plain, **fields)


def session(user: User, **fields: Any) -> StoredSession:
    plain = StoredSession(uuid4(), user.id, "10.0.0.1", "browser", T0, T0, T0 + HOUR, None, {"failed": 0})
    return replace(plain, **fields)


# Users and grants


async def test_a_user_comes_back_as_added_and_is_found_whatever_the_case(catalogue: Catalogue) -> None:
    assert not await catalogue.has_users()
    anna = await catalogue.add_user(person(), record=RECORD)
    assert await catalogue.has_users()
    assert await catalogue.user(anna.id) == anna == await catalogue.user_named("ANNA.nowak")
    assert await catalogue.user(uuid4()) is None is await catalogue.user_named("ola")
    assert (await catalogue.audit_head()).size == 1
    with pytest.raises(UserError, match="already a user"):
        await catalogue.add_user(person("anna.NOWAK"), record=RECORD)
    with pytest.raises(UserError, match="set up already"):
        await catalogue.add_user(person("ola"), only_first=True, record=RECORD)
    assert (await catalogue.audit_head()).size == 1  # nothing was done, so nothing is on record


async def test_two_first_users_at_once_are_one(catalogue: Catalogue) -> None:
    tries = (catalogue.add_user(person(f"u{i}"), only_first=True, record=RECORD) for i in range(4))
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert len(await catalogue.users()) == sum(isinstance(one, User) for one in done) == 1


async def test_users_are_listed_in_pages_and_searched(catalogue: Catalogue) -> None:
    for name in ("ola", "Anna", "zenon_x", "zenon%y"):
        await catalogue.add_user(person(name, display_name=f"Pan {name}"), record=RECORD)
    assert [u.name for u in await catalogue.users()] == ["Anna", "ola", "zenon%y", "zenon_x"]
    assert [u.name for u in await catalogue.users(after="Anna", limit=2)] == ["ola", "zenon%y"]
    assert [u.name for u in await catalogue.users(search="zenon_")] == ["zenon_x"]
    assert [u.name for u in await catalogue.users(search="PAN O")] == ["ola"]


async def test_a_change_is_of_one_version_and_may_end_logins(catalogue: Catalogue) -> None:
    anna = await catalogue.add_user(person(), record=RECORD)
    kept, other = session(anna), session(anna)
    for one, digest in ((kept, b"1"), (other, b"2")):
        await catalogue.open_session(one, digest, record=RECORD)
    changed = await catalogue.change_user(
        anna.id, {"display_name": "A. N."}, version=1, end_logins=True, keep_session=kept.id, record=RECORD
    )
    assert changed is not None
    assert (changed.version, changed.display_name) == (2, "A. N.")
    assert set(await catalogue.logins({kept.id, other.id})) == {kept.id}
    assert await catalogue.change_user(anna.id, {"language": "en"}, version=1, record=RECORD) is None
    assert await catalogue.change_user(uuid4(), {"language": "en"}, record=RECORD) is None


async def test_a_removed_user_is_gone_and_the_name_free(catalogue: Catalogue) -> None:
    anna = await catalogue.add_user(person(), record=RECORD)
    await catalogue.add_grant(grant(anna), record=RECORD)
    await catalogue.open_session(session(anna), b"1", record=RECORD)
    assert await catalogue.remove_user(anna.id, at_ns=T0, record=RECORD) is not None
    assert await catalogue.remove_user(anna.id, at_ns=T0, record=RECORD) is None
    assert await catalogue.session_login(b"1") is None
    assert await catalogue.all_grants() == []
    again = await catalogue.add_user(person(), record=RECORD)
    assert again.id != anna.id


async def test_grants_come_back_and_go(catalogue: Catalogue) -> None:
    camera = await add_camera(catalogue, 1)
    anna = await catalogue.add_user(person(), record=RECORD)
    one = grant(anna, "operator", "camera", camera_id=camera.id, expires_ns=T0 + HOUR, back_ns=HOUR)
    two = grant(anna, "technician", "group", camera_group="Praga")
    for each in (one, two):
        await catalogue.add_grant(each, record=RECORD)
    assert await catalogue.grants(anna.id) == [one, two] == await catalogue.all_grants()
    assert await catalogue.grant(one.id) == one
    assert await catalogue.remove_grant(one.id, record=RECORD) == one
    assert await catalogue.remove_grant(one.id, record=RECORD) is None is await catalogue.grant(one.id)
    with pytest.raises(UserError, match="no such camera"):
        await catalogue.add_grant(grant(anna, scope="camera", camera_id=uuid4()), record=RECORD)
    with pytest.raises(UserError, match="no such user"):
        await catalogue.add_grant(grant(person()), record=RECORD)


async def test_somebody_stays_administrator(catalogue: Catalogue) -> None:
    anna = await catalogue.add_user(person(), record=RECORD)
    boss = grant(anna, "administrator")
    await catalogue.add_grant(boss, record=RECORD)
    ola = await catalogue.add_user(person("ola"), record=RECORD)
    for narrow in (
        grant(ola, "administrator", "group", camera_group="x"),
        grant(ola, "administrator", expires_ns=T0 + HOUR),
    ):  # fmt: skip - neither is enough
        await catalogue.add_grant(narrow, record=RECORD)
    for attempt in (
        catalogue.remove_grant(boss.id, never_without="administrator", record=RECORD),
        catalogue.remove_user(anna.id, at_ns=T0, never_without="administrator", record=RECORD),
        catalogue.change_user(anna.id, {"disabled_ns": T0}, never_without="administrator", record=RECORD),
    ):
        with pytest.raises(UserError, match="nobody would be administrator"):
            await attempt
    assert (await catalogue.user(anna.id)) == anna
    assert boss in await catalogue.grants(anna.id)
    await catalogue.add_grant(grant(ola, "administrator"), record=RECORD)
    assert await catalogue.remove_user(anna.id, at_ns=T0, never_without="administrator", record=RECORD) is not None


# Logins


async def test_a_session_is_found_by_its_digest_with_everything_that_decides(catalogue: Catalogue) -> None:
    anna = await catalogue.add_user(person(), record=RECORD)
    held = await catalogue.add_grant(grant(anna), record=RECORD)
    one = session(anna, notice={"last_ns": 5, "failed": 2})
    await catalogue.note_failure(anna.id, record=RECORD)
    await catalogue.open_session(one, b"digest", record=RECORD)
    login = await catalogue.session_login(b"digest")
    assert login is not None
    assert (login.session, login.grants, login.user.failed) == (one, (held,), 0)
    assert (login.user.signed_in_ns, login.user.signed_in_ip) == (T0, "10.0.0.1")
    assert await catalogue.session_login(b"other") is None is await catalogue.token_login(b"digest")
    await catalogue.touch_session(one.id, seen_ns=T0 + 5, confirmed_until_ns=T0 + 9)
    (again,) = await catalogue.open_sessions(now_ns=T0)
    assert again.session == replace(one, seen_ns=T0 + 5, confirmed_until_ns=T0 + 9)
    assert await catalogue.open_sessions(now_ns=T0 + HOUR) == []
    assert await catalogue.open_sessions(now_ns=T0, user_id=uuid4()) == []
    size = (await catalogue.audit_head()).size
    assert await catalogue.end_session(one.id, record=RECORD)
    assert not await catalogue.end_session(one.id, record=RECORD)
    assert (await catalogue.audit_head()).size == size + 1


async def test_a_token_is_found_until_its_user_goes_and_says_that_it_was_revoked(catalogue: Catalogue) -> None:
    anna = await catalogue.add_user(person(), record=RECORD)
    token = StoredToken(
        uuid4(), anna.id, "zabbix", frozenset({"read_health", "view_live"}), T0, "test", T0 + HOUR, None, None
    )
    await catalogue.add_token(token, b"t", most=9, record=RECORD)
    login = await catalogue.token_login(b"t")
    assert login is not None
    assert (login.id, login.token, login.session) == (token.id, token, None)
    await catalogue.touch_token(token.id, used_ns=T0 + 1)
    assert await catalogue.revoke_token(token.id, at_ns=T0 + 2, record=RECORD)
    assert not await catalogue.revoke_token(token.id, at_ns=T0 + 3, record=RECORD)
    (found,) = await catalogue.tokens()
    assert found.token == replace(token, used_ns=T0 + 1, revoked_ns=T0 + 2)
    assert await catalogue.logins({token.id}) == {token.id: found}
    await catalogue.remove_user(anna.id, at_ns=T0, record=RECORD)
    assert await catalogue.token_login(b"t") is None
    with pytest.raises(CatalogueError, match="removed"):
        await catalogue.add_token(replace(token, id=uuid4()), b"u", most=9, record=RECORD)


async def test_logins_are_listed_page_by_page_the_newest_first(catalogue: Catalogue) -> None:
    anna, ola = [await catalogue.add_user(person(name), record=RECORD) for name in ("anna", "ola")]
    for i, (user, made) in enumerate([(anna, 3), (ola, 1), (anna, 2), (anna, 2), (anna, 2)]):
        token = StoredToken(uuid4(), user.id, str(i), frozenset(), T0 + made, "test", T0 + HOUR, None, None)
        await catalogue.add_token(token, bytes([i]), most=9, record=RECORD)
        await catalogue.open_session(session(user, created_ns=T0 + made), bytes([i]), record=RECORD)
    everybody = [login.token for login in await catalogue.tokens()]
    assert [t.created_ns - T0 for t in everybody if t is not None] == [3, 2, 2, 2, 1]
    for user_id, count in ((None, 5), (anna.id, 4), (uuid4(), 0)):
        paged: dict[str, list[UUID]] = {"token": [], "session": []}
        for kind, ids in paged.items():
            place = None
            while True:
                found = (
                    await catalogue.tokens(user_id=user_id, before=place, limit=2)
                    if kind == "token"
                    else await catalogue.open_sessions(now_ns=T0, user_id=user_id, before=place, limit=2)
                )
                ids += [login.id for login in found]
                if len(found) < 2:
                    break
                last = found[-1].token or found[-1].session
                assert last is not None
                place = (last.created_ns, last.id)
            assert len(ids) == len(set(ids)) == count
    assert [t.id for t in everybody if t is not None] == [login.id for login in await catalogue.tokens(limit=9)]


async def test_a_user_has_so_many_tokens_in_force_and_no_more_also_at_once(catalogue: Catalogue) -> None:
    anna, ola = [await catalogue.add_user(person(name), record=RECORD) for name in ("anna", "ola")]

    def token(user: User, **fields: Any) -> StoredToken:
        plain = StoredToken(uuid4(), user.id, "x", frozenset(), T0, "test", T0 + HOUR, None, None)
        return replace(plain, **fields)

    wanted = [catalogue.add_token(token(anna), bytes([i]), most=3, record=RECORD) for i in range(6)]
    made = await asyncio.gather(*wanted, return_exceptions=True)
    assert sum(isinstance(one, UserError) for one in made) == 3
    await catalogue.add_token(token(ola), b"o", most=3, record=RECORD)
    first = (await catalogue.tokens(user_id=anna.id))[0].id
    await catalogue.revoke_token(first, at_ns=T0, record=RECORD)
    await catalogue.add_token(token(anna), b"n", most=3, record=RECORD)
    later = token(anna, created_ns=T0 + HOUR, expires_ns=T0 + 2 * HOUR)  # the others have run out by then
    await catalogue.add_token(later, b"l", most=1, record=RECORD)


async def test_a_set_up_code_is_replaced_and_ends_with_the_first_user(catalogue: Catalogue) -> None:
    assert await catalogue.set_up_code() is None
    assert await catalogue.put_set_up_code(b"1", at_ns=T0)
    assert await catalogue.put_set_up_code(b"2", at_ns=T0)
    assert await catalogue.set_up_code() == b"2"
    await catalogue.add_user(person(), record=RECORD)
    assert await catalogue.set_up_code() is None
    assert not await catalogue.put_set_up_code(b"3", at_ns=T0)


# Live views and layouts


async def test_a_live_view_and_its_entry_are_one(catalogue: Catalogue) -> None:
    camera = await add_camera(catalogue, 1)
    anna = await catalogue.add_user(person(), record=RECORD)
    size = (await catalogue.audit_head()).size
    view = LiveView(uuid4(), uuid4(), anna.id, anna.name, camera.id, uuid4(), "sub", "służba", T0)
    await catalogue.begin_live_view(view, RECORD)
    assert await catalogue.live_views() == [view]
    main = uuid4()
    await catalogue.change_live_view(view.id, main, "main", record=RECORD)
    assert await catalogue.live_views() == [replace(view, stream_id=main, stream="main")]
    assert await catalogue.end_live_views({view.id: RECORD, uuid4(): RECORD}) == 1
    assert await catalogue.end_live_views({view.id: RECORD}) == 0
    assert await catalogue.live_views() == []
    assert (await catalogue.audit_head()).size == size + 3
    with pytest.raises(CatalogueError, match="removed"):
        await catalogue.begin_live_view(replace(view, user_id=uuid4()), RECORD)
    assert (await catalogue.audit_head()).size == size + 3


async def test_a_live_view_of_the_schema_before_its_stream_was_called_so_is_still_there(url: str) -> None:
    await migrate(url)
    async with Catalogue(url, PlainSealer()) as catalogue:
        camera = await add_camera(catalogue, 1)
        anna = await catalogue.add_user(person(), record=RECORD)
        view = LiveView(uuid4(), uuid4(), anna.id, anna.name, camera.id, uuid4(), "sub", "służba", T0)
        await catalogue.begin_live_view(view, RECORD)
    await downgrade(url, "0006")
    await migrate(url)
    async with Catalogue(url, PlainSealer()) as catalogue:
        assert await catalogue.live_views() == [view]


async def test_layouts_have_versions_and_are_ones_own_unless_shared(catalogue: Catalogue) -> None:
    anna, ola = (
        await catalogue.add_user(person(), record=RECORD),
        await catalogue.add_user(person("ola"), record=RECORD),
    )
    wall = StoredLayout(uuid4(), anna.id, "Centrum", False, 0, "Anna", "{}", T0)
    first = await catalogue.put_layout(wall, version=None, record=RECORD)
    assert first == replace(wall, version=1) == await catalogue.layout(wall.id)
    assert await catalogue.put_layout(wall, version=None, record=RECORD) is None
    assert await catalogue.layouts(ola.id) == []
    shared = await catalogue.put_layout(replace(wall, shared=True, name="Nowe"), version=1, record=RECORD)
    assert shared is not None
    assert shared.version == 2
    assert await catalogue.put_layout(wall, version=1, record=RECORD) is None
    assert await catalogue.layouts(ola.id) == [shared] == await catalogue.layouts(anna.id)
    assert await catalogue.remove_layout(wall.id, record=RECORD)
    assert not await catalogue.remove_layout(wall.id, record=RECORD)


async def test_a_camera_is_changed_only_as_it_was_looked_at(catalogue: Catalogue) -> None:
    before = await catalogue.registry_version()
    camera = await add_camera(catalogue, 1)
    found = await catalogue.camera_and_version(camera.id)
    assert found is not None
    assert found[0] == camera
    assert await catalogue.camera_and_version(uuid4()) is None
    await catalogue.update_camera(replace(camera, name="Nowa"), at_ns=T0, version=found[1])
    with pytest.raises(ChangedMeanwhile):
        await catalogue.update_camera(replace(camera, name="Inna"), at_ns=T0, version=found[1])
    assert (await catalogue.camera(camera.id)).name == "Nowa"
    assert await catalogue.registry_version() > before


# The audit log


def happening(i: int) -> Happening:
    return Happening(
        T0 + i, f"act{i % 3}", UUID(int=1), "anna", "10.0.0.1", f"object {i}", UUID(int=2) if i % 2 else None,
        {"ł": i, "b": [1, None]}, "powód" if i % 2 else "",
    )  # fmt: skip


async def filled(catalogue: Catalogue, count: int) -> None:
    for start in range(0, count, 100):
        await catalogue.audit(*(happening(i) for i in range(start, min(count, start + 100))))


async def test_entries_come_back_by_what_is_asked(catalogue: Catalogue) -> None:
    await filled(catalogue, 9)
    newest = await catalogue.audit_entries(limit=3)
    assert [e.number for e in newest] == [8, 7, 6]
    assert [e.number for e in await catalogue.audit_entries(before=6, act="act0")] == [3, 0]
    assert [e.number for e in await catalogue.audit_entries(camera_id=UUID(int=2), before=4)] == [3, 1]
    assert await catalogue.audit_entries(user="ola") == []
    assert [e.number for e in await catalogue.audit_from(5, 2)] == [5, 6]
    assert json.loads(newest[0].detail) == {"ł": 8, "b": [1, None]}
    assert (newest[1].purpose, newest[1].camera_id, newest[1].user_id) == ("powód", UUID(int=2), UUID(int=1))


async def test_who_appends_at_once_gets_numbers_without_a_hole(catalogue: Catalogue) -> None:
    await asyncio.gather(*(catalogue.audit(happening(i), happening(i)) for i in range(8)))
    found = await catalogue.verify_audit(lambda _: True)
    assert (found.size, found.problem) == (16, "")


async def test_proofs_hold_beyond_what_one_row_of_kept_nodes_covers(catalogue: Catalogue) -> None:
    await filled(catalogue, 700)  # two whole subtrees of 256 are kept
    head = await catalogue.audit_head()
    for number in (0, 255, 256, 511, 512, 699):
        entry, at, path = await catalogue.audit_inclusion(number, 700)
        assert at == head
        assert verify_inclusion(entry.leaf, number, 700, path, head.root)
    for first in (1, 255, 256, 300, 512, 699, 700):
        before, after, path = await catalogue.audit_consistency(first, 700)
        assert after == head
        assert verify_consistency(first, before.root, 700, head.root, path)
    for wrong in (
        catalogue.audit_inclusion(3, 701),
        catalogue.audit_inclusion(3, 3),
        catalogue.audit_consistency(9, 8),
    ):
        with pytest.raises(ValueError, match=r"."):
            await wrong


async def test_whatever_the_databases_owner_does_to_the_log_is_found(url: str, tmp_path: Path) -> None:
    """E-11: edit, delete, reorder, cut the end, write the whole anew."""
    key = AuditKey.open(tmp_path, Sealer(bytes(32)))
    await migrate(url)

    def edit(conn: Connection) -> None:
        conn.execute(update(audit_entries).where(audit_entries.c.number == 3).values(user_name="ola"))

    def remove(conn: Connection) -> None:
        conn.execute(delete(audit_entries).where(audit_entries.c.number == 4))

    def swap(conn: Connection) -> None:
        for old, new in ((5, -1), (6, 5), (-1, 6)):
            conn.execute(update(audit_entries).where(audit_entries.c.number == old).values(number=new))

    def cut(conn: Connection) -> None:
        conn.execute(delete(audit_entries).where(audit_entries.c.number >= 8))

    for harm, said in ((edit, "entry 3 was changed"), (remove, "entry 4 is gone"), (swap, "entry 5"), (cut, "cut off")):
        async with Catalogue(url) as catalogue:
            await _emptied(catalogue)
            await filled(catalogue, 10)
            assert await sign_head(catalogue, key, T0) is not None
            assert (await catalogue.verify_audit(key.is_signed)).problem == ""
            await catalogue._db.write(harm)
            assert said in (await catalogue.verify_audit(key.is_signed)).problem


async def test_a_log_written_anew_is_found_by_a_head_kept_elsewhere(catalogue: Catalogue, tmp_path: Path) -> None:
    key = AuditKey.open(tmp_path, Sealer(bytes(32)))
    await filled(catalogue, 10)
    witness = await sign_head(catalogue, key, T0)
    assert witness is not None
    assert await sign_head(catalogue, key, T0) is None
    await _emptied(catalogue)
    await filled(catalogue, 9)
    await catalogue.audit(Happening(T0, "made up"))
    assert (await catalogue.verify_audit(key.is_signed)).problem == ""  # alone it looks whole
    assert "not the one signed" in (await catalogue.verify_audit(key.is_signed, [witness])).problem
    forged = StoredCheckpoint(10, T0, (await catalogue.audit_head()).root, witness.note)
    assert await catalogue.put_checkpoint(forged)
    assert not await catalogue.put_checkpoint(forged)
    assert "not ours" in (await catalogue.verify_audit(key.is_signed)).problem
    assert await catalogue.checkpoints(last=1) == [forged]


async def _emptied(catalogue: Catalogue) -> None:
    """Take the log back to its beginning, as only the database's owner can."""

    def work(conn: Connection) -> None:
        for table in (audit_entries, audit_nodes, audit_checkpoints):
            conn.execute(delete(table))
        conn.execute(text("UPDATE audit_head SET size = 0, frontier = :empty").bindparams(empty=b""))

    await catalogue._db.write(work)
