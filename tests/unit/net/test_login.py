"""Logins: order of limiter and hash, decoys, the cache, the lists."""

import asyncio
import stat
from dataclasses import replace

import pytest

from echomox.clock import FakeClock
from echomox.config.schema import Auth
from echomox.net import login as module
from echomox.net.blocks import FILE, Block, BlockList, take_requests, write_blocks
from echomox.net.login import REPLIES, Authenticator, LoggedIn, LoginFailed, load_key
from tests.unit.net.support import authenticator, secrets_of
from tests.unit.smtpd.support import QUIET


def attempt(one, name, password, **changes):
    """The account, or the reason of the failure."""

    async def run() -> str:
        try:
            return await one.password(
                name, password, changes.get("ip", "192.0.2.1"), changes.get("tls", True)
            )
        except LoginFailed as error:
            return error.reason

    return run()


def hashes(monkeypatch) -> list[str]:
    """The secrets that were hashed against, as they come."""
    seen: list[str] = []
    original = module.verify_password

    def verify(secret: str, password: str) -> bool:
        seen.append(secret)
        return original(secret, password)

    monkeypatch.setattr(module, "verify_password", verify)
    return seen


CASES = [
    ("mjl", "secret", "mjl"),
    ("mjl@example.org", "secret", "mjl"),
    ("SECOND@Example.ORG", "secret", "mjl"),
    ("mjl", "wrong", "credentials"),
    ("mjl", "", "credentials"),
    ("mjl", "secret\x00", "credentials"),
    ("mjl", "x" * 5000, "credentials"),
    ("off", "secret", "credentials"),
    ("nobody", "secret", "credentials"),
    ("nobody@example.org", "secret", "credentials"),
    ("", "", "credentials"),
]


@pytest.mark.parametrize("name, password, expected", CASES)
def test_password(name, password, expected):
    async def run() -> None:
        one = authenticator()
        assert await attempt(one, name, password) == expected
        result = "ok" if expected == "mjl" else "failed"
        assert one.host.counts == {f"logins_{result}_imap_login": 1}
        await one.close()

    asyncio.run(run())


def test_the_11th_bad_login_is_refused_without_hashing(monkeypatch):
    seen = hashes(monkeypatch)

    async def run() -> None:
        one = authenticator(logins=10)
        assert [await attempt(one, "mjl", f"bad{n}") for n in range(11)] == ["credentials"] * 10 + ["limited"]
        assert len(seen) == 10
        assert one.host.counts["logins_limited"] == 1
        assert await attempt(one, "mjl", "secret") == "limited"
        assert await attempt(one, "mjl", "secret", ip="198.51.100.7") == "mjl"
        await one.close()

    asyncio.run(run())


def test_many_attempts_at_once_do_not_slip_through(monkeypatch):
    seen = hashes(monkeypatch)

    async def run() -> None:
        one = authenticator(logins=5)
        found = await asyncio.gather(*(attempt(one, "mjl", f"bad{n}") for n in range(30)))
        assert sorted(found) == ["credentials"] * 5 + ["limited"] * 25
        assert len(seen) == 5
        await one.close()

    asyncio.run(run())


def test_an_unknown_name_costs_a_hash_of_the_same_kind(monkeypatch):
    seen = hashes(monkeypatch)

    async def run() -> None:
        one = authenticator()
        for name in ("mjl", "nobody", "off"):
            await attempt(one, name, "wrong")
        assert [secret[:7] for secret in seen] == ["$2b$04$"] * 3
        assert len(set(seen)) == 3
        await one.close()

    asyncio.run(run())


KINDS = [
    # (hash of new passwords, of the account, what an attempt at account and unknown name is hashed against)
    ("bcrypt", "bcrypt", ["$2b$04$", "$2b$04$"]),
    ("argon2id", "argon2id", ["$argon2", "$argon2"]),
    ("argon2id", "bcrypt", ["$2b$04$", "$argon2"]),
    ("bcrypt", "argon2id", ["$argon2", "$2b$04$"]),
]


@pytest.mark.parametrize("setting, kept, expected", KINDS)
@pytest.mark.parametrize("lost", [(), ("cram-md5",)])
def test_a_password_is_checked_by_the_hash_that_is_there(monkeypatch, setting, kept, expected, lost):
    seen = hashes(monkeypatch)

    async def run() -> None:
        one = authenticator(Auth(bcrypt_cost=4, password_hash=setting))
        known = {scheme: secret for scheme, secret in secrets_of("secret", kept).items() if scheme not in lost}
        one.accounts._engine.kept["mjl"] = known
        assert [await attempt(one, name, "wrong") for name in ("mjl", "nobody")] == ["credentials"] * 2
        assert [secret[:7] for secret in seen] == expected
        assert await attempt(one, "mjl", "secret") == "mjl"
        await one.close()

    asyncio.run(run())


def test_an_address_that_has_used_up_its_day_is_reported(monkeypatch):
    seen = hashes(monkeypatch)

    async def run() -> None:
        one = authenticator(per_day=3)
        found = [await attempt(one, "mjl", f"bad{n}") for n in range(5)]
        assert found == ["credentials"] * 3 + ["limited"] * 2 and len(seen) == 3
        assert take_requests(one.host.paths.run, QUIET) == {"192.0.2.1": 3}
        await one.close()

    asyncio.run(run())


