"""AUTH dialogues of submission (RFC 4954), with real secrets and mechanisms; TLS is said to be there, or is not."""

import asyncio
import hmac
from base64 import b64decode, b64encode
from dataclasses import replace

import pytest
from scramp import ScramClient

from echomox.config.schema import Auth
from echomox.smtpd.ext import EXTENSIONS
from echomox.smtpd.service import command_table
from tests.unit.net.support import authenticator
from tests.unit.smtpd.support import Recorder, Talk, codes, script

HELLO = "EHLO client.example"


def b64(text: bytes) -> str:
    return b64encode(text).decode()


def dialogue(*lines: str, tls: bool = True, auth: Auth | None = None, limit: int = 0) -> bytes:
    async def run() -> bytes:
        login = authenticator(auth, logins=limit)
        one = Talk(role=Recorder(login=True), authenticator=login)
        if tls:
            one.session.tls = "TLSv1.3"
        for line in lines:
            await one.send(script(line))
        await login.close()
        return one.wire.out

    return asyncio.run(run())


PLAIN = b64(b"\0mjl@example.org\0secret")
WRONG = b64(b"\0mjl@example.org\0wrong")
DIALOGUES = [
    ((f"AUTH PLAIN {PLAIN}",), [235]),
    ((f"auth plain {PLAIN}",), [235]),
    (("AUTH PLAIN", PLAIN), [334, 235]),
    ((f"AUTH PLAIN {WRONG}",), [535]),
    ((f"AUTH PLAIN {b64(b'other' + b'@x' + bytes(1) + b'mjl' + bytes(1) + b'secret')}",), [535]),
    ((f"AUTH PLAIN {b64(bytes(1) + b'mjl' + bytes(1) + b'secret')}",), [235]),
    ((f"AUTH PLAIN {b64(bytes(1) + b'nobody' + bytes(1) + b'secret')}",), [535]),
    ((f"AUTH PLAIN {b64(bytes(1) + b'off' + bytes(1) + b'secret')}",), [535]),
    (("AUTH PLAIN =",), [501]),
    (("AUTH PLAIN !!!",), [501]),
    (("AUTH PLAIN", "*"), [334, 501]),
    (("AUTH PLAIN", "!!!", "NOOP"), [334, 501, 250]),
    (("AUTH LOGIN", b64(b"mjl"), b64(b"secret")), [334, 334, 235]),
    ((f"AUTH LOGIN {b64(b'mjl')}", b64(b"secret")), [334, 235]),
    (("AUTH LOGIN", b64(b"mjl"), b64(b"wrong")), [334, 334, 535]),
    (("AUTH LOGIN", "*"), [334, 501]),
    (("AUTH NTLM",), [504]),
    (("AUTH",), [501]),
    (("AUTH PLAIN a b",), [501]),
    ((f"AUTH PLAIN {PLAIN}", f"AUTH PLAIN {PLAIN}"), [235, 503]),
    (("MAIL FROM:<a@b.c>",), [530]),
    (("MAIL FROM:<a@b.c>", f"AUTH PLAIN {PLAIN}", "MAIL FROM:<a@b.c>"), [530, 235, 250]),
    ((f"AUTH PLAIN {PLAIN}", "MAIL FROM:<a@b.c> AUTH=<>"), [235, 250]),
    (("AUTH PLAIN", b64(b"x" * 9000)), [334, 501]),
    (("AUTH PLAIN", "x" * 13_000), [334, 500]),
    ((*[f"AUTH PLAIN {WRONG}"] * 6,), [535] * 5 + [421]),
]


@pytest.mark.parametrize("lines, expected", DIALOGUES)
def test_auth(lines, expected):
    assert codes(dialogue(HELLO, *lines))[2:] == expected


def test_cram_md5():
    """RFC 2195 2: HMAC-MD5 of the challenge, by the password."""

    async def run() -> None:
        login = authenticator()
        one = Talk(role=Recorder(login=True), authenticator=login)
        one.session.tls = "TLSv1.3"
        await one.send(script(HELLO))
        challenge = b64decode((await one.send(script("AUTH CRAM-MD5")))[4:])
        digest = hmac.new(b"secret", challenge, "md5").hexdigest()
        assert codes(await one.send(script(b64(b"mjl " + digest.encode())))) == [235]
        assert (one.session.login, one.session.login_address) == ("mjl", "mjl@example.org")
        await login.close()

    asyncio.run(run())


def test_scram_sha_256_with_a_client_that_checks_the_server():
    """A04 (RFC 7677): the server's signature comes as a challenge, for 235 has no place for it."""

    async def run() -> None:
        login = authenticator()
        one = Talk(role=Recorder(login=True), authenticator=login)
        one.session.tls = "TLSv1.3"
        await one.send(script(HELLO))
        client = ScramClient(["SCRAM-SHA-256"], "mjl", "secret")
        first = await one.send(script(f"AUTH SCRAM-SHA-256 {b64(client.get_client_first().encode())}"))
        client.set_server_first(b64decode(first[4:]).decode())
        final = await one.send(script(b64(client.get_client_final().encode())))
        client.set_server_final(b64decode(final[4:]).decode())
        assert codes(await one.send(script(""))) == [235]
        assert one.session.login == "mjl"
        await login.close()

    asyncio.run(run())


def test_mechanisms_are_shown_over_tls_only():
    assert b"AUTH SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN\r\n" in dialogue(HELLO)
    assert b"AUTH" not in dialogue(HELLO, tls=False)
    assert codes(dialogue(HELLO, f"AUTH PLAIN {PLAIN}", tls=False))[-1] == 538
    trusted = Auth(plaintext_from=("192.0.2.0/24",), bcrypt_cost=4)
    assert codes(dialogue(HELLO, f"AUTH PLAIN {PLAIN}", tls=False, auth=trusted))[-1] == 235
    elsewhere = replace(trusted, plaintext_from=("198.51.100.0/24",))
    assert codes(dialogue(HELLO, f"AUTH PLAIN {PLAIN}", tls=False, auth=elsewhere))[-1] == 538


def test_only_configured_mechanisms_are_offered():
    only = Auth(mechanisms=("PLAIN",), bcrypt_cost=4)
    assert b"AUTH PLAIN\r\n" in dialogue(HELLO, auth=only)
    assert codes(dialogue(HELLO, "AUTH CRAM-MD5", auth=only))[-1] == 504


def test_after_too_many_failures_even_the_right_password_is_not_looked_at():
    """A11, through the protocol: the limit is 3 a minute here."""
    answer = codes(dialogue(HELLO, *[f"AUTH PLAIN {WRONG}"] * 3, f"AUTH PLAIN {PLAIN}", limit=3))
    assert answer[2:] == [535, 535, 535, 454]


def test_the_tables_have_no_command_twice():
    names = [command.name for extension in EXTENSIONS for command in extension.commands]
    table = command_table(EXTENSIONS)
    assert len(set(names)) == len(names)
    assert all(name == command.name for name, command in table.items())
