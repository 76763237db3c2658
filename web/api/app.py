"""The application: routes, problems, the WebSocket, the client's files, put together in one place.

`create_app` builds it around `Parts`; without them only its description can be had (`web.api.openapi`).
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp

from web.api import schemas, websocket
from web.api.client_files import ClientFiles
from web.api.edge import Edge
from web.api.parts import Parts
from web.api.problems import MEDIA_TYPE, answer_problems, problem
from web.api.routes import audit, camera_tables, cameras, layouts, logins, people, session, site, whep
from web.identity.refusals import Code

PREFIX = "/api/v1"
DESCRIPTION = (
    "The interface of Stróż. Browsers sign in with a session cookie and show `X-CSRF-Token` on every unsafe request; "
    "programs send `Authorization: Bearer stroz_…`. Errors are RFC 9457 problems whose `code` is stable. Objects that "
    "are not there and objects that may not be seen get the same answer. Times are UTC, RFC 3339; nanoseconds are strings."
)


def create_app(parts: Parts | None, files: ClientFiles | None = None) -> FastAPI:
    """The routes alone; `edged` wraps them for serving."""
    app = FastAPI(
        title="Stróż", version=metadata.version("stroz"), description=DESCRIPTION, docs_url=None, redoc_url=None,
        openapi_url=None, generate_unique_id_function=_operation_id, redirect_slashes=False,
        responses={"default": {"description": "A problem", "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}},
    )  # fmt: skip
    app.state.parts = parts
    answer_problems(app)
    app.include_router(site.open_router)
    api = APIRouter(prefix=PREFIX)
    for module in (site, session, camera_tables, cameras, people, logins, layouts, audit, whep):
        api.include_router(module.router)
    app.include_router(api)

    @app.websocket(f"{PREFIX}/ws")
    async def _websocket(socket: WebSocket) -> None:
        await websocket.serve(socket)

    found = files or ClientFiles.of()

    @app.get("/{path:path}", include_in_schema=False)
    async def _client(path: str, request: Request) -> Response:
        if path.startswith(("api/", "health/")):
            return problem(Code.NOT_FOUND)
        asked = request.headers
        accepted, known = asked.get("accept-encoding", ""), asked.get("if-none-match", "")
        return found.answer(path or "index.html", accepted=accepted, known=known)

    app.openapi = lambda: _described(app)  # type: ignore[method-assign]  # FastAPI's own way to extend it
    return app


def edged(app: FastAPI, parts: Parts) -> ASGIApp:
    """The application with its outermost layer."""
    return Edge(app, parts.metrics, tls=parts.tls)


def _operation_id(route: APIRoute) -> str:
    return f"{route.tags[0] if route.tags else 'x'}_{route.name}"


def _described(app: FastAPI) -> dict[str, Any]:
    """FastAPI's description with our problem's shape, and how one signs in."""
    if app.openapi_schema is None:
        described = FastAPI.openapi(app)
        components = described.setdefault("components", {})
        components.setdefault("schemas", {})["Problem"] = _problem_schema(components["schemas"])
        components["securitySchemes"] = {
            "session": {"type": "apiKey", "in": "cookie", "name": "__Host-stroz"},
            "token": {"type": "http", "scheme": "bearer"},
        }
        described["security"] = [{"session": []}, {"token": []}]
        for path, operations in described["paths"].items():
            for method, operation in operations.items():
                operation["responses"].pop("422", None)  # `default` says it, in our shape
                if (method, path) in OPEN:
                    operation["security"] = []
        for name in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(name, None)
        app.openapi_schema = described
    return app.openapi_schema


OPEN = frozenset(
    {
        ("get", "/health/live"),
        ("get", "/health/ready"),
        ("get", f"{PREFIX}/site"),
        ("post", f"{PREFIX}/setup"),
        ("post", f"{PREFIX}/session"),
    }
)  # fmt: skip - what can be had without signing in


def _problem_schema(known: dict[str, Any]) -> dict[str, Any]:
    schema = schemas.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    known |= schema.pop("$defs", {})
    schema["properties"]["code"] = {"type": "string", "enum": [code.value for code in Code]}
    return schema
