"""swaks, the SMTP test program, against ports 25, 587 and 465."""

from __future__ import annotations

import subprocess

import pytest

from tests.interop.tools import need


def swaks(server, port: str, *options: str) -> tuple[int, str]:
    user = server.accounts[0]["address"]
    command = [need("swaks"), "--server", f"127.0.0.1:{server.ports[port]}", "--helo", "peer.example", "--to", user,
               "--from", "someone@peers.example", "--body", "hello from swaks", *options]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def login(server, mechanism: str) -> list[str]:
    user = server.accounts[0]
    return ["--auth", mechanism, "--auth-user", user["address"], "--auth-password", user["password"],
            "--from", user["address"], "--h-From", user["address"]]  # fmt: skip


@pytest.mark.parametrize(
    "options", [(), ("--pipeline",), ("-tls",), ("-tls", "--pipeline")], ids=["plain", "pipelined", "tls", "both"]
)
def test_port_25_takes_mail(server, options):
    status, text = swaks(server, "smtp", *options)
    assert status == 0, text
    assert "250 2.0.0" in text


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("port, tls", [("submission", "-tls"), ("submissions", "-tlsc")])
def test_submission_with_each_mechanism(server, port, tls, mechanism):
    status, text = swaks(server, port, tls, *login(server, mechanism))
    assert status == 0, text
    assert "235 2.7.0" in text


def test_submission_without_login_is_refused(server):
    status, text = swaks(server, "submission", "-tls")
    assert status != 0
    assert "530 5.7.0" in text


def test_a_wrong_password_is_refused(server):
    options = login(server, "PLAIN")
    options[5] = "wrong"
    status, text = swaks(server, "submission", "-tls", *options)
    assert status != 0
    assert "535 5.7.8" in text


def test_unknown_recipients_are_refused_at_rcpt(server):
    status, text = swaks(server, "smtp", "--to", "nobody@example.test")
    assert status != 0
    assert "550 5.1.1" in text


def test_relaying_is_refused(server):
    status, text = swaks(server, "smtp", "--to", "someone@elsewhere.example")
    assert status != 0
    assert "550 5.7.1" in text


def test_another_sender_than_the_login_is_refused(server):
    status, text = swaks(server, "submission", "-tls", *login(server, "PLAIN"), "--from", "boss@elsewhere.example")
    assert status != 0
    assert "5.7.1" in text


@pytest.mark.parametrize("mechanism", ["PLAIN", "CRAM-MD5"])
def test_submission_to_here_and_outside_has_one_reply_with_a_queue_id(server, mechanism):
    to = f"{server.accounts[1]['address']},someone@elsewhere.invalid"
    status, text = swaks(server, "submissions", "-tlsc", *login(server, mechanism), "--to", to)
    assert status == 0, text
    assert "250 2.0.0 Accepted, id " in text and " queued as " in text


def test_submission_shows_its_keywords(server):
    status, text = swaks(server, "submission", "-tls", *login(server, "PLAIN"))
    assert status == 0, text
    for keyword in ("DSN", "LIMITS RCPTMAX=1000", "CHUNKING", "REQUIRETLS", "FUTURERELEASE 5184000 "):
        assert f"250-{keyword}" in text or f"250 {keyword}" in text
    assert "AUTH SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN" in text
