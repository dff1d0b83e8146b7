"""Logins of all protocols: the rate limiter, the account, the mechanism and the log of attempts, joined.

RFC 4422 and 4954 (SASL, its replies in SMTP), RFC 3463 5.7.x; IMAP takes `LoginFailed.code` (RFC 5530).

The order is fixed (decision 6): is the mechanism offered here, has this address not failed too often, only
then does anything get computed. bcrypt and Argon2 run in threads, as many as there are cores. A password that was
found right is remembered for `auth.cache_time` as HMAC(a secret of this process, account, generation of its
secrets, password), so that neither the password nor a stale one is kept. A name that is unknown or disabled
gets decoy secrets: the same steps, the same time, the same answer. The decoys hang on a key in the data
directory, so that all workers show the same salt for a name at every try.

An address or net that has used up its failed logins of a day is reported, to be blocked (`echomox.net.blocks`).

Every attempt is a log line with `remote=` (for fail2ban), a counter by mechanism, and an entry in the
account's own list; those entries are collected and written once a second, so that a login costs no write
while the client waits.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from echomox.clock import SYSTEM, Clock
from echomox.config.paths import Paths
from echomox.config.schema import Account, Auth, Static
from echomox.config.snapshot import Snapshot
from echomox.errors import MailError, Reply
from echomox.log import Log
from echomox.net.blocks import Blocks
from echomox.net.limit import LoginLimits, Slabs
from echomox.net.tls import NO_CHANNEL, Channel
from echomox.sasl import (
    MECHANISM,
    PASSWORD_HASHES,
    Challenge,
    CheckPassword,
    Context,
    Mechanism,
    Secrets,
    Success,
    decoy,
    first_step,
    password_secret,
    verify_password,
)
from echomox.store.engine import Engine, Login, StoreError

WAITING_CHECKS = 128
"""Passwords that may wait for a thread; more are told to come back later."""
REMEMBERED = 10_000
FLUSH_INTERVAL = 1.0
FLUSH_AT_ONCE = 100
KEY_FILE = "login.key"
SCHEMES = {"scram-sha-256", "scram-sha-1", "cram-md5", "generation"}
"""Of `Secrets`, besides the password's hash."""
PLUS = "-PLUS"
EXTERNAL = "EXTERNAL"


class LoginFailed(MailError):
    """A login that did not succeed. reason: "credentials", "limited", "unavailable", "cancelled", "syntax",
    "tls" or "mechanism"; code: the IMAP response code (RFC 5530), "" for a BAD."""

    def __init__(self, reason: str, cause: str = "") -> None:
        reply, self.code = REPLIES[reason]
        self.reason = reason
        super().__init__(reply, cause)


# RFC 4954 6 and RFC 5530 3.
REPLIES: Mapping[str, tuple[Reply, str]] = {
    "credentials": (Reply(535, "5.7.8", "Authentication credentials invalid"), "AUTHENTICATIONFAILED"),
    "limited": (Reply(454, "4.7.0", "Too many failed logins from your network, try later"), "LIMIT"),
    "unavailable": (Reply(454, "4.7.0", "Temporary authentication failure"), "UNAVAILABLE"),
    "cancelled": (Reply(501, "5.7.0", "Authentication cancelled"), ""),
    "syntax": (Reply(501, "5.5.2", "Response is malformed"), ""),
    "tls": (Reply(538, "5.7.11", "Encryption required for this authentication mechanism"), "PRIVACYREQUIRED"),
    "mechanism": (Reply(504, "5.5.4", "Authentication mechanism is not supported"), "CANNOT"),
}


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """account: its name; address: the name that was given, completed to an address where the account has
    one."""

    account: str
    address: str


class Host(Protocol):
    """What a worker gives (workers.base.Worker is one)."""

    static: Static
    paths: Paths
    log: Log
    blocks: Blocks

    @property
    def limiter(self) -> Slabs: ...
    def snapshot(self) -> Snapshot: ...
    def count(self, counter: str, n: int = 1) -> None: ...


