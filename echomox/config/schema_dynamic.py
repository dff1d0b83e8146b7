# ruff: noqa: RUF009 - `option` makes a dataclass field, which is the one call that belongs there
"""`Dynamic`, which is `domains.toml`: domains, accounts, aliases, transports and routes. See `schema`."""

from __future__ import annotations

from dataclasses import dataclass

from echomox.config.option import option


@dataclass(frozen=True, slots=True)
class Transport:
    """A way for mail to leave; see `routes`."""

    kind: str = option(
        "direct",
        "direct: to the hosts that the recipient's domain names. smtp: all to one host, port 25 unless said otherwise. "
        "submission, submissions: to one host with STARTTLS on port 587, or TLS from the first byte on port 465. "
        "socks: direct, through a SOCKS5 proxy. fail: give back at once.",
        choices=("direct", "smtp", "submission", "submissions", "socks", "fail"),
    )
    host: str = option("", "The host of smtp, submission and submissions; of socks, the proxy.")
    port: int = option(0, "Its port. 0: the usual one.", low=0, high=65535)
    user: str = option("", "Login at the host or proxy; empty: none.")
    password_file: str = option(
        "",
        "File with the password, in its first line; relative to the configuration directory, readable by the server."
    )
    tls: str = option(
        "default",
        "default: as the kind says (smtp: when offered, and as TLSA records of the host demand: DANE). required: not "
        "without, and the certificate must be right. none: no TLS.",
        choices=("default", "required", "none"),
    )
    family: str = option("any", "IP versions to use.", choices=("any", "ipv4", "ipv6"))
    code: int = option(550, "fail: the reply code, 4xx to keep trying or 5xx.", low=400, high=599)
    text: str = option("Delivery is switched off by the administrator", "fail: what the sender is told.")


@dataclass(frozen=True, slots=True)
class Route:
    """The first one that fits says the transport: of the account, then of the sender's domain, then these."""

    from_domains: tuple[str, ...] = option(
        (), 'Sender domains: "example.org", ".example.org" with all below it. Empty: all.'
    )
    to_domains: tuple[str, ...] = option((), "Recipient domains, in the same form. Empty: all.")
    minimum_attempt: int = option(1, "Only from this try on.", low=1, high=100)
    transport: str = option("", "Name of the transport.")


@dataclass(frozen=True, slots=True)
class Dkim:
    selector: str = option("", "Name under _domainkey.")
    algorithm: str = option("ed25519", "Kind of key.", choices=("ed25519", "rsa"))
    key: str = option("", "PEM file of the private key, relative to the configuration directory.")
    sign: bool = option(True, "Whether mail is signed with it. A key that is coming or going is published only.")
    headers: tuple[str, ...] = option(
        (), "Header fields to sign; From always is. Empty: those that RFC 6376 5.4.1 names and the MIME fields."
    )
    oversign: tuple[str, ...] = option(
        (
            "From", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "MIME-Version", "Content-Type",
            "Content-Transfer-Encoding", "In-Reply-To", "References",
        ),
        "Those of them that are signed once more than they are there, so that nobody can add another.",
    )  # fmt: skip
    expiry: float = option(
        0.0, "A signature is not valid after so many seconds. 0: for ever.", low=0, high=315_360_000
    )


@dataclass(frozen=True, slots=True)
class MtaSts:
    """The MTA-STS policy to publish for a domain; `echomox mtasts policy DOMAIN` prints its text."""

    mode: str = option(
        "none",
        "none: no policy. testing: others report trouble but deliver. enforce: others deliver only with TLS and a "
        "right certificate.",
        choices=("none", "testing", "enforce"),
    )
    max_age: int = option(604_800, "Seconds for which others may remember it.", low=86_400, high=31_557_600)
    mx: tuple[str, ...] = option((), 'MX hosts, "*.example.org" for any one label; empty: this host\'s name.')


@dataclass(frozen=True, slots=True)
class ReportAddress:
    """An address of the domain to which others send reports about it. They are read, and can be shown by `echomox
    dmarc reports` and `echomox tlsrpt reports`."""

    local_part: str = option("", "What stands before the @, as dmarc-reports; empty: there is no such address.")
    account: str = option("", "Account that keeps the mails; empty: the postmaster.")
    mailbox: str = option("Reports", "Mailbox of the account for them.")


@dataclass(frozen=True, slots=True)
class Senders:
    """Senders of all mail from outside, as "friend@example.org" or "@example.org". An account's own `allow` and `block`
    come before those of the domain of its first address, these before the server's."""

    allow: tuple[str, ...] = option((), "Their mail is never junk. A failed DMARC check overrules it.")
    block: tuple[str, ...] = option(
        (), "Their mail is always junk, or refused where the account's filter refuses; `allow` comes first."
    )


