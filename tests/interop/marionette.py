"""Thunderbird without a screen, spoken to by its own remote control (Marionette): a real profile, a real IMAP account,
and scripts that run within it with all its rights.

    with Thunderbird(directory, imap_port, user, password) as bird:
        bird.run("return MailServices.accounts.accounts.length")

The protocol: "<length>:[type, id, name, parameters]" over TCP, 0 for a command and 1 for its answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.interop.tap import Tap
from tests.process.harness import free_port

START = 180.0
PREFERENCES = """
user_pref("marionette.port", {marionette});
user_pref("mail.provider.suppress_dialog_on_startup", true);
user_pref("mail.spotlight.firstRunDone", true);
user_pref("mail.winsearch.firstRunDone", true);
user_pref("mail.rights.version", 1);
user_pref("mailnews.start_page.enabled", false);
user_pref("mail.shell.checkDefaultClient", false);
user_pref("app.update.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "http://127.0.0.1:9/");
user_pref("extensions.update.enabled", false);
user_pref("browser.safebrowsing.downloads.enabled", false);
user_pref("mail.accountmanager.accounts", "account1");
user_pref("mail.accountmanager.defaultaccount", "account1");
user_pref("mail.account.account1.server", "server1");
user_pref("mail.account.account1.identities", "id1");
user_pref("mail.identity.id1.useremail", "{user}");
user_pref("mail.identity.id1.fullName", "Interop");
user_pref("mail.server.server1.type", "imap");
user_pref("mail.server.server1.hostname", "127.0.0.1");
user_pref("mail.server.server1.port", {port});
user_pref("mail.server.server1.userName", "{user}");
user_pref("mail.server.server1.name", "em");
user_pref("mail.server.server1.socketType", 0);
user_pref("mail.server.server1.authMethod", 3);
user_pref("mail.server.server1.use_idle", true);
user_pref("mail.server.server1.login_at_startup", false);
user_pref("mail.server.server1.check_new_mail", true);
user_pref("mail.server.server1.directory-rel", "[ProfD]ImapMail/em");
"""
PRELUDE = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.accounts[0].incomingServer;
const folder = path => server.rootFolder.getChildWithURI(server.serverURI + "/" + path, true, false);
const headers = box => [...box.messages];
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
const until = async (what, seconds) => {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(100)) {
    const found = what();
    if (found) return found;
  }
  throw new Error("not within " + seconds + " s: " + what);
};
"""


class Thunderbird:
    """Starts with an empty profile in directory. Leaving the `with` ends the process and all it has started."""

    def __init__(self, program: str, directory: Path, port: int, user: str, password: str) -> None:
        self.program = program
        self.directory = directory
        self.tap = Tap(port)
        self.user = user
        self.password = password
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._number = 0

    def __enter__(self) -> Thunderbird:
        profile = self.directory / "profile"
        profile.mkdir(parents=True)
        self.tap.start()
        marionette = free_port()
        text = PREFERENCES.format(marionette=marionette, port=self.tap.port, user=self.user)
        (profile / "user.js").write_text(text)
        own = {"HOME": str(self.directory), "MOZ_HEADLESS": "1", "MOZ_CRASHREPORTER_DISABLE": "1"}
        environment = {**os.environ, **own}
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self.program, "--headless", "--no-remote", "--marionette", "--remote-allow-system-access",
                 "--profile", str(profile)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True,
            )  # fmt: skip
        try:
            self._connect(marionette)
        except BaseException:
            self.close()
            raise
        return self

    def _connect(self, marionette: int) -> None:
        end = time.monotonic() + START
        while self._socket is None:
            assert self._process and self._process.poll() is None, self.log
            try:
                self._socket = socket.create_connection(("127.0.0.1", marionette), 240)
            except OSError:
                assert time.monotonic() < end, self.log
                time.sleep(0.2)
        self._read()
        self._command("WebDriver:NewSession", {})
        self._command("WebDriver:SetTimeouts", {"script": 180_000})
        self._command("Marionette:SetContext", {"value": "chrome"})
        self.run(
            """
            const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
            login.init("imap://127.0.0.1", null, "imap://127.0.0.1", args[0], args[1], "", "");
            await Services.logins.addLoginAsync(login);
            return true
            """,
            self.user,
            self.password,
        )

    @property
    def log(self) -> str:
        return self.tap.transcript + "\n" + (self.directory / "log").read_text(errors="replace")[-1000:]

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that the script returns; it may await. AssertionError with what it throws."""
        body = (
            "const args = [...arguments]; const done = args.pop();"
            f"(async () => {{ {PRELUDE} {script} }})()"
            ".then(value => done({ value }), error => done({ error: String(error) }));"
        )
        parameters = {"script": body, "args": list(arguments), "newSandbox": True}
        answer = self._command("WebDriver:ExecuteAsyncScript", parameters)
        found = answer["value"]
        assert "error" not in found, (found["error"], self.log)
        return found.get("value")

    def _command(self, name: str, parameters: dict[str, Any]) -> Any:
        assert self._socket
        self._number += 1
        data = json.dumps([0, self._number, name, parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(data), data))
        kind, number, error, value = self._read()
        assert (kind, number) == (1, self._number)
        assert error is None, (name, error, self.log)
        return value

    def _read(self) -> Any:
        assert self._socket
        length = b""
        while not length.endswith(b":"):
            piece = self._socket.recv(1)
            assert piece, self.log
            length += piece
        left, data = int(length[:-1]), b""
        while len(data) < left:
            piece = self._socket.recv(left - len(data))
            assert piece, self.log
            data += piece
        return json.loads(data)

    def close(self) -> None:
        self.tap.close()
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)  # its own session: it and its children
            except ProcessLookupError:
                pass
            self._process.wait(60)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
