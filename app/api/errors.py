"""Errors → HTTP: one table of status codes, one JSON shape, the one that OpenAI clients parse."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount

from app import errors
from app.api.streaming import ClientLeft

logger = logging.getLogger(__name__)

STATUS: dict[type[errors.FootnoteError], int] = {
    errors.InvalidRequest: 400,
    errors.InvalidTemplate: 422,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.IngestionError: 422,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
    errors.IndexDamaged: 503,
    errors.StorageFull: 507,
}
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_RETRY_AFTER_SECONDS = "2"
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


class ErrorBody(BaseModel):
    """What went wrong, for a program and for a person."""

    message: str
    type: str
    code: str
    param: str | None = None


class ErrorResponse(BaseModel):
    """Every response with a status of 400 or more."""

    error: ErrorBody


# For the OpenAPI document: what any route may answer besides its own responses.
RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "The request cannot be right"},
    401: {"model": ErrorResponse, "description": "A valid API key is needed"},
    403: {"model": ErrorResponse, "description": "That is not allowed, such as a request from another site's page"},
    409: {"model": ErrorResponse, "description": "It does not go with what is there, such as another embedding model"},
    422: {"model": ErrorResponse, "description": "A field is missing or has a wrong value"},
    503: {"model": ErrorResponse, "description": "Try again in a moment"},
    507: {"model": ErrorResponse, "description": "The disk is full"},
}
TOO_MANY: dict[int | str, dict[str, Any]] = {
    429: {"model": ErrorResponse, "description": "Too many questions at once: come back after `Retry-After` seconds"}
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": ErrorResponse, "description": "There is no such thing"}}


def error_response(error: errors.FootnoteError) -> JSONResponse:
    """The response to an error that was raised on purpose."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    headers = {}
    if status == 401:
        # Basic as well, so that a browser asks for the key by itself.
        headers["WWW-Authenticate"] = 'Bearer, Basic realm="Footnote: any user name, the API key as password"'
    elif isinstance(error, errors.TooManyRequests):
        headers["Retry-After"] = str(error.retry_after_seconds)
    elif status == 503:
        headers["Retry-After"] = _RETRY_AFTER_SECONDS
    return _response(status, error.message, error.code, error.param, headers)


def error_body(error: errors.FootnoteError) -> dict[str, Any]:
    """The one shape, for a place where no status can be sent any more."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    return _body(status, error.message, error.code, error.param)


def install(app: FastAPI) -> None:
    """Let every error of the application take the one shape."""

    @app.exception_handler(errors.FootnoteError)
    async def on_footnote_error(request: Request, error: errors.FootnoteError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":  # its place is a number of bytes, not a field
            return _response(422, f"The body is not valid JSON: {first['ctx']['error']}", "invalid_request")
        # The first part only says "body", "query" or "path".
        where = ".".join(str(part) for part in first["loc"][1:])
        message = f"{where}: {first['msg']}" if where else str(first["msg"])
        return _response(422, message, "invalid_request", where or None)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed", 413: "payload_too_large"}.get(error.status_code)
        message = str(error.detail)
        headers = dict(error.headers or {})
        if error.status_code in (404, 405):
            message = f"There is no {request.method} {request.url.path} here."
        if error.status_code == 405:
            headers["Allow"] = _allowed(request) or headers.get("Allow", "")
        return _response(error.status_code, message, code or "invalid_request", None, headers)

    @app.exception_handler(ClientLeft)
    async def on_client_left(request: Request, error: ClientLeft) -> Response:
        return Response(status_code=499)  # nginx's number; nobody reads it

    @app.exception_handler(Exception)
    async def on_unexpected_error(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _response(500, "Something went wrong on the server; its log says what.", "internal_error")


def _allowed(request: Request) -> str | None:
    """All methods of a path (RFC 9110, 15.5.6): the framework names those of its first route alone."""
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]
    scopes = ({**request.scope, "method": method} for method in _METHODS)
    found = (scope["method"] for scope in scopes if any(route.matches(scope)[0] is Match.FULL for route in routes))
    return ", ".join(found) or None


def _response(
    status: int, message: str, code: str, param: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    return JSONResponse(_body(status, message, code, param), status_code=status, headers=headers)


def _body(status: int, message: str, code: str, param: str | None) -> dict[str, Any]:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}
