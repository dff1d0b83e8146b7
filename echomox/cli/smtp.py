"""`echomox smtp`: the way of a mail to a domain, step by step: MX, addresses, policies, TLS, greeting.

`dial` goes as far as EHLO with each host; `send` sends one message by the same steps as the queue would, at once and
without a second try.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from contextlib import aclosing
from pathlib import Path

from echomox.cli.console import CommandError, Commands, show
from echomox.cli.outbound import Outside, Steps, domain_name, options, run
from echomox.message.compose import new_message_id
from echomox.message.date import format_date
from echomox.outbound.attempt import Attempt
from echomox.outbound.client import Trouble
from echomox.outbound.hosts import Undeliverable, find_hosts
from echomox.outbound.remote import RemoteDelivery
from echomox.outbound.targets import Missed, Target
from echomox.queue.outcome import Job, JobRecipient


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    dial = commands.add("dial", run_dial, "connect to each MX host of a domain as a delivery would, and tell")
    send = commands.add("send", run_send, "send one message to a domain, now and without the queue")
    for command in (dial, send):
        command.add_argument("domain", metavar="DOMAIN", help="or an address in brackets, as [192.0.2.1]")
        command.add_argument("--require-tls", action="store_true", help="as REQUIRETLS (RFC 8689)")
        options(command)
    send.add_argument("--from", dest="sender", default="", metavar="ADDRESS", help="envelope sender (default: none)")
    send.add_argument("--to", action="append", default=[], metavar="ADDRESS", help="recipient (default: postmaster)")
    send.add_argument("--file", help="the message; - for standard input; a short test message without it")


def run_dial(args: argparse.Namespace) -> int:
    steps = Steps(args)
    good = run(args, lambda found: _dial(found, _job(args, b""), steps))
    show(args, {"ok": good, "steps": steps.lines}, [])
    return 0 if good else 1


async def _dial(found: Outside, job: Job, steps: Steps) -> bool:
    remote = found.remote()
    reached = False
    try:
        await _describe(found, remote, job, steps)
        async with aclosing(remote.directory.targets(job)) as targets:
            async for item in targets:
                if isinstance(item, Missed):
                    steps.say(f"{item.host}: {item.reply}")
                else:
                    reached = await _connect(remote, item, steps) or reached
    except Undeliverable as error:
        steps.say(str(error.reply))
    finally:
        await remote.close()
    return reached


async def _describe(found: Outside, remote: RemoteDelivery, job: Job, steps: Steps) -> None:
    """Hosts and policy. Raises Undeliverable."""
    hosts = await find_hosts(found.resolver, job.domain, remote.directory.own, remote.directory.rng)
    for host in hosts.hosts:
        steps.say(f"{job.domain} {'itself' if host.implicit else f'MX {host.preference} {host.name}'}")
    steps.say(f"DNSSEC of the MX records: {'secure' if hosts.secure else 'not secure, so no DANE'}")
    policy = await found.policies.find(job.domain)
    words = f"{policy.policy.mode}, for {', '.join(policy.policy.mx)}" if policy.policy else "none"
    steps.say(f"MTA-STS policy: {words}{' - ' + policy.error if policy.error else ''}")


async def _connect(remote: RemoteDelivery, target: Target, steps: Steps) -> bool:
    for endpoint in target.ladder:
        where = f"{endpoint.host} [{endpoint.ip}]:{endpoint.port} {endpoint.security.level}"
        try:
            session = await remote.connections.open(endpoint)
        except Trouble as trouble:
            steps.say(f"{where}: {trouble.stage}: {trouble.reply}")
            if not trouble.failure:
                return False
            continue
        steps.say(f"{where}: {session.tls or 'no TLS'}, greeted by {session.helo or '(no name)'}")
        words = session.capabilities.words
        steps.say("  " + (", ".join(" ".join((key, *values)) for key, values in words.items()) or "HELO only"))
        session.quit()
        return True
    return False


def run_send(args: argparse.Namespace) -> int:
    steps = Steps(args)
    job = _job(args, _message(args))

    async def body(found: Outside) -> list[dict[str, object]]:
        remote = found.remote()
        try:
            attempt = Attempt(remote, job)
            outcomes = await attempt.run()
        finally:
            await remote.close()
        for line in attempt.log:
            steps.say(line)
        return [
            {
                "recipient": job.recipients[outcome.recipient - 1].address, "kind": outcome.kind, "code": outcome.code,
                "enhanced": outcome.enhanced, "text": outcome.text, "host": outcome.remote_mta, "tls": outcome.tls,
                "policy": outcome.policy,
            }
            for outcome in outcomes
        ]  # fmt: skip

    found = run(args, body)
    lines = [
        f"{item['recipient']}: {item['kind']}: {item['code']} {item['enhanced']} {item['text']}"
        f" ({item['host'] or 'no host'}, {item['tls'] or 'no TLS'}, policy {item['policy'] or 'none'})"
        for item in found
    ]
    show(args, {"outcomes": found, "steps": steps.lines}, lines)
    return 0 if all(item["kind"] in ("delivered", "relayed") for item in found) else 1


def _job(args: argparse.Namespace, body: bytes) -> Job:
    domain = args.domain if args.domain.startswith("[") else domain_name(args.domain)
    to = getattr(args, "to", []) or [f"postmaster@{domain}"]
    for address in (*to, getattr(args, "sender", "")):
        if any(character in address for character in "\r\n<> "):
            raise CommandError(f"{address!r}: not an address", 2)
    who = tuple(JobRecipient(n, address, "", frozenset({"never"})) for n, address in enumerate(to, 1))
    return Job(
        id="0", domain=domain, sender=getattr(args, "sender", ""), recipients=who, prefix=b"", body=body, file=None,
        size=len(body), eightbit=not body.isascii(), require_tls=True if args.require_tls else None,
    )  # fmt: skip


def _message(args: argparse.Namespace) -> bytes:
    if args.file == "-":
        return sys.stdin.buffer.read()
    if args.file:
        return Path(args.file).read_bytes()
    to = ", ".join(args.to) or f"postmaster@{args.domain}"
    lines = [
        f"From: <{args.sender or 'postmaster@localhost'}>", f"To: {to}", "Subject: Test of delivery",
        f"Date: {format_date(time.time())}", f"Message-ID: {new_message_id('localhost', random.SystemRandom())}", "",
        "This message was sent by `echomox smtp send` to test delivery.", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode("utf-8", "replace")
