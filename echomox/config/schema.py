# ruff: noqa: RUF009 - `option` makes a dataclass field, which is the one call that belongs there
"""The configuration as frozen dataclasses; the documentation stands on each field.

`Static` is `echomox.toml` (a change starts new workers), `Dynamic` is `domains.toml` (taken over by running
workers as a new snapshot). A field's metadata holds `doc` (one or more sentences), and optionally `choices`
or `low`/`high`; `load` checks by them, `describe` writes the commented samples of `conf/` from them. Sizes
are bytes, times are seconds. What `load` gives has file names made absolute and domain names in lower-case
A-labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


def option(default: Any, doc: str, **limits: Any) -> Any:
    """A documented field. default: a value, or a class to be called for a fresh one (dict, a dataclass)."""
    metadata = {"doc": doc, **limits}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


# -- echomox.toml -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listeners:
    """Where each service listens: lists of "ADDRESS:PORT", IPv6 in brackets. An empty list: it is off."""

    smtp: tuple[str, ...] = option(("0.0.0.0:25", "[::]:25"), "Mail from other servers; STARTTLS is offered.")
    submission: tuple[str, ...] = option(
        ("0.0.0.0:587", "[::]:587"), "Mail from our users' clients, with STARTTLS and login."
    )
    submissions: tuple[str, ...] = option(("0.0.0.0:465", "[::]:465"), "The same with TLS from the first byte.")
    imap: tuple[str, ...] = option(("0.0.0.0:143", "[::]:143"), "IMAP with STARTTLS.")
    imaps: tuple[str, ...] = option(("0.0.0.0:993", "[::]:993"), "IMAP with TLS from the first byte.")


@dataclass(frozen=True, slots=True)
class Tls:
    certificate: str = option(
        "",
        "PEM file of the certificate chain, relative to the configuration directory; empty: no TLS is offered at all.",
    )
    key: str = option("", "PEM file of its private key, relative to the configuration directory.")
    minimum: str = option("1.2", "Oldest TLS version that is spoken.", choices=("1.2", "1.3"))


@dataclass(frozen=True, slots=True)
class Workers:
    """How many processes of each kind; 0 means by the number of cores."""

    smtp: int = option(0, "Acceptors of port 25. 0: one per core, at most 4.", low=0, high=64)
    submission: int = option(0, "Acceptors of ports 587 and 465. 0: one.", low=0, high=64)
    imap: int = option(0, "Acceptors of ports 143 and 993. 0: one per core.", low=0, high=64)
    classifier: int = option(0, "Classifiers. 0: one per core.", low=0, high=64)
    heartbeat_timeout: float = option(30.0, "A worker that is silent so long is killed and replaced.", low=1)
    drain_time: float = option(600.0, "How long sessions may go on after a reload before they are ended.", low=0)
    stop_time: float = option(3.0, "How long sessions may go on after a stop before they are ended.", low=0)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client, net or message may use. Parser limits and timeouts always hold."""

    connections_per_ip: int = option(
        30,
        "Open connections per address and service; x3 per /26 (IPv6: /48), x9 per /21 (/32). 0: no limit.",
        low=0,
    )
    connection_rate_per_ip: int = option(
        300, "New connections per minute and address; x3 and x9 as above. 0: no limit.", low=0
    )
    logins_per_minute: int = option(
        10,
        "Failed logins per minute and address (x3, x9) before more are refused unchecked. 0: no limit.",
        low=0,
    )
    logins_per_day: int = option(50, "Failed logins per day and address (x3, x9). 0: no limit.", low=0)
    block_time: float = option(
        86_400.0,
        "How long an address or net that has reached logins_per_day is refused by submission and IMAP as soon as it "
        "connects; `echomox block list` shows them. 0: it is not.",
        low=0,
    )
    block_smtp: bool = option(False, "Refuse blocked addresses on port 25 too.")
    idle_per_ip: int = option(30, "IDLE commands at once per address. 0: no limit.", low=0)
    connections: int = option(10_000, "Open connections per worker.", low=1)
    message_size: int = option(104_857_600, "Largest message, announced as SIZE and APPENDLIMIT.", low=65_536)
    recipients: int = option(1000, "Recipients of one message.", low=100)
    line_length: int = option(65_536, "Longest line of a message.", low=1000)
    header_size: int = option(262_144, "Largest header block.", low=16_384)
    mime_depth: int = option(50, "Nested MIME parts.", low=5)
    mime_parts: int = option(1000, "MIME parts of a message.", low=10)
    received_hops: int = option(100, "Received fields before a message counts as looping.", low=30)
    bad_commands: int = option(10, "Commands not understood before the connection is ended.", low=3)
    command_timeout: float = option(300.0, "Silence of an SMTP client between commands.", low=10)
    data_timeout: float = option(180.0, "Silence of an SMTP client within a message.", low=10)
    message_timeout: float = option(1800.0, "Longest time for one whole message.", low=60)
    login_timeout: float = option(60.0, "IMAP: time to log in.", low=10)
    imap_timeout: float = option(
        1860.0, "IMAP: silence of a client after login; IDLE included (RFC 9051 5.4).", low=1800
    )
    tls_timeout: float = option(30.0, "TLS handshake.", low=5)


@dataclass(frozen=True, slots=True)
class Auth:
    mechanisms: tuple[str, ...] = option(
        ("SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"),
        "SASL mechanisms offered, strongest first.",
        choices=("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"),
    )
    plaintext_from: tuple[str, ...] = option((), "Networks from which a login without TLS is allowed, as 127.0.0.0/8.")
    password_hash: str = option(
        "bcrypt",
        "Hash of new passwords, for PLAIN and LOGIN; those that there are stay valid as they are.",
        choices=("bcrypt", "argon2id"),
    )
    bcrypt_cost: int = option(
        11,
        "Work factor of new password hashes; 11 is about 0.12 s, each step doubles it. Of argon2id it sets the "
        "memory of each check: 64 MiB at 11, at most 256 MiB.",
        low=4,
        high=15,
    )
    cache_time: float = option(
        300.0, "How long a verified PLAIN or LOGIN password is remembered by a worker. 0: never.", low=0
    )


