"""Files from the web: fetched from checked addresses only, whatever names, redirects and servers say."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FootnoteError, PayloadTooLarge, UrlNotAllowed, UrlUnreachable
from app.fetching import Address, Fetched, Fetcher, is_public
from tests.web import Site, site

LOOPBACK = ip_address("127.0.0.1")


@pytest.fixture
def web() -> Iterator[Site]:
    with site() as found:
        yield found


class Names:
    """A resolver that knows a few names, answers in turn, and counts."""

    def __init__(self, **addresses: Sequence[str]) -> None:
        self.addresses = {name.replace("_", "."): list(known) for name, known in addresses.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.addresses:
            raise OSError("unknown")
        known = self.addresses[host]
        return [known.pop(0)] if len(known) > 1 else known


def loopback_only(address: Address) -> bool:
    return address == LOOPBACK


def fetch(url: str, fetcher: Fetcher | None = None) -> tuple[bytes, Fetched]:
    pieces: list[bytes] = []
    fetcher = fetcher or Fetcher(is_allowed=loopback_only)
    fetched = anyio.run(fetcher.fetch, url, pieces.append)
    return b"".join(pieces), fetched


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.8.9.1", "169.254.169.254",
        "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
        "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378::1", "2001:20::1", "2001:db8::1",
        "2002:7f00:1::1", "3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%1", "fec0::1",
        "ff02::1",
    ],
)  # fmt: skip
def test_special_addresses_are_not_public(address: str) -> None:
    """Private, shared, local, reserved and multicast addresses, and those that hold another one."""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "100.63.0.1", "100.128.0.1", "172.32.0.1", "192.169.0.1", "2606:4700::1111", "2a00:1450::1"],
)
def test_other_addresses_are(address: str) -> None:
    """What is handed out to hosts of the internet."""
    assert is_public(ip_address(address))


@given(st.ip_addresses())
def test_nothing_public_is_private(address: Address) -> None:
    """Whatever the standard library calls private, multicast or reserved is not public here either."""
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "0", "127.1"])
def test_loopback_is_forbidden_by_default(web: Site, host: str) -> None:
    """However it is written, this machine is not fetched from, and not even asked."""
    web.file("/secret.txt", b"secret")
    with pytest.raises(UrlNotAllowed, match="not on the public internet") as refusal:
        fetch(f"http://{host}:{web.port}/secret.txt", Fetcher())
    assert web.asked == []
    assert "127.0.0.1" not in refusal.value.message.replace(host.strip("[]"), "")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///etc/passwd", "http and https"),
        ("ftp://example.org/a", "http and https"),
        ("gopher://example.org/", "http and https"),
        ("data:text/plain,hello", "http and https"),
        ("http:///a", "http and https"),
        ("//example.org/a", "http and https"),
        ("example.org/a.pdf", "http and https"),
        ("http://user:secret@example.org/", "password"),
        ("http://user@example.org/", "password"),
        ("http://[::1", "not a URL"),
        ("http://a:99999999/", "not a URL"),
        ("http://exa\x00mple.org/", "not a URL"),
    ],
)
def test_urls_that_are_refused(url: str, message: str) -> None:
    """Other schemes, credentials and what is no URL, before any name is resolved."""
    names = Names()
    with pytest.raises(UrlNotAllowed, match=message):
        fetch(url, Fetcher(resolve=names))
    assert names.asked == []


def test_a_file_is_fetched(web: Site) -> None:
    """Bytes, name and disposition; the request carries the host's name and nothing of ours."""
    web.file("/papers/report%202024.pdf?page=1", b"x" * 200_000, Content_Disposition='attachment; filename="a.pdf"')
    names = Names(files_example=["127.0.0.1"])
    url = f"http://files.example:{web.port}/papers/report%202024.pdf?page=1#section"
    data, fetched = fetch(url, Fetcher(resolve=names, is_allowed=loopback_only))
    assert data == b"x" * 200_000
    assert fetched == Fetched("report 2024.pdf", b'attachment; filename="a.pdf"')
    ((path, headers),) = web.asked
    assert path == "/papers/report%202024.pdf?page=1"
    assert headers == {
        "Host": f"files.example:{web.port}",
        "User-Agent": "Footnote",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
    }


def test_a_name_is_resolved_once(web: Site) -> None:
    """The address that was checked is the one that is connected to: a name that changes its mind gains nothing."""
    web.file("/a.txt", b"hello")
    names = Names(rebinding_example=["127.0.0.1", "127.0.0.2"])
    assert fetch(f"http://rebinding.example:{web.port}/a.txt", Fetcher(resolve=names, is_allowed=loopback_only))[0]
    assert names.asked == ["rebinding.example"]
    with pytest.raises(UrlNotAllowed):
        fetch(f"http://rebinding.example:{web.port}/a.txt", Fetcher(resolve=names, is_allowed=loopback_only))


