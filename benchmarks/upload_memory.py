"""A file twice as large as the limit: how soon it is refused, and what it costs the server in memory."""

from __future__ import annotations

import select
import socket
import time
from pathlib import Path
from typing import Any

from benchmarks.results import Result, Row
from benchmarks.server import Server, running_server

_MEBIBYTE = 1024 * 1024
_LIMIT_BYTES = 50 * _MEBIBYTE
_FILE_BYTES = 100 * _MEBIBYTE
_BLOCK = b"footnote" * 8192  # 64 KiB
_BOUNDARY = "benchmark"
_HEAD = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="large.txt"\r\n\r\n'.encode()
_TAIL = f"\r\n--{_BOUNDARY}--\r\n".encode()
_MOST_GROWTH_BYTES = 16 * _MEBIBYTE


def run(data: Path, *, quick: bool) -> Result:
    """Needs no data; with a declared length, and chunked, where only the bytes themselves tell."""
    with running_server(worker=False, settings={"FOOTNOTE_MAX_UPLOAD_BYTES": str(_LIMIT_BYTES)}) as server:
        _send(server, 2 * _MEBIBYTE, declared=True)  # what the first upload of a process costs once
        details = {
            name: _send(server, _FILE_BYTES, declared=declared)
            for name, declared in (("length declared", True), ("chunked", False))
        }
    rows = []
    for name, sent in details.items():
        growth, taken = sent["growth_bytes"], sent["sent_bytes"]
        rows.append(
            Row(f"100 MiB over a limit of 50, {name}: status", str(sent["status"]), "413", sent["status"] == 413)
        )
        figure, met = f"{growth / _MEBIBYTE:.1f} MiB", growth <= _MOST_GROWTH_BYTES
        rows.append(Row(f"{name}: growth of the server's resident memory", figure, "≤ 16 MiB", met))
        rows.append(Row(f"{name}: sent before the refusal", f"{taken / _MEBIBYTE:.1f} MiB in {sent['seconds']:.1f} s"))
    return Result(rows, details)


def _send(server: Server, file_bytes: int, *, declared: bool) -> dict[str, Any]:
    """Send until all is sent or the server answers."""
    length = len(_HEAD) + file_bytes + len(_TAIL)
    framing = f"Content-Length: {length}" if declared else "Transfer-Encoding: chunked"
    head = (
        f"POST /documents HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n{framing}\r\n\r\n"
    )
    before = _reset_peak(server.pid)
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        sent = 0
        try:
            connection.sendall(head.encode())
            for part in (_HEAD, *[_BLOCK] * (file_bytes // len(_BLOCK)), _TAIL):
                if select.select([connection], [], [], 0)[0]:
                    break
                connection.sendall(part if declared else b"%x\r\n%s\r\n" % (len(part), part))
                sent += len(part)
            else:
                connection.sendall(b"" if declared else b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused; the answer may still be there to read
        answer = connection.recv(65536)
    return {
        "status": int(answer.split(b" ", 2)[1]),
        "sent_bytes": sent,
        "seconds": round(time.perf_counter() - started, 2),
        "growth_bytes": max(0, _peak(server.pid) - before),
    }


def _reset_peak(pid: int) -> int:
    """Resident bytes now, from where the kernel counts the peak anew (Linux)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _peak(pid)


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