@dataclass(frozen=True, slots=True)
class Filter:
    classify_timeout: float = option(
        2.0, "How long a delivery waits for the classifiers before it goes on without.", low=0.1
    )
    learn_interval: float = option(1.0, "Pause between looks of the trainer for new moves and flags.", low=0.1)
    authserv_id: str = option("", "Name in Authentication-Results; empty: the host name.")


@dataclass(frozen=True, slots=True)
class Logs:
    level: str = option(
        "info",
        "Level of packages that have none of their own.",
        choices=("trace", "debug", "info", "warn", "error"),
    )
    levels: dict[str, str] = option(dict, 'Levels per package, as { smtpd = "debug" }.')
    to_file: bool = option(True, "Write to echomox.log in the log directory; else to standard error.")


@dataclass(frozen=True, slots=True)
class Dns:
    resolver: str = option("system", '"system", "none" (every question has an instant negative answer) or "HOST:PORT".')


@dataclass(frozen=True, slots=True)
class Static:
    """echomox.toml."""

    hostname: str = option("", "Full name of this host: banner, EHLO, Received, Message-ID.")
    user: str = option("", "User whose rights the workers have; empty: the owner of the data directory.")
    postmaster: str = option(
        "",
        "Account that gets mail for postmaster@ any of our names, where no account has that address itself; "
        "empty: the first account with `admin`, else the first account.",
    )
    listeners: Listeners = option(Listeners, "Addresses and ports.")
    tls: Tls = option(Tls, "Certificate of the host.")
    workers: Workers = option(Workers, "Numbers of processes.")
    limits: Limits = option(Limits, "Limits and timeouts.")
    auth: Auth = option(Auth, "Logins.")
    filter: Filter = option(Filter, "The spam filter, server-wide.")
    dns: Dns = option(Dns, "Name resolution.")
    logs: Logs = option(Logs, "Logs.")


# -- domains.toml -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dkim:
    selector: str = option("", "Name under _domainkey.")
    algorithm: str = option("ed25519", "Kind of key.", choices=("ed25519", "rsa"))
    key: str = option("", "PEM file of the private key, relative to the configuration directory.")


@dataclass(frozen=True, slots=True)
class Domain:
    description: str = option("", "For people.")
    disabled: bool = option(False, "Refuse mail for it for now (450 4.2.1).")
    separators: tuple[str, ...] = option(
        ("+",), "Characters that end the account's part of a local part: you+shop@ reaches you@."
    )
    case_sensitive: bool = option(False, "Whether You@ and you@ are two addresses.")
    dkim: tuple[Dkim, ...] = option((), "Signing keys.")


@dataclass(frozen=True, slots=True)
class JunkFilter:
    mode: str = option(
        "bands",
        "bands: below `junk` to the Inbox, up to `reject` to Junk, above it refused with a copy in Rejects. "
        "junk-only: never refuse, file into Junk. off: deliver all.",
        choices=("bands", "junk-only", "off"),
    )
    junk: float = option(0.3, "Probability from which mail is junk.", low=0, high=1)
    reject: float = option(0.8, "Probability above which mail is refused.", low=0, high=1)
    ngrams: int = option(2, "Longest run of words that counts as one token.", low=1, high=3)
    shadow: bool = option(
        False,
        "Judge and say so in the header and the log, but deliver all to the Inbox: to try the filter without risk.",
    )
    allow: tuple[str, ...] = option(
        (),
        'Senders whose mail is never junk: "friend@example.org" or "@example.org". A failed DMARC check overrules it.',
    )
    block: tuple[str, ...] = option((), 'Senders whose mail is always junk, in the same form; `allow` comes first.')
    reservoir_size: int = option(
        100,
        "Neurons of the echo state network that judge, 100 or (for a small machine) 50; less than 100 means 50. "
        "Takes effect at once: all learn with 100, of which the first 50 are a network of their own.",
        low=50,
        high=100,
    )
    spectral_radius: float = option(
        0.95, "Of the network's weights. A change makes the network learn anew, from then on.", low=0, high=1.2
    )
    leak: float = option(
        0.3, "How fast a neuron follows its inputs: memory. A change makes the network learn anew.", low=0.01, high=1
    )
    integrator: str = option(
        "rk4",
        "How the network's equation is advanced: Runge-Kutta of order 4, or Euler. A change makes it learn anew.",
        choices=("rk4", "euler"),
    )
    ridge: float = option(3.0, "Lambda of the network's ridge regression.", low=0.000001, high=1_000_000)


@dataclass(frozen=True, slots=True)
class Account:
    """One login and its mail; `addresses` are "local@domain", or "@domain" for all else of that domain."""

    addresses: tuple[str, ...] = option((), "Addresses whose mail it gets.")
    full_name: str = option("", "For people.")
    disabled: bool = option(False, "Refuse logins; mail still arrives.")
    admin: bool = option(False, "May use the admin pages.")
    quota: int = option(0, "Bytes of mail it may hold. 0: no limit.", low=0)
    junk_filter: JunkFilter = option(JunkFilter, "Its spam filter.")


@dataclass(frozen=True, slots=True)
class Dynamic:
    """domains.toml."""

    domains: dict[str, Domain] = option(dict, "Domains by name (U-labels or A-labels, lower case).")
    accounts: dict[str, Account] = option(dict, "Accounts by name.")
