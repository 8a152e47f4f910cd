"""One server with a worker for the whole suite; tests that need their own data make their own collection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.config import ParseLimits
from tests.api.serving import LIMIT_BYTES, Service, serving, settings_in


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = settings_in(
        tmp_path_factory.mktemp("service"), max_upload_bytes=LIMIT_BYTES, parse_limits=ParseLimits(seconds=20)
    )
    with serving(settings) as service:
        yield service


@pytest.fixture
def collection(service: Service, request: pytest.FixtureRequest) -> str:
    """A collection for one test alone."""
    return service.create_collection(f"c{abs(hash(request.node.nodeid)):x}"[:60])
