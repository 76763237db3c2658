"""Reads the settings tree of `vms.settings` from TOML, environment and secret files, and names what is wrong.

The environment's name of `store.secret_key` is `VMS_STORE_SECRET_KEY`; for secrets there is `…_FILE` besides, as
`secret_key_file` is in the TOML file: the path of a file whose content, less one line end, is the secret. Arrays of
tables come only from the file. Every message names the source, the key, what is allowed and, for an unknown key, the
nearest known one; it never repeats a secret.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_type_hints

from vms.errors import UserError
from vms.settings import Limits, Listen, Secret, Settings, check_together, local_host_name

ENV_PREFIX = "VMS_"
MAX_FILE_BYTES = 1 << 20
MAX_SECRET_BYTES = 16_384
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """One leaf of the tree, for readers and for the reference page."""

    section: str
    key: str
    kind: Any  # its type
    default: Any
    doc: str
    limits: Limits

    @property
    def path(self) -> str:
        return f"{self.section}.{self.key}"

    @property
    def env(self) -> str:
        return f"{ENV_PREFIX}{self.section}_{self.key}".upper()


def all_settings() -> Iterator[Setting]:
    """Every setting in order of the tree."""
    for section, section_type in _sections().items():
        for f, kind in _leaves(section_type):
            yield Setting(section, f.name, kind, f.default, f.metadata["doc"], f.metadata["limits"])


def load_settings(data: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of the site whose data folder is `data`; relative paths are taken from there. UserError if wrong."""
    file = data / "site.toml"
    tree = _read_toml(file)
    environ = os.environ if environ is None else environ
    sections = _sections()
    _refuse_unknown(tree, sections, str(file), "")
    env_values = dict(_environment(environ))
    built: dict[str, Any] = {}
    for name, section_type in sections.items():
        table = tree.get(name, {})
        if not isinstance(table, dict):
            raise UserError(f"{file}: {name} must be a table: write [{name}] and its keys below")
        values = _read_table(section_type, table, str(file), name, data)
        values |= {
            key: _convert(raw, kind, limits, _Place("environment", variable, data, from_text=True))
            for (section, key), (raw, kind, limits, variable) in env_values.items()
            if section == name
        }
        built[name] = section_type(**values)
    settings = _finish(Settings(**built), data)
    if problems := check_together(settings):
        raise UserError(f"{file}: {problems[0]}")
    return settings


def _sections() -> dict[str, Any]:
    return get_type_hints(Settings)


def _leaves(section_type: Any) -> list[tuple[Field[Any], Any]]:
    hints = get_type_hints(section_type)
    return [(f, hints[f.name]) for f in fields(section_type)]


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"{file} is larger than {MAX_FILE_BYTES} bytes; that cannot be the settings")
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{file} is not valid TOML: {error}") from error


def _refuse_unknown(table: Mapping[str, Any], known: Any, source: str, prefix: str) -> None:
    for key in table:
        if key not in known:
            raise UserError(f"{source}: unknown key {prefix}{key[:100]}{_nearest(key, known, prefix)}")


def _nearest(key: str, known: Any, prefix: str) -> str:
    names = sorted(known)
    close = get_close_matches(key, names, 1)
    return f"; did you mean {prefix}{close[0]}?" if close else f"; known are {', '.join(names)}"


def _read_table(section_type: Any, table: dict[str, Any], source: str, path: str, data: Path) -> dict[str, Any]:
    """Values of a table for the constructor of `section_type`."""
    leaves = _leaves(section_type)
    known = {f.name for f, _ in leaves} | {f"{f.name}_file" for f, kind in leaves if kind is Secret}
    _refuse_unknown(table, known, source, f"{path}.")
    values: dict[str, Any] = {}
    for f, kind in leaves:
        key = f"{path}.{f.name}"
        limits = f.metadata["limits"]
        if f.name in table and f"{f.name}_file" in table and kind is Secret:
            raise UserError(f"{source}: give either {key} or {key}_file, not both")
        if f.name in table:
            if args := _item_type(kind):
                values[f.name] = _read_items(args, table[f.name], source, key, data)
            else:
                values[f.name] = _convert(table[f.name], kind, limits, _Place(source, key, data))
        elif kind is Secret and f"{f.name}_file" in table:
            values[f.name] = _read_secret(table[f"{f.name}_file"], limits, _Place(source, f"{key}_file", data))
    return values


def _item_type(kind: Any) -> Any:
    args = get_args(kind)
    return args[0] if len(args) == 2 and args[1] is ... else None


def _read_items(item_type: Any, raw: Any, source: str, key: str, data: Path) -> tuple[Any, ...]:
    if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
        raise UserError(f"{source}: {key} must be an array of tables: write [[{key}]]")
    return tuple(item_type(**_read_table(item_type, item, source, f"{key}[{i}]", data)) for i, item in enumerate(raw))


