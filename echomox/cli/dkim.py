"""`echomox dkim` and `echomox arc`: signatures by hand, with what each check found.

They read a message from a file, or from standard input for "-". Only `sign` without --key needs a configuration; no
server needs to run. Exit code 1: a signature that does not hold, or none at all.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from echomox.cli.console import CommandError, Commands, find, show
from echomox.cli.mailfile import read_mail, resolver_option, with_resolver

if TYPE_CHECKING:
    from echomox.mailauth.dkimkeys import SigningKey

FAILED = 1


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    if parser.get_default("family") == "arc":
        _file(resolver_option(commands.add("verify", run_arc, "verify the ARC chain of a message")))
        return
    verify = resolver_option(commands.add("verify", run_verify, "verify the DKIM signatures of a message"))
    _file(verify)
    verify.add_argument("--at", type=float, metavar="SECONDS", help="as if it were this Unix time, for x= and t=")
    sign = commands.add("sign", run_sign, "print a message with the signatures of its From domain")
    _file(sign)
    sign.add_argument("--fields", action="store_true", help="print the new fields only")
    sign.add_argument("--key", metavar="PEM", help="sign with this key file, not by the configuration")
    sign.add_argument("--selector", metavar="NAME", help="of --key")
    sign.add_argument("--domain", metavar="DOMAIN", help="of --key; default: that of From")
    lookup = resolver_option(commands.add("lookup", run_lookup, "look a published key up"))
    lookup.add_argument("selector", metavar="SELECTOR")
    lookup.add_argument("domain", metavar="DOMAIN")
    genkey = commands.add("genkey", run_genkey, "make a private key in a new file, and print its DNS record")
    genkey.add_argument("algorithm", choices=("ed25519", "rsa"), help="rsa: 2048 bits")
    genkey.add_argument("file", metavar="FILE")
    record = commands.add("record", run_record, "print the DNS record of a private key")
    record.add_argument("file", metavar="FILE")


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help='the message; "-" is standard input')


def run_verify(args: argparse.Namespace) -> int:
    from echomox.mailauth.dkim import verify_dkim

    mail = read_mail(args.file)
    now = time.time() if args.at is None else args.at
    found = with_resolver(args, lambda resolver: verify_dkim(resolver, mail, now=now))
    lines = [
        f"{each.result}: {each.algorithm or 'no algorithm'} by {each.identity or 'nobody'}, "
        f"key {each.selector}._domainkey.{each.domain}"
        + (f": {each.reason}" if each.reason else "")
        + (", the key is a test" if each.testing else "")
        + (", the key came by DNSSEC" if each.secure else "")
        for each in found
    ]
    show(args, {"signatures": [asdict(each) for each in found]}, lines or ["none: there is no signature"])
    return 0 if any(each.result == "pass" for each in found) else FAILED


def run_arc(args: argparse.Namespace) -> int:
    from echomox.mailauth.arc import verify_arc

    mail = read_mail(args.file)
    found = with_resolver(args, lambda resolver: verify_arc(resolver, mail))
    lines = [found.result + (f": {found.reason}" if found.reason else "")]
    for each in found.sets:
        results = " ".join(f"{method}={result}" for method, result in each.results)
        lines.append(f"{each.instance}: sealed by {each.domain}, cv={each.cv}; had found {results or 'nothing'}")
    show(args, asdict(found), lines)
    return 0 if found.result == "pass" else FAILED


def run_sign(args: argparse.Namespace) -> int:
    from echomox.delivery.authcheck import from_domains
    from echomox.mailauth.dkim import sign

    mail = read_mail(args.file)
    authors = from_domains(mail.header)
    if not authors:
        raise CommandError("the message has no From address; such a message cannot be signed")
    keys = _given_key(args, authors[0]) if args.key else _configured_keys(args, authors[0])
    fields = sign(mail, keys, time.time())
    if args.json:
        return show(args, {"fields": fields.decode(), "domain": keys[0].domain}, ())
    out = sys.stdout.buffer
    out.write(fields)
    if not args.fields:
        # What was signed has CRLF, however the file ends its lines.
        rest = b""
        for piece in chain([mail.header], mail.body()):
            data = rest + piece
            rest = data[-1:] if data.endswith(b"\r") else b""
            out.write(data[: len(data) - len(rest)].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        out.write(rest)
    out.flush()
    return 0


def _given_key(args: argparse.Namespace, author: str) -> list[SigningKey]:
    from echomox.mailauth.dkimkeys import SigningKey
    from echomox.mailauth.rsa import BadKey, private_key

    if not args.selector:
        raise CommandError("--key needs --selector")
    try:
        key = private_key(Path(args.key).read_bytes())
    except BadKey as error:
        raise CommandError(f"{args.key}: {error}") from None
    return [SigningKey((args.domain or author).lower(), args.selector.lower(), key)]


def _configured_keys(args: argparse.Namespace, author: str) -> list[SigningKey]:
    from echomox.config.load import load_all
    from echomox.mailauth.dkimkeys import load_keys
    from echomox.mailauth.rsa import BadKey

    _, dynamic = load_all(find(args))
    domain = dynamic.domains.get(author)
    if domain is None:
        raise CommandError(f"{author}, the domain of From, is not configured here")
    try:
        keys = load_keys(author, domain.dkim)
    except BadKey as error:
        raise CommandError(f"a key of {author}: {error}") from None
    if not keys:
        raise CommandError(f"{author} has no key to sign with")
    return list(keys)


def run_lookup(args: argparse.Namespace) -> int:
    from echomox.mailauth.dkimkeys import fetch_key

    found = with_resolver(args, lambda resolver: fetch_key(resolver, args.selector, args.domain))
    result, reason = found.trouble
    data = {
        "name": f"{args.selector}._domainkey.{args.domain}", "record": found.text.decode("utf-8", "replace"),
        "algorithm": found.algorithm, "bits": found.bits, "testing": found.testing, "strict": found.strict,
        "secure": found.secure, "trouble": reason,
    }  # fmt: skip
    lines = [f"{data['name']}: {data['record'] or 'no record'}"]
    if reason:
        lines.append(f"{result}: {reason}")
    else:
        flags = [word for word, is_so in (("a test", found.testing), ("i= at d= only", found.strict)) if is_so]
        lines.append(f"usable: {found.algorithm}, {found.bits} bits" + "".join(f", {word}" for word in flags))
    show(args, data, lines)
    return FAILED if reason else 0


def run_genkey(args: argparse.Namespace) -> int:
    from echomox.config.keys import new_dkim_key

    pem = new_dkim_key(args.algorithm)
    try:
        descriptor = os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise CommandError(f"{args.file}: there is such a file already") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    return run_record(args)


def run_record(args: argparse.Namespace) -> int:
    from echomox.config.dnsrecords import quoted
    from echomox.config.keys import dkim_public

    try:
        algorithm, public = dkim_public(Path(args.file).read_bytes())
    except (ValueError, TypeError) as error:
        raise CommandError(f"{args.file}: {error}") from None
    value = f"v=DKIM1; h=sha256; k={algorithm}; p={public}"
    return show(args, {"file": args.file, "algorithm": algorithm, "record": value}, [f"TXT {quoted(value)}"])