@dataclass(frozen=True, slots=True)
class Domain:
    description: str = option("", "For people.")
    quota: int = option(
        0,
        "Bytes of mail that each account whose first address is here may hold. 0: limits.quota.",
        low=0,
        unit="bytes",
    )
    quota_messages: int = option(0, "Messages, likewise.", low=0)
    disabled: bool = option(False, "Refuse mail for it for now (450 4.2.1).")
    separators: tuple[str, ...] = option(
        ("+",), "Characters that end the account's part of a local part: you+shop@ reaches you@."
    )
    case_sensitive: bool = option(False, "Whether You@ and you@ are two addresses.")
    dkim: tuple[Dkim, ...] = option((), "Signing keys.")
    mta_sts: MtaSts = option(MtaSts, "Its MTA-STS policy.")
    senders: Senders = option(Senders, "Allow and block lists for its accounts.")
    dmarc_reports: ReportAddress = option(ReportAddress, "Where DMARC aggregate reports about it come to.")
    tls_reports: ReportAddress = option(ReportAddress, "Where TLS reports about it come to; may be the same address.")
    alias_of: str = option(
        "", "Another domain of this file: every address of it is one here too. This domain has no addresses of its own."
    )
    routes: tuple[Route, ...] = option((), "Routes for mail from senders at this domain.")


