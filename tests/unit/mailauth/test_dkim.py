"""DKIM: the examples of RFC 6376 A.2 and RFC 8463 A, what each fault gives (RFC 6376 6.1, RFC 8601 2.7.1), signing, and
canonical forms against dkimpy's own."""

import asyncio
import base64
import hashlib
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
from cryptography.hazmat.primitives.hashes import SHA1
from dkim.canonicalization import Relaxed, Simple
from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.config.schema import Dkim
from echomox.dns.types import DnsTemporary
from echomox.mailauth.dkim import MOST, sign, sign_mail, verify_dkim
from echomox.mailauth.dkimkeys import OVERSIGNED, KeyRing, parse_key
from echomox.mailauth.mailtext import BodyHash, MailText, body_digests, mail_text
from echomox.mailauth.rsa import BadKey, self_test
from tests.unit.mailauth.dkimsamples import MAIL, NOW, RFC6376, RFC8463, pem, record, resolver, signing_key

KINDS = ("ed25519", "rsa")


def verify(source, dns=None, now=NOW):
    return asyncio.run(verify_dkim(dns or resolver(), source, now=now))


def results(source, dns=None, now=NOW):
    return [(each.result, each.reason) for each in verify(source, dns, now)]


def signed(kind="ed25519", mail=MAIL, now=NOW, **more):
    return sign(mail, [signing_key(kind, **more)], now) + mail


def resigned(change, kind="ed25519", mail=MAIL):
    """A valid signature over a field that `change` has edited before it was signed (tags in any order, any forms)."""
    import echomox.mailauth.dkim as module

    made = sign(mail, [signing_key(kind)], NOW)
    value = made.partition(b":")[2]
    edited = change(re.sub(rb"b=[^;]*\Z", b"b=", value))
    read = {k: v for k, _, v in (t.strip().partition(b"=") for t in reversed(edited.split(b";")) if t.strip())}
    fields = module.HeaderFields(mail)
    names = [name.strip().lower() for name in read[b"h"].split(b":")]
    forms = read.get(b"c", b"simple/simple").split(b"/")
    limit = int(read[b"l"]) if read.get(b"l", b"x").isdigit() else None
    body = base64.b64encode(body_digests(mail_text(mail), {(forms[1], limit)})[forms[1], limit])
    edited = re.sub(rb"bh=[^;]*", b"bh=" + body, edited)
    own = module.without_signature(forms[0], b"DKIM-Signature", edited + b"\r\n")
    digest = hashlib.sha256(fields.canonical(forms[0], names) + own).digest()
    value = base64.b64encode(module.sign_digest(signing_key(kind).key, digest))
    return b"DKIM-Signature:" + re.sub(rb"b=\Z", b"b=" + value, edited) + b"\r\n" + mail


# -- examples of the RFCs -----------------------------------------------------------


def test_rfc8463_example_passes_with_both_algorithms():
    found = verify(RFC8463)
    assert [(each.result, each.selector, each.algorithm) for each in found] == [
        ("pass", "brisbane", "ed25519-sha256"),
        ("pass", "test", "rsa-sha256"),
    ]
    assert found[0].domain == "football.example.com"
    assert found[0].identity == "@football.example.com"
    assert found[0].header_b == "/gCrinpc"


def test_rfc6376_example_passes():
    (found,) = verify(RFC6376)
    assert (found.result, found.identity) == ("pass", "joe@football.example.com")
    # Its form is simple: one space more counts.
    assert verify(RFC6376.replace(b"Subject: Is", b"Subject:  Is"))[0].result == "fail"
    assert verify(RFC6376.replace(b"game. Are", b"game.  Are"))[0].result == "fail"


def test_the_example_with_bare_line_feeds_passes_too():
    assert [each.result for each in verify(RFC8463.replace(b"\r\n", b"\n"))] == ["pass", "pass"]


@pytest.mark.parametrize("old, new, reason", [
    (b"hungry yet", b"hungry now", "the body was changed"),
    (b"Is dinner ready?", b"Is lunch ready?", "the signed fields were changed"),
    (b"From: Joe", b"From: Moe", "the signed fields were changed"),
])  # fmt: skip
def test_a_changed_message_fails(old, new, reason):
    assert results(RFC8463.replace(old, new)) == [("fail", reason)] * 2


def test_spaces_that_relaxed_allows_do_not_matter():
    changed = RFC8463.replace(b"Subject: Is dinner", b"SUBJECT :  Is\r\n\tdinner")
    changed = changed.replace(b"Joe.\r\n", b"Joe. \t\r\n\r\n")
    assert [each.result for each in verify(changed)] == ["pass", "pass"]


