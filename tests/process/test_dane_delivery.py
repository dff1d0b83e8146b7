"""A mail by submission, through the queue, to an MX host with DANE: whole processes, DNS and the host on loopback."""

import asyncio
import contextlib
import smtplib
import sqlite3
import ssl
import threading

from echomox.tlspolicy.dane import describe, make_record
from tests.process.dnsserver import DnsServer
from tests.process.harness import Server, wait_until
from tests.unit.outbound.mx import Mx, server_context
from tests.unit.outbound.test_tls import leaf_of

NUMBER = 20


@contextlib.contextmanager
def running(mx):
    """A host in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(mx.__aenter__(), loop).result(60)
    try:
        yield mx
    finally:
        asyncio.run_coroutine_threadsafe(mx.__aexit__(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)


def submit(server, number):
    account = server.accounts[0]
    unverified = ssl._create_unverified_context()
    with smtplib.SMTP("127.0.0.1", server.ports["submission"]) as client:
        client.starttls(context=unverified)
        client.login(account["address"], account["password"])
        for n in range(number):
            text = f"From: {account['address']}\r\nTo: b@there.example\r\nSubject: {n}\r\n\r\nhello\r\n"
            client.sendmail(account["address"], ["b@there.example"], text)


def test_mail_goes_out_with_dane_and_waits_while_the_record_is_wrong(tmp_path):
    context = server_context("mx.there.example")
    right = describe(make_record(leaf_of(context)))
    with running(Mx(tls=context)) as mx, DnsServer(secure=True) as dns:
        dns.add("there.example. MX 10 mx.there.example.\nmx.there.example. A 127.0.0.1")
        record = f"_{mx.port}._tcp.mx.there.example"
        dns.put(record, "TLSA", right, ttl=0)
        server = Server.demo(tmp_path)
        static = tmp_path / "config" / "echomox.toml"
        text = static.read_text().replace('resolver = "none"', f'resolver = "{dns.address}"')
        static.write_text(f"{text}\n[outbound]\nport = {mx.port}\nidle_time = 5.0\n")
        with server:
            submit(server, NUMBER)
            wait_until(lambda: len(mx.mail) >= NUMBER, what="all mail arrived")
            assert mx.secured == mx.connections < NUMBER
            wait_until(lambda: server.log.count("policy=dane") >= NUMBER, what="all is in the log")
            dns.put(record, "TLSA", "3 1 1 " + "00" * 32, ttl=0)
            wait_until(lambda: mx.verbs.count("QUIT") == mx.connections, what="kept connections ended")
            submit(server, 1)
            wait_until(lambda: "outcome=retry" in server.log, what="the wrong record was found")
            assert len(mx.mail) == NUMBER
        with contextlib.closing(sqlite3.connect(tmp_path / "data/tlspolicy/index.db")) as database:
            rows = database.execute("SELECT domain, policy, failure, count FROM result ORDER BY failure").fetchall()
    assert rows[0][:3] == ("mx.there.example", "tlsa", "")
    assert rows[0][3] < NUMBER
    assert rows[1] == ("mx.there.example", "tlsa", "validation-failure", 1)
