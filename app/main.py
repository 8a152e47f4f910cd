"""The FastAPI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

import httpx
from fastapi import FastAPI

from app.api import errors, mcp, page
from app.api.auth import Keys, RequireKey
from app.api.dependencies import Services
from app.api.observation import ObserveRequests
from app.api.routes import ask, chunks, collections, documents, health, openai, search, versions
from app.bootstrap import build_answerer, build_core, build_retriever
from app.config import Settings
from app.fetching import Fetcher
from app.preview import Previewer

_DESCRIPTION = "Ask your own documents: every sentence of an answer carries a footnote that can be checked."


def create_app(
    settings: Settings | None = None,
    *,
    worker_problem: Callable[[], str | None] = lambda: None,
    make_fetcher: Callable[[], Fetcher] = Fetcher,
) -> FastAPI:
    """A server over the settings' data directory; `worker_problem` is asked for by `/ready`."""
    settings = settings or Settings()
    core = build_core(settings)
    fetcher = make_fetcher() if settings.fetch_urls else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with core:
            core.embedders.start(for_queries=True)
            async with httpx.AsyncClient() as client:
                retriever = build_retriever(core)
                services = app.state.services = Services(
                    core=core,
                    retriever=retriever,
                    answerer=build_answerer(core, retriever, client),
                    previewer=Previewer(settings.parse_limits),
                    fetcher=fetcher,
                    worker_problem=worker_problem,
                )
                async with tools.running(services):
                    yield

    app = FastAPI(title="Footnote", version=version("footnote"), description=_DESCRIPTION, lifespan=lifespan)
    errors.install(app)
    for module in (documents, versions, chunks, search, ask, collections, openai, health):
        app.include_router(module.router, responses=errors.RESPONSES)
    page.install(app)
    keys = Keys(core.database, settings.api_keys)
    tools = mcp.install(app, keys)
    # The last one added is the outermost: refusals are counted too.
    app.add_middleware(RequireKey, keys=keys)
    app.add_middleware(ObserveRequests)
    return app