def test_without_signature_there_is_no_result():
    assert verify(MAIL) == ()
    assert verify(b"") == ()


# -- signing ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_we_sign_verifies_here(kind):
    dns = resolver(kind=kind)
    (found,) = verify(signed(kind), dns)
    assert (found.result, found.domain, found.selector) == ("pass", "example.org", "s1")
    assert dns.asked == [("s1._domainkey.example.org", "TXT")]


def test_what_we_sign_with_rsa_verifies_with_plain_dkimpy():
    assert dkim.verify(signed("rsa"), dnsfunc=lambda name, timeout=5: record("rsa").encode())


def test_what_dkimpy_signs_verifies_here():
    key = serialization.load_pem_private_key(pem("rsa"), None)
    classic = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    for forms in ((b"simple", b"simple"), (b"relaxed", b"simple"), (b"simple", b"relaxed"), (b"relaxed", b"relaxed")):
        field = dkim.sign(MAIL, b"s1", b"example.org", classic, canonicalize=forms)
        assert results(field + MAIL, resolver(kind="rsa"), time.time()) == [("pass", "")], forms


def test_both_keys_sign_when_both_are_given():
    fields = sign(MAIL, [signing_key("rsa", selector="r1"), signing_key("ed25519")], NOW)
    dns = resolver()
    dns.tables["r1._domainkey.example.org", "TXT"] = record("rsa").encode()
    assert [each.algorithm for each in verify(fields + MAIL, dns)] == ["rsa-sha256", "ed25519-sha256"]
    assert {each.result for each in verify(fields + MAIL, dns)} == {"pass"}


def test_signature_lines_fit_the_page():
    for line in sign(MAIL, [signing_key("rsa")], NOW).split(b"\r\n"):
        assert len(line) <= 78


@pytest.mark.parametrize("name", OVERSIGNED)
def test_a_second_field_that_is_oversigned_breaks_the_signature(name):
    source = signed()
    assert verify(b"X-Other: x\r\n" + source)[0].result == "pass"
    assert verify(name.encode() + b": added\r\n" + source)[0].result in ("fail", "permerror")


def test_fields_that_are_not_signed_may_change():
    assert verify(signed().replace(b"Received: from a.", b"Received: from z."))[0].result == "pass"


def test_the_header_list_and_oversigning_are_configurable():
    key = signing_key(headers=("from", "x-mine"), oversign=frozenset())
    field = sign(b"X-Mine: 1\r\n" + MAIL, [key], NOW)
    assert b"h=from:x-mine;" in field
    assert verify(field + b"X-Mine: 1\r\n" + MAIL.replace(b"two", b"2"))[0].result == "pass"
    assert verify(field + b"X-Mine: 2\r\n" + MAIL)[0].result == "fail"


def test_a_signature_may_expire():
    source = signed(expiry=3600.0)
    assert b" x=1600003600;" in source
    assert results(source, now=NOW + 3599) == [("pass", "")]
    assert results(source, now=NOW + 3601) == [("permerror", "expired")]


def test_a_message_without_from_is_not_signed():
    with pytest.raises(ValueError, match="From"):
        sign(b"To: x@example.org\r\n\r\n", [signing_key()], NOW)


def test_no_keys_no_signature():
    assert sign(MAIL, [], NOW) == b""
    assert asyncio.run(sign_mail(MAIL, [], NOW)) == b""


# -- faults of signatures -------------------------------------------------------------