class Authenticator:
    """One per protocol and worker. protocol: "smtp", "imap" …, for the log and the account's list."""

    def __init__(self, host: Host, engine: Engine, protocol: str, clock: Clock = SYSTEM) -> None:
        auth = host.static.auth
        self.host = host
        self.protocol = protocol
        self.limits = LoginLimits(host.limiter, host.static.limits, clock, host.blocks.pardoned)
        self.accounts = Accounts(host, engine, load_key(host.paths.data / KEY_FILE), auth)
        self.passwords = Passwords(auth, clock)
        self.journal = Journal(engine, host.log)
        self._clock = clock
        self._trusted = [ipaddress.ip_network(net, strict=False) for net in auth.plaintext_from]
        self._names = [name for name in _with_channel(auth) if name in MECHANISM]
        self.plus = auth.plus
        self._plain_allowed: dict[str, bool] = {}

    def offered(self, tls: bool, remote_ip: str, channel: Channel = NO_CHANNEL) -> list[str]:
        """Names of the mechanisms that may be used now, strongest first. Without TLS: none, but for trusted nets.
        EXTERNAL: where the client's certificate stands at an account."""
        if not tls:
            return [name for name in self._names if self._serves(name, NO_CHANNEL)] if self._trusts(remote_ip) else []
        return [name for name in self._names if self._serves(name, channel)]

    def _serves(self, name: str, channel: Channel) -> bool:
        if name == EXTERNAL:
            return bool(channel.client) and bool(self.accounts.of_certificate(channel.client))
        return bool(channel.end_point) or not name.endswith(PLUS)

    def begin(self, mechanism: str, remote_ip: str, tls: bool, channel: Channel = NO_CHANNEL) -> LoginExchange:
        """Raises LoginFailed: "mechanism", "tls" or "limited"."""
        name = mechanism.upper()
        if name not in self._names:
            raise LoginFailed("mechanism")
        if name not in self.offered(tls, remote_ip, channel):
            raise LoginFailed("mechanism" if tls else "tls")
        self.check_limit(name, remote_ip)
        return LoginExchange(self, MECHANISM[name], remote_ip, channel)

    async def password(
        self, name: str, password: str, remote_ip: str, tls: bool, mechanism: str = "imap_login"
    ) -> str:
        """The account of a name and password (IMAP's LOGIN); raises LoginFailed."""
        if not tls and not self._trusts(remote_ip):
            raise LoginFailed("tls")
        self.check_limit(mechanism, remote_ip)
        account = await self.check_password(name, password, remote_ip)
        self.note(mechanism, name, account, "ok" if account else "credentials", remote_ip)
        if account is None:
            raise LoginFailed("credentials")
        return account

    def check_limit(self, mechanism: str, remote_ip: str) -> None:
        if self.host.blocks.has(remote_ip) or not self.limits.allowed(remote_ip):
            self.host.count("logins_limited")
            self.host.log.warn(
                "login", protocol=self.protocol, mechanism=mechanism, result="limited", remote=remote_ip
            )
            raise LoginFailed("limited")

    async def check_password(self, name: str, password: str, remote_ip: str) -> str | None:
        """The account whose password this is, or None after the same time."""
        account = self.accounts.find(name)
        known = self.accounts.secrets(name, account)
        with self.limits.checking(remote_ip):
            right = await self.passwords.check(account or "", known, password)
        return account if right else None

    def note(self, mechanism: str, name: str, account: str | None, result: str, remote_ip: str) -> None:
        """Counts and logs an attempt. account: the one it was for, None if there is none."""
        word = mechanism.lower().replace("-", "_")
        self.host.count(f"logins_{'ok' if result == 'ok' else 'failed'}_{word}")
        if result == "credentials":
            self.limits.failed(remote_ip)
            if self.host.static.limits.block_time:
                for net, failed in self.limits.used_up(remote_ip):
                    self.host.blocks.report(net, failed)
        write = self.host.log.info if result == "ok" else self.host.log.warn
        write(
            "login", protocol=self.protocol, mechanism=mechanism, login=name, account=account, result=result,
            remote=remote_ip,
        )  # fmt: skip
        listed = account or self.accounts.find(name)
        if listed is not None:
            entry = Login(self._clock.now(), name, self.protocol, mechanism, result, remote_ip)
            self.journal.add(listed, entry)

    def _trusts(self, remote_ip: str) -> bool:
        if not self._trusted:
            return False
        known = self._plain_allowed.get(remote_ip)
        if known is None:
            if len(self._plain_allowed) > 4096:
                self._plain_allowed.clear()
            known = self._plain_allowed[remote_ip] = _within(remote_ip, self._trusted)
        return known

    async def close(self) -> None:
        self.journal.flush_all()
        self.passwords.close()


