"""Files from the web, by one guarded way: an address that a client names must not lead into the operator's own network.

Every connection, also that of a redirect, goes to an address that was resolved and checked here, and nothing resolves
the name again; TLS is verified against the name. There are no cookies, no proxies of the environment, no credentials.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import anyio
import anyio.to_thread
import httpcore
import httpx

from app.errors import UrlNotAllowed, UrlUnreachable

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_MOST_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_ADDRESSES = 4  # of one name; the others are not tried
_CONNECT_SECONDS = 5.0
_TOTAL_SECONDS = 60.0

# IANA's registries of special-purpose addresses.
_SPECIAL_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by the customers of a carrier
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, where clouds keep their metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
    )
)
# Outside of it lie loopback, mapped IPv4, NAT64, unique local, link-local and multicast addresses.
_GLOBAL_IPV6 = IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocols, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)


def is_public(address: Address) -> bool:
    """Whether an address is of one host on the public internet, and holds no other address within it."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as the system knows them. Raises `OSError`."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What is known of a file that was fetched: the last segment of its final URL, and what its server calls it."""

    name: str
    content_disposition: bytes | None


class Fetcher:
    """Fetches files from public addresses; tests give it other names, addresses and certificates."""

    def __init__(
        self,
        *,
        resolve: Resolve = resolve,
        is_allowed: Callable[[Address], bool] = is_public,
        ssl_context: ssl.SSLContext | None = None,
        total_seconds: float = _TOTAL_SECONDS,
    ) -> None:
        self._backend = _CheckingBackend(resolve, is_allowed)
        self._ssl_context = ssl_context or httpx.create_ssl_context()
        self._total_seconds = total_seconds

    async def fetch(self, url: str, write: Callable[[bytes], object]) -> Fetched:
        """Get a file and hand it to `write`, piece by piece, in a thread; what that raises ends the transfer.

        Raises `UrlNotAllowed`, `UrlUnreachable`.
        """
        try:
            with anyio.fail_after(self._total_seconds):
                return await self._follow(_checked(url), write)
        except TimeoutError as error:
            raise UrlUnreachable(f"Fetching it took longer than {self._total_seconds:g} s.", param="url") from error

    async def _follow(self, url: httpx.URL, write: Callable[[bytes], object]) -> Fetched:
        async with httpcore.AsyncConnectionPool(
            ssl_context=self._ssl_context, network_backend=self._backend, http1=True, http2=False, retries=0
        ) as pool:
            for _ in range(_MOST_REDIRECTS + 1):
                try:
                    async with pool.stream(
                        "GET", _as_httpcore(url), headers=_headers(url), extensions={"timeout": _timeouts()}
                    ) as response:
                        headers = httpx.Headers(response.headers)
                        if response.status not in _REDIRECTS or "location" not in headers:
                            return await _receive(url, response, headers, write)
                except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
                    reason = str(error) or type(error).__name__
                    raise UrlUnreachable(f"{url.host} could not be reached: {reason}", param="url") from error
                url = _checked(headers["location"], url)
        raise UrlUnreachable(f"It leads from one address to the next, more than {_MOST_REDIRECTS} times.", param="url")


class _CheckingBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that have been checked, never to a name."""

    def __init__(self, resolve: Resolve, is_allowed: Callable[[Address], bool]) -> None:
        self._resolve = resolve
        self._is_allowed = is_allowed
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError("it has no address")
        for address in await self._addresses(host, port, timeout):
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _addresses(self, host: str, port: int, timeout: float | None) -> list[Address]:  # noqa: ASYNC109
        try:
            with anyio.fail_after(timeout):
                found = [ip_address(each) for each in await self._resolve(host, port)]
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("its name could not be resolved in time") from error
        except (OSError, UnicodeError) as error:
            raise UrlUnreachable(f"There is no host named {host}.", param="url") from error
        allowed = [each for each in dict.fromkeys(found) if self._is_allowed(each)]
        if found and not allowed:
            # Which one it is would tell a stranger about the network.
            raise UrlNotAllowed(f"{host} is not on the public internet.", param="url")
        return allowed[:_MOST_ADDRESSES]


def _checked(url: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        parsed = base.join(url) if base is not None else httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise UrlNotAllowed("That is not a URL.", param="url") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UrlNotAllowed("Only http and https URLs can be fetched.", param="url")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise UrlNotAllowed("That is not a URL.", param="url")
    if parsed.userinfo:
        raise UrlNotAllowed("A URL with a user name or a password in it is not fetched.", param="url")
    return parsed


def _as_httpcore(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _headers(url: httpx.URL) -> list[tuple[bytes, bytes]]:
    # Uncompressed: a few bytes that unpack to gigabytes are no danger then.
    return [(b"Host", url.netloc), (b"User-Agent", b"Footnote"), (b"Accept", b"*/*"), (b"Accept-Encoding", b"identity")]


def _timeouts() -> dict[str, float]:
    return {"connect": _CONNECT_SECONDS, "read": _TOTAL_SECONDS, "write": _TOTAL_SECONDS}


async def _receive(
    url: httpx.URL, response: httpcore.Response, headers: httpx.Headers, write: Callable[[bytes], object]
) -> Fetched:
    if response.status != 200:
        raise UrlUnreachable(f"{url.host} answered {response.status} instead of sending a file.", param="url")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UrlUnreachable(f"{url.host} sent the file compressed, which was not asked for.", param="url")
    async for data in response.aiter_stream():
        await anyio.to_thread.run_sync(write, data)
    disposition = next((value for name, value in response.headers if name.lower() == b"content-disposition"), None)
    return Fetched(url.path.rpartition("/")[2] or url.host, disposition)
