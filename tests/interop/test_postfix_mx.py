"""Delivery to Postfix as the receiving MX: TLS, pipelining, one connection for many messages, DSN, what it refuses.

Postfix runs as an instance of its own in a temporary directory, on loopback; that takes root.
"""

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import uvloop

from echomox.dns.fake import FakeResolver
from tests.interop.tools import need
from tests.unit.delivery.mx import FixedPolicies, authority, delivery, job, policy, recipients, zone

MAIN = """
compatibility_level = 3.6
queue_directory = {root}/spool
data_directory = {root}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example
mydestination =
mynetworks =
virtual_mailbox_domains = there.example
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = inline:{{ {{ b@there.example = b/ }}, {{ c@there.example = c/ }} }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_cert_file = {root}/conf/cert.pem
smtpd_tls_key_file = {root}/conf/key.pem
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
message_size_limit = 2000000
virtual_mailbox_limit = 0
smtpd_client_connection_rate_limit = 0
smtputf8_enable = yes
maillog_file = {root}/postfix.log
maillog_file_prefixes = {root}
alias_maps =
alias_database =
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def say(conf, verb):
    return subprocess.run(["postfix", "-c", str(conf), verb], capture_output=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def postfix():
    """(port, directory of its mail)"""
    need("postfix")
    if os.geteuid():
        pytest.skip("Postfix starts as root only")
    root = Path(tempfile.mkdtemp(prefix="echomox-postfix-"))  # pytest's own directory is closed to the user postfix
    root.chmod(0o755)
    owner = pwd.getpwnam("postfix")
    for name in ("conf", "spool", "data", "mail"):
        (root / name).mkdir()
    for name in ("data", "mail"):
        shutil.chown(root / name, owner.pw_uid, owner.pw_gid)
    port = free_port()
    daemons = subprocess.run(["postconf", "-dh", "daemon_directory"], capture_output=True, text=True, check=True)
    facts = {"root": root, "daemons": daemons.stdout.strip(), "uid": owner.pw_uid, "gid": owner.pw_gid, "port": port}
    (root / "conf/main.cf").write_text(MAIN.format(**facts))
    (root / "conf/master.cf").write_text(MASTER.format(**facts))
    certificate = authority().issue_cert("mx.example")
    certificate.private_key_pem.write_to_path(str(root / "conf/key.pem"))
    (root / "conf/cert.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    started = say(root / "conf", "start")
    try:
        assert started.returncode == 0, started.stderr.decode()
        end = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < end, (root / "postfix.log").read_text()
            time.sleep(0.05)
        yield port, root / "mail"
    finally:
        say(root / "conf", "stop")
        shutil.rmtree(root)


def arrived(mail, user, number):
    """Waits for that many messages of a user; their texts."""
    end = time.monotonic() + 20
    while True:
        found = [path.read_bytes() for path in (mail / user / "new").glob("*")]
        if len(found) >= number or time.monotonic() > end:
            return found
        time.sleep(0.05)


def deliver(port, *jobs, policies=None):
    async def run():
        async with delivery(
            port, FakeResolver(zone("mx.example")), policies, idle_time=2, command_timeout=20, end_timeout=20
        ) as remote:
            outcomes = [outcome for one in jobs for outcome in await remote.deliver(one)]
            await asyncio.gather(*remote._tasks)
            return outcomes, remote.counts

    return uvloop.run(run())


def test_a_message_arrives_as_it_was_with_mta_sts_enforced(postfix):
    port, mail = postfix
    body = b"From: a@here.example\r\nSubject: dots\r\n\r\n.\r\n..two\r\n\r\n.end\r\n"
    (outcome,), _ = deliver(port, job(body=body, size=len(body)), policies=FixedPolicies(policy()))
    assert (outcome.kind, outcome.code, outcome.policy, outcome.tls) == ("delivered", 250, "mta-sts", "TLSv1.3")
    (text,) = arrived(mail, "b", 1)
    assert text.endswith(b"\n\n.\n..two\n\n.end\n")
    assert b"using TLSv1.3" in text


def test_many_messages_go_over_one_connection(postfix):
    port, mail = postfix
    before = len(arrived(mail, "c", 0))
    one = job(recipients=recipients("c@there.example"))
    outcomes, counts = deliver(port, *[one] * 50)
    assert {outcome.kind for outcome in outcomes} == {"delivered"}
    assert counts["outbound_connections"] == 1
    assert len(arrived(mail, "c", before + 50)) == before + 50


def test_each_recipient_has_its_own_answer(postfix):
    port, _ = postfix
    who = recipients("b@there.example", "nobody@there.example", "x@elsewhere.example")
    outcomes, counts = deliver(port, job(recipients=who), job(recipients=who[1:]), job())
    assert sorted((o.recipient, o.kind, o.code, o.enhanced) for o in outcomes[:3]) == [
        (1, "delivered", 250, "2.0.0"), (2, "failed", 550, "5.1.1"), (3, "failed", 554, "5.7.1")
    ]  # fmt: skip
    assert {o.kind for o in outcomes[3:5]} == {"failed"}
    assert outcomes[-1].kind == "delivered"
    assert counts["outbound_connections"] <= 2  # RSET may be under way when the third message wants a connection


def test_a_message_too_large_is_refused_before_it_is_sent(postfix):
    port, _ = postfix
    (outcome,), _ = deliver(port, job(size=3_000_000))
    assert (outcome.kind, outcome.enhanced) == ("failed", "5.3.4")


def test_a_stranger_with_its_name_gets_nothing(postfix):
    port, _ = postfix
    policies = FixedPolicies(policy("enforce", "other.example"))
    (outcome,), counts = deliver(port, job(), policies=policies)
    assert (outcome.kind, counts["outbound_connections"]) == ("retry", 0)
