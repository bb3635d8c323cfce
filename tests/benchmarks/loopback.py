"""What the benchmarks ask: an HTTPS server on this computer that answers from prebuilt bytes, in a process of its own.

    python tests/benchmarks/loopback.py FOLDER    (started by search_speed.py, not by hand)

1. `prepare` writes bodies of N offers (rows of the sandbox's market, all of them verified and rentable), a certificate of our own
   making, and a bundle that holds it behind the public authorities, so that both sides load what they load in real life.
2. `Loopback` starts the server. ``/n1000/api/v0/bundles/`` answers 1,000 offers. What continues a search (it has a bound on
   ``dph_total``) is answered with the last offer alone: there is nothing more.
3. ``/asked`` says how many searches there were.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from pathlib import Path
from typing import Self

import certifi
import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vastnb.sandbox import Sandbox

_VERIFIED = {"verified": {"eq": True}, "rentable": {"eq": True}, "external": {"eq": False}}


def prepare(folder: Path, sizes: tuple[int, ...]) -> None:
    """Write bodies, certificate and bundle into `folder`."""
    rows = _rows(max(sizes))
    for size in sizes:
        step = len(rows) / size  # cheap and dear ones in each
        chosen = [rows[int(number * step)] for number in range(size)]
        (folder / f"n{size}.json").write_bytes(json.dumps({"offers": chosen}).encode())
        (folder / f"n{size}.last").write_bytes(json.dumps({"offers": chosen[-1:]}).encode())
    _certificate(folder)


def _rows(count: int) -> list[dict[str, object]]:
    """So many offers, cheapest first. One market has some ten thousand at most; a larger one is made of several."""
    rows: dict[int, dict[str, object]] = {}
    for seed in range(10):
        with Sandbox(offers=20_000, seed=seed, start="2026-06-01", page_cap=50_000) as market:
            rows |= {row["id"]: row for row in market.offers({**_VERIFIED, "limit": 50_000})}
        if len(rows) >= count:
            return sorted(list(rows.values())[:count], key=lambda row: row["dph_total"])  # type: ignore[arg-type,return-value]
    raise RuntimeError(f"{len(rows)} offers, wanted {count}")


def _certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vastnb benchmarks")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(private + pem)
    (folder / "bundle.pem").write_bytes(Path(certifi.where()).read_bytes() + b"\n" + pem)


class Loopback:
    """The server, as a process; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen([sys.executable, __file__, str(folder)], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self._context = ssl.create_default_context(cafile=str(folder / "bundle.pem"))

    def url(self, size: int) -> str:
        return f"https://127.0.0.1:{self.port}/n{size}"

    def asked(self) -> int:
        """How many searches there were since it started."""
        with (
            socket.create_connection(("127.0.0.1", self.port)) as plain,
            self._context.wrap_socket(plain, server_hostname="127.0.0.1") as there,
        ):
            there.sendall(b"GET /asked HTTP/1.1\r\nHost: x\r\n\r\n")
            return int(there.recv(4096).rpartition(b"\r\n")[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()


class _Serving:
    def __init__(self, folder: Path) -> None:
        self._bodies = {f"/{path.name}": path.read_bytes() for path in folder.glob("n*.*")}
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "server.pem")
        self._asked = 0
        self._lock = threading.Lock()

    def forever(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        print(listening.getsockname()[1], flush=True)
        while True:
            plain, _ = listening.accept()
            threading.Thread(target=self._connection, args=(plain,), daemon=True).start()

    def _connection(self, plain: socket.socket) -> None:
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._context.wrap_socket(plain, server_side=True) as there, there.makefile("rb") as sent:
                while line := sent.readline():
                    length = 0
                    while (header := sent.readline()) not in (b"\r\n", b""):
                        name, _, value = header.partition(b":")
                        length = int(value) if name.lower() == b"content-length" else length
                    there.sendall(self._answer(line.split()[1].decode(), sent.read(length)))
        except OSError:
            pass

    def _answer(self, path: str, body: bytes) -> bytes:
        if path == "/asked":
            return _response(str(self._asked).encode())
        with self._lock:
            self._asked += 1
        goes_on = "dph_total" in orjson.loads(body)
        return _response(self._bodies[f"/{path.split('/')[1]}.{'last' if goes_on else 'json'}"])


def _response(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: {formatdate(time.time(), usegmt=True)}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


if __name__ == "__main__":
    _Serving(Path(sys.argv[1])).forever()
