"""The whole way with real mail: a corpus delivered over SMTP, classified, stored, and read back by mbsync and imaplib.

The corpus is optional: `shared/corpora/spamassassin.tar.xz` beside the checkout, or the file that $ECHOMOX_CORPUS
names; with `index.tsv` (label, path, time) and LF line ends, as the SpamAssassin project published it. Nothing is sent
anywhere but to loopback.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.interop import whole_way

DEFAULT = Path(__file__).parents[3] / "shared" / "corpora" / "spamassassin.tar.xz"


def find() -> Path | None:
    path = Path(os.environ.get("ECHOMOX_CORPUS", DEFAULT))
    return path if path.exists() else None


def mails(archive: Path) -> Iterator[tuple[str, bytes]]:
    """(name, message with CRLF line ends) in the archive's order; a bare CR inside a line is kept."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.endswith(".eml") and (file := tar.extractfile(member)):
                data = file.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
                yield member.name, data if data.endswith(b"\r\n") else data + b"\r\n"


def run(make_server: Callable[..., Any]) -> None:
    archive = find()
    if archive is None:
        print("corpus: not here, left out (see tests/bench/corpus.py)")
        return
    server = make_server(1, ("--mode", "junk-only"))
    try:
        report(server, archive)
    finally:
        server.stop()


def report(server: Any, archive: Path) -> None:
    account, ports = server.facts["accounts"][0], server.facts["ports"]
    start = time.perf_counter()
    done = whole_way.deliver(ports["smtp"], account["address"], mails(archive))
    seconds = time.perf_counter() - start
    total = sum(done.digests.values())
    rate = f"{total / seconds:.0f}/s, one smtplib client"
    print(f"corpus: {total} accepted and {len(done.refused)} refused in {seconds:.1f} s ({rate})")
    for name, code, text in done.refused:
        print(f"    refused {name}: {code} {text}")
    start = time.perf_counter()
    inbox = [data for _, data in whole_way.read_imap(ports["imap"], account["address"], account["password"], "INBOX")]
    junk = [data for _, data in whole_way.read_imap(ports["imap"], account["address"], account["password"], "Junk")]
    lost, strange = whole_way.missing(done.digests, inbox + junk)
    found = f"{len(inbox)} in INBOX, {len(junk)} in Junk, {sum(lost.values())} differ, {strange} unknown"
    print(f"    imaplib: {found}; {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        whole_way.mbsync(Path(scratch), ports["imap"], account["address"], account["password"])
        lost, strange = whole_way.missing(done.digests, whole_way.read_maildir(Path(scratch)))
    print(f"    mbsync: {sum(lost.values())} differ, {strange} unknown; {time.perf_counter() - start:.1f} s")
