"""ARC chains (RFC 8617): sealed here by a small sealer of the test, or by dkimpy's; broken in every way."""

import asyncio
import base64
import hashlib

import dkim
import pytest

from echomox.dns.types import DnsTemporary
from echomox.mailauth.arc import results_of, verify_arc
from echomox.mailauth.mailtext import HeaderFields, body_digests, mail_text, relaxed_field
from echomox.mailauth.rsa import sign_digest
from tests.unit.mailauth.dkimsamples import MAIL, record, resolver, signing_key


def seal(mail, instance, domain="sealer.example", cv=None, authres="spf=pass; dmarc=pass", ams=b"", extra=b""):
    """A set on top of a message, RSA. cv: by default as it must be. ams, extra: put into the two signatures."""
    key = signing_key("rsa").key
    name = domain.encode()
    sets = [b"ARC-Authentication-Results: i=%d; %b; %b\r\n" % (instance, name, authres.encode())]
    body = base64.b64encode(body_digests(mail_text(mail), {(b"relaxed", None)})[b"relaxed", None])
    value = (
        b" i=%d; a=rsa-sha256; c=relaxed/relaxed; d=%b; s=s1; t=1600000000;\r\n\th=from:to:subject; bh=%b; b="
        % (instance, name, body)
    ) + ams
    own = relaxed_field(b"ARC-Message-Signature", value + b"\r\n").removesuffix(b"\r\n")
    digest = hashlib.sha256(HeaderFields(mail).canonical(b"relaxed", [b"from", b"to", b"subject"]) + own).digest()
    sets.append(b"ARC-Message-Signature:" + value + base64.b64encode(sign_digest(key, digest)) + b"\r\n")
    cv = cv or ("none" if instance == 1 else "pass")
    value = b" i=%d; a=rsa-sha256; cv=%b; d=%b; s=s1; t=1600000000;%b b=" % (instance, cv.encode(), name, extra)
    own = relaxed_field(b"ARC-Seal", value + b"\r\n").removesuffix(b"\r\n")
    earlier = arc_fields(mail)
    fields = [*earlier, *(tuple(each.split(b":", 1)) for each in sets)]
    whole = b"".join(relaxed_field(*field) for field in fields)
    signature = base64.b64encode(sign_digest(key, hashlib.sha256(whole + own).digest()))
    sets.append(b"ARC-Seal:" + value + signature + b"\r\n")
    return b"".join(reversed(sets)) + mail


def arc_fields(mail):
    """Those of earlier sets, the oldest set first, in the order in which they are sealed."""
    found = [field for field in HeaderFields(mail).fields() if field[0].lower().startswith(b"arc-")]
    return list(reversed(found))


def dns(*domains, **more):
    found = resolver(**more)
    for domain in domains or ("sealer.example", "second.example"):
        found.tables[f"s1._domainkey.{domain}", "TXT"] = record("rsa").encode()
    return found


def verify(mail, resolver=None):
    return asyncio.run(verify_arc(resolver or dns(), mail))


def chain(count=2):
    mail = MAIL
    for instance in range(1, count + 1):
        domain = "sealer.example" if instance % 2 else "second.example"
        mail = b"X-Hop: %d\r\n" % instance + seal(mail, instance, domain)
    return mail


def test_without_fields_there_is_none():
    assert verify(MAIL).result == "none"


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_a_chain_passes(count):
    asked = dns()
    found = verify(chain(count), asked)
    assert (found.result, found.reason) == ("pass", "")
    assert [each.instance for each in found.sets] == list(range(1, count + 1))
    assert found.sets[0].results == (("spf", "pass"), ("dmarc", "pass"))
    assert found.sets[0].domain == "sealer.example"
    assert len(asked.asked) == min(2, count)


def test_dkimpy_alone_says_the_same():
    result, _, _ = dkim.arc_verify(chain(3), dnsfunc=lambda name, timeout=5: record("rsa").encode())
    assert result == b"pass"


def test_the_order_of_fields_in_the_message_does_not_matter():
    """RFC 8617 5.1.1: the seal goes by instance."""
    mail = chain(2)
    fields = [name + b":" + value for name, value in HeaderFields(mail_text(mail).header).fields()]
    arc = [field for field in fields if field.startswith(b"ARC-")]
    rest = [field for field in fields if not field.startswith(b"ARC-")]
    body = mail.partition(b"\r\n\r\n")[2]
    assert verify(b"".join(reversed(arc)) + b"".join(rest) + b"\r\n" + body).result == "pass"


