"""What memory is spent on (T30): the server that nobody talks to, an account whose mail is open, what IMAP keeps of it
when it is read, and a connection; with 1, 10 and 100 accounts. Shared pages count once (PSS)."""

from __future__ import annotations

import imaplib
import time
from collections.abc import Callable
from typing import Any

from tests.bench import measure
from tests.corpus import sample

SIZES = (1, 10, 100)
MESSAGES = 50
CONNECTIONS = 200


def settled(pid: int) -> float:
    """MiB, when it has stopped growing."""
    last = measure.pss_mib(pid)
    for _ in range(10):
        time.sleep(1.0)
        now = measure.pss_mib(pid)
        if abs(now - last) < 0.2:
            return now
        last = now
    return last


def connect(server: Any, number: int) -> imaplib.IMAP4:
    account = server.facts["accounts"][number]
    client = imaplib.IMAP4("127.0.0.1", server.facts["ports"]["imap"])
    client.login(account["address"], account["password"])
    return client


def selected(server: Any, accounts: int) -> list[imaplib.IMAP4]:
    """CONNECTIONS, with INBOX selected."""
    found = [connect(server, number % accounts) for number in range(CONNECTIONS)]
    for client in found:
        client.select("INBOX")
    return found


def measure_one(make: Callable[..., Any], accounts: int) -> dict[str, Any]:
    """MiB, and KiB for a connection."""
    server = make(accounts, ("--mode", "junk-only"))
    try:
        time.sleep(3)
        pid = server.process.pid
        base = settled(pid)
        clients = [connect(server, number) for number in range(accounts)]
        for client in clients:
            for serial in range(MESSAGES):
                client.append("INBOX", "", "", sample.ham(serial))
        opened = settled(pid)
        for client in clients:
            client.select("INBOX")
            client.fetch("1:*", "(FLAGS ENVELOPE BODYSTRUCTURE)")
            client.search(None, "TEXT", '"nowhere to be found"')
        read = settled(pid)
        clients += selected(server, accounts)  # now every worker has every account open
        warm = settled(pid)
        clients += selected(server, accounts)
        connected = settled(pid)
        for client in clients:
            client.shutdown()
    finally:
        server.stop()
    return {
        "row": f"memory, {accounts} accounts",
        "base_mib": round(base, 1),
        "account_mib": round((opened - base) / accounts, 2),
        "cache_mib": round((read - opened) / accounts, 2),
        "connection_kib": round(1024 * (connected - warm) / CONNECTIONS, 1),
    }


def run(make: Callable[..., Any], words: list[str]) -> list[dict[str, Any]]:
    """make: a server, given the number of accounts and options of quickstart."""
    if words and not any(word in "memory, accounts" for word in words):
        return []
    results = []
    for accounts in SIZES:
        one = measure_one(make, accounts)
        results.append(one)
        notes = f"account {one['account_mib']} MiB, its cache {one['cache_mib']} MiB"
        notes += f", a connection {one['connection_kib']} KiB"
        print(f"{one['row']:<48}{one['base_mib']:>9.1f} MiB PSS idle; {notes}", flush=True)
    return results