FILTER_PARTS = ("bayes", "ngrams", "esn", "membranes", "affect", "reputation", "auth")
"""The stages of the filter, of which each has a weight."""
MOST_WEIGHT = 2.0


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
    block: tuple[str, ...] = option(
        (),
        "Senders whose mail is always junk, in the same form; `allow` comes first. Domains and the server have such "
        "lists too (`senders`), which are asked after these.",
    )
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
    strict: float = option(
        0.8,
        "By this `junk` and `reject` are multiplied for mail that came without TLS, from an address whose name does "
        "not lead back to it, or with none of the account's addresses in To and Cc, once the account has taught its "
        "filter something. 1: no difference.",
        low=0.1,
        high=1,
    )
    weights: tuple[str, ...] = option(
        (),
        'Weights of parts in the combination, from 0 to 2, that hold in place of those learned: "affect=0" leaves a '
        f"part out. Parts: {', '.join(FILTER_PARTS)}.",
    )
    reject_code: str = option(
        "550",
        "How mail is refused for what is in it: 550 for ever, or 451 for now, so that a real sender gets word from "
        "his server after some days.",
        choices=("550", "451"),
    )
    subject_pass_days: int = option(
        0,
        "Tell who is refused (550) for what is in a mail to this account alone a token: the mail is let in when it "
        "comes again from the same address in From with the token in its subject, for so many days. It does not help "
        "against DMARC, lists and rules. 0: no tokens, and those told before are good no more.",
        low=0,
        high=365,
    )


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Mail that fits all conditions given here goes to `mailbox`. The first that fits holds. Conditions are regular
    expressions (RE2) that may fit anywhere; case does not count."""

    address: str = option("", "Only mail to this address of the account; empty: to any.")
    mail_from: str = option("", "Of the envelope's sender.")
    message_from: str = option("", "Of the address in From.")
    verified_domain: str = option(
        "", "A domain that SPF or DKIM prove to stand behind it, or one above that: example.org fits mail.example.org."
    )
    headers: dict[str, str] = option(
        dict, 'Of header fields: expressions for a whole name and for its value, as { "list-id" = "<dev[.]example>" }.'
    )
    mailbox: str = option("", "Where mail that fits goes; empty: where it would go without.")
    list_allow_domain: str = option(
        "",
        "A mailing list's domain: mail that fits and is proved to come from it is never junk, and DMARC policies are "
        "not enforced on it.",
    )
    is_forward: bool = option(
        False,
        "Mail that fits was sent on by a server you trust: the address it came from says nothing of it, and DMARC "
        "policies are not enforced. To be used with `verified_domain`.",
    )
    message_auth_required: bool = option(
        False, "Refuse mail that fits unless SPF or DKIM prove the domain in From (550 5.7.26)."
    )
    accept_rejects: str = option("", "A mailbox for mail that fits and would be refused.")
    comment: str = option("", "For people.")


@dataclass(frozen=True, slots=True)
class Account:
    """One login and its mail; `addresses` are "local@domain", or "@domain" for all else of that domain."""

    addresses: tuple[str, ...] = option((), "Addresses whose mail it gets.")
    full_name: str = option("", "For people.")
    disabled: bool = option(False, "Refuse logins; mail still arrives.")
    admin: bool = option(False, "May use the admin pages.")
    imap_without: tuple[str, ...] = option(
        (), 'IMAP keywords that its clients are not offered, as ["QRESYNC"]: a way round their bugs.'
    )
    quota: int = option(
        0,
        "Bytes of mail it may hold. 0: as its domain says, else the server (limits.quota).",
        low=0,
        unit="bytes",
    )
    quota_messages: int = option(0, "Messages it may hold. 0: as above.", low=0)
    quota_mailboxes: int = option(0, "Mailboxes it may have. 0: no limit.", low=0)
    max_outgoing_messages_per_day: int = option(
        1000, "Messages to other servers in 24 hours, each recipient counted as one. 0: no limit.", low=0
    )
    max_first_time_recipients_per_day: int = option(
        200, "Recipients in 24 hours to whom it has not sent before. 0: no limit.", low=0
    )
    unique_return_addresses: bool = option(
        False,
        "Give each message a return address of its own (you+id@), by which what comes back is known for a bounce. "
        "The domain needs a separator.",
    )
    show_ip: bool = option(False, "Show the address of the client in the Received field of mail it sends.")
    queue_mailbox: str = option(
        "",
        'A mailbox, as "Outbox", that shows what it has sent and what still waits: held mail, and mail that is tried '
        "again. What is deleted there comes back. Empty: none.",
    )
    generated_passwords_only: bool = option(False, "Passwords are made up by the server; own ones are refused.")
    client_certificates: tuple[str, ...] = option(
        (),
        "SHA-256 fingerprints, 64 hexadecimal digits, of TLS client certificates that log in to it; see tls.client_ca."
    )
    refuse: tuple[str, ...] = option((), 'Addresses that its "@domain" does not take.')
    forward: tuple[str, ...] = option((), "Addresses that its mail is sent on to; what is junk is not.")
    forward_keep: bool = option(True, "Keep a copy of what is sent on.")
    forward_junk: bool = option(False, "Send on junk too. Other servers may think less of ours for it.")
    trash_days: int = option(0, "Days after which messages in Trash are removed. 0: never.", low=0)
    junk_days: int = option(0, "Days after which messages in Junk are removed. 0: never.", low=0)
    rejects_days: int = option(14, "Days that copies of refused mail are kept in Rejects.", low=1)
    rejects_messages: int = option(1000, "Most messages kept in Rejects.", low=1)
    junk_mailbox: str = option(
        "",
        'Messages that are moved, copied, appended or delivered into a mailbox whose name fits get $Junk and '
        'are learnt '
        'as spam: a regular expression (RE2) that may fit anywhere, as "^(junk|spam)"; case does not count. What the '
        "filter itself puts into Junk is not learnt from.",
    )
    neutral_mailbox: str = option(
        "", 'Of the other mailboxes, those where messages have neither $Junk nor $NotJunk, as "^(inbox|trash)".'
    )
    notjunk_mailbox: str = option(
        "",
        "Of the others, those where they get $NotJunk and are learnt as ham. When two of the three options are "
        "set, the "
        "third stands for all other mailboxes.",
    )
    introbox: str = option(
        "",
        'A mailbox, as "Introductions", for mail that the filter puts into the Inbox but that comes from a stranger: '
        "the account has not written to its author and has no ham of the author's. To move a message from there to "
        "another mailbox that is not Junk or Trash says that it is ham, and makes the author known. Empty: none.",
    )
    junk_filter: JunkFilter = option(JunkFilter, "Its spam filter.")
    rulesets: tuple[Ruleset, ...] = option((), "Rules for its mail.")
    routes: tuple[Route, ...] = option((), "Routes for its mail.")


@dataclass(frozen=True, slots=True)
class Alias:
    """An address that stands for others: an alias or a small mailing list."""

    members: tuple[str, ...] = option(
        (), "Addresses of accounts, of other aliases, and of people elsewhere. Each gets one copy."
    )
    description: str = option("", "For people.")
    post: str = option(
        "public",
        "Who may write to it: public, all; members, those in From who are members, proved by DMARC or by a login.",
        choices=("public", "members"),
    )
    list_members: bool = option(True, "Whether members may see who the others are.")
    allow_send_as: bool = option(False, "Whether members may send with its address as the sender.")
    own_posts: bool = option(True, "Whether a member gets back what the member wrote.")
    forward_junk: bool = option(False, "Send junk on to members elsewhere too.")
    owner: str = option(
        "",
        "The account whose filter judges what goes to members elsewhere, and that gets it when it is junk; empty: the "
        "first account among the members, else the postmaster.",
    )


@dataclass(frozen=True, slots=True)
class Dynamic:
    """domains.toml."""

    domains: dict[str, Domain] = option(dict, "Domains by name (U-labels or A-labels, lower case).")
    accounts: dict[str, Account] = option(dict, "Accounts by name.")
    aliases: dict[str, Alias] = option(dict, "Aliases and lists by address.")
    transports: dict[str, Transport] = option(dict, "Ways for mail to leave, by name.")
    senders: Senders = option(Senders, "Allow and block lists for all accounts.")
    routes: tuple[Route, ...] = option((), "Routes for all mail.")