FAULTS = [
    (lambda v: v.replace(b"v=1", b"v=2"), "neutral"),
    (lambda v: v.replace(b"a=ed25519-sha256", b"a=ed25519-sha512"), "neutral"),
    (lambda v: v.replace(b"a=ed25519-sha256", b"a=rsa-sha256"), "permerror"),
    (lambda v: v.replace(b"c=relaxed/relaxed", b"c=relaxed/none"), "neutral"),
    (lambda v: v.replace(b"c=relaxed/relaxed", b"c=relaxed/relaxed; c=relaxed"), "neutral"),
    (lambda v: v.replace(b"d=example.org", b"i=@other.example; d=example.org"), "permerror"),
    (lambda v: v.replace(b"d=example.org", b"i=@badexample.org; d=example.org"), "permerror"),
    (lambda v: v.replace(b"d=example.org", b"i=ann@mail.example.org; d=example.org"), "pass"),
    (lambda v: v.replace(b"d=example.org", b"d=org"), "neutral"),
    (lambda v: v.replace(b"h=from:from:", b"h="), "permerror"),
    (lambda v: v.replace(b"t=1600000000", b"t=1600040000"), "permerror"),
    (lambda v: v.replace(b"t=1600000000", b"t=soon"), "neutral"),
    (lambda v: v.replace(b"t=1600000000", b"t=1600000000; x=1500000000"), "permerror"),
    (lambda v: v.replace(b"t=1600000000", b"q=dns/txt; t=1600000000"), "pass"),
    (lambda v: v.replace(b"t=1600000000", b"q=http:dns/txt; t=1600000000"), "pass"),
    (lambda v: v.replace(b"t=1600000000", b"q=http; t=1600000000"), "permerror"),
    (lambda v: v.replace(b"t=1600000000", b"z=any:thing; t=1600000000"), "pass"),
    (lambda v: v.replace(b"c=relaxed/relaxed", b"l=5; c=relaxed/relaxed"), "policy"),
    (lambda v: v.replace(b"c=relaxed/relaxed", b"l=-1; c=relaxed/relaxed"), "neutral"),
    (lambda v: v.replace(b"c=relaxed/relaxed", b"l=99999; c=relaxed/relaxed"), "fail"),
    (lambda v: v.replace(b"c=relaxed/relaxed", b"c=simple/simple"), "pass"),
    (lambda v: v.replace(b"c=relaxed/relaxed", b"c=simple/relaxed"), "pass"),
]


@pytest.mark.parametrize("change, result", FAULTS)
def test_what_a_tag_does(change, result):
    (found,) = verify(resigned(change))
    assert found.result == result, found.reason


def test_a_body_length_of_the_whole_body_is_a_pass():
    length = BodyHash(b"relaxed")
    length.update(MAIL.partition(b"\r\n\r\n")[2])
    length.finish()
    change = lambda value: value.replace(b"c=relaxed/relaxed", b"l=%d; c=relaxed/relaxed" % length.length)  # noqa: E731
    assert results(resigned(change)) == [("pass", "")]
    assert verify(resigned(change) + b"appended\r\n")[0].result == "policy"


def test_rsa_sha1_is_not_verified():
    """RFC 8301 3.1, with a signature that is right."""
    key = signing_key("rsa").key
    value = sign(MAIL, [signing_key("rsa")], NOW).partition(b":")[2].replace(b"rsa-sha256", b"rsa-sha1")
    value = re.sub(rb"b=[^;]*\Z", b"b=", value)
    digest = hashlib.sha1(value).digest()
    b = base64.b64encode(key.sign(digest, padding.PKCS1v15(), utils.Prehashed(SHA1())))
    found = results(b"DKIM-Signature:" + value + b + b"\r\n" + MAIL, resolver(kind="rsa"))
    assert found == [("permerror", "rsa-sha1 is not accepted (RFC 8301)")]


def test_a_second_from_that_is_not_signed_is_an_error():
    key = signing_key(oversign=frozenset())
    source = b"From: evil@example.com\r\n" + sign(MAIL, [key], NOW) + MAIL
    assert results(source) == [("permerror", "From is not signed")]


@pytest.mark.parametrize("field", [b"DKIM-Signature: \r\n", b"DKIM-Signature: x\r\n", b"DKIM-Signature: ;;;\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=x; h=from; bh=; b=\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=x; h=from; bh=!!!!; b=AAA=\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=\xff\xfe; s=x; h=from; bh=AAAA; b=AAAA\r\n",
])  # fmt: skip
def test_broken_fields_are_neutral(field):
    assert verify(field + MAIL)[0].result == "neutral"


def test_at_most_eight_signatures_are_looked_at():
    dns = resolver()
    found = verify(sign(MAIL, [signing_key()], NOW) * 20 + MAIL, dns)
    assert len(found) == MOST == 8
    assert dns.asked == [("s1._domainkey.example.org", "TXT")]


# -- faults of keys -------------------------------------------------------------------


@pytest.mark.parametrize("text, result, reason", [
    (None, "permerror", "no key record (no such name)"),
    ("", "permerror", "not a key record"),
    ("v=spf1 -all", "permerror", "not a key record"),
    ("v=DKIM2; p=AAAA", "permerror", "not a key record"),
    ("v=DKIM1; k=ed25519; p=", "permerror", "the key was revoked"),
    ("v=DKIM1; k=ed25519; p=AAAA", "permerror", "an Ed25519 key has 32 bytes"),
    ("v=DKIM1; k=rsa; p=AAAA", "permerror", "the key cannot be read"),
    ("v=DKIM1; k=rsa; p=%%%", "permerror", "the key is not base64"),
    ("v=DKIM1; k=elgamal; p=AAAA", "permerror", "unknown kind of key"),
    ("x" * 10_000, "permerror", "key record too large"),
    (DnsTemporary("SERVFAIL"), "temperror", "DNS: SERVFAIL"),
])  # fmt: skip
def test_what_a_key_record_does(text, result, reason):
    dns = resolver()
    dns.tables["s1._domainkey.example.org", "TXT"] = text if text is not None else ()
    if text is None:
        del dns.tables["s1._domainkey.example.org", "TXT"]
    assert results(signed(), dns) == [(result, reason)]


