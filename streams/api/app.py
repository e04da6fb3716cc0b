"""The application: addresses, headers and errors put together; no I/O happens here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from tieout.streams.api import embed_routes, finding_routes, kpi_routes, page_routes, problems, stream_routes
from tieout.streams.api.access import needed
from tieout.streams.api.gate import Gate
from tieout.streams.api.middleware import Guard
from tieout.streams.api.models import ProblemDocument
from tieout.streams.api.services import Services

FOLDER: Final = Path(str(files("tieout.streams") / "api"))

_ABOUT: Final = (
    "Which approved hours are not billed, why, who has to act, and how sure that answer is. Numbers are exact: money "
    "and hours are decimals, never sums of floats; currencies are never added. Errors are RFC 9457 problems. Every "
    "answer has an ETag; send it back in If-None-Match for a 304."
)


def create_app(services: Services) -> FastAPI:
    """The API over these services; while it runs, changes are published to the stream."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        publishing = asyncio.create_task(services.publisher.run(), name="publisher")
        yield
        services.hub.close()
        publishing.cancel()
        with suppress(asyncio.CancelledError):
            await publishing

    app = FastAPI(
        title="tieout", version=_version(), description=_ABOUT, lifespan=lifespan, docs_url=None, redoc_url=None,
        separate_input_output_schemas=False,
    )  # fmt: skip
    app.state.services = services
    for router in (
        kpi_routes.router, finding_routes.router, embed_routes.router, stream_routes.router, page_routes.router,
    ):  # fmt: skip
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    problems.install(app)
    _protect(app, services)
    _describe(app)
    return app


def _protect(app: FastAPI, services: Services) -> None:
    """From the inside: the gate; answers that scripts of named origins may read; headers, metric and access log."""
    app.add_middleware(
        Gate, access=services.access, buckets=services.buckets, origins=frozenset(services.cors_origins)
    )
    if services.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(services.cors_origins),
            allow_credentials=False,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "If-None-Match", "Last-Event-ID"],
            expose_headers=["ETag", "Link", "Retry-After"],
            max_age=600,
        )
    app.add_middleware(Guard)


def _describe(app: FastAPI) -> None:
    """The OpenAPI document, with problems where FastAPI would put its own error shapes."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        made = app.openapi_schema is not None
        document = make()
        if not made:
            schemas = document["components"]["schemas"]
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
            _describe_access(document)
            _describe_forms(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _describe_access(document: dict[str, Any]) -> None:
    """Which scope each address needs, and how a token is sent."""
    document["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "`tieout token new` makes one."},
        "password": {"type": "http", "scheme": "basic", "description": "The token as the password, for browsers."},
    }
    meanings = {"401": "No token, or not a known one", "403": "Not this scope", "421": "Not a name of this machine",
                "429": "Too many requests"}  # fmt: skip
    for path, operations in document["paths"].items():
        need = needed(path)
        for operation in operations.values():
            operation["security"] = [{"token": [need]}, {"password": [need]}] if need else []
            for status, meaning in meanings.items():
                operation["responses"].setdefault(status, {"description": meaning, **_PROBLEM_CONTENT})


def _describe_forms(document: dict[str, Any]) -> None:
    """What `format` and `shape` turn an answer into, and that a body may be no JSON."""
    for operations in document["paths"].values():
        for operation in operations.values():
            names = {parameter["name"] for parameter in operation.get("parameters", ())}
            content = operation["responses"]["200"].get("content", {})
            if "format" in names:
                content["text/csv"] = {"schema": {"type": "string"}}
            if "shape" in names:
                whole = content["application/json"]["schema"]
                rows = {"type": "array", "items": {"type": "object"}}
                content["application/json"]["schema"] = {"anyOf": [whole, rows, _GECKOBOARD]}
            if "requestBody" in operation:
                operation["responses"]["400"] = {"description": "The body is not JSON", **_PROBLEM_CONTENT}


_GECKOBOARD: Final = {"type": "object", "required": ["item"], "properties": {"item": {"type": "array"}}}
_PROBLEM_CONTENT: Final = {
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
}


def _version() -> str:
    try:
        return version("tieout")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0"
