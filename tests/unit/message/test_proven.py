"""Names that checks have proven, as pairs for the filter."""

import pytest

from echomox.message.proven import MOST, proven, written


@pytest.mark.parametrize(
    "name, kept",
    [
        ("example.org", "example.org"),
        ("Example.ORG.", "example.org"),
        ("_x.a-b.example", "_x.a-b.example"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("münchen.example", ""),
        ("org", ""),
        ("", ""),
        (".org", ""),
        ("a..org", ""),
        ("a b.org", ""),
        ("a.org\n", ""),
        ("[192.0.2.1]", ""),
        ("a" * 64 + ".org", ""),
        (".".join(["a" * 60] * 5), ""),
    ],
    ids=lambda text: text if text.isascii() and text.isprintable() and len(text) < 30 else "",
)
def test_only_names_are_taken(name, kept):
    assert proven([name], []) == ((("spf-domain", kept),) if kept else ())
    assert proven([], [name]) == ((("dkim-domain", kept),) if kept else ())


def test_each_once_and_not_too_many():
    names = [f"s{number}.example" for number in range(20)]
    assert proven([], ["b.example", "a.example", "B.example"]) == (
        ("dkim-domain", "b.example"), ("dkim-domain", "a.example"),
    )  # fmt: skip
    assert len(proven(["a.example", "b.example"], names)) == 1 + MOST


@pytest.mark.parametrize(
    "field, found",
    [
        (b"Authentication-Results: mx; none", ()),
        (b"Authentication-Results: mx", ()),
        (b"", ()),
        (b"Authentication-Results: dkim=pass header.d=a.example", ()),
        (b"A: mx;\r\n\tspf=fail smtp.mailfrom=a@a.example", (("spf", "fail"),)),
        (b"A: mx; spf=pass smtp.mailfrom=@a.example", (("spf", "pass"), ("spf-domain", "a.example"))),
        (b"A: mx; spf=pass smtp.mailfrom=\"a.b@\"", (("spf", "pass"),)),
        (b"A: mx; spf=pass smtp.helo=a.example", (("spf", "pass"), ("spf-domain", "a.example"))),
        (b"A: mx; dkim=pass reason=\"x header.d=b.example\" header.d=a.example;\r\n\tdkim=pass",
         (("dkim", "pass"), ("dkim", "pass"), ("dkim-domain", "a.example"))),
        (b"A: mx; x=pass header.d=a.example; dmarc=pass header.from=a.example", (("dmarc", "pass"),)),
        (b"A: mx; dkim=pass header.d=\xff.example", (("dkim", "pass"),)),
        (b'A: mx; dmarc=fail reason="the policy asks for nothing" header.from=a.example', (("dmarc", "watched"),)),
        (b'A: mx; dkim=fail reason="the policy asks for nothing"; dmarc=fail', (("dkim", "fail"), ("dmarc", "fail"))),
    ],
    ids=range(13),
)  # fmt: skip
def test_what_a_stored_field_says(field, found):
    assert written(field) == found
