"""Every fact is made by a minimal message of its own, and not by a plain one."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from echomox.dns.psl import organisational_domain as organisation
from echomox.filter.factheader import box_of
from echomox.filter.factlinks import BRANDS, host_facts, looks_like
from echomox.filter.facts import FACTS, facts, head_of, word_table
from echomox.filter.features import Envelope, read
from echomox.reservoir.rules import Words

TABLE = word_table(
    [
        Words("wares", "spam_words", ("cheap pills", "viagra", "casino"), 1),
        Words("wares", "spam_words", ("今すぐ購入", "kostenlos"), 2),
    ]
)
PLAIN = {
    "From": "Ann Other <ann@example.org>",
    "To": "Bob <bob@example.net>",
    "Subject": "Lunch on Friday",
    "Date": "Fri, 01 Mar 2024 10:00:00 +0100",
    "Message-ID": "<20240301.abcdef@mail.example.com>",
}


def found(
    body: str = "Shall we meet at noon, or later in the day?",
    head: dict[str, str | None] | None = None,
    kind: str = "",
    outside: dict[str, Any] | None = None,
    envelope: Envelope | None = None,
) -> dict[str, dict[str, float]]:
    """head: fields changed (None: left out). kind: Content-Type, with MIME-Version."""
    fields: dict[str, str | None] = {**PLAIN, **(head or {})}
    if kind:
        fields = {"MIME-Version": "1.0", "Content-Type": kind, **fields}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    data = ("\r\n".join([*lines, "", *body.split("\n")]) + "\r\n").encode()
    features = read(data, envelope or Envelope())
    objects = facts(features, head_of(features.sender), TABLE, outside or {})
    return {home: {item.type: item.value for item in items} for home, items in objects.items()}


def page(html: str) -> dict[str, Any]:
    return {"body": html, "kind": "text/html; charset=utf-8"}


def link(href: str, text: str = "look here") -> dict[str, Any]:
    return page(f'<p>Good morning to you.</p><a href="{href}">{text}</a>')


def attached(name: str, kind: str = "application/octet-stream") -> dict[str, Any]:
    body = (
        "--x\nContent-Type: text/plain\n\nhere\n"
        f'--x\nContent-Type: {kind}\nContent-Disposition: attachment; filename="{name}"\n\nzzz\n--x--'
    )
    return {"body": body, "kind": "multipart/mixed; boundary=x"}


SIGNED = "--x\nContent-Type: text/plain\n\nhi\n--x\nContent-Type: application/pgp-signature\n\nzz\n--x--"
TEN = ", ".join(f"user{n}@example.net" for n in range(10))

CASES: list[tuple[str, dict[str, Any]]] = [
    ("html_only", page("<p>hello</p>")),
    ("plain_only", {}),
    ("image_only", page('<img src="http://a.example/x.png">')),
    ("remote_images", page('<p>x</p><img src="http://a.example/x.png">')),
    ("web_bug", page('<p>x</p><img src="http://a.example/x.png" width=1 height=1>')),
    ("hidden_text", page('<p>x</p><div style="display:none">unseen words</div>')),
    ("html_form", page("<form action=x>x</form>")),
    ("html_script", page("<script>x</script><p>x</p>")),
    ("broken_words", page("<p>vi<!-- x -->agra</p>")),
    ("mostly_tags", page("<p>x</p>" + '<td width="10"></td>' * 200)),
    ("loud_colours", page('<font size="7" color="#ff0000">x</font>')),
    ("capitals", {"body": "ORDER YOUR COPY TODAY AND SAVE " * 3}),
    ("exclamations", {"body": "yes! no!"}),
    ("dollars", {"body": "it is $10"}),
    ("percents", {"body": "by 10%"}),
    ("disguised_word", {"body": "buy v1agra or c.a.s.i.n.o now"}),
    ("run_file", attached("photo.scr")),
    ("double_ending", attached("photo.jpg.exe")),
    ("page_file", attached("invoice.html", "text/html")),
    ("base64_text", {
        "body": base64.b64encode(b"plain words of no secret at all, " * 6).decode(),
        "kind": "text/plain", "head": {"Content-Transfer-Encoding": "base64"},
    }),
    ("unnamed_charset", {"body": "über alles", "kind": "text/plain"}),
    ("broken_mime", {"body": "no part\n", "kind": "multipart/mixed; boundary=x"}),
    ("phone", {"body": "call 1-800-555-1234"}),
    ("no_text", {"body": " "}),
    ("quoted", {"body": "yes\n> shall we\n> meet"}),
    ("signature", {"body": "yes\n-- \nAnn"}),
    ("code", {"body": "see\ndiff -u a b\n@@ -1 +1 @@"}),
    ("pgp", {"body": SIGNED, "kind": "multipart/signed; boundary=x"}),
    ("list_footer", {"body": "yes\n_______________________\nX mailing list"}),
    ("attribution", {"body": "Ann wrote:\n> shall we"}),
    ("long_text", {"body": "many words " * 200}),
    ("link_mismatch", link("http://evil.example/", "bank.com")),
    ("link_ip", link("http://192.0.2.7/x")),
    ("link_disguised", link("http://3221225991/x")),
    ("link_punycode", link("http://xn--bcher-kva.example/")),
    ("link_mixed", link("http://xn--pypal-4ve.example/")),
    ("link_lookalike", link("http://paypa1.example/")),
    ("link_brand", link("http://paypal.secure.example/")),
    ("link_user", link("http://www.bank.com@evil.example/")),
    ("link_port", link("http://a.example:8765/")),
    ("link_redirect", link("http://a.example/?to=http://b.example/")),
    ("link_short", link("https://bit.ly/abc")),
    ("link_script", link("javascript:alert(1)")),
    ("link_hosts", page('<a href="http://a.example/">x</a><a href="http://b.test/">y</a>')),
    ("link_own", link("http://www.example.org/")),
    ("link_digits", link("http://a1b2c3d4e5f6.example/")),
    ("link_tagged", link("http://a.example/?id=bob@example.net")),
    ("link_any", {"body": "see http://a.example/x."}),
    ("thread", {"head": {"In-Reply-To": "<1@a.example>"}}),
    ("fake_reply", {"head": {"Subject": "Re: lunch"}}),
    ("list_mail", {"head": {"List-Id": "<x.example.org>"}}),
    ("list_unsubscribe", {"head": {"List-Unsubscribe": "<mailto:x@example.org>"}}),
    ("bulk", {"head": {"Precedence": "bulk"}}),
    ("no_date", {"head": {"Date": None}}),
    ("odd_date", {"head": {"Date": "2024-03-01 10:00"}}),
    ("far_date", {"outside": {"received": 1_800_000_000.0}}),
    ("no_message_id", {"head": {"Message-ID": None}}),
    ("odd_message_id", {"head": {"Message-ID": "<12345>"}}),
    ("no_to", {"head": {"To": None}}),
    ("undisclosed", {"head": {"To": "undisclosed-recipients:;"}}),
    ("many_recipients", {"head": {"To": TEN}}),
    ("no_subject", {"head": {"Subject": None}}),
    ("subject_capitals", {"head": {"Subject": "READ THIS TODAY"}}),
    ("subject_marks", {"head": {"Subject": "news!"}}),
    ("subject_gaps", {"head": {"Subject": "v i a g r a for you"}}),
    ("subject_tail", {"head": {"Subject": "good news for you      kjxq7"}}),
    ("subject_label", {"head": {"Subject": "ADV: good news"}}),
    ("subject_name", {"head": {"To": "robert@example.net", "Subject": "robert, good news"}}),
    ("subject_hidden", {"head": {"Subject": "=?utf-8?B?Z29vZCBuZXdz?="}}),
    ("raw_header", {"head": {"Subject": "über uns"}}),
    ("bulk_mailer", {"head": {"X-Mailer": "MassMail 3.1"}}),
    ("own_mailer", {"head": {"User-Agent": "Mutt/2.2"}}),
    ("forged_mailer", {"head": {"X-Mailer": "Microsoft Outlook Express 6.00.2800"}}),
    ("own_fields", {"head": {"Organization": "Example"}}),
    ("urgent", {"head": {"X-Priority": "1 (Highest)"}}),
    ("mime_missing", {"body": "<p>x</p>", "head": {"Content-Type": "text/html"}}),
    ("from_other", {"head": {"From": '"help@bank.com" <x@evil.example>'}}),
    ("from_domain", {"head": {"From": '"Bank.com" <x@evil.example>'}}),
    ("from_brand", {"head": {"From": "PayPal <x@evil.example>"}}),
    ("from_digits", {"head": {"From": "X <abc1234x@example.org>"}}),
    ("from_nameless", {"head": {"From": "x@example.org"}}),
    ("from_broken", {"head": {"From": "nobody"}}),
    ("reply_elsewhere", {"head": {"Reply-To": "x@other.example"}}),
    ("reply_free", {"head": {"Reply-To": "x@gmail.com"}}),
    ("free_mail", {"head": {"From": "X <x@yahoo.com>"}}),
    ("free_mail_elsewhere", {"head": {"From": "X <x@yahoo.com>"}}),
    ("id_own", {"head": {"Message-ID": "<abcd@mail.example.org>"}}),
    ("to_self", {"head": {"To": "ann@example.org"}}),
    ("known_sender", {"outside": {"known": True}}),
    ("spf_pass", {"outside": {"spf": "pass"}}),
    ("spf_fail", {"outside": {"spf": "fail"}}),
    ("spf_soft", {"outside": {"spf": "softfail"}}),
    ("dkim_pass", {"outside": {"dkim": "pass"}}),
    ("dkim_fail", {"outside": {"dkim": "fail"}}),
    ("dmarc_pass", {"outside": {"dmarc": "pass"}}),
    ("dmarc_fail", {"outside": {"dmarc": "fail"}}),
    ("sender_differs", {"envelope": Envelope(mail_from="x@other.example")}),
    ("good_past", {"outside": {"reputation": 0.5}}),
    ("bad_past", {"outside": {"reputation": -0.5}}),
    ("helo_bare", {"envelope": Envelope(helo="localhost")}),
    ("helo_ip", {"envelope": Envelope(helo="[192.0.2.1]")}),
]  # fmt: skip
HOMES = {kind: home for home, kinds in FACTS.items() for kind in kinds}
EVERYWHERE = {"plain_only"}


@pytest.mark.parametrize(("kind", "message"), CASES, ids=[case[0] for case in CASES])
def test_a_minimal_message_makes_the_fact(kind: str, message: dict[str, Any]):
    assert kind in found(**message).get(HOMES[kind], {})
    assert kind in EVERYWHERE or kind not in found().get(HOMES[kind], {})


def test_every_fact_of_the_table_has_a_case():
    assert set(HOMES) == {kind for kind, _ in CASES}


NO_MISMATCH = [
    ("http://www.bank.com/x", "bank.com"),
    ("https://login.bank.co.uk/", "www.bank.co.uk"),
    ("http://evil.example/", "read the setup.py"),
    ("http://evil.example/", "README.md"),
    ("http://evil.example/", "ann@bank.com"),
    ("http://track.example/?to=https://bank.com/", "bank.com"),
    ("http://evil.example/", "click here"),
    ("mailto:x@evil.example", "bank.com"),
    ("#top", "bank.com"),
]
MISMATCH = [
    "bank.com",
    "www.bank.com",
    "https://bank.com/login",
    "HTTP://BANK.COM",
    " (bank.com) ",
    "bank.de",
    "банк.рф",
]


@pytest.mark.parametrize(("href", "text"), NO_MISMATCH)
def test_no_mismatch(href: str, text: str):
    assert "link_mismatch" not in found(**link(href, text)).get("phishing_links", {})


@pytest.mark.parametrize("text", MISMATCH)
def test_mismatch(text: str):
    assert "link_mismatch" in found(**link("http://evil.example/", text))["phishing_links"]


@pytest.mark.parametrize(
    ("label", "brand"),
    [
        ("paypa1", "paypal"), ("pаypal", "paypal"), ("arnazon", "amazon"), ("micros0ft", "microsoft"),
        ("gooogle", "google"), ("paypla", "paypal"), ("faceb00k", "facebook"), ("netfiix", "netflix"),
        ("example", ""), ("amazons", ""), ("ink", ""),
    ],
)  # fmt: skip
def test_names_that_look_like_others(label: str, brand: str):
    assert looks_like(label) == brand


def test_no_well_known_name_passes_for_another():
    for brand in BRANDS:
        assert host_facts(f"www.{brand}.com")[2] == ()


@pytest.mark.parametrize(
    ("host", "part"),
    [
        ("a.b.example.com", "example.com"),
        ("www.bank.co.uk", "bank.co.uk"),
        ("example.de", "example.de"),
        ("x", "x"),
        ("", ""),
    ],
)
def test_organisation(host: str, part: str):
    assert organisation(host) == part


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Cheap pills and casino!", 2.0),
        ("cheap, pills", 1.0),
        ("pills are not cheap", None),
        ("今すぐ購入", 1.0),
        ("KOSTENLOS", 1.0),
    ],
)
def test_phrases_are_counted_in_any_language(text: str, count: float | None):
    message = found(text, kind="text/plain; charset=utf-8")
    assert message.get("spam_words", {}).get("wares") == count


def test_lists_are_read_as_lists():
    """What a list changes says nothing: Reply-To, the name of the list in the subject."""
    message = found(
        head={"List-Id": "x", "Reply-To": "x@lists.example", "To": "talk@lists.example", "Subject": "[talk] hi"}
    )
    assert "reply_elsewhere" not in message.get("sender", {}) and "subject_name" not in message["header"]


def test_the_address_is_the_one_in_angle_brackets():
    assert box_of("", '"a@b.example" <c@D.example.>') == ("a@b.example", "c", "d.example")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\r\n", b"\xff" * 3000, b"From: " + b"<a@" * 5000 + b"\r\n\r\n",
        b"Subject: " + b" " * 15000 + b"\r\n\r\nx",
        b"Subject: " + b"a." * 7000 + b"\r\n\r\nx", b"From: " + b"aa." * 5000 + b" <a@b.example>\r\n\r\nx",
        b"Content-Type: text/html\r\n\r\n" + b"<a href='http://" + b"a." * 3000 + b"'>" + b"b." * 3000 + b"</a>",
        b"Content-Type: text/html\r\n\r\n" + b"<a href='http://xn--" + b"\xc3\xa9" * 100 + b"/'>x</a>" * 500,
        b"\r\n" + b"http://a.example/ " * 5000,
    ],
)  # fmt: skip
def test_any_bytes_give_the_same_facts_again(data: bytes):
    features = read(data)
    first = facts(features, head_of(features.sender), TABLE)
    again = read(data)
    assert first == facts(again, head_of(again.sender), TABLE)
    assert all(
        item.type in kinds or item.type == "wares" for home, kinds in FACTS.items() for item in first.get(home, [])
    )