def test_a_blocked_address_cannot_log_in_over_a_connection_that_was_there(monkeypatch):
    seen = hashes(monkeypatch)

    async def run() -> None:
        one = authenticator()
        write_blocks(one.host.paths.data / FILE, BlockList((Block("192.0.2.0/24", 0.0, 9e9, ""),)))
        assert await attempt(one, "mjl", "secret") == "limited" and seen == []
        assert await attempt(one, "mjl", "secret", ip="198.51.100.1") == "mjl"
        await one.close()

    asyncio.run(run())


def test_a_right_password_is_remembered_until_it_changes_or_time_is_up(monkeypatch):
    seen = hashes(monkeypatch)
    clock = FakeClock()

    async def run() -> None:
        one = authenticator(Auth(bcrypt_cost=4, cache_time=300), clock=clock)
        assert [await attempt(one, "mjl", "secret") for _ in range(3)] == ["mjl"] * 3
        assert len(seen) == 1
        assert await attempt(one, "mjl", "Secret") == "credentials"
        assert len(seen) == 2
        clock.advance(301)
        assert await attempt(one, "mjl", "secret") == "mjl"
        assert len(seen) == 3
        one.accounts._engine.kept["mjl"] = {**secrets_of("new"), "generation": "2"}
        assert await attempt(one, "mjl", "secret") == "credentials"
        assert await attempt(one, "mjl", "new") == "mjl"
        await one.close()

    asyncio.run(run())


def test_without_tls_only_trusted_nets_log_in():
    async def run() -> None:
        one = authenticator(Auth(bcrypt_cost=4, plaintext_from=("127.0.0.0/8", "::1/128")))
        assert await attempt(one, "mjl", "secret", tls=False) == "tls"
        for ip in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
            assert await attempt(one, "mjl", "secret", tls=False, ip=ip) == "mjl"
        assert one.offered(False, "192.0.2.1") == []
        assert one.offered(True, "192.0.2.1") == list(Auth().mechanisms)
        await one.close()

    asyncio.run(run())


def test_attempts_are_listed_together_and_later():
    async def run() -> None:
        one = authenticator()
        listed = one.accounts._engine.listed
        await attempt(one, "mjl", "secret")
        await attempt(one, "mjl@example.org", "wrong")
        await attempt(one, "nobody", "wrong")
        assert listed == []
        await one.close()
        assert [(account, entry.address, entry.result, entry.remote_ip) for account, entry in listed] == [
            ("mjl", "mjl", "ok", "192.0.2.1"),
            ("mjl", "mjl@example.org", "credentials", "192.0.2.1"),
        ]

    asyncio.run(run())


def test_begin_says_why_not():
    async def run() -> None:
        one = authenticator()
        for mechanism, tls, reason in (
            ("NTLM", True, "mechanism"),
            ("PLAIN", False, "tls"),
            ("SCRAM-SHA-256-PLUS", True, "mechanism"),
            ("EXTERNAL", True, "mechanism"),
        ):
            with pytest.raises(LoginFailed) as found:
                one.begin(mechanism, "192.0.2.1", tls)
            assert found.value.reason == reason
            assert found.value.reply == REPLIES[reason][0]
        await one.close()

    asyncio.run(run())


def test_the_key_is_made_once_and_private(tmp_path):
    path = tmp_path / "login.key"
    first = load_key(path)
    assert len(first) == 32
    assert load_key(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["login.key"]
    path.write_bytes(b"short")
    assert len(load_key(path)) == 32


def test_external_and_binding_go_by_the_channel(tmp_path):
    from echomox.config.snapshot import Snapshot
    from echomox.net.tls import Channel
    from tests.unit.net.support import DYNAMIC, Host, Secrets

    mine, offs = "a" * 64, "b" * 64

    async def run() -> None:
        host = Host(tmp_path, Auth(bcrypt_cost=4, plus=True))
        accounts = {
            **DYNAMIC.accounts,
            "mjl": replace(DYNAMIC.accounts["mjl"], client_certificates=(mine,)),
            "off": replace(DYNAMIC.accounts["off"], client_certificates=(offs,)),
        }
        host._snapshot = Snapshot(replace(DYNAMIC, accounts=accounts), host.static, 2)
        host.paths.data.mkdir(parents=True, exist_ok=True)
        one = Authenticator(host, Secrets(), "submission")
        plain = list(Auth().mechanisms)
        ip = "192.0.2.1"
        assert one.offered(True, ip) == plain
        bound = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", *plain[2:]]
        assert one.offered(True, ip, Channel(b"x")) == bound
        assert one.offered(True, ip, Channel(b"x", mine)) == ["EXTERNAL", *bound]
        assert one.offered(True, ip, Channel(b"x", offs)) == bound  # its account is disabled
        assert one.offered(True, ip, Channel(b"x", "c" * 64)) == bound
        exchange = one.begin("EXTERNAL", ip, True, Channel(b"x", mine))
        assert await exchange.step(b"") == LoggedIn("mjl", "mjl@example.org")
        assert host.counts["logins_ok_external"] == 1
        exchange = one.begin("external", ip, True, Channel(b"x", mine))
        with pytest.raises(LoginFailed):
            await exchange.step(b"small@example.org")
        await one.close()

    asyncio.run(run())