def _environment(environ: Mapping[str, str]) -> Iterator[tuple[tuple[str, str], tuple[str, Any, Limits, str]]]:
    """The settings that the environment sets. A variable of a section that is no setting is a typing error."""
    by_name: dict[str, tuple[Setting, bool]] = {}
    for s in all_settings():
        if _item_type(s.kind):
            continue
        by_name[s.env] = (s, False)
        if s.kind is Secret:
            by_name[f"{s.env}_FILE"] = (s, True)
    prefixes = tuple(f"{ENV_PREFIX}{section}_".upper() for section in _sections())
    for variable, raw in environ.items():
        if not variable.startswith(prefixes):
            continue
        if variable not in by_name:
            raise UserError(f"environment: unknown variable {variable}{_nearest(variable, by_name, '')}")
        found, is_file = by_name[variable]
        if is_file and found.env in environ:
            raise UserError(f"environment: give either {found.env} or {variable}, not both")
        kind = SecretFile if is_file else found.kind
        yield (found.section, found.key), (raw, kind, found.limits, variable)


class SecretFile:
    """Marks a value that is the path of a secret's file."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: for messages, and for paths relative to the data folder."""

    source: str
    key: str
    data: Path
    from_text: bool = False  # numbers and booleans are spelled out, as in the environment

    def refuse(self, problem: str) -> UserError:
        return UserError(f"{self.source}: {self.key} {problem}")


def _read_secret(raw: Any, limits: Limits, place: _Place) -> Secret:
    if not isinstance(raw, str) or not raw:
        raise place.refuse("must be the path of a file")
    file = place.data / raw
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_SECRET_BYTES + 1)
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise place.refuse(f"names {file}, which cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or a path with a NUL
        raise place.refuse(f"names {str(file)!r}, which is not UTF-8 text") from error
    if not text or len(content) > MAX_SECRET_BYTES or "\n" in text or "\0" in text:
        raise place.refuse(f"names {file}, which must hold one line of at most {MAX_SECRET_BYTES} bytes")
    secret = Secret(text)
    _check(secret, limits, place)
    return secret


def _convert(raw: Any, kind: Any, limits: Limits, place: _Place) -> Any:
    """`raw` as `kind`, within its limits."""
    if kind is SecretFile:
        return _read_secret(raw, limits, place)
    if kind is bool:
        value: Any = _BOOLEANS.get(raw.lower()) if place.from_text else raw
        if not isinstance(value, bool):
            raise place.refuse("must be true or false")
        return value
    value = _integer(raw, place) if kind is int else _from_text(raw, kind, place)
    _check(value, limits, place)
    return value


def _from_text(raw: Any, kind: Any, place: _Place) -> Any:
    if not isinstance(raw, str):
        raise place.refuse("must be text in quotes")
    if kind is Listen or Listen in get_args(kind):
        try:
            return Listen.parse(raw)
        except UserError as error:
            raise place.refuse(str(error)) from error
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if raw not in list(kind):
            raise place.refuse(f'must be one of {", ".join(kind)}, not "{raw[:100]}"')
        return kind(raw)
    if kind is Path or Path in get_args(kind):
        if not raw or "\0" in raw:
            raise place.refuse("must be a path")
        return Path(raw)
    return Secret(raw) if kind is Secret else raw


def _integer(raw: Any, place: _Place) -> int:
    if place.from_text and isinstance(raw, str) and re.fullmatch(r"-?[0-9]{1,19}", raw):
        return int(raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    raise place.refuse("must be a whole number")


def _check(value: Any, limits: Limits, place: _Place) -> None:
    if (limits.least is not None and value < limits.least) or (limits.most is not None and value > limits.most):
        raise place.refuse(f"must be from {limits.least} to {limits.most}, not {value}")
    if limits.check and (problem := limits.check(value)):
        raise place.refuse(problem)


def _finish(settings: Settings, data: Path) -> Settings:
    """Relative paths made absolute from the data folder, and the host's name filled in."""
    root = Path(os.path.abspath(data))
    store, spool, feed, site = settings.store, settings.spool, settings.feed, settings.site
    alarms, web = settings.alarms, settings.web
    return replace(
        settings,
        site=replace(site, host=site.host or local_host_name()),
        store=replace(store, path=root / store.path, ca_file=root / store.ca_file if store.ca_file else None),
        spool=replace(spool, path=root / spool.path),
        feed=replace(
            feed,
            socket=root / feed.socket,
            certificate=root / feed.certificate if feed.certificate else None,
            key=root / feed.key if feed.key else None,
        ),
        web=replace(
            web,
            certificate=root / web.certificate if web.certificate else None,
            key=root / web.key if web.key else None,
        ),
        alarms=replace(
            alarms,
            webhook_ca_file=root / alarms.webhook_ca_file if alarms.webhook_ca_file else None,
            smtp_ca_file=root / alarms.smtp_ca_file if alarms.smtp_ca_file else None,
        ),
    )
