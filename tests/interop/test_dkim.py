"""DKIM and ARC against programs that no one here wrote: OpenDKIM, and Perl's Mail::DKIM with its own DNS client. They
accept what we sign, refuse what was changed, and we verify what they sign and seal."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from echomox.dns.fake import FakeResolver
from echomox.mailauth.arc import verify_arc
from echomox.mailauth.dkim import sign, verify_dkim
from tests.corpus.sample import messages
from tests.interop.tools import need
from tests.process.dnsserver import DnsServer
from tests.unit.mailauth.dkimsamples import MAIL, NOW, RFC8463, RFC8463_KEYS, pem, record, signing_key

KEYS = {("r1._domainkey.example.org", "TXT"): record("rsa"), ("s1._domainkey.example.org", "TXT"): record()}
EMPTY = MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
LONG = MAIL + b"x" * 900 + b" \t \r\n" + b".\r\n..\r\n" + "ein längerer Satz\r\n".encode() * 500
ODD = MAIL.replace(b"Subject:  two  spaces ", b"Subject: folded\r\n \t twice\r\n  over").replace(b"To:", b"tO :")


def both(mail: bytes) -> bytes:
    return sign(mail, [signing_key("rsa", selector="r1"), signing_key("ed25519")], NOW) + mail


# -- OpenDKIM -------------------------------------------------------------------------


def opendkim(directory: Path, mail: bytes) -> str:
    """What `opendkim -t` says of a message, with keys from a file."""
    program = need("opendkim")
    keys = {**KEYS, **RFC8463_KEYS}
    (directory / "keys").write_text("".join(f"{name} {text}\n" for (name, _), text in keys.items()))
    (directory / "conf").write_text(f"TestPublicKeys {directory / 'keys'}\nMode v\nSyslog no\nLogResults yes\n")
    (directory / "mail").write_bytes(mail)
    command = [program, "-x", directory / "conf", "-t", directory / "mail", "-vvv"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


@pytest.mark.parametrize("mail", [MAIL, EMPTY, LONG, ODD], ids=["plain", "empty", "long", "odd"])
def test_opendkim_accepts_both_our_signatures(mail, tmp_path):
    said = opendkim(tmp_path, both(mail))
    assert said.count("dkim=pass") == 2, said
    assert "header.a=rsa-sha256" in said and "header.a=ed25519-sha256" in said


def test_opendkim_accepts_our_signature_of_every_shape_of_mail(tmp_path):
    for sample in messages():
        said = opendkim(tmp_path, both(sample.data))
        assert said.count("dkim=pass") == 2, (sample.name, said)


def test_opendkim_refuses_what_was_changed(tmp_path):
    assert "dkim=fail" in opendkim(tmp_path, both(MAIL).replace(b"Hello", b"Howdy"))
    assert "dkim=pass" not in opendkim(tmp_path, b"Subject: another\r\n" + both(MAIL))


def test_opendkim_and_we_agree_on_the_example_of_rfc8463(tmp_path):
    """Only the keys of the example are given to both."""
    said = opendkim(tmp_path, RFC8463)
    ours = asyncio.run(verify_dkim(FakeResolver(RFC8463_KEYS), RFC8463, now=NOW))
    assert said.count("dkim=pass") == len([each for each in ours if each.result == "pass"]) == 2


# -- Mail::DKIM ---------------------------------------------------------------------------

_PERL = r"""
use strict; use warnings; use Net::DNS; use Mail::DKIM; use Mail::DKIM::DNS;
use Mail::DKIM::Verifier; use Mail::DKIM::Signer; use Mail::DKIM::ARC::Signer; use Mail::DKIM::ARC::Verifier;
my ($what, $port, @more) = @ARGV;
$Mail::DKIM::DNS::RESOLVER = Net::DNS::Resolver->new(nameservers => ["127.0.0.1"], port => $port, recurse => 1);
binmode STDIN; binmode STDOUT;
my $mail = do { local $/; <STDIN> };
if ($what eq "verify" or $what eq "arcverify") {
    my $v = $what eq "verify" ? Mail::DKIM::Verifier->new() : Mail::DKIM::ARC::Verifier->new();
    $v->PRINT($mail); $v->CLOSE;
    print $v->result, "\n" if $what eq "arcverify";
    if ($what eq "verify") { print $_->algorithm, "=", $_->result, "\n" for $v->signatures }
} elsif ($what eq "sign") {
    my ($file, $method) = @more;
    my $s = Mail::DKIM::Signer->new(Algorithm => "rsa-sha256", Method => $method, Domain => "example.org",
        Selector => "r1", KeyFile => $file);
    $s->PRINT($mail); $s->CLOSE;
    print $s->signature->as_string, "\r\n", $mail;
} else {
    my ($file, $chain) = @more;
    my $s = Mail::DKIM::ARC::Signer->new(Algorithm => "rsa-sha256", Domain => "example.org", SrvId => "example.org",
        Selector => "r1", KeyFile => $file, Chain => $chain);
    $s->PRINT("Authentication-Results: example.org; spf=pass; dmarc=pass\r\n" . $mail); $s->CLOSE;
    die $s->details if $s->result ne "sealed";
    print join("\r\n", $s->as_strings), "\r\n", "Authentication-Results: example.org; spf=pass; dmarc=pass\r\n", $mail;
}
"""


@pytest.fixture(scope="module")
def dns():
    with DnsServer() as server:
        for (name, type), text in KEYS.items():
            server.put(name, type, " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200)))
        yield server


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("keys") / "rsa.pem"
    key = serialization.load_pem_private_key(pem("rsa"), None)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return file


def perl(what: str, dns: DnsServer, mail: bytes, *more: str | Path) -> bytes:
    program = need("perl")
    modules = ["-MMail::DKIM::ARC::Signer", "-MNet::DNS"]
    if subprocess.run([program, *modules, "-e", "1"], capture_output=True, check=False).returncode:
        reason = "Perl's Mail::DKIM is not installed; see tests/apt.txt"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    done = subprocess.run(
        [program, "-e", _PERL, what, str(dns.port), *map(str, more)], input=mail, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("mail", [MAIL, EMPTY, LONG, ODD], ids=["plain", "empty", "long", "odd"])
def test_mail_dkim_accepts_our_signature(mail, dns):
    """Debian's has no Ed25519, and says "invalid" to the example of RFC 8463 too."""
    said = perl("verify", dns, both(mail)).decode().split()
    assert said in (["rsa-sha256=pass", "ed25519-sha256=pass"], ["rsa-sha256=pass", "ed25519-sha256=invalid"])