class LoginExchange:
    """One login under way. The first `step` takes the initial response, or None when there was none; each
    further one a response, decoded."""

    def __init__(
        self, owner: Authenticator, mechanism: Mechanism, remote_ip: str, channel: Channel = NO_CHANNEL
    ) -> None:
        self._owner = owner
        self.mechanism = mechanism
        self._remote_ip = remote_ip
        self._name = ""
        self._begun = False
        context = Context(
            owner.host.static.hostname,
            time.time(),
            partial(secrets.token_urlsafe, 18),
            {"tls-server-end-point": channel.end_point} if channel.end_point else {},
            bool(channel.end_point) and owner.plus,
            owner.accounts.of_certificate(channel.client) if mechanism.name == EXTERNAL else (),
        )
        self._exchange = mechanism.begin(self._lookup, context)

    @property
    def name(self) -> str:
        """As the client gave it."""
        return self._name

    def _lookup(self, name: str) -> Secrets:
        self._name = name
        accounts = self._owner.accounts
        return accounts.secrets(name, accounts.find(name))

    async def step(self, data: bytes | None) -> bytes | LoggedIn:
        """The next challenge, not encoded, or who it is. Raises LoginFailed; the exchange is over then."""
        if self._begun:
            outcome = self._exchange.step(data or b"")
        else:
            self._begun = True
            outcome = first_step(self.mechanism, self._exchange, data)
        if isinstance(outcome, Challenge):
            return outcome.data
        self._name = outcome.name or self._name
        if isinstance(outcome, CheckPassword):
            account = await self._owner.check_password(outcome.name, outcome.password, self._remote_ip)
            return self._finish(account, "credentials")
        if isinstance(outcome, Success):
            return self._finish(self._owner.accounts.find(outcome.name), "credentials")
        return self._finish(None, str(outcome.reason))

    def cancel(self) -> LoginFailed:
        """The client gave up ("*"): noted; the error to answer with is returned."""
        self._owner.note(self.mechanism.name, self._name, None, "cancelled", self._remote_ip)
        return LoginFailed("cancelled")

    def _finish(self, account: str | None, reason: str) -> LoggedIn:
        note = self._owner.note
        if account is None:
            note(self.mechanism.name, self._name, None, reason, self._remote_ip)
            raise LoginFailed(reason)
        note(self.mechanism.name, self._name, account, "ok", self._remote_ip)
        return LoggedIn(account, self._owner.accounts.address(account, self._name))


def _with_channel(auth: Auth) -> list[str]:
    """auth.mechanisms, EXTERNAL before them, and each -PLUS before the plain one."""
    names = [EXTERNAL]
    for name in auth.mechanisms:
        names += [name + PLUS, name] if auth.plus else [name]
    return names


