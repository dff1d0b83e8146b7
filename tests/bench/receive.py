"""Signed mail from outside, with everything that DNS says of it: run as a process of its own.

    python -m tests.bench.receive '{"smtp": 40025, "imap": 40143, "password": "…", "accounts": 4, "seconds": 6}'

Half of the mails are signed with RSA of 2048 bits, half with Ed25519; all pass SPF, DKIM and DMARC with p=reject, and
the addresses that they come from have names. `zone` makes the records for a name server, with keys of `keys`, which go
into the JSON too, as "keys". Prints one JSON object.
"""

from __future__ import annotations

import ipaddress
import json
import random
import sys
import time
from typing import Any

import uvloop

from echomox.config.keys import dkim_public, new_dkim_key
from echomox.mailauth.dkim import sign
from echomox.mailauth.dkimkeys import SigningKey
from echomox.mailauth.rsa import private_key
from tests.bench.load import Settings, Smtp, bodies, inbox_total, mail, repeat

DOMAINS = 50
CLIENTS = 100
PREPARED = 3000
KINDS = ("rsa", "ed25519")

Keys = dict[str, str]


def keys() -> Keys:
    """PEM by kind."""
    return {kind: new_dkim_key(kind).decode() for kind in KINDS}


def clients() -> list[str]:
    rng = random.Random(4)
    return [f"127.{rng.randrange(1, 255)}.{rng.randrange(256)}.{rng.randrange(1, 255)}" for _ in range(CLIENTS)]


def zone(keys: Keys) -> dict[tuple[str, str], str]:
    """Values in zone file form by name and type."""
    found = {}
    for number in range(DOMAINS):
        domain = f"s{number}.example"
        found[domain, "TXT"] = '"v=spf1 ip4:127.0.0.0/8 -all"'
        found[f"_dmarc.{domain}", "TXT"] = '"v=DMARC1; p=reject"'
        for kind in KINDS:
            algorithm, public = dkim_public(keys[kind].encode())
            text = f"v=DKIM1; k={algorithm}; p={public}"
            pieces = (text[at : at + 200] for at in range(0, len(text), 200))
            found[f"{kind}._domainkey.{domain}", "TXT"] = " ".join(f'"{piece}"' for piece in pieces)
    for number, address in enumerate(clients()):
        found[ipaddress.ip_address(address).reverse_pointer, "PTR"] = f"mx{number}.example."
        found[f"mx{number}.example", "A"] = address
    return found


def prepared(settings: Settings, keys: Keys) -> list[tuple[str, str, bytes]]:
    """(sender, recipient, text)"""
    pool, made, now = bodies(settings.size), [], time.time()
    private = {kind: private_key(keys[kind].encode()) for kind in KINDS}
    for serial in range(PREPARED):
        domain, kind = f"s{serial % DOMAINS}.example", KINDS[serial % 2]
        sender, recipient = f"load@{domain}", f"u{serial % settings.accounts}@{settings.domain}"
        text = mail(pool[serial % 64], sender, recipient, serial)
        made.append((sender, recipient, sign(text, [SigningKey(domain, kind, private[kind])], now) + text))
    return made


async def deliver(settings: Settings, keys: Keys) -> dict[str, Any]:
    mails, addresses, before = prepared(settings, keys), clients(), await inbox_total(settings)

    async def once(worker: int, turn: int) -> int:
        smtp = await Smtp.open(settings.smtp, random.choice(addresses))
        await smtp.say(b"EHLO load.example\r\n")
        for n in range(settings.per_connection):
            serial = (worker + turn * settings.concurrency) * settings.per_connection + n
            await smtp.mail(*mails[serial % PREPARED])
        await smtp.say(b"QUIT\r\n")
        smtp.close()
        return settings.per_connection

    result = (await repeat(settings, once)).result()
    return {**result, "visible": await inbox_total(settings) - before}


def main() -> None:
    given = json.loads(sys.argv[1])
    keys = given.pop("keys")
    print(json.dumps(uvloop.run(deliver(Settings(**given), keys))))


if __name__ == "__main__":
    main()
