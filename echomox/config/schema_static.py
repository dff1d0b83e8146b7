# ruff: noqa: RUF009 - `option` makes a dataclass field, which is the one call that belongs there
"""`Static`, which is `echomox.toml`: what is read at start. Where the documentation stands, and how: see `schema`."""

from __future__ import annotations

from dataclasses import dataclass

from echomox.config.option import option


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
class Certificate:
    certificate: str = option("", "PEM file of the certificate chain, relative to the configuration directory.")
    key: str = option("", "PEM file of its private key, relative to the configuration directory.")


@dataclass(frozen=True, slots=True)
class Tls:
    certificate: str = option(
        "",
        "PEM file of the certificate chain, relative to the configuration directory; empty: no TLS is offered at all.",
    )
    key: str = option("", "PEM file of its private key, relative to the configuration directory.")
    minimum: str = option("1.2", "Oldest TLS version that is spoken.", choices=("1.2", "1.3"))
    names: dict[str, Certificate] = option(
        dict,
        'Certificates of further names, for clients that ask for them (SNI): "mail.example.net", or '
        '"*.example.net" for '
        "one label more. Other clients get the one above.",
    )
    session_tickets: bool = option(True, "Let clients resume TLS sessions, which saves most of a handshake.")
    client_ca: str = option(
        "",
        "PEM file of the authorities, or of single certificates, that clients' own certificates may come from: "
        "with one "
        "of those that stand at an account a client logs in without a password (EXTERNAL). Submission and IMAP only; "
        "empty: clients are not asked for one.",
    )


@dataclass(frozen=True, slots=True)
class Workers:
    """How many processes of each kind; 0 means by the number of cores."""

    smtp: int = option(0, "Acceptors of port 25. 0: one per core, at most 4.", low=0, high=64)
    submission: int = option(0, "Acceptors of ports 587 and 465. 0: one.", low=0, high=64)
    imap: int = option(0, "Acceptors of ports 143 and 993. 0: one per core.", low=0, high=64)
    classifier: int = option(0, "Classifiers. 0: one per core.", low=0, high=64)
    queuerunner: int = option(
        0,
        "Processes that deliver the queue's mail. 0: one, which is enough unless deliveries themselves (TLS) keep a "
        "core busy.",
        low=0,
        high=16,
    )
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
    quota: int = option(
        0, "Bytes of mail that an account may hold, unless it or its domain says more. 0: no limit.", low=0
    )
    quota_messages: int = option(0, "Messages, likewise.", low=0)
    line_length: int = option(65_536, "Longest line of a message.", low=1000)
    header_size: int = option(262_144, "Largest header block.", low=16_384)
    mime_depth: int = option(50, "Nested MIME parts.", low=5)
    mime_parts: int = option(1000, "MIME parts of a message.", low=10)
    received_hops: int = option(100, "Received fields before a message counts as looping.", low=30)
    bad_commands: int = option(10, "Commands not understood before the connection is ended.", low=3)
    greeting_delay: float = option(
        0.0,
        "How long port 25 waits before its greeting; a client that speaks before it is no mail server and is refused. "
        "0: no wait.",
        low=0,
        high=60,
    )
    command_timeout: float = option(300.0, "Silence of an SMTP client between commands.", low=10)
    data_timeout: float = option(180.0, "Silence of an SMTP client within a message.", low=10)
    message_timeout: float = option(1800.0, "Longest time for one whole message.", low=60)
    login_timeout: float = option(60.0, "IMAP: time to log in.", low=10)
    imap_timeout: float = option(
        1860.0, "IMAP: silence of a client after login; IDLE included (RFC 9051 5.4).", low=1800
    )
    imap_messages: int = option(
        0,
        "IMAP: most messages of one FETCH, SEARCH, STORE, COPY, MOVE, APPEND or UID EXPUNGE, announced as MESSAGELIMIT "
        "(RFC 9738). 0: no limit.",
        low=0,
    )
    imap_saves: int = option(
        0,
        "IMAP: most messages of one COPY or APPEND, announced as SAVELIMIT unless there is imap_messages. 0: no limit.",
        low=0,
    )
    tls_timeout: float = option(30.0, "TLS handshake.", low=5)
    messages_per_minute: int = option(
        500, "Messages taken per minute from an address (x3, x9), and for an account. 0: no limit.", low=0
    )
    messages_per_day: int = option(10_000, "The same per day. 0: no limit.", low=0)
    bytes_per_minute: int = option(
        1_000_000_000, "Bytes of messages per minute from an address (x3, x9), and for an account. 0: no limit.", low=0
    )
    bytes_per_day: int = option(3_000_000_000, "The same per day. 0: no limit.", low=0)
    first_time_delay: float = option(
        15.0,
        "How long mail of a sender that an account does not know waits before it is accepted, so that lists of bad "
        "senders may learn of a new one. 0: not at all.",
        low=0,
        high=120,
    )
    unknown_delay: float = option(
        5.0, "How long the answer takes that a recipient does not exist, on port 25. 0: no delay.", low=0, high=60
    )
    login_delay: float = option(1.0, "How long the answer takes that a login has failed. 0: no delay.", low=0, high=60)
    slow_answers: bool = option(
        True, "Answer a client that looks for addresses or passwords one byte a second from then on."
    )


