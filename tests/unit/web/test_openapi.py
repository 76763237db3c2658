"""The described interface is the one that is served, and the file the client's types come from says the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from web.api import openapi, schemas, schemas_audit, schemas_health, schemas_people
from web.api.app import create_app
from web.api.client_files import ClientFiles
from web.identity.refusals import STATUS

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "api.md"


def test_the_file_is_what_the_routes_describe() -> None:
    assert openapi.FILE.read_text(encoding="utf-8") == openapi.described()


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does() -> None:
    described = create_app(None, ClientFiles({})).openapi()
    operations = [one for path in described["paths"].values() for one in path.values()]
    names = [one["operationId"] for one in operations]
    assert len(names) == len(set(names)) > 40
    assert all(one.get("description") for one in operations)


def test_no_answer_is_an_object_of_anything() -> None:
    described = create_app(None, ClientFiles({})).openapi()
    for path, operations in described["paths"].items():
        for method, one in operations.items():
            answers = json.dumps(one["responses"])
            assert '"additionalProperties": true' not in answers, f"{method} {path}"


def test_the_reference_page_names_every_code_with_its_status() -> None:
    told = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(told) == sorted((code.value, str(status)) for code, status in STATUS.items())


def test_whatever_is_sent_or_answered_has_an_example() -> None:
    described = create_app(None, ClientFiles({})).openapi()
    schemas, wanting = described["components"]["schemas"], []
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            bodies = [operation.get("requestBody", {})]
            bodies += [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            for content in [one for body in bodies for one in body.get("content", {}).values()]:
                schema = content.get("schema", {})
                name = schema.get("items", schema).get("$ref", "").rpartition("/")[2]
                if not content.get("example") and not schemas.get(name, {}).get("examples"):
                    wanting.append(f"{method} {path} {name}")
    assert wanting == []


def models() -> dict[str, type[BaseModel]]:
    found = [
        value for module in (schemas, schemas_audit, schemas_people, schemas_health) for value in vars(module).values()
    ]
    return {one.__name__: one for one in found if isinstance(one, type) and issubclass(one, BaseModel)}


@pytest.mark.parametrize("model", [m for m in models().values() if m.model_config.get("json_schema_extra")])
def test_an_example_is_what_it_is_an_example_of(model: type[BaseModel]) -> None:
    """It is taken, and nothing in it is unknown and left out."""
    for one in schemas.shown(model), *model.model_json_schema()["examples"]:
        assert model.model_validate_json(json.dumps(one)).model_dump(mode="json", exclude_unset=True) == one
