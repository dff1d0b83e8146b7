"""`echomox-sendmail`, or `echomox sendmail`: the program that others call as /usr/sbin/sendmail (U16).

Reads a message from standard input and submits it, with a login, to the submission port of a server, this one or
another. It needs no rights and no queue of its own: when it says that the mail is sent, the server has it.

    echomox-sendmail [options] [recipient ...]
      -t            recipients are those of To, Cc and Bcc, with those on the command line
      -f ADDRESS    return address (-r is the same)          -F NAME     full name, where the message has no From
      -i, -oi       a line with only a dot does not end the message
      -N WORDS      reports wanted: never, or of success, failure, delay with commas between
      -R hdrs|full  how much of the message a report returns  -V ID       envelope id for reports
      -C FILE       configuration                              -v          says what is going on
    -bm, -o, -O, -B, -G, -h, -L, -m, -n, -q, -U, -X are taken and ignored; other kinds of -b are refused.

Configuration, TOML: -C, else $ECHOMOX_SENDMAIL, ~/.config/echomox/sendmail.toml, /etc/echomox/sendmail.toml:

    host = "mail.example.org"        # default "localhost"
    port = 465                       # default 465; 587 with tls = "starttls"
    tls = "tls"                      # "tls", "starttls", or "none": only to this machine
    ca_file = "/path/ca.pem"         # authorities to trust; default those of the system
    user = "app@example.org"
    password_file = "/path/secret"   # or password = "..." in this file, which then nobody else should read
    from = "app@example.org"         # return address and From where none, or none with a domain, is given
    to = "admin@example.org"         # for recipients without a domain, as root
    aliases = { backup = "ops@example.org" }     # some of these
    timeout = 60                     # seconds

What cannot be sent is added to ~/dead.letter, as it was given. Exit codes are those of sysexits.h: 0 sent, 64 usage,
65 no recipient or a bad address, 66 no input, 67 recipients refused, 69 refused, 70 a fault of this program, 73 no
dead.letter either, 75 try again later, 77 login refused, 78 configuration.
"""

from __future__ import annotations

import os
import re
import smtplib
import ssl
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO

from echomox.message.address import address_text, mailboxes, parse_addresses
from echomox.message.header import end_of_header, read_fields, split_fields

EX_OK, EX_USAGE, EX_DATAERR, EX_NOINPUT, EX_NOUSER = 0, 64, 65, 66, 67
EX_UNAVAILABLE, EX_SOFTWARE, EX_CANTCREAT, EX_TEMPFAIL, EX_NOPERM, EX_CONFIG = 69, 70, 73, 75, 77, 78
LARGEST = 1 << 28
"""Octets of a message that are read at all."""
FILES = ("~/.config/echomox/sendmail.toml", "/etc/echomox/sendmail.toml")
KEYS = {
    "host": str, "port": int, "tls": str, "ca_file": str, "user": str, "password": str, "password_file": str,
    "from": str, "to": str, "aliases": dict, "timeout": int,
}  # fmt: skip
WITH_VALUE = "BfFhNoORrVXLC"
IGNORED = "BhoOXL"
ALONE = "GintUmvq"
_ADDRESS = re.compile(r"[^\s<>,;:@\"\\\x00-\x1f\x7f]+@[^\s<>,;:@\"\\\x00-\x1f\x7f]+")
_XTEXT = re.compile(r"[^!-*,-<>-~]")
DSN = {"never", "success", "failure", "delay"}