def test_mail_dkim_refuses_what_was_changed(dns):
    assert b"pass" not in perl("verify", dns, both(MAIL).replace(b"Hello", b"Howdy"))


@pytest.mark.parametrize("method", ["relaxed/relaxed", "relaxed/simple", "simple/simple", "simple/relaxed"])
@pytest.mark.parametrize("mail", [MAIL, EMPTY, LONG], ids=["plain", "empty", "long"])
def test_we_verify_what_mail_dkim_signs(mail, method, dns, key_file):
    signed = perl("sign", dns, mail, key_file, method)
    (found,) = asyncio.run(verify_dkim(FakeResolver(KEYS), signed, now=4e9))
    assert (found.result, found.reason) == ("pass", "")


def test_we_verify_what_mail_dkim_seals(dns, key_file):
    """One set, and a second upon it that Mail::DKIM makes for a chain that passes."""
    mail = perl("seal", dns, MAIL, key_file, "none")
    found = asyncio.run(verify_arc(FakeResolver(KEYS), mail))
    assert (found.result, found.reason, len(found.sets)) == ("pass", "", 1)
    again = perl("seal", dns, mail, key_file, "pass")
    found = asyncio.run(verify_arc(FakeResolver(KEYS), again))
    assert (found.result, found.reason, len(found.sets)) == ("pass", "", 2)
    assert ("dmarc", "pass") in found.sets[1].results
    assert perl("arcverify", dns, again).strip() == b"pass"
    changed = again.replace(b"Hello", b"Howdy")
    assert asyncio.run(verify_arc(FakeResolver(KEYS), changed)).result == "fail"
    assert perl("arcverify", dns, changed).strip() == b"fail"
