"""Logins bound to their TLS connection, over real sockets: SCRAM-*-PLUS (RFC 5802 6, RFC 5929 4) with an independent
client, and EXTERNAL by a client certificate (RFC 4422 A)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import scramp
import trustme
import uvloop

from echomox.config.schema import Auth, Tls
from echomox.config.snapshot import Snapshot
from echomox.net.listen import Acceptors, Handshake
from echomox.net.login import Authenticator
from echomox.net.tls import server_context
from tests.dialog.server import ACCOUNTS, PASSWORD, USER, Server, serving
from tests.dialog.test_tls import Client


class Place:
    """A server with its own certificate and authority, and a client certificate that stands at the account mrc."""

    def __init__(self, root: Path, ca: trustme.CA) -> None:
        config = root / "config"
        config.mkdir()
        ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(config / "cert.pem"))
        ca.cert_pem.write_to_path(str(config / "ca.pem"))
        self.mine = ca.issue_cert("somebody@example.test")
        self.context = server_context(Tls(certificate="cert.pem", client_ca="ca.pem"), config, clients=True)
        self.ca = ca

    def prepare(self, server: Server, *, plus: bool) -> None:
        self.server = server
        der = ssl.PEM_cert_to_DER_cert(self.mine.cert_chain_pems[0].bytes().decode())
        host = server.host
        host.static = replace(host.static, auth=Auth(bcrypt_cost=4, plus=plus))
        known = replace(ACCOUNTS["mrc"], client_certificates=(hashlib.sha256(der).hexdigest(),))
        dynamic = replace(host.snapshot().dynamic, accounts={**ACCOUNTS, "mrc": known})
        host._snapshot = Snapshot(dynamic, host.static, 2)
        server.authenticator = server.service.authenticator = Authenticator(host, server.engine, "imap")

    async def open(self) -> None:
        service = self.server.service
        self.sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.plain = await service.loop.create_server(partial(service.session, False), sock=self.sockets[0])
        assert self.context is not None
        self.implicit = Acceptors()
        handshake = Handshake(self.context, service.limits.tls_timeout, service.implicit_tls)
        self.implicit.open_tls([self.sockets[1]], handshake)

    async def connect(self, implicit: bool, certificate: bool = False) -> Client:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if certificate:
            self.mine.configure_cert(context)
        port = self.sockets[implicit].getsockname()[1]
        more = {"ssl": context, "server_hostname": "localhost"} if implicit else {}
        client = Client(*await asyncio.open_connection("127.0.0.1", port, **more))
        await client.reader.readline()
        if not implicit:
            assert await client.command(b"STARTTLS") == [b"t OK Begin TLS negotiation now"]
            await client.start_tls(context)
        return client


def played(root: Path, play: Callable[[Place], Awaitable[None]], plus: bool = True) -> None:
    async def run() -> None:
        place = Place(root, trustme.CA())
        async with serving(root, place.context) as server:
            place.prepare(server, plus=plus)
            await place.open()
            try:
                await play(place)
            finally:
                place.plain.close()
                await place.implicit.close()

    uvloop.run(run())


async def offered(client: Client) -> list[bytes]:
    return [word[5:] for word in (await client.command(b"CAPABILITY"))[0].split() if word.startswith(b"AUTH=")]


async def scram(client: Client, mechanism: str, binding: tuple[str, bytes]) -> bytes:
    """The tagged answer to a login."""
    one = scramp.ScramClient([mechanism], USER, PASSWORD, channel_binding=binding)
    first = base64.b64encode(one.get_client_first().encode()).decode()
    client.writer.write(f"t AUTHENTICATE {mechanism} {first}\r\n".encode())
    line = await client.reader.readline()
    one.set_server_first(base64.b64decode(line[2:]).decode())
    client.writer.write(base64.b64encode(one.get_client_final().encode()) + b"\r\n")
    line = await client.reader.readline()
    if line.startswith(b"+ "):
        one.set_server_final(base64.b64decode(line[2:]).decode())
        client.writer.write(b"\r\n")
        line = await client.reader.readline()
    return line


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"])
def test_channel_binding(tmp_path: Path, implicit: bool, mechanism: str) -> None:
    async def play(place: Place) -> None:
        client = await place.connect(implicit)
        names = await offered(client)
        assert mechanism.encode() in names and b"EXTERNAL" not in names
        peer = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        answer = await scram(client, mechanism, ("tls-server-end-point", b"x" * 32))
        assert answer.startswith(b"t NO [AUTHENTICATIONFAILED]")
        right = ("tls-server-end-point", hashlib.sha256(peer).digest())
        assert (await scram(client, mechanism, right)).startswith(b"t OK [CAPABILITY IMAP4rev1 ")
        assert (await client.command(b"SELECT INBOX"))[-1].startswith(b"t OK")

    played(tmp_path, play)


@pytest.mark.parametrize("implicit", [False, True])
def test_without_the_switch_there_is_no_channel_binding(tmp_path: Path, implicit: bool) -> None:
    async def play(place: Place) -> None:
        client = await place.connect(implicit)
        assert not any(name.endswith(b"-PLUS") for name in await offered(client))
        answer = await client.command(b"AUTHENTICATE SCRAM-SHA-256-PLUS")
        assert answer[-1].startswith(b"t NO [CANNOT]")

    played(tmp_path, play, plus=False)


@pytest.mark.parametrize("implicit", [False, True])
def test_a_client_certificate_logs_in(tmp_path: Path, implicit: bool) -> None:
    async def play(place: Place) -> None:
        client = await place.connect(implicit, certificate=True)
        assert (await offered(client))[0] == b"EXTERNAL"
        assert (await client.command(b"AUTHENTICATE EXTERNAL ="))[-1].startswith(b"t OK [CAPABILITY IMAP4rev1 ")
        assert (await client.command(b"SELECT INBOX"))[-1].startswith(b"t OK")
        (session,) = place.server.service.live_sessions()
        assert (session.account, session.mechanism) == ("mrc", "EXTERNAL")
        wrong = await place.connect(implicit, certificate=True)
        other = base64.b64encode(b"other@example.test")
        answer = await wrong.command(b"AUTHENTICATE EXTERNAL " + other)
        assert answer[-1].startswith(b"t NO [AUTHENTICATIONFAILED]")
        without = await place.connect(implicit)
        assert b"EXTERNAL" not in await offered(without)
        assert (await without.command(b"AUTHENTICATE EXTERNAL ="))[-1].startswith(b"t NO [CANNOT]")

    played(tmp_path, play)