@pytest.mark.parametrize("tags, result", [
    ("h=sha256; ", "pass"),
    ("h=sha1:sha256; ", "pass"),
    ("h=sha1; ", "permerror"),
    ("s=*; ", "pass"),
    ("s=email; ", "pass"),
    ("s=tlsrpt; ", "permerror"),
    ("t=s; ", "pass"),
    ("t=y; ", "pass"),
    ("t=y:s; n=a note; g=*; ", "pass"),
])  # fmt: skip
def test_what_tags_of_a_key_do(tags, result):
    (found,) = verify(signed(), resolver(tags))
    assert found.result == result
    assert found.testing == ("y" in tags.partition(";")[0].partition("t=")[2])


def test_a_strict_key_wants_the_identity_at_its_domain():
    source = resigned(lambda value: value.replace(b"d=example.org", b"i=@mail.example.org; d=example.org"))
    assert results(source)[0][0] == "pass"
    assert results(source, resolver("t=s; "))[0][0] == "permerror"


def test_a_failure_with_a_test_key_is_neutral():
    (found,) = verify(signed().replace(b"Hello", b"Goodbye"), resolver("t=y; "))
    assert (found.result, found.testing) == ("neutral", True)


def test_short_rsa_keys_fail():
    """RFC 8301 3.2."""
    numbers = rsa_keys.generate_private_key(65537, 1024).public_key().public_numbers()
    short = (numbers.n >> 300) | 1  # no key of anybody's, but 724 bits
    der = _der(0x30, _der(2, b"\0" + short.to_bytes(91, "big")) + _der(2, b"\x01\x00\x01"))
    found = parse_key(b"v=DKIM1; p=" + base64.b64encode(der))
    assert found.trouble[0] == "fail"
    assert "bits (RFC 8301)" in found.trouble[1]


def _der(tag, content):
    size = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return bytes([tag]) + size + content


def test_a_bare_rsa_public_key_is_read_too():
    numbers = signing_key("rsa").key.public_key().public_numbers()
    n = b"\0" + numbers.n.to_bytes(256, "big")
    inner = b"\x02\x82" + len(n).to_bytes(2, "big") + n + _der(2, b"\x01\x00\x01")
    der = b"\x30\x82" + len(inner).to_bytes(2, "big") + inner
    assert parse_key(b"p=" + base64.b64encode(der)).bits == 2048


def test_several_key_records_are_an_error_but_other_text_is_not():
    dns = resolver()
    dns.tables["s1._domainkey.example.org", "TXT"] = [record(), "some other text"]
    assert results(signed(), dns) == [("pass", "")]
    dns.tables["s1._domainkey.example.org", "TXT"] = [record(), record("rsa")]
    assert results(signed(), dns) == [("permerror", "several key records")]


def test_a_key_that_does_not_come_in_time_is_a_temperror():
    class Slow:
        async def lookup(self, name, type):
            await asyncio.sleep(60)

        async def close(self): ...

    found = asyncio.run(verify_dkim(Slow(), signed(), now=NOW, timeout=0.02))
    assert [each.result for each in found] == ["temperror"]


def test_keys_of_all_signatures_are_asked_at_once():
    class Counting:
        now = most = 0

        async def lookup(self, name, type):
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.001)
            self.now -= 1
            raise DnsTemporary("no")

        async def close(self): ...

    dns = Counting()
    asyncio.run(verify_dkim(dns, RFC8463, now=NOW))
    assert dns.most == 2


# -- our keys -------------------------------------------------------------------------


def test_a_key_ring_parses_again_only_when_something_changed(tmp_path):
    file = tmp_path / "k.pem"
    file.write_bytes(pem("ed25519"))
    ring = KeyRing()
    rows = [Dkim("s1", "ed25519", str(file)), Dkim("off", "ed25519", "/nowhere", sign=False)]
    first = ring.keys("example.org", rows)
    assert [key.selector for key in first] == ["s1"]
    assert ring.keys("example.org", list(rows)) is first
    file.write_bytes(pem("rsa"))
    second = ring.keys("example.org", rows)
    assert (first[0].algorithm, second[0].algorithm) == ("ed25519-sha256", "rsa-sha256")
    assert ring.keys("example.org", [Dkim("s2", "rsa", str(file))])[0].selector == "s2"
    file.write_bytes(b"rubbish")
    with pytest.raises(BadKey):
        ring.keys("example.org", rows)
    file.unlink()
    with pytest.raises(OSError):
        ring.keys("example.org", rows)


