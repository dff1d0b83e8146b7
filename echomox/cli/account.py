"""`echomox account`: who has mail here. A password that is not given is made up, and shown once."""

from __future__ import annotations

import argparse
import hashlib
import json
import ssl
from typing import Any

from cryptography.x509 import load_der_x509_certificate

from echomox.cli.console import (
    CommandError,
    Commands,
    add_password_options,
    ask,
    confirm,
    pairs,
    read_password,
    show,
    table,
)
from echomox.cli.settings import parse_settings
from echomox.config.schema import Account

REPAIRS = {
    "reparse": ("messages are told otherwise now", "take all messages apart anew, as after an update of the parser"),
    "reassignthreads": ("messages sorted in", "make anew what messages are sorted and threaded by"),
    "fixmsgsize": ("messages had another size", "set the sizes of messages as their files have them"),
}
SETTINGS = "as quota=5G full_name='Ann Lee' junk_filter.mode=junk-only; `echomox config describe dynamic` tells of each"


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    commands.add("list", run_list, "list all accounts")
    commands.add("show", run_show, "show one account").add_argument("name")
    add = commands.add("add", run_add, "add an account")
    add.add_argument("name", help="1 to 64 of a-z 0-9 . _ -")
    add.add_argument("address", nargs="+", help="its addresses; @DOMAIN gets all else of a domain")
    add.add_argument("--set", nargs="+", default=[], metavar="OPTION=VALUE", help=SETTINGS)
    add_password_options(add)
    remove = commands.add("remove", run_remove, "remove an account with its mail")
    remove.add_argument("name")
    remove.add_argument("--keep-mail", action="store_true", help="leave its mail on disk")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    change = commands.add("set", run_set, "change options of an account")
    change.add_argument("name")
    change.add_argument("option", nargs="+", metavar="OPTION=VALUE", help=SETTINGS)
    password = commands.add("set-password", run_password, "give an account another password")
    password.add_argument("name")
    add_password_options(password)
    certificate = commands.add(
        "client-cert", run_certificate, "TLS client certificates that log in to an account without a password"
    )
    certificate.add_argument("action", choices=("list", "add", "remove"))
    certificate.add_argument("name", help="of the account")
    certificate.add_argument("certificate", nargs="?", help="PEM or DER file, or SHA-256 fingerprint")
    for name, (_, what) in REPAIRS.items():
        repair = commands.add(name, run_repair, what)
        repair.set_defaults(task=name)
        repair.add_argument("name")
    commands.add("enable", run_enable, "allow logins again").add_argument("name")
    commands.add("disable", run_disable, "refuse logins; mail still arrives").add_argument("name")


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "account.list")
    heads = ("account", "addresses", "mode", "disabled", "admin", "quota")
    entries = [
        (item["name"], item["addresses"], item["mode"], item["disabled"], item["admin"], item["quota"])
        for item in answer["accounts"]
    ]
    left = [f"mail without an account: {name}" for name in answer["mail_without_account"]]
    return show(args, answer, [*table(heads, entries, "no accounts yet; `echomox account add` makes one"), *left])


def run_show(args: argparse.Namespace) -> int:
    answer = ask(args, "account.show", name=args.name)
    return show(args, answer, pairs(answer))


def run_add(args: argparse.Namespace) -> int:
    settings = parse_settings(Account, args.set)
    password = read_password(args)
    answer = ask(
        args,
        "account.add",
        name=args.name,
        addresses=args.address,
        settings=settings or None,
        password=password,
    )
    text = [f"account {args.name} has {', '.join(args.address)}"]
    if answer["kept_mail"]:
        text.append("it has the mail that an earlier account of this name left")
    return show(args, answer, text + _password_line(answer))


def _password_line(answer: dict[str, Any]) -> list[str]:
    return [f"password  {answer['password']}  (not shown again)"] if "password" in answer else []


def run_remove(args: argparse.Namespace) -> int:
    if not args.keep_mail:
        confirm(args, f"Account {args.name} and all its mail will be gone.")
    answer = ask(args, "account.remove", name=args.name, keep_mail=args.keep_mail)
    gone = "with its mail" if answer["mail_removed"] else "without its mail"
    return show(args, answer, [f"account {args.name} removed, {gone}"])


def run_set(args: argparse.Namespace) -> int:
    return _set(args, parse_settings(Account, args.option))


def run_enable(args: argparse.Namespace) -> int:
    return _set(args, {"disabled": False})


def run_disable(args: argparse.Namespace) -> int:
    return _set(args, {"disabled": True})


def _set(args: argparse.Namespace, settings: dict[str, Any]) -> int:
    answer = ask(args, "account.set", name=args.name, settings=settings)
    changed = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items()]
    return show(args, answer, [f"account {args.name}: {line}" for line in changed])


def run_certificate(args: argparse.Namespace) -> int:
    found = list(ask(args, "account.show", name=args.name)["Settings"]["client_certificates"])
    if args.action != "list":
        if args.certificate is None:
            raise CommandError("a certificate's file or fingerprint is needed", 2)
        one = fingerprint(args.certificate)
        if (one in found) is (args.action == "add"):
            state = "it already" if one in found else "no such certificate"
            raise CommandError(f"account {args.name} has {state}: {one}")
        found = [*found, one] if args.action == "add" else [kept for kept in found if kept != one]
        ask(args, "account.set", name=args.name, settings={"client_certificates": found})
    return show(args, {"name": args.name, "client_certificates": found}, found or ["no certificates"])


def fingerprint(text: str) -> str:
    """SHA-256 of a certificate, 64 hexadecimal digits: of a file, or as openssl prints it. Raises CommandError."""
    plain = text.replace(":", "").lower()
    if len(plain) == 64 and not set(plain) - set("0123456789abcdef"):
        return plain
    try:
        with open(text, "rb") as file:
            data = file.read(1 << 20)
        if b"-----BEGIN CERTIFICATE-----" in data:
            start = data.index(b"-----BEGIN CERTIFICATE-----")
            end = data.index(b"-----END CERTIFICATE-----", start) + len(b"-----END CERTIFICATE-----")
            data = ssl.PEM_cert_to_DER_cert(data[start:end].decode("ascii"))
        load_der_x509_certificate(data)
    except (OSError, ValueError) as error:
        raise CommandError(f"{text}: neither a certificate nor a fingerprint ({error})") from None
    return hashlib.sha256(data).hexdigest()


def run_password(args: argparse.Namespace) -> int:
    answer = ask(args, "account.set-password", name=args.name, password=read_password(args))
    return show(args, answer, [f"account {args.name} has a new password", *_password_line(answer)])


def run_repair(args: argparse.Namespace) -> int:
    answer = ask(args, f"account.{args.task}", account=args.name)
    return show(args, answer, [f"{answer['changed']} {REPAIRS[args.task][0]}"])