def test_forbidden_addresses_are_left_out(web: Site) -> None:
    """Of a name with several addresses only the allowed ones are tried."""

    async def both(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.2", "10.0.0.1", "127.0.0.1"]

    web.file("/a.txt", b"hello")
    assert (
        fetch(f"http://both.example:{web.port}/a.txt", Fetcher(resolve=both, is_allowed=loopback_only))[0] == b"hello"
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(web: Site, status: int) -> None:
    """Relative ones as well; no cookie is sent along, and the name is the last one's."""
    web.redirect("/old", "/new/a.txt", status)
    web.file("/new/a.txt", b"hello")
    data, fetched = fetch(f"http://127.0.0.1:{web.port}/old")
    assert (data, fetched.name) == (b"hello", "a.txt")
    assert "Cookie" not in web.asked[-1][1]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/a.txt",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:{port}/a.txt",
        "//127.0.0.2:{port}/a.txt",
        "file:///etc/passwd",
        "http://user:secret@127.0.0.1:{port}/a.txt",
        "http://[::1",
    ],
)
def test_redirects_are_checked_again(web: Site, location: str) -> None:
    """A redirect to where a request may not go ends there, and that place is not asked."""
    with site("127.0.0.2") as other:
        other.file("/a.txt", b"secret")
        web.redirect("/old", location.format(port=other.port))
        with pytest.raises(UrlNotAllowed):
            fetch(f"http://127.0.0.1:{web.port}/old")
        assert other.asked == []


def test_redirects_have_an_end(web: Site) -> None:
    """Five redirects, not six."""
    for number in range(6):
        web.redirect(f"/{number}", f"/{number + 1}")
    web.file("/6", b"hello")
    assert fetch(f"http://127.0.0.1:{web.port}/1")[0] == b"hello"
    with pytest.raises(UrlUnreachable, match="more than 5 times"):
        fetch(f"http://127.0.0.1:{web.port}/0")


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ((404, {}, b"no"), "answered 404"),
        ((500, {}, b"no"), "answered 500"),
        ((204, {}, b""), "answered 204"),
        ((304, {"Location": "/x"}, b""), "answered 304"),
        ((302, {}, b"no location"), "answered 302"),
        ((200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"), "compressed"),
        ((200, {"Content-Length": "100"}, b"cut"), "could not be reached"),
    ],
)
def test_what_is_no_file_is_refused(web: Site, page: tuple[int, dict[str, str], bytes], message: str) -> None:
    """Errors of the other side, compressed and broken off answers are told apart."""
    web.pages["/a"] = page
    with pytest.raises(UrlUnreachable, match=message):
        fetch(f"http://127.0.0.1:{web.port}/a")


def test_names_and_hosts_that_are_not_there() -> None:
    """A name that nobody knows, and a port where nobody listens."""
    with pytest.raises(UrlUnreachable, match="There is no host named"):
        fetch("http://nowhere.example/", Fetcher(resolve=Names(), is_allowed=loopback_only))
    with site() as gone:
        pass
    with pytest.raises(UrlUnreachable, match=r"127\.0\.0\.1 could not be reached"):
        fetch(f"http://127.0.0.1:{gone.port}/")


def test_time_limit() -> None:
    """Whatever stalls costs no more than the time that is allowed."""

    async def stalls(host: str, port: int) -> Sequence[str]:
        await anyio.sleep_forever()
        return []

    with pytest.raises(UrlUnreachable, match=r"longer than 0\.1 s"):
        fetch("http://slow.example/", Fetcher(resolve=stalls, total_seconds=0.1))


def test_whoever_writes_may_stop_it(web: Site) -> None:
    """What the writer raises ends the transfer: a file over the limit is not read to its end."""
    web.file("/big", b"x" * 5_000_000)
    received = 0

    def write(data: bytes) -> None:
        nonlocal received
        received += len(data)
        if received > 100_000:
            raise PayloadTooLarge

    with pytest.raises(PayloadTooLarge):
        anyio.run(Fetcher(is_allowed=loopback_only).fetch, f"http://127.0.0.1:{web.port}/big", write)
    assert received < 1_000_000


def test_no_proxy_of_the_environment(web: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would resolve the name by itself: it is not asked."""
    web.file("/a.txt", b"hello")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch(f"http://127.0.0.1:{web.port}/a.txt")[0] == b"hello"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of files.example."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "files.example")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("files.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "files.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_tls_is_verified_against_the_name(certificate: Path) -> None:
    """The address is pinned and the certificate still has to be the name's, and to be trusted."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    names = Names(files_example=["127.0.0.1"], other_example=["127.0.0.1"])

    def outcome(host: str, context: ssl.SSLContext | None) -> bytes | FootnoteError:
        try:
            fetcher = Fetcher(resolve=names, is_allowed=loopback_only, ssl_context=context)
            return fetch(f"https://{host}:{web.port}/a.txt", fetcher)[0]
        except FootnoteError as error:
            return error

    with site(tls=serving) as web:
        web.file("/a.txt", b"hello")
        assert outcome("files.example", trusting) == b"hello"
        assert isinstance(outcome("other.example", trusting), UrlUnreachable)
        assert isinstance(outcome("files.example", None), UrlUnreachable)
        assert len(web.asked) == 1


def test_addresses_are_tried_in_turn(web: Site) -> None:
    """One that does not answer is no reason to give up."""

    async def two(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.3", "127.0.0.1"]

    web.file("/a.txt", b"hello")
    fetcher = Fetcher(resolve=two, is_allowed=lambda address: isinstance(address, IPv4Address))
    assert fetch(f"http://two.example:{web.port}/a.txt", fetcher)[0] == b"hello"
