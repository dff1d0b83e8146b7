"""What was taken before accepting ended is not forgotten."""

from __future__ import annotations

import asyncio
import socket
import ssl

import trustme
import uvloop

from echomox.net.listen import Acceptors, Handshake


class Session(asyncio.Protocol):
    made = 0
    failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        type(self).made += 1
        transport.close()

    def handshake_failed(self, error: BaseException) -> None:
        type(self).failed += 1


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_connection_that_was_just_taken_has_its_session_when_accepting_has_ended() -> None:
    class Plain(Session):
        pass

    async def main() -> tuple[int, int]:
        with listener() as listening:
            acceptors = Acceptors()
            await acceptors.open([listening], Plain)
            with socket.create_connection(listening.getsockname()):
                await asyncio.sleep(0)  # the loop takes it, and makes its session with the next turn
                before = Plain.made
                await acceptors.close()
                return before, Plain.made

    assert uvloop.run(main()) == (0, 1)


def test_a_handshake_under_way_ends_with_its_session_before_accepting_has_ended() -> None:
    class Encrypted(Session):
        pass

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx.example").configure_cert(context)
    client = ssl.create_default_context()
    authority.configure_trust(client)

    async def main() -> None:
        with listener() as listening:
            acceptors = Acceptors()
            acceptors.open_tls([listening], Handshake(context, 10.0, lambda ip: Encrypted()))
            address = listening.getsockname()
            connecting = asyncio.ensure_future(
                asyncio.open_connection(*address, ssl=client, server_hostname="mx.example")
            )
            while not acceptors._handshakes:
                await asyncio.sleep(0)
            await acceptors.close()
            assert Encrypted.made == 1
            _, writer = await connecting
            writer.close()

    uvloop.run(main())
    assert Encrypted.failed == 0
