"""Two servers and two workers on one data directory: every upload is ready once, and nobody is told of a lock.

`FOOTNOTE_TEST_FAULT_DOCUMENTS=500` is the full size.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from app.config import Settings
from app.server import serve
from tests.faults import forks, traffic
from tests.faults.oracle import check, recover, text_of
from tests.faults.sizes import DOCUMENTS
from tests.faults.workbench import Workbench
from tests.waiting import wait_until
from tests.worker.processes import free_port, is_ready

CLIENTS_EACH = 4


def serve_at(data_dir: Path, port: int) -> None:
    serve(Settings(_env_file=None, data_dir=data_dir, embedding_model="hashing", port=port), worker=False)


def in_turn(urls: list[str], act: Callable[[httpx.Client, int], object]) -> None:
    """Each document's request, by a few clients at once, at one server and the other."""
    with ExitStack() as stack, ThreadPoolExecutor(CLIENTS_EACH * len(urls)) as pool:
        clients = [stack.enter_context(httpx.Client(base_url=url, timeout=60)) for url in urls]
        for done in [pool.submit(act, clients[number % len(clients)], number) for number in range(DOCUMENTS)]:
            done.result()


def upload(edition: int) -> Callable[[httpx.Client, int], None]:
    def act(http: httpx.Client, number: int) -> None:
        file = (f"n{number}.txt", text_of(f"n{number}", edition).encode())
        response = http.post("/documents", files={"file": file}, data={"external_id": f"n{number}"})
        assert response.status_code == 202, response.text

    return act


def ask(http: httpx.Client, number: int) -> None:
    response = http.post("/search", json={"query": f"housen{number}x", "top_k": 10})
    assert response.status_code == 200, response.text


@pytest.mark.timeout(120 + DOCUMENTS)
def test_two_of_each(tmp_path: Path) -> None:
    """Uploads, replacements and questions at both servers at once: no request is refused, and the oracle holds."""
    data_dir = tmp_path / "data"
    ports = [free_port(), free_port()]
    with Workbench(data_dir):
        pass
    processes = [forks.start(serve_at, data_dir, port) for port in ports]
    processes += [forks.start(traffic.work, data_dir, 5.0) for _ in range(2)]
    try:
        wait_until(lambda: all(map(is_ready, ports)), 60, "both servers")
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        in_turn(urls, upload(1))
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(in_turn, urls, upload(2)), pool.submit(in_turn, urls, ask)]:
                done.result()
        with Workbench(data_dir) as bench:
            wait_until(lambda: _waiting(bench) == 0, 60 + DOCUMENTS, "the queue to empty")
        assert [process.exitcode for process in processes] == [None] * 4, "one of them ended by itself"
    finally:
        for process in processes:
            process.kill()
            process.join()
    with Workbench(data_dir) as bench:
        recover(bench)
        check(bench, {f"n{number}": frozenset({text_of(f"n{number}", 2)}) for number in range(DOCUMENTS)})


def _waiting(bench: Workbench) -> int:
    with bench.database.read() as connection:
        query = "SELECT count(*) FROM documents WHERE status NOT IN ('ready', 'failed')"
        return int(connection.exec_driver_sql(query).scalar_one())