def test_the_configuration_oversigns_the_default_list():
    assert Dkim().oversign == OVERSIGNED


def test_no_key_material_in_its_text_form():
    assert "PrivateKey" not in repr(signing_key("rsa"))


def test_the_self_test_notices_a_library_that_says_yes(monkeypatch):
    import echomox.mailauth.rsa as module

    self_test()
    monkeypatch.setattr(module, "verify_digest", lambda *_: True)
    with pytest.raises(AssertionError):
        self_test()


# -- canonical forms --------------------------------------------------------------------

BODIES = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b"\r", b"word", b"\r\n\r\n", b"  \r\n"]), max_size=40)


@settings(max_examples=300, deadline=None)
@given(BODIES, st.lists(st.integers(1, 9), max_size=30), st.sampled_from([b"relaxed", b"simple"]))
def test_a_body_in_pieces_has_the_canonical_form_of_dkimpy(words, cuts, form):
    body = b"".join(words) + b"\r\n"
    whole = (Relaxed if form == b"relaxed" else Simple).canonicalize_body(body)
    limits = (None, 0, 3, len(whole), len(whole) + 5)
    hashed = BodyHash(form, limits)
    at = 0
    for cut in cuts:
        hashed.update(body[at : at + cut])
        at += cut
    hashed.update(body[at:])
    found = hashed.finish()
    assert hashed.length == len(whole)
    assert found == {limit: hashlib.sha256(whole[:limit]).digest() for limit in limits}


@pytest.mark.parametrize("body, simple, relaxed", [
    (b"", b"\r\n", b""),
    (b"\r\n", b"\r\n", b""),
    (b"\r\n\r\n", b"\r\n", b""),
    (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),  # RFC 6376 3.4.5
    (b"no line end", b"no line end\r\n", b"no line end\r\n"),
    (b"a\nb\n", b"a\r\nb\r\n", b"a\r\nb\r\n"),
])  # fmt: skip
def test_bodies_of_rfc6376(body, simple, relaxed):
    for form, expected in ((b"simple", simple), (b"relaxed", relaxed)):
        hashed = BodyHash(form)
        hashed.update(body)
        assert hashed.finish()[None] == hashlib.sha256(expected).digest()


@pytest.mark.parametrize("piece", [b" " * 65536, b"\r\n" * 32768, b" \t" * 32768, b"\r" * 65536, b" \r\n" * 20000])
def test_hostile_bodies_take_time_by_their_length_only(piece):
    """Runs of white space are quadratic in dkimpy alone: 64 KB of spaces take seconds there."""
    began = time.process_time()
    for form in (b"relaxed", b"simple"):
        hashed = BodyHash(form)
        for _ in range(32):
            hashed.update(piece)
        hashed.update(b"x")
        hashed.finish()
    assert time.process_time() - began < 15.0


def test_hostile_signature_fields_take_little_time():
    began = time.process_time()
    for filler in (b" " * 8000 + b"!", b"\r\n " * 2600 + b"x!", b"A" * 8000 + b"\x00"):
        tags = b"v=1; a=rsa-sha256; d=a.example; s=x; h=from; bh=A%b; b=A%b" % (filler, filler)
        verify(b"DKIM-Signature: " + tags + b"\r\n" + MAIL)
    assert time.process_time() - began < 10.0


def test_a_large_body_is_read_in_pieces_and_in_a_thread():
    import threading

    threads = set()
    size = 3_000_000

    def pieces():
        threads.add(threading.current_thread().name)
        for _ in range(size // 100):
            yield b"x" * 98 + b"\r\n"

    end = MAIL.index(b"\r\n\r\n") + 4
    text = MailText(MAIL[:end], pieces, size)
    with ThreadPoolExecutor(1, "bodies") as pool:
        field = asyncio.run(sign_mail(text, [signing_key()], NOW, pool))
        (found,) = asyncio.run(
            verify_dkim(resolver(), MailText(field + MAIL[:end], pieces, size), now=NOW, executor=pool)
        )
    assert found.result == "pass"
    assert all(name.startswith("bodies") for name in threads)


def test_dkimpy_logs_nothing_of_a_message(caplog):
    with caplog.at_level(logging.DEBUG):
        verify(signed().replace(b"Hello", b"Goodbye"))
    assert [each for each in caplog.records if each.name != "asyncio"] == []