BROKEN = [
    (lambda mail: mail.replace(b"Hello", b"Goodbye"), "body"),
    (lambda mail: mail.replace(b"From: Ann", b"From: Eve"), "signed field"),
    (lambda mail: mail.replace(b"dmarc=pass", b"dmarc=fail"), "authentication results"),
    (lambda mail: mail.replace(b"cv=pass", b"cv=none"), "cv"),
    (lambda mail: mail.replace(b"cv=pass", b"cv=sure"), "cv"),
    (lambda mail: mail.replace(b"i=2; a=", b"i=3; a="), "gap"),
    (lambda mail: mail.replace(b"i=1; a=", b"i=2; a="), "twice"),
    (lambda mail: mail.replace(b"i=1; a=", b"i=0; a="), "zero"),
    (lambda mail: mail.replace(b"i=1; a=", b"i=51; a="), "too many"),
    (lambda mail: mail.replace(b"i=1; a=", b"i=1111111111111; a="), "huge"),
    (lambda mail: mail.replace(b"ARC-Seal: i=2", b"X-Seal: i=2"), "no seal"),
    (lambda mail: mail.replace(b"a=rsa-sha256", b"a=rsa-sha1"), "algorithm"),
    (lambda mail: b"ARC-Seal: rubbish\r\n" + mail, "rubbish"),
    (lambda mail: b"ARC-Seal: i=3\r\n" * 1000 + mail, "flood"),
    (lambda mail: mail.replace(b"d=sealer.example", b"d=other.example"), "no key"),
]


@pytest.mark.parametrize("change, what", BROKEN)
def test_a_broken_chain_fails(change, what):
    changed = change(chain(2))
    assert changed != chain(2)
    found = verify(changed)
    assert found.result == "fail", what
    assert found.reason


def test_a_sealer_that_saw_a_broken_chain_ends_it():
    mail = seal(seal(MAIL, 1), 2, "second.example", cv="fail")
    assert verify(mail).result == "fail"


def test_h_is_not_allowed_in_a_seal():
    assert verify(seal(MAIL, 1, extra=b" h=from;")).result == "fail"


def test_of_older_message_signatures_none_need_hold():
    """RFC 8617 5.2 step 3: a list may change what came, and seals it anew."""
    mail = seal(MAIL, 1).replace(b"Hello", b"[list] Hello")
    assert verify(mail).result == "fail"
    assert verify(seal(mail, 2, "second.example")).result == "pass"


def test_dns_trouble_is_a_temperror():
    found = verify(chain(1), dns(fail=["sealer.example"]))
    assert found.result == "temperror"
    late = dns()
    late.tables["s1._domainkey.sealer.example", "TXT"] = DnsTemporary("no")
    assert verify(chain(1), late).result == "temperror"


@pytest.mark.parametrize("trusted, expected", [
    ((), ("", 0)),
    (("second.example",), ("pass", 2)),
    (("sealer.example",), ("", 0)),  # the newest seal is not of them
    (("sealer.example", "second.example"), ("pass", 1)),
])  # fmt: skip
def test_whose_word_counts(trusted, expected):
    said, by = verify(chain(2)).dmarc_by(trusted)
    assert (said, by.instance if by else 0) == expected


def test_nobodys_word_counts_in_a_chain_that_fails():
    found = verify(chain(2).replace(b"Hello", b"Goodbye"))
    assert found.dmarc_by(("sealer.example", "second.example")) == ("", None)


@pytest.mark.parametrize("text, results", [
    ("mx.example.org; spf=pass smtp.mailfrom=a@b; dkim=fail (dmarc=pass) d=b", (("spf", "pass"), ("dkim", "fail"))),
    ('mx; spf=none reason="; dmarc=pass"', (("spf", "none"),)),
    ("mx 1; dkim/1 = pass; none", (("dkim", "pass"),)),
    ("mx; spf=pass (unfinished; dmarc=pass", (("spf", "pass"),)),
    ("mx; none", ()),
    ("", ()),
    ("((((" * 5000, ()),
])  # fmt: skip
def test_results_are_read_without_comments_and_quotes(text, results):
    assert results_of(text) == results