@dataclass(frozen=True, slots=True)
class Auth:
    mechanisms: tuple[str, ...] = option(
        ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"),
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
    plus: bool = option(
        False,
        "Also offer SCRAM with channel binding (-PLUS, tls-server-end-point). Some clients, Debian 12's mutt "
        "among them, "
        "then fail to log in over TLS 1.3.",
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
    shared_prior: bool = option(
        False,
        "Let the accounts of this server share what their networks have learned: sums of states over all their trained "
        "mail, no words and no addresses; young accounts begin from it. Off: nothing of one account is seen by "
        "another.",
    )
    rules: str = option(
        "",
        "A file of rules for the membranes of the filter in place of those that come with EchoMox, relative to this "
        "directory. `echomox filter rules check` tells what is wrong with one; a reload takes a change of it over.",
    )
    authserv_id: str = option("", "Name in Authentication-Results; empty: the host name.")
    dnsbl: tuple[str, ...] = option(
        (),
        'DNS lists of bad senders, as "zen.example.net". They are asked at the end, of mail that would be accepted '
        "from a sender who is not known or is in doubt, and only while they answer as RFC 5782 says they do.",
    )
    dnswl: tuple[str, ...] = option((), "DNS lists of good senders, asked in the same cases; they come before `dnsbl`.")
    dnsbl_watch: bool = option(True, "Look each day whether our own public addresses stand on a list of `dnsbl`.")


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
    trusted: bool = option(
        False,
        "Believe what the resolver says of DNSSEC though it is not on this host: only if it validates and nobody can "
        "come between. One on loopback is always believed. DANE needs it.",
    )
    timeout: float = option(5.0, "Longest time for one question, all tries together.", low=0.1, high=60)
    rdap_bootstrap: str = option(
        "https://data.iana.org/rdap/dns.json",
        "The file that says which registry's server knows of a domain, for `echomox rdap` (RFC 9224); it is kept for a "
        "day.",
    )
    cache_entries: int = option(
        10_000, "Answers that each process remembers, as long as they may be. 0: none.", low=0, high=1_000_000
    )


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue of mail to other servers."""

    schedule: tuple[float, ...] = option(
        (0.0, 450.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 57600.0),
        "Pauses before each try, the first one included; after the last one the message is given back.",
        low=0,
        high=2_592_000,
    )
    jitter: float = option(0.1, "Each pause is longer or shorter by up to this part of it.", low=0, high=0.5)
    delay_attempt: int = option(
        5, "After so many failed tries the sender is told that there is a delay. 0: never.", low=0, high=100
    )
    delay_after: float = option(0.0, "The same by time: so long after the message came. 0: by tries alone.", low=0)
    concurrency: int = option(100, "Transactions under way at once, in each process.", low=1, high=5000)
    destination_concurrency: int = option(
        20,
        "Highest number of connections to one destination, of all queue runners together (at least one each); it "
        "begins with 5, grows with success.",
        low=1,
        high=1000,
    )
    dead_time: float = option(
        60.0, "How long a destination that could not be reached is left alone; doubles each time.", low=1
    )
    dead_time_most: float = option(900.0, "And how long at most.", low=1)
    return_size: int = option(
        262_144,
        "Largest message that is returned whole in a report; of larger ones the header.", low=0, high=10_485_760
    )
    keep_delivered: float = option(604_800.0, "How long what became of delivered mail is kept. 0: not at all.", low=0)
    keep_failed: float = option(2_592_000.0, "The same for mail that could not be delivered.", low=0)
    suppress: bool = option(
        True, "Remember, per account, recipients whose servers say that they do not exist, and send no more to them."
    )
    suppress_after: int = option(1, "How many such answers it takes.", low=1, high=100)
    min_free: int = option(67_108_864, "New mail is refused for now (452) when the disk has less space left.", low=0)


@dataclass(frozen=True, slots=True)
class Outbound:
    """How mail goes out. Times are those of RFC 5321 4.5.3.2 unless said otherwise."""

    helo: str = option("", "Name in EHLO; empty: the host name.")
    source4: str = option("", "IPv4 address to connect from; empty: the system chooses.")
    source6: str = option("", "IPv6 address to connect from; empty: the system chooses.")
    family: str = option("any", "IP versions to use.", choices=("any", "ipv4", "ipv6"))
    port: int = option(25, "Port of other servers. For tests.", low=1, high=65535)
    https_port: int = option(443, "Port that MTA-STS policies are fetched from. For tests.", low=1, high=65535)
    ca_file: str = option(
        "",
        "PEM file of the certification authorities that are trusted, relative to the configuration directory; empty: "
        "the system's.",
    )
    connect_timeout: float = option(30.0, "TCP connection.", low=0.05)
    greeting_timeout: float = option(300.0, "Greeting of the other server.", low=0.05)
    command_timeout: float = option(300.0, "Reply to a command.", low=0.05)
    tls_timeout: float = option(30.0, "TLS handshake.", low=0.05)
    data_timeout: float = option(120.0, "Reply to DATA.", low=0.05)
    block_timeout: float = option(180.0, "Silence of the network while a message goes out.", low=0.05)
    end_timeout: float = option(600.0, "Reply to the end of a message.", low=0.05)
    attempt_timeout: float = option(
        1800.0, "Longest time of one try with all its hosts; what is undecided then is tried again later.", low=0.2
    )
    addresses: int = option(6, "Addresses that are tried in one try.", low=1, high=100)
    idle_time: float = option(
        5.0, "How long a connection is kept for the next message to the same host. 0: it is not.", low=0
    )
    messages_per_connection: int = option(100, "Messages after which a connection is not used again.", low=1)
    idle_connections: int = option(200, "Connections kept at once, per process.", low=0)


@dataclass(frozen=True, slots=True)
class MailAuth:
    timeout: float = option(
        10.0,
        "Longest time for all look-ups of one message together; what is not known then counts as a temporary "
        "error, for "
        "which no mail is refused.",
        low=0.1,
        high=60,
    )
    tree_walk: bool = option(
        False, "Find the DMARC policy of a domain by DNS alone (RFC 9989) and not by the public suffix list (RFC 7489)."
    )
    enforce: tuple[str, ...] = option(
        ("quarantine", "reject"),
        "DMARC policies of senders' domains that are done as they say: quarantine puts mail that fails into "
        "Junk, reject "
        "refuses it. Without reject, mail to be refused goes to Junk instead if quarantine is there.",
        choices=("quarantine", "reject"),
    )
    trusted_forwarders: tuple[str, ...] = option(
        (),
        "Mailing lists and forwarders whose mail is kept when it fails DMARC, since they change or redirect mail: a "
        'network ("192.0.2.0/24"), or a domain that passed SPF or DKIM or is the verified name of the client, '
        'with those '
        'below it ("lists.example.org").',
    )
    trusted_sealers: tuple[str, ...] = option(
        (), "Domains whose ARC seal is believed: mail that had passed DMARC when it came to them passes here."
    )


@dataclass(frozen=True, slots=True)
class Reports:
    """Reports to other domains about mail: DMARC aggregate reports, TLS reports."""

    dmarc: bool = option(True, "Send DMARC aggregate reports to the domains that ask for them.")
    tls: bool = option(True, "Send reports of TLS with other servers, likewise.")
    organisation: str = option("", "Name of who reports; empty: the domain of `address`.")
    address: str = option(
        "",
        "Address that reports come from and their bounces go to, at a domain of ours with a DKIM key; empty: "
        "postmaster at the host's domain, or at the first that has a key. Without a key no report is sent.",
    )
    contact: str = option("", "Further contact that reports name, as a web page.")
    hours: float = option(
        4.0, "The reports about a day go out within so many hours, each at a moment of its own.", low=0, high=20
    )
    rate: int = option(600, "Most reports sent in an hour.", low=6, high=100_000)
    max_size: int = option(
        10_485_760, "Largest report that is sent, compressed; the domain may set a lower limit.", low=10_000
    )
    keep: float = option(31_536_000.0, "How long received reports can be shown.", low=86_400)


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
    mailauth: MailAuth = option(MailAuth, "Checks of who a mail from outside is from.")
    queue: Queue = option(Queue, "Mail to other servers.")
    outbound: Outbound = option(Outbound, "Delivery to other servers.")
    reports: Reports = option(Reports, "Reports to other domains.")
    logs: Logs = option(Logs, "Logs.")
