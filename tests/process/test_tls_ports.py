"""TLS of a whole server: the certificate of the name that is asked for on every port (L09), old versions refused, and a
TLSA record that stays right when the certificate is renewed with its key (L10, D20)."""

from __future__ import annotations

import datetime
import json
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.process.dnsserver import DnsServer
from tests.process.harness import Server, command, wait_until

HOST = "mail.example.test"
NAMES = ("mail.second.test", "*.third.test")
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(name: str, key: ec.EllipticCurvePrivateKey, days: int = 30) -> bytes:
    """Signed by itself, with its key behind it."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM) + private


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("tls")
    with DnsServer(secure=True) as dns:
        one = Server.demo(root, "--no-limits")
        config = root / "config"
        (config / "tls/host.pem").write_bytes(certificate(HOST, KEY))
        text = (config / "echomox.toml").read_text().replace('resolver = "none"', f'resolver = "{dns.address}"')
        text = text.replace('"tls/demo.crt"', '"tls/host.pem"').replace('"tls/demo.key"', '"tls/host.pem"')
        for number, name in enumerate(NAMES):
            file = f"tls/{number}.pem"
            (config / file).write_bytes(certificate(name, ec.generate_private_key(ec.SECP256R1())))
            text += f'\n[tls.names."{name}"]\ncertificate = "{file}"\nkey = "{file}"\n'
        (config / "echomox.toml").write_text(text)
        dns.add(f"{HOST}. A 127.0.0.1")
        with one:
            yield type("Place", (), {"server": one, "dns": dns, "config": config})


def shown(server: Server, listener: str, asked: str, context: ssl.SSLContext | None = None) -> x509.Certificate:
    """The certificate that a client of this port gets who asks for this name."""
    context = context or ssl._create_unverified_context()
    raw = socket.create_connection(("127.0.0.1", server.ports[listener]), 60)
    with raw:
        if listener in ("smtp", "submission"):
            talk = raw.makefile("rwb", buffering=0)
            talk.readline()
            talk.write(b"EHLO x\r\n")
            while talk.readline()[3:4] == b"-":
                pass
            talk.write(b"STARTTLS\r\n")
            assert talk.readline().startswith(b"220")
        elif listener == "imap":
            talk = raw.makefile("rwb", buffering=0)
            talk.readline()
            talk.write(b"a STARTTLS\r\n")
            assert b"a OK" in talk.readline()
        with context.wrap_socket(raw, server_hostname=asked) as secured:
            der = secured.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der)


def name_of(found: x509.Certificate) -> str:
    return str(found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@pytest.mark.parametrize("listener", ["smtp", "submission", "submissions", "imap", "imaps"])
@pytest.mark.parametrize(
    "asked, name",
    [
        (HOST, HOST),
        ("mail.second.test", "mail.second.test"),
        ("MX1.third.test", "*.third.test"),
        ("a.b.third.test", HOST),
        ("elsewhere.test", HOST),
    ],
)
def test_the_certificate_of_the_name_that_is_asked_for(server: Any, listener: str, asked: str, name: str) -> None:
    assert name_of(shown(server.server, listener, asked)) == name


@pytest.mark.parametrize("listener", ["smtp", "submission", "submissions", "imap", "imaps"])
def test_old_versions_are_refused(server: Any, listener: str) -> None:
    old = ssl._create_unverified_context()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, OSError)):
        shown(server.server, listener, HOST, old)


def echomox(place: Any, *argv: str) -> tuple[int, Any]:
    done = subprocess.run(
        [*command("echomox"), "--config", str(place.config), "--json", *argv],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stderr


def test_the_record_of_the_key_stays_right_when_the_certificate_is_renewed(server: Any) -> None:
    """The record is what `domain dnsrecords` says to publish."""
    ports = server.server.ports
    code, answer = echomox(server, "domain", "dnsrecords", "example.test")
    assert code == 0
    (record,) = [one["value"] for one in answer["records"] if one["type"] == "TLSA"]
    for listener in ("smtp", "submission"):
        server.dns.put(f"_{ports[listener]}._tcp.{HOST}", "TLSA", record, ttl=0)
        assert echomox(server, "dane", "check", f"{HOST}:{ports[listener]}")[0] == 0
        assert echomox(server, "dane", "dial", f"{HOST}:{ports[listener]}")[0] == 0
    before = shown(server.server, "smtp", HOST).serial_number
    file: Path = server.config / "tls/host.pem"
    file.write_bytes(certificate(HOST, KEY, days=60))
    reload = [*command("echomox-supervisor"), "reload", "--config", str(server.config)]
    assert subprocess.run(reload, capture_output=True, timeout=60, check=False).returncode == 0
    wait_until(lambda: shown(server.server, "smtp", HOST).serial_number != before, what="the new certificate is shown")
    for listener in ("smtp", "submission"):
        assert echomox(server, "dane", "check", f"{HOST}:{ports[listener]}")[0] == 0
    file.write_bytes(certificate(HOST, ec.generate_private_key(ec.SECP256R1())))
    assert subprocess.run(reload, capture_output=True, timeout=60, check=False).returncode == 0
    wait_until(
        lambda: echomox(server, "dane", "check", f"{HOST}:{ports['smtp']}")[0] == 1, what="another key is found out"
    )
    with smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=60) as one:
        assert one.noop()[0] == 250
