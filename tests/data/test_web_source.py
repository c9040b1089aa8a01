"""Data files on the web are read over TLS, without a token, in parts where the server gives parts."""

import datetime
import gzip
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.data.desk import SFT, talks, write_parquet
from trl_mcp.data.look import Scan, look_at
from trl_mcp.data.web import web_source
from trl_mcp.errors import InvalidArguments, NotFound, NotPossible

LINES = "".join(json.dumps(row) + "\n" for row in talks(40)).encode()


class Web(ThreadingHTTPServer):
    """A web server with a certificate of its own; paths that begin with /whole give no parts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.certificate = make_certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.trust = ssl.create_default_context(cafile=str(self.certificate))
        self.address = f"https://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.moved: dict[str, str] = {}
        self.asked: list[dict[str, str]] = []
        self.sent = 0

    @classmethod
    @contextmanager
    def serving(cls, folder: Path) -> Generator[Self]:
        """Serve in a thread of its own; the certificate lies in the folder."""
        with cls(folder) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield server
            finally:
                server.shutdown()
                thread.join()

    def look(self, path: str, seconds: float = 30) -> Scan:
        """Look at a file of this server."""
        deadline = time.monotonic() + seconds
        return look_at(web_source(self.address + path, deadline, self.trust, ("127.0.0.1",)), SFT, deadline)


class Handler(BaseHTTPRequestHandler):
    @property
    def web(self) -> Web:
        """The server that this request came to."""
        return cast(Web, self.server)

    def do_GET(self) -> None:
        self.web.asked.append(dict(self.headers))
        path = self.path.partition("?")[0]
        if path in self.web.moved:
            self._answer(302, b"", Location=self.web.moved[path])
        elif path == "/locked.jsonl":
            self._answer(401, b"")
        elif path == "/slow.jsonl":
            self._dawdle()
        elif path not in self.web.files:
            self._answer(404, b"")
        elif "Range" in self.headers and not path.startswith("/whole"):
            self._part(self.web.files[path])
        else:
            self._answer(200, self.web.files[path])

    def _part(self, content: bytes) -> None:
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        part = content[int(first) : int(last) + 1]
        self._answer(206, part, **{"Content-Range": f"bytes {first}-{last}/{len(content)}"})

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.web.sent += len(content)

    def _dawdle(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(LINES)
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name in the base class
        """Say nothing."""


def make_certificate(folder: Path) -> Path:
    """Write a key and a certificate for loopback into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(loopback, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(private + certificate.public_bytes(pem))
    return path


@pytest.fixture
def web(tmp_path: Path) -> Generator[Web]:
    with Web.serving(tmp_path) as server:
        yield server


@pytest.mark.parametrize("path", ["/a.jsonl", "/a.jsonl?download=true", "/whole.jsonl", "/a.jsonl.gz"])
def test_a_text_file_is_streamed_without_any_token(web: Web, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    web.files = {"/a.jsonl": LINES, "/whole.jsonl": LINES, "/a.jsonl.gz": gzip.compress(LINES)}
    report = web.look(path).report
    assert (report.rows_kept, report.complete) == (40, True)
    assert report.use["dataset"] == web.address + path
    assert not any("Authorization" in headers or "hf_secret" in str(headers) for headers in web.asked)


def test_a_parquet_file_is_read_in_parts(web: Web, tmp_path: Path) -> None:
    rows = [row | {"raw": f"{number:2000d}"[::-1]} for number, row in enumerate(talks(3000))]
    for number, row in enumerate(rows):
        row["raw"] = "".join(chr(33 + (number * place) % 90) for place in range(200))
    content = write_parquet(tmp_path / "a.parquet", rows, 100).read_bytes()
    web.files = {"/a.parquet": content, "/whole.parquet": content}
    report = web.look("/a.parquet").report
    assert (report.rows_kept, report.rows_total) == (3000, 3000)
    assert web.sent < len(content)
    whole = web.look("/whole.parquet").report
    assert (whole.rows_kept, whole.rows_total) == (3000, 3000)


def test_the_fingerprint_changes_with_the_content(web: Web) -> None:
    web.files = {"/a.jsonl": LINES}
    first = web.look("/a.jsonl").report.fingerprint
    assert web.look("/a.jsonl").report.fingerprint == first
    web.files = {"/a.jsonl": LINES * 2}
    assert web.look("/a.jsonl").report.fingerprint != first


def test_redirects_are_followed_to_https_only(web: Web) -> None:
    web.files = {"/real.jsonl": LINES}
    web.moved = {
        "/near.jsonl": "/real.jsonl",
        "/plain.jsonl": "http://127.0.0.1/real.jsonl",
        "/file.jsonl": "file:///etc/passwd",
        "/loop.jsonl": "/loop.jsonl",
    }
    assert web.look("/near.jsonl").report.rows_kept == 40
    for path in ("/plain.jsonl", "/file.jsonl"):
        with pytest.raises(NotPossible, match="not https"):
            web.look(path)
    with pytest.raises(NotPossible, match="too often"):
        web.look("/loop.jsonl")


HERE = [
    "127.0.0.1",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "2130706433",
    "10.0.0.1",
    "169.254.169.254",
    "[fe80::1]",
]


@pytest.mark.parametrize("host", HERE)
def test_hosts_of_this_machine_and_its_network_are_not_asked(host: str) -> None:
    with pytest.raises(InvalidArguments, match=r"no public host.*TRL_MCP_ALLOW_LOCAL_CODE=1.*Nothing was started"):
        web_source(f"https://{host}/a.jsonl", time.monotonic() + 5)


def test_a_move_to_a_host_of_this_network_is_not_followed(web: Web) -> None:
    port = web.address.rpartition(":")[2]
    web.files = {"/real.jsonl": LINES}
    web.moved = {
        "/cloud.jsonl": "https://169.254.169.254/latest/meta-data/a.jsonl",
        "/name.jsonl": f"https://localhost:{port}/real.jsonl",
    }
    for path, host in {"/cloud.jsonl": "169.254.169.254", "/name.jsonl": "localhost"}.items():
        with pytest.raises(InvalidArguments, match=f"{host} is no public host"):
            web.look(path)
    assert len(web.asked) == 2


def test_a_file_that_moves_to_this_network_after_the_first_look_is_not_followed(web: Web) -> None:
    web.files = {"/a.jsonl": LINES}
    deadline = time.monotonic() + 30
    source = web_source(f"{web.address}/a.jsonl", deadline, web.trust, ("127.0.0.1",))
    web.moved = {"/a.jsonl": "https://169.254.169.254/a.jsonl"}
    with pytest.raises(InvalidArguments, match=r"169\.254\.169\.254 is no public host"):
        look_at(source, SFT, deadline)


@pytest.mark.parametrize("location", ["https://[bad", "", "https://user:word@127.0.0.1/a.jsonl"])
def test_a_move_to_what_is_no_address_is_refused(web: Web, location: str) -> None:
    web.moved = {"/a.jsonl": location}
    with pytest.raises(NotPossible, match=r"not https|too often"):
        web.look("/a.jsonl")


def test_a_host_that_nobody_knows_is_said_so() -> None:
    with pytest.raises(NotPossible, match=r"nowhere\.invalid is a host that is not known here"):
        web_source("https://nowhere.invalid/a.jsonl", time.monotonic() + 5)


def test_a_file_that_is_not_there_is_said_so(web: Web) -> None:
    with pytest.raises(NotFound, match="has no file at this address"):
        web.look("/nowhere.jsonl")


def test_a_file_behind_a_login_is_refused(web: Web) -> None:
    with pytest.raises(NotPossible, match=r"401.*without any token"):
        web.look("/locked.jsonl")


def test_a_server_whose_certificate_nobody_vouches_for_is_refused(web: Web) -> None:
    web.files = {"/a.jsonl": LINES}
    with pytest.raises(NotPossible, match="does not answer"):
        web_source(f"{web.address}/a.jsonl", time.monotonic() + 5, None, ("127.0.0.1",))
    assert web.asked == []


def test_a_file_without_end_is_read_until_the_time_is_up(web: Web) -> None:
    began = time.monotonic()
    report = web.look("/slow.jsonl", seconds=1.5).report
    assert time.monotonic() - began < 8
    assert (report.complete, report.rows_kept > 40) == (False, True)


@pytest.mark.parametrize(
    "address",
    [
        "http://host/a.jsonl",
        "https:///a.jsonl",
        "https://user:word@host/a.jsonl",
        "https://host/a.zip",
        "https://host/",
        "https://[host/a.jsonl",
        "https://host:99999/a.jsonl",
    ],
)
def test_an_address_that_may_not_be_read_is_refused(address: str) -> None:
    with pytest.raises(InvalidArguments, match=r"https URL|data file"):
        web_source(address, time.monotonic() + 5)
