"""Postfix as an instance of its own: in a temporary directory, on a free port of loopback, as MX host and as relay.

    with Postfix("relayhost = [127.0.0.1]:40025") as postfix:
        postfix.port, postfix.log, postfix.mail("b")       # messages of b@there.example

It takes root to start it: its parts run as the user postfix. It is stopped by its own pid file.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import pytest
import trustme

from tests.interop.tools import need
from tests.process.harness import free_port

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
myhostname = {name}
mydestination =
virtual_mailbox_domains = there.example
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = inline:{{ {{ b@there.example = b/ }}, {{ c@there.example = c/ }} }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_tls_cert_file = {root}/conf/cert.pem
smtpd_tls_key_file = {root}/conf/key.pem
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
message_size_limit = 2000000
smtputf8_enable = yes
in_flow_delay = 0
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
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
smtp unix - - n - - smtp
relay unix - - n - - smtp
chatty unix - - n - - smtp -v
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def _main(text: str, more: str) -> str:
    """Lines of `more` take the place of those of the same name."""
    names = {line.partition("=")[0].strip() for line in more.splitlines()}
    kept = [line for line in text.splitlines() if line.partition("=")[0].strip() not in names]
    return "\n".join(kept) + more + "\n"


class Postfix:
    """more: further lines of main.cf, which count instead of those here. name: of the host, and in its certificate,
    which is by `ca`."""

    def __init__(self, more: str = "", *, name: str = "mx.there.example", ca: trustme.CA | None = None) -> None:
        need("postfix")
        if os.geteuid():
            pytest.skip("Postfix starts as root only")
        self.port = free_port()
        self.root = Path(tempfile.mkdtemp(prefix="echomox-postfix-"))  # pytest's own is closed to the user postfix
        self.root.chmod(0o755)
        owner = pwd.getpwnam("postfix")
        for part in ("conf", "spool", "data", "mail"):
            (self.root / part).mkdir()
        for part in ("data", "mail"):
            shutil.chown(self.root / part, owner.pw_uid, owner.pw_gid)
        daemons = subprocess.run(["postconf", "-dh", "daemon_directory"], capture_output=True, text=True, check=True)
        facts = {"root": self.root, "daemons": daemons.stdout.strip(), "name": name}
        facts |= {"uid": owner.pw_uid, "gid": owner.pw_gid}
        conf = self.root / "conf"
        (conf / "main.cf").write_text(_main(MAIN.format(**facts), more))
        (conf / "master.cf").write_text(MASTER.format(port=self.port))
        certificate = (ca or trustme.CA()).issue_cert(name)
        certificate.private_key_pem.write_to_path(str(conf / "key.pem"))
        (conf / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))

    def __enter__(self) -> Postfix:
        started = self.say("start")
        try:
            assert started.returncode == 0, (started.stdout + started.stderr).decode()
            end = time.monotonic() + 120
            while not self._answers():
                assert time.monotonic() < end, self.log
                time.sleep(0.05)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.say("stop")
        shutil.rmtree(self.root, ignore_errors=True)

    def _answers(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def say(self, verb: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["postfix", "-c", str(self.root / "conf"), verb], capture_output=True, timeout=60, check=False
        )

    @property
    def log(self) -> str:
        file = self.root / "postfix.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def mail(self, user: str) -> list[bytes]:
        """The messages of a user at there.example."""
        return [path.read_bytes() for path in (self.root / "mail" / user / "new").glob("*")]

    def queued(self) -> int:
        """Messages in its own queue."""
        found = 0
        for name in ("maildrop", "incoming", "active", "deferred"):
            found += sum(1 for path in (self.root / "spool" / name).rglob("*") if path.is_file())
        return found
