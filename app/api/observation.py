"""How long requests take, by route and status."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.telemetry import REQUEST_SECONDS


class ObserveRequests:
    """Pure ASGI middleware: it sees streams to their end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 499  # the client left before there was any

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, observed_send)
        except Exception:
            status = 500  # said by the handler outside of every middleware
            raise
        finally:
            # The route's template, not the path: ids would make a time series each.
            route = getattr(scope.get("route"), "path", "other")
            REQUEST_SECONDS.labels(route, str(status)).observe(time.perf_counter() - started)
