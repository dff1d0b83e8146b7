"""`echomox dkim` and `echomox arc` by hand, against a DNS server of the test."""

import json
import stat

import pytest

from echomox.cli.main import main
from tests.process.dnsserver import DnsServer
from tests.unit.mailauth.dkimsamples import RFC8463, RFC8463_KEYS
from tests.unit.mailauth.test_arc import chain, dns


@pytest.fixture(scope="module")
def server():
    with DnsServer() as server:
        for (name, type), text in {**RFC8463_KEYS, **dns().tables}.items():
            text = text.decode() if isinstance(text, bytes) else text
            server.put(name, type, " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200)))
        yield server


@pytest.fixture
def run(server, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ECHOMOX_CONFIG", raising=False)

    def run(*words, resolver=True):
        code = main([*map(str, words), *(["--resolver", server.address] if resolver else [])])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_verify(run, tmp_path):
    (tmp_path / "m.eml").write_bytes(RFC8463)
    code, out, _ = run("dkim", "verify", "m.eml")
    assert code == 0
    assert out.splitlines()[0] == (
        "pass: ed25519-sha256 by @football.example.com, key brisbane._domainkey.football.example.com"
    )
    (tmp_path / "m.eml").write_bytes(RFC8463.replace(b"hungry", b"thirsty"))
    code, out, _ = run("dkim", "verify", "m.eml", "--json")
    assert code == 1
    assert [each["reason"] for each in json.loads(out)["signatures"]] == ["the body was changed"] * 2


def test_no_signature_and_no_file(run, tmp_path):
    (tmp_path / "m.eml").write_bytes(b"From: a@b.example\n\nx\n")
    assert run("dkim", "verify", "m.eml")[:2] == (1, "none: there is no signature\n")
    assert run("dkim", "verify", "gone.eml")[2] == "echomox: gone.eml: no such file\n"
    assert run("dkim", "verify", ".")[0] == 1


def test_a_key_from_its_making_to_a_verified_mail(run, tmp_path, server):
    for algorithm in ("ed25519", "rsa"):
        file = f"{algorithm}.pem"
        code, out, _ = run("dkim", "genkey", algorithm, file, resolver=False)
        assert code == 0
        assert stat.S_IMODE((tmp_path / file).stat().st_mode) == 0o600
        server.put(f"{algorithm}._domainkey.made.example", "TXT", out.strip().removeprefix("TXT "))
        assert run("dkim", "record", file, resolver=False)[1] == out
        (tmp_path / "m.eml").write_bytes(b"From: a@made.example\nSubject: x\n\nhello\n")
        options = ("--key", file, "--selector", algorithm, "--fields")
        code, fields, _ = run("dkim", "sign", "m.eml", *options, resolver=False)
        assert code == 0
        (tmp_path / "s.eml").write_bytes(fields.replace("\r\n", "\n").encode() + (tmp_path / "m.eml").read_bytes())
        assert run("dkim", "verify", "s.eml")[0] == 0
        code, out, _ = run("dkim", "lookup", algorithm, "made.example")
        assert (code, out.splitlines()[1].startswith("usable: ")) == (0, True)


def test_what_cannot_be_done_is_said(run, tmp_path):
    (tmp_path / "k.pem").write_text("rubbish")
    (tmp_path / "m.eml").write_bytes(b"Subject: x\n\nhello\n")
    assert "no From" in run("dkim", "sign", "m.eml", "--key", "k.pem", "--selector", "s", resolver=False)[2]
    (tmp_path / "m.eml").write_bytes(b"From: a@b.example\n\nhello\n")
    assert "no PEM" in run("dkim", "sign", "m.eml", "--key", "k.pem", "--selector", "s", resolver=False)[2]
    assert "--selector" in run("dkim", "sign", "m.eml", "--key", "k.pem", resolver=False)[2]
    assert "already" in run("dkim", "genkey", "rsa", "k.pem", resolver=False)[2]
    assert run("dkim", "record", "k.pem", resolver=False)[0] == 1
    assert run("dkim", "lookup", "nothing", "made.example")[0] == 1


def test_arc(run, tmp_path):
    (tmp_path / "m.eml").write_bytes(chain(2))
    code, out, _ = run("arc", "verify", "m.eml")
    assert code == 0
    assert out.splitlines() == [
        "pass",
        "1: sealed by sealer.example, cv=none; had found spf=pass dmarc=pass",
        "2: sealed by second.example, cv=pass; had found spf=pass dmarc=pass",
    ]
    (tmp_path / "m.eml").write_bytes(RFC8463)
    assert run("arc", "verify", "m.eml")[:2] == (1, "none\n")
