"""The FastAPI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

import httpx
from fastapi import FastAPI

from app.answering.dialogue import Dialogue
from app.api import errors, mcp, page
from app.api.auth import Keys, RequireKey
from app.api.dependencies import Services
from app.api.draining import Draining
from app.api.observation import ObserveRequests
from app.api.routes import (
    ask,
    chunks,
    collections,
    conversations,
    documents,
    explain,
    feedback,
    health,
    insights,
    openai,
    search,
    versions,
)
from app.bootstrap import (
    build_answerer,
    build_core,
    build_generator,
    build_inspector,
    build_reranker,
    build_retriever,
    build_second_opinion,
)
from app.config import Settings
from app.fetching import Fetcher
from app.preview import Previewer

_DESCRIPTION = "Ask your own documents: every sentence of an answer carries a footnote that can be checked."


def create_app(
    settings: Settings | None = None,
    *,
    worker_problem: Callable[[], str | None] = lambda: None,
    make_fetcher: Callable[[], Fetcher] = Fetcher,
    on_loaded: Callable[[], None] = lambda: None,
) -> FastAPI:
    """A server over the settings' data directory; `worker_problem` is asked for by `/ready`.

    `on_loaded` is called, in some thread, when a model has been loaded.
    """
    settings = settings or Settings()
    core = build_core(settings, on_loaded)
    fetcher = make_fetcher() if settings.fetch_urls else None
    draining = Draining(settings.shutdown_grace_seconds)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with core:
            core.embedders.start(for_queries=True)
            reranker = build_reranker(settings, on_loaded)
            # As many connections as there are generations: a second queue would be in nobody's sight.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
            async with httpx.AsyncClient(limits=limits) as client, AsyncExitStack() as stack:
                if reranker is not None:
                    reranker.start()
                    stack.callback(reranker.close)
                retriever = build_retriever(core, reranker)
                generator = build_generator(settings, client)
                second_opinion = build_second_opinion(settings, on_loaded)
                if second_opinion is not None:
                    stack.callback(second_opinion.close)
                answerer = build_answerer(core, retriever, generator, second_opinion)
                dialogue = Dialogue(answerer=answerer, database=core.database, writer=generator)
                services = app.state.services = Services(
                    core=core,
                    retriever=retriever,
                    answerer=await stack.enter_async_context(dialogue),
                    second_opinion=second_opinion,
                    inspector=build_inspector(core, retriever),
                    previewer=Previewer(settings.parse_limits, settings.pdf_engine),
                    fetcher=fetcher,
                    draining=draining,
                    worker_problem=worker_problem,
                )
                stop = generator.stop if generator else lambda: None
                async with tools.running(services):
                    with draining.holding_back(stop):
                        yield

    app = FastAPI(title="Footnote", version=version("footnote"), description=_DESCRIPTION, lifespan=lifespan)
    errors.install(app)
    talk = (ask, explain, conversations, feedback, insights)
    # Routes are tried in their order: first those that should be quick.
    for module in (search, *talk, openai, documents, versions, chunks, collections, health):
        app.include_router(module.router, responses=errors.RESPONSES)
    page.install(app)
    keys = Keys(core.database, settings.api_keys)
    tools = mcp.install(app, keys)
    # The last one added is the outermost: refusals are counted too.
    app.add_middleware(RequireKey, keys=keys)
    app.add_middleware(ObserveRequests)
    app.add_middleware(draining.counting)
    return app
