"""Logins at relays, against the server side of our own SASL; and SOCKS5 proxies."""

import asyncio
import socket

import pytest

from echomox.config.schema import Transport
from echomox.dns.fake import FakeResolver
from echomox.outbound.login import LoginError, choose, plain
from echomox.sasl import MECHANISM, Challenge, CheckPassword, Context, Success, derive, first_step, verify_password
from tests.unit.outbound.mx import Mx, delivery, job, zone

SECRETS = derive("secret", 4)


def answers_of(name, user="u", password="secret"):
    mechanism = choose([name], True)
    assert mechanism is not None
    return mechanism[1](user, password, "nonce123")


def converse(name, password="secret"):
    """Both sides of a login; the server's last word."""
    client = answers_of(name, password=password)
    mechanism = MECHANISM[name]
    exchange = mechanism.begin(lambda _: SECRETS, Context("relay.example", 1e9, lambda: "abc"))
    initial = next(client)
    step = first_step(mechanism, exchange, initial)
    while isinstance(step, Challenge):
        step = exchange.step(client.send(step.data))
    return step


@pytest.mark.parametrize("name", ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"])
def test_a_login_without_the_password_on_the_wire(name):
    assert isinstance(converse(name), Success)
    with pytest.raises((LoginError, AssertionError)):
        assert isinstance(converse(name, "wrong"), Success)


@pytest.mark.parametrize("name", ["PLAIN", "LOGIN"])
def test_a_login_with_it(name):
    step = converse(name)
    assert isinstance(step, CheckPassword)
    assert verify_password(SECRETS["bcrypt"], step.password)


CHOICES = [
    (["PLAIN", "CRAM-MD5"], False, "CRAM-MD5"), (["PLAIN", "LOGIN"], False, None), (["LOGIN"], True, "LOGIN"),
    (["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"], True, "SCRAM-SHA-256"), (["GSSAPI"], True, None), ([], True, None),
]  # fmt: skip


@pytest.mark.parametrize("offered, protected, expected", CHOICES)
def test_the_best_mechanism_is_chosen(offered, protected, expected):
    found = choose(offered, protected)
    assert (found and found[0]) == expected


@pytest.mark.parametrize(
    "challenge", [b"", b"r=other,s=QQ==,i=4096", b"r=nonce123x,s=!,i=1", b"r=nonce123x,s=QQ==,i=99999999", b"\xff"]
)
def test_a_wrong_scram_challenge_ends_it(challenge):
    client = answers_of("SCRAM-SHA-256")
    next(client)
    with pytest.raises(LoginError):
        client.send(challenge)


def test_a_relay_that_does_not_know_the_password_is_found_out():
    client = answers_of("SCRAM-SHA-256")
    next(client)
    client.send(b"r=nonce123x,s=QUJD,i=4096")
    with pytest.raises(LoginError):
        client.send(b"v=AAAA")


def test_plain_is_one_step():
    assert next(plain("u", "p", "")) == b"\0u\0p"


# SOCKS


class Proxy:
    """A SOCKS5 proxy. login: what it wants, None for none. reply: instead of connecting."""

    def __init__(self, login=None, reply=None):
        self.login = login
        self.reply = reply
        self.targets = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def _serve(self, reader, writer):
        try:
            await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        writer.close()

    async def _talk(self, reader, writer):
        _, number = await reader.readexactly(2)
        methods = await reader.readexactly(number)
        wanted = 2 if self.login else 0
        if wanted not in methods:
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, wanted]))
        if self.login:
            user = await reader.readexactly((await reader.readexactly(2))[1])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            writer.write(bytes([1, (user, password) != self.login]))
        _, _, _, kind = await reader.readexactly(4)
        address = socket.inet_ntop(
            socket.AF_INET if kind == 1 else socket.AF_INET6, await reader.readexactly(4 if kind == 1 else 16)
        )
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.targets.append(address)
        if self.reply is not None:
            writer.write(self.reply)
            return
        there, back = await asyncio.open_connection(address, port)
        # In one piece with the first bytes of the host: they are not to be lost.
        writer.write(b"\x05\0\0\x01\0\0\0\0\0\0" + await there.read(1000))

        async def pump(source, sink):
            while data := await source.read(65_536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(there, writer), pump(reader, back))


def through(proxy, tmp_path, **transport):
    async def run():
        async with Mx() as mx, proxy:
            one = job(transport=Transport(kind="socks", host="127.0.0.1", port=proxy.port, **transport))
            async with delivery(mx.port, FakeResolver(zone("mx.example")), base=tmp_path) as remote:
                (outcome,) = await remote.deliver(one)
                return outcome, mx

    return asyncio.run(run())


def test_delivery_through_a_proxy(tmp_path):
    proxy = Proxy()
    outcome, mx = through(proxy, tmp_path)
    assert (outcome.kind, outcome.remote_mta, proxy.targets, len(mx.mail)) == (
        "delivered", "mx.example", ["127.0.0.1"], 1
    )  # fmt: skip


def test_delivery_through_a_proxy_with_a_login(tmp_path):
    (tmp_path / "pw").write_text("secret\n")
    outcome, _ = through(Proxy((b"u", b"secret")), tmp_path, user="u", password_file="pw")
    assert outcome.kind == "delivered"


TROUBLE = [
    (Proxy((b"u", b"other")), {"user": "u"}, "the login was refused"),
    (Proxy((b"u", b"x")), {}, "it wants a login"),
    (Proxy(reply=b"\x05\x05\0\x01"), {}, "connection refused"),
    (Proxy(reply=b"\x05\x63\0\x01"), {}, "reply 99"),
    (Proxy(reply=b"\x05"), {}, "it closed the connection"),
]


@pytest.mark.parametrize("proxy, options, text", TROUBLE)
def test_trouble_with_a_proxy_means_later(tmp_path, proxy, options, text):
    outcome, mx = through(proxy, tmp_path, **options)
    assert (outcome.kind, outcome.enhanced, mx.connections) == ("retry", "4.4.1", 0)
    assert text in outcome.text