class Failed(Exception):
    """str() is for people, code for the caller."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(slots=True)
class Options:
    recipients: list[str] = field(default_factory=list)
    sender: str | None = None
    full_name: str = ""
    from_header: bool = False
    dots: bool = False
    """A line with a dot is text."""
    notify: str = ""
    ret: str = ""
    envid: str = ""
    config: str = ""
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    host: str = "localhost"
    port: int = 465
    tls: str = "tls"
    ca_file: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    sender: str = ""
    to: str = ""
    aliases: dict[str, str] = field(default_factory=dict)
    timeout: int = 60


@dataclass(frozen=True, slots=True)
class Mail:
    """Ready to be sent. text: with CRLF."""

    sender: str
    recipients: tuple[str, ...]
    text: bytes


def parse_options(argv: Sequence[str]) -> Options:
    """The command line, as sendmail programs have understood it for forty years. Raises Failed."""
    found = Options()
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            found.recipients += words
            break
        if not word.startswith("-") or word == "-":
            found.recipients.append(word)
        elif word[1] == "b":
            if word[2:] not in ("m", ""):
                raise Failed(EX_USAGE, f"{word}: this program only sends mail")
        elif word[1] in WITH_VALUE:
            value = word[2:]
            if not value:
                if not words:
                    raise Failed(EX_USAGE, f"{word} needs a value")
                value = words.pop(0)
            _take(found, word[1], value)
        else:
            _flags(found, word)
    return found


def _flags(found: Options, word: str) -> None:
    if word[1] == "q":  # -q, -q30m: the queue is the server's
        return
    for letter in word[1:]:
        if letter not in ALONE:
            raise Failed(EX_USAGE, f"{word}: no such option")
        found.from_header |= letter == "t"
        found.dots |= letter == "i"
        found.verbose |= letter == "v"


def _take(found: Options, letter: str, value: str) -> None:
    if letter in "fr":
        found.sender = "" if value == "<>" else value.removeprefix("<").removesuffix(">")
    elif letter == "F":
        found.full_name = value
    elif letter == "C":
        found.config = value
    elif letter == "o":
        found.dots |= value == "i"
    elif letter == "N":
        asked = value.lower().split(",")
        if not set(asked) <= DSN or ("never" in asked and len(asked) > 1):
            raise Failed(EX_USAGE, f"-N {value}: never, or of success, failure, delay with commas between")
        found.notify = ",".join(asked).upper()
    elif letter == "R":
        if value.lower() not in ("hdrs", "full"):
            raise Failed(EX_USAGE, f"-R {value}: hdrs or full")
        found.ret = value.upper()
    elif letter == "V":
        found.envid = _XTEXT.sub(lambda match: "".join(f"+{octet:02X}" for octet in match[0].encode()), value)
        if len(found.envid) > 100:
            raise Failed(EX_USAGE, "-V: longer than 100 characters")


def load_settings(explicit: str) -> Settings:
    """Raises Failed."""
    given = explicit or os.environ.get("ECHOMOX_SENDMAIL", "")
    names = [given] if given else [os.path.expanduser(name) for name in FILES]
    path = next((Path(name) for name in names if os.path.exists(name)), None)
    if path is None:
        raise Failed(EX_CONFIG, f"no configuration: {' or '.join(names)}")
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Failed(EX_CONFIG, f"{path}: {getattr(error, 'strerror', None) or error}") from None
    for key, value in table.items():
        if key not in KEYS:
            raise Failed(EX_CONFIG, f"{path}: {key}: not known; one of {', '.join(KEYS)}")
        if type(value) is not KEYS[key]:
            raise Failed(EX_CONFIG, f"{path}: {key}: not of type {KEYS[key].__name__}")
    return _settings(path, table)


def _settings(path: Path, table: dict[str, object]) -> Settings:
    words = {key: str(value) for key, value in table.items() if isinstance(value, str)}
    numbers = {key: value for key, value in table.items() if isinstance(value, int)}
    aliases = table.get("aliases", {})
    assert isinstance(aliases, dict)
    tls = words.get("tls", "tls")
    if tls not in ("tls", "starttls", "none"):
        raise Failed(EX_CONFIG, f'{path}: tls: "tls", "starttls" or "none"')
    host = words.get("host", "localhost")
    if tls == "none" and not _is_here(host):
        raise Failed(EX_CONFIG, f'{path}: tls = "none" is for this machine only, not for {host}')
    password = words.get("password", "")
    if file := words.get("password_file"):
        try:
            password = (path.parent / file).read_text("utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise Failed(EX_CONFIG, f"{file}: {getattr(error, 'strerror', None) or error}") from None
    for key, address in (("from", words.get("from", "")), ("to", words.get("to", "")), *aliases.items()):
        if address and not _ADDRESS.fullmatch(str(address)):
            raise Failed(EX_CONFIG, f"{path}: {key}: not an address")
    return Settings(
        host, numbers.get("port", 465 if tls == "tls" else 587), tls, words.get("ca_file", ""), words.get("user", ""),
        password, words.get("from", ""), words.get("to", ""), {str(k): str(v) for k, v in aliases.items()},
        max(1, numbers.get("timeout", 60)),
    )  # fmt: skip


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def read_message(source: BinaryIO, dots: bool) -> bytes:
    """All of the input, or up to a line with a dot, with CRLF. Raises Failed for nothing, and for too much."""
    data = source.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise Failed(EX_DATAERR, f"the message has more than {LARGEST} octets")
    text = re.sub(rb"\r\n|\r|\n", b"\n", data)
    if not dots:
        if text.startswith(b".\n") or text == b".":
            text = b""
        else:
            end = text.find(b"\n.\n")
            text = (
                text[: end + 1] if end >= 0 else text.removesuffix(b"\n.") + (b"\n" if text.endswith(b"\n.") else b"")
            )
    if text.startswith(b"From "):  # of a mailbox file
        text = text.partition(b"\n")[2]
    if not text.strip():
        raise Failed(EX_NOINPUT, "no message on standard input")
    if not text.endswith(b"\n"):
        text += b"\n"
    return text.replace(b"\0", b"").replace(b"\n", b"\r\n")


def prepare(text: bytes, options: Options, settings: Settings) -> Mail:
    """Sender, recipients, and a From field that the server will take. Raises Failed."""
    if not re.match(rb"[!-9;-~]+[ \t]*:", text):
        text = b"\r\n" + text  # no header at all: a text that somebody pipes in
    end = end_of_header(text)
    fields = read_fields(text, 0, end)
    boxes = mailboxes(parse_addresses(address_text(fields.get(b"from", b""))))
    sender = _sender(options.sender, [box.address for box in boxes], settings)
    names = list(options.recipients)
    if options.from_header:
        # RFC 5322 3.6.6: of a message that is sent again, only who it is sent to now.
        kinds = (b"resent-to", b"resent-cc", b"resent-bcc") if b"resent-to" in fields else (b"to", b"cc", b"bcc")
        for kind in kinds:
            names += [box.address for box in mailboxes(parse_addresses(address_text(fields.get(kind, b""))))]
    if not names:
        raise Failed(EX_DATAERR if options.from_header else EX_USAGE, "no recipients")
    recipients = tuple(dict.fromkeys(_recipient(name, settings) for name in names))
    if not boxes or any(not _ADDRESS.fullmatch(box.address) for box in boxes):
        text = _with_from(text, end, options.full_name or (boxes[0].name if boxes else ""), sender or settings.sender)
    return Mail(sender, recipients, text)


def _sender(given: str | None, froms: list[str], settings: Settings) -> str:
    if given == "":
        return ""
    for address in (given or "", *froms[:1]):
        if _ADDRESS.fullmatch(address):
            return address
    if given and "@" in given:
        raise Failed(EX_DATAERR, f"{given}: not an address")
    if not settings.sender:
        raise Failed(EX_CONFIG, "no return address: give -f, or `from` in the configuration")
    return settings.sender


def _recipient(name: str, settings: Settings) -> str:
    name = name.strip().removeprefix("<").removesuffix(">")
    if _ADDRESS.fullmatch(name):
        return name
    found = (
        settings.aliases.get(name) or settings.to if name and "@" not in name and not re.search(r"[\s<>]", name) else ""
    )
    if not found:
        raise Failed(EX_DATAERR, f"{name or 'an empty recipient'}: not an address, and no `to` or alias for it")
    return found


def _with_from(text: bytes, end: int, name: str, address: str) -> bytes:
    if not address:
        raise Failed(EX_CONFIG, "no From address: put one into the message, or `from` into the configuration")
    from echomox.message.address import Mailbox, format_mailbox

    local, _, domain = address.rpartition("@")
    clean = re.sub(r"[\x00-\x1f\x7f]", " ", name)
    line = f"From: {format_mailbox(Mailbox(clean, local, domain))}\r\n".encode()
    kept = b""
    place = 0
    for one in split_fields(text, 0, end):
        if one.name.lower() == "from":
            kept += text[place : one.start]
            place = one.end
    return line + kept + text[place:]


def submit(mail: Mail, options: Options, settings: Settings) -> dict[str, tuple[int, bytes]]:
    """Sends it; the recipients that were refused. Raises smtplib.SMTPException, OSError, Failed."""
    context = None
    if settings.tls != "none":
        context = ssl.create_default_context(cafile=settings.ca_file or None)
    with _connect(settings, context) as client:
        if options.verbose:
            client.set_debuglevel(1)
        client.ehlo_or_helo_if_needed()
        if settings.tls == "starttls":
            client.starttls(context=context)
            client.ehlo()
        if settings.user:
            client.login(settings.user, settings.password)
        return client.sendmail(
            mail.sender,
            list(mail.recipients),
            mail.text,
            _mail_options(mail, options, client),
            _rcpt_options(options, client),
        )


def _connect(settings: Settings, context: ssl.SSLContext | None) -> smtplib.SMTP:
    if settings.tls == "tls":
        return smtplib.SMTP_SSL(settings.host, settings.port, timeout=settings.timeout, context=context)
    return smtplib.SMTP(settings.host, settings.port, timeout=settings.timeout)


def _mail_options(mail: Mail, options: Options, client: smtplib.SMTP) -> list[str]:
    found = []
    if not mail.text.isascii() and client.has_extn("8bitmime"):
        found.append("BODY=8BITMIME")
    if not all(address.isascii() for address in (mail.sender, *mail.recipients)):
        if not client.has_extn("smtputf8"):
            raise Failed(EX_UNAVAILABLE, "the server takes no addresses beyond ASCII")
        client.command_encoding = "utf-8"
        found.append("SMTPUTF8")
    if client.has_extn("dsn"):
        found += [f"RET={options.ret}"] if options.ret else []
        found += [f"ENVID={options.envid}"] if options.envid else []
    return found


def _rcpt_options(options: Options, client: smtplib.SMTP) -> list[str]:
    return [f"NOTIFY={options.notify}"] if options.notify and client.has_extn("dsn") else []


def failure(error: Exception) -> Failed:
    """What went wrong, for people and for the caller."""
    if isinstance(error, Failed):
        return error
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        temporary = all(code < 500 for code, _ in error.recipients.values())
        return Failed(EX_TEMPFAIL if temporary else EX_NOUSER, _refusals(error.recipients))
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return Failed(EX_TEMPFAIL if error.smtp_code < 500 else EX_NOPERM, f"login refused: {_said(error)}")
    if isinstance(error, smtplib.SMTPResponseException):
        return Failed(EX_TEMPFAIL if error.smtp_code < 500 else EX_UNAVAILABLE, f"refused: {_said(error)}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failed(EX_CONFIG, f"the server's certificate cannot be trusted: {error.verify_message}")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Failed(EX_UNAVAILABLE, str(error))
    if isinstance(error, smtplib.SMTPException | OSError):
        return Failed(EX_TEMPFAIL, f"no connection, or it was lost: {error}")
    return Failed(EX_SOFTWARE, f"{type(error).__name__}: {error}")


def _said(error: smtplib.SMTPResponseException) -> str:
    text = error.smtp_error
    return f"{error.smtp_code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}"


def _refusals(refused: dict[str, tuple[int, bytes]]) -> str:
    return "; ".join(
        f"{address}: {code} {text.decode('utf-8', 'replace')}" for address, (code, text) in list(refused.items())[:20]
    )


def keep(text: bytes) -> str:
    """Adds a message that could not be sent to ~/dead.letter, as a mailbox file; its path. Raises OSError."""
    path = os.path.expanduser("~/dead.letter")
    plain = re.sub(rb"(?m)^(>*From )", rb">\1", text.replace(b"\r\n", b"\n"))
    when = time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime()).encode()
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(b"From echomox-sendmail " + when + b"\n" + plain.removesuffix(b"\n") + b"\n\n")
        file.flush()
        os.fsync(file.fileno())
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """The whole program."""
    text = b""
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--help"]:
        print(f"usage: echomox sendmail [options] [recipient ...]\n\n{__doc__}", end="")
        return EX_OK
    try:
        options = parse_options(words)
        text = read_message(sys.stdin.buffer, options.dots)
        settings = load_settings(options.config)
        refused = submit(prepare(text, options, settings), options, settings)
        if refused:  # the others have it
            raise Failed(EX_NOUSER, f"sent, but not to {_refusals(refused)}")
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _failed(failure(error), text)
    return EX_OK


def _failed(trouble: Failed, text: bytes) -> int:
    print(f"echomox-sendmail: {trouble}", file=sys.stderr)
    if text:
        try:
            print(f"echomox-sendmail: the message is in {keep(text)}", file=sys.stderr)
        except OSError as error:
            print(f"echomox-sendmail: and it could not be kept: {error}", file=sys.stderr)
            return EX_CANTCREAT if trouble.code == EX_SOFTWARE else trouble.code
    return trouble.code


if __name__ == "__main__":
    sys.exit(main())