class Accounts:
    """Names to accounts and their secrets, or decoys."""

    def __init__(self, host: Host, engine: Engine, key: bytes, auth: Auth) -> None:
        self._host = host
        self._engine = engine
        self._key = key
        self._generation = -1
        self._certificates: dict[str, tuple[str, Account]] = {}
        self._cost = auth.bcrypt_cost
        self._password_hash = auth.password_hash

    def find(self, name: str) -> str | None:
        return self._host.snapshot().login_account(name)

    def of_certificate(self, fingerprint: str) -> tuple[str, ...]:
        """Names that a client with this certificate may log in as: the first address of the account it stands at, its
        name, its other addresses; none for a certificate of nobody."""
        snapshot = self._host.snapshot()
        if self._generation != snapshot.generation:
            self._generation = snapshot.generation
            self._certificates = {
                found: (name, account)
                for name, account in snapshot.dynamic.accounts.items()
                for found in account.client_certificates
            }
        name, account = self._certificates.get(fingerprint, ("", None))
        if account is None or account.disabled:
            return ()
        addresses = [address for address in account.addresses if not address.startswith("@")]
        return (*addresses[:1], name, *addresses[1:])

    def secrets(self, name: str, account: str | None) -> Secrets:
        """Never fails, has every scheme: what an account has no secret for, no response fits."""
        known: Secrets = {}
        if account is not None:
            try:
                known = self._engine.open(account).secrets()
            except (StoreError, OSError) as error:
                self._host.log.error("secrets not read", account=account, error=str(error))
        if known.keys() >= SCHEMES and password_secret(known):
            return known
        secrets = decoy(name, self._key, self._cost, self._password_hash)
        if password_secret(known):
            for scheme in PASSWORD_HASHES:
                secrets.pop(scheme, None)
        return {**secrets, **known}

    def address(self, account: str, name: str) -> str:
        if "@" in name:
            return name
        addresses = self._host.snapshot().account(account).addresses
        return next((address for address in addresses if not address.startswith("@")), name)


class Passwords:
    """Checks passwords in threads and remembers those that were right."""

    def __init__(self, auth: Auth, clock: Clock) -> None:
        self._cores = os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(self._cores, "passwords")
        self._waiting = 0
        self._time = auth.cache_time
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, float] = {}

    async def check(self, account: str, known: Secrets, password: str) -> bool:
        """account: "" when `known` are decoys. Raises LoginFailed("unavailable") when too many are
        waiting."""
        mark = self._mark(account, known, password)
        if account and self._right.get(mark, 0.0) > self._clock.monotonic():
            return True
        if self._waiting >= WAITING_CHECKS:
            raise LoginFailed("unavailable", "too many password checks are waiting")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._threads, verify_password, password_secret(known), password)
        finally:
            self._waiting -= 1
        if right and account and self._time > 0:
            self._remember(mark)
        return right and bool(account)

    def _mark(self, account: str, known: Secrets, password: str) -> bytes:
        text = f"{account}\0{known.get('generation', '')}\0{password}"
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")

    def _remember(self, mark: bytes) -> None:
        now = self._clock.monotonic()
        if len(self._right) >= REMEMBERED:
            self._right = {key: until for key, until in self._right.items() if until > now}
            if len(self._right) >= REMEMBERED:
                self._right.clear()
        self._right[mark] = now + self._time

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Journal:
    """Login attempts on their way to the accounts' lists."""

    def __init__(self, engine: Engine, log: Log) -> None:
        self._engine = engine
        self._log = log
        self._entries: list[tuple[str, Login]] = []
        self._due: asyncio.TimerHandle | None = None

    def add(self, account: str, entry: Login) -> None:
        self._entries.append((account, entry))
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(FLUSH_INTERVAL, self._flush)

    def _flush(self) -> None:
        """Writes some, so that the loop is not held up; the rest soon after."""
        now, self._entries = self._entries[:FLUSH_AT_ONCE], self._entries[FLUSH_AT_ONCE:]
        self._due = asyncio.get_running_loop().call_later(0.05, self._flush) if self._entries else None
        self._write(now)

    def flush_all(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        entries, self._entries = self._entries, []
        self._write(entries)

    def _write(self, entries: Sequence[tuple[str, Login]]) -> None:
        for account, entry in entries:
            try:
                self._engine.open(account).log_login(entry)
            except (StoreError, OSError) as error:
                self._log.error("login not listed", account=account, error=str(error))


def load_key(path: Path) -> bytes:
    """The machine's key for decoys, made at the first call; 32 bytes, mode 0600. All workers see the same
    one."""
    for _ in range(3):
        try:
            found = path.read_bytes()
            if len(found) == 32:
                return found
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        scratch = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(32))
            os.link(scratch, path)
        except FileExistsError:
            pass  # another worker was first: read what it wrote
        finally:
            os.close(descriptor)
            scratch.unlink()
    raise OSError(f"{path}: cannot be made or read")


def _within(ip: str, nets: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in net for net in nets)
