"""A job to a host on loopback: what becomes of each recipient."""

import asyncio
import dataclasses

import pytest

from echomox.config.schema import Transport
from echomox.dns.fake import FakeResolver
from tests.unit.outbound.mx import BODY, EHLO, Mx, deliver, delivery, job, recipients, zone


def test_a_message_is_delivered_dots_stuffed_in_one_pipelined_transaction():
    mx = Mx()
    (outcome,) = deliver(mx)
    assert (outcome.kind, outcome.code, outcome.enhanced, outcome.text) == ("delivered", 250, "2.6.0", "taken")
    assert (outcome.remote_mta, outcome.remote_ip, outcome.tls, outcome.policy) == ("mx.example", "127.0.0.1", "", "")
    assert mx.mail == [BODY.replace(b"\r\n.dot", b"\r\n..dot") + b".\r\n"]
    assert mx.lines[:3] == [
        b"EHLO here.example",
        b"MAIL FROM:<a@here.example> SIZE=%d" % len(BODY),
        b"RCPT TO:<b@there.example> NOTIFY=FAILURE",
    ]


def test_without_dsn_a_delivered_message_is_relayed():
    (outcome,) = deliver(Mx(ehlo=("mx.example",)))
    assert outcome.kind == "relayed"


def test_helo_when_ehlo_is_not_known():
    mx = Mx({"EHLO": b"502 what\r\n"})
    (outcome,) = deliver(mx)
    assert outcome.kind == "relayed"
    assert mx.verbs[:3] == ["EHLO", "HELO", "MAIL"]


@pytest.mark.parametrize("ehlo", [EHLO, ("mx.example", "8BITMIME")])
def test_each_recipient_has_its_own_result(ehlo):
    answers = {b"<b": b"250 ok\r\n", b"<c": b"550 5.1.1 no such user\r\n", b"<d": b"450 4.2.1 later\r\n"}
    mx = Mx({"RCPT": lambda line: answers[line[8:10]]}, ehlo=ehlo)
    found = deliver(mx, job(recipients=recipients("b@there.example", "c@there.example", "d@there.example")))
    taken = "delivered" if "DSN" in ehlo else "relayed"
    assert {(o.recipient, o.kind, o.code, o.enhanced) for o in found} == {
        (1, taken, 250, "2.6.0"),
        (2, "failed", 550, "5.1.1"),
        (3, "retry", 450, "4.2.1"),
    }
    assert len(mx.mail) == 1


REPLIES = [
    ("MAIL", b"550 5.7.1 go away\r\n", "failed", 550),
    ("MAIL", b"451 4.3.0 later\r\n", "retry", 451),
    ("RCPT", b"550 5.1.1 unknown\r\n", "failed", 550),
    ("RCPT", b"450 greylisted\r\n", "retry", 450),
    ("DATA", b"554 no\r\n", "failed", 554),
    ("DATA", b"451 no\r\n", "retry", 451),
    ("DATA", b"250 what\r\n", "retry", 451),
    (".", b"554 5.7.1 spam\r\n", "failed", 554),
    (".", b"451 4.7.1 later\r\n", "retry", 451),
    (".", b"354 what\r\n", "retry", 451),
    (".", b"421 bye\r\n", "retry", 421),
    ("GREETING", b"554 no service here\r\n", "retry", 450),
    ("GREETING", b"521 no mail here\r\n", "failed", 521),
    ("GREETING", b"421 busy\r\n", "retry", 421),
    ("MAIL", b"421 bye\r\n", "retry", 421),
    ("RCPT", b"421 bye\r\n", "retry", 421),
    ("DATA", b"421 bye\r\n", "retry", 421),
]


@pytest.mark.parametrize("verb, reply, kind, code", REPLIES)
@pytest.mark.parametrize("ehlo", [EHLO, ("mx.example",)])
def test_a_reply_decides(verb, reply, kind, code, ehlo):
    mx = Mx({verb: reply}, ehlo=ehlo)
    (outcome,) = deliver(mx)
    assert (outcome.kind, outcome.code) == (kind, code)


def test_no_recipient_taken_leaves_the_waiting_host_an_empty_message():
    # RFC 2920 3.1: DATA was in the pipeline and got its 354.
    mx = Mx({"RCPT": b"550 no\r\n"})
    (outcome,) = deliver(mx)
    assert (outcome.kind, outcome.text) == ("failed", "no")


def test_the_next_host_is_tried_in_order_of_preference():
    mx = Mx({"GREETING": [b"421 busy\r\n", b"220 hello\r\n"]})
    resolver = FakeResolver(zone("mx1.example", "mx2.example"))
    (outcome,) = deliver(mx, tables=resolver)
    assert (outcome.kind, outcome.remote_mta, mx.connections) == ("delivered", "mx2.example", 2)


def test_a_recipient_refused_for_now_is_not_taken_elsewhere():
    mx = Mx({"RCPT": b"450 greylisted\r\n"})
    (outcome,) = deliver(mx, tables=zone("mx1.example", "mx2.example"))
    assert (outcome.kind, outcome.remote_mta, mx.connections) == ("retry", "mx1.example", 1)


DOMAINS = [
    ({("there.example", "MX"): [(0, ".")]}, "failed", 556, "5.1.10"),
    ({}, "failed", 550, "5.1.2"),
    ({("there.example", "TXT"): "x"}, "failed", 550, "5.1.2"),
    ({("there.example", "MX"): [(10, "here.example")]}, "failed", 550, "5.4.6"),
    ({("there.example", "MX"): [(10, "nowhere.example")]}, "failed", 550, "5.4.4"),
]


@pytest.mark.parametrize("tables, kind, code, enhanced", DOMAINS)
def test_a_domain_that_gets_no_mail(tables, kind, code, enhanced):
    (outcome,) = deliver(Mx(), tables=FakeResolver(tables))
    assert (outcome.kind, outcome.code, outcome.enhanced, outcome.unreachable) == (kind, code, enhanced, True)


def test_dns_trouble_means_later():
    (outcome,) = deliver(Mx(), tables=FakeResolver({}, fail=["there.example"]))
    assert (outcome.kind, outcome.code, outcome.enhanced) == ("retry", 451, "4.4.3")


def test_a_domain_without_mx_gets_mail_at_its_own_address():
    (outcome,) = deliver(Mx(), tables={("there.example", "A"): "127.0.0.1"})
    assert (outcome.kind, outcome.remote_mta) == ("delivered", "there.example")


def test_an_address_literal_needs_no_dns():
    resolver = FakeResolver({})
    (outcome,) = deliver(Mx(), job(domain="[127.0.0.1]"), resolver)
    assert outcome.kind == "delivered"
    assert resolver.asked == []


def test_several_messages_go_over_one_connection_without_asking_dns_again():
    mx = Mx()
    resolver = FakeResolver(zone("mx.example"))

    async def run():
        async with mx, delivery(mx.port, resolver, idle_time=5) as remote:
            first = await remote.deliver(job())
            asked = len(resolver.asked)
            others = [await remote.deliver(job()) for _ in range(3)]
            assert len(resolver.asked) == asked
            assert remote.connections.idle() == 1
            return [first, *others]

    assert [outcomes[0].kind for outcomes in asyncio.run(run())] == ["delivered"] * 4
    assert mx.connections == 1
    assert "RSET" not in mx.verbs


def test_a_refused_transaction_is_reset_before_the_next():
    mx = Mx({"MAIL": [b"550 no\r\n", b"250 ok\r\n"], "DATA": [b"503 no recipients\r\n", b"354 go\r\n"]})

    async def run():
        async with mx, delivery(mx.port, FakeResolver(zone("mx.example")), idle_time=5) as remote:
            await remote.deliver(job())
            await asyncio.gather(*remote._tasks)
            return await remote.deliver(job())

    (outcome,) = asyncio.run(run())
    assert outcome.kind == "delivered"
    assert mx.connections == 1
    assert mx.verbs.count("RSET") == 1


def test_a_kept_connection_that_was_closed_costs_only_a_new_one():
    mx = Mx({"MAIL": [b"250 ok\r\n", b"421 idle too long\r\n", b"250 ok\r\n"]})

    async def run():
        async with mx, delivery(mx.port, FakeResolver(zone("mx.example")), idle_time=5) as remote:
            await remote.deliver(job())
            return await remote.deliver(job())

    (outcome,) = asyncio.run(run())
    assert (outcome.kind, mx.connections) == ("delivered", 2)


def test_a_connection_has_its_number_of_messages():
    mx = Mx(ehlo=(*EHLO, "LIMITS MAILMAX=2"))

    async def run():
        async with mx, delivery(mx.port, FakeResolver(zone("mx.example")), idle_time=5) as remote:
            for _ in range(5):
                (outcome,) = await remote.deliver(job())
                assert outcome.kind == "delivered"

    asyncio.run(run())
    assert mx.connections == 3


def test_recipients_beyond_what_the_host_takes_go_in_further_transactions():
    mx = Mx(ehlo=(*EHLO, "LIMITS RCPTMAX=2"))
    found = deliver(mx, job(recipients=recipients(*(f"u{n}@there.example" for n in range(5)))))
    assert sorted(o.recipient for o in found if o.kind == "delivered") == [1, 2, 3, 4, 5]
    assert (mx.verbs.count("MAIL"), mx.connections) == (3, 1)


def test_too_many_recipients_means_the_rest_at_once():
    taken = iter([b"250 ok\r\n", b"452 4.5.3 too many\r\n", b"250 ok\r\n"])
    mx = Mx({"RCPT": lambda _: next(taken)})
    found = deliver(mx, job(recipients=recipients("b@there.example", "c@there.example")))
    assert [o.kind for o in found] == ["delivered", "delivered"]
    assert mx.verbs.count("MAIL") == 2


def test_a_message_too_large_for_the_host_is_refused_without_sending_it():
    mx = Mx(ehlo=("mx.example", "SIZE 10"))
    (outcome,) = deliver(mx)
    assert (outcome.kind, outcome.code, outcome.enhanced) == ("failed", 552, "5.3.4")
    assert "MAIL" not in mx.verbs


def test_smtputf8_is_asked_for_only_when_it_is_needed():
    mx = Mx()
    deliver(mx, job(smtputf8=True))
    assert b"SMTPUTF8" not in mx.lines[1]
    mx = Mx()
    deliver(mx, job(smtputf8=True, recipients=recipients("jürgen@there.example")))
    assert mx.lines[1].endswith(b"BODY=8BITMIME SMTPUTF8")
    assert mx.lines[2].startswith("RCPT TO:<jürgen@there.example>".encode())
    (outcome,) = deliver(
        Mx(ehlo=("mx.example",)), job(smtputf8=True, recipients=recipients("jürgen@there.example"))
    )
    assert (outcome.kind, outcome.enhanced) == ("failed", "5.6.7")


def test_a_domain_in_u_labels_needs_no_smtputf8():
    mx = Mx(ehlo=("mx.example",))
    (outcome,) = deliver(mx, job(smtputf8=True, recipients=recipients("b@müller.example")))
    assert outcome.kind == "relayed"
    assert b"RCPT TO:<b@xn--mller-kva.example>" in mx.lines


def test_dsn_parameters():
    mx = Mx()
    one = job(ret="hdrs", envid="a+b c")
    who = one.recipients[0]
    who = type(who)(1, who.address, "rfc822;b+x@there.example", frozenset({"success", "failure"}))
    deliver(mx, job(ret="hdrs", envid="a+b c", recipients=(who,)))
    assert mx.lines[1].endswith(b" RET=HDRS ENVID=a+2Bb+20c")
    assert mx.lines[2].endswith(b" NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;b+2Bx@there.example")


def test_binary_goes_in_chunks_or_not_at_all():
    body = b"From: a@b.c\r\n\r\n\0\n\r" + bytes(range(256)) * 1000
    mx = Mx(ehlo=(*EHLO, "CHUNKING", "BINARYMIME"))
    (outcome,) = deliver(mx, job(binary=True, body=body, size=len(body)))
    assert outcome.kind == "delivered"
    assert b"".join(mx.mail) == body
    (outcome,) = deliver(Mx(), job(binary=True))
    assert (outcome.kind, outcome.enhanced) == ("failed", "5.6.1")


def test_a_message_from_a_file_with_its_prefix(tmp_path):
    file = tmp_path / "m"
    lines = b"".join(b".%d\r\n" % n for n in range(50_000))
    file.write_bytes(BODY + lines)
    mx = Mx()
    (outcome,) = deliver(mx, job(body=None, file=file, prefix=b"X: y\r\n", size=1000))
    assert outcome.kind == "delivered"
    assert mx.mail[0].replace(b"\r\n..", b"\r\n.").removesuffix(b".\r\n") == b"X: y\r\n" + BODY + lines


def test_a_file_that_is_gone_means_later(tmp_path):
    (outcome,) = deliver(Mx(), job(body=None, file=tmp_path / "gone"))
    assert (outcome.kind, outcome.enhanced) == ("retry", "4.3.0")


def test_a_transport_that_refuses():
    transport = Transport(kind="fail", code=451, text="not now")
    (outcome,) = deliver(Mx(), job(transport=transport))
    assert (outcome.kind, outcome.code, outcome.enhanced, outcome.text) == ("retry", 451, "4.7.1", "not now")


def test_the_whole_try_has_its_time():
    mx = Mx({"MAIL": lambda _: asyncio.sleep(60)})
    (outcome,) = deliver(mx, attempt_timeout=0.2)
    assert (outcome.kind, outcome.enhanced, outcome.unreachable) == ("retry", "4.4.7", True)


def test_no_connection_means_later():
    async def run():
        async with Mx() as mx:
            pass
        async with delivery(mx.port, FakeResolver(zone("mx.example"))) as remote:
            return await remote.deliver(job())

    (outcome,) = asyncio.run(run())
    assert (outcome.kind, outcome.enhanced, outcome.remote_mta) == ("retry", "4.4.1", "mx.example")


def test_line_ends_in_an_address_are_no_commands():
    mx = Mx()
    found = deliver(mx, job(recipients=recipients("b@there.example", "c@there.example>\r\nDATA\r\n")))
    assert sorted((o.recipient, o.kind) for o in found) == [(1, "delivered"), (2, "failed")]
    assert len(mx.mail) == 1


def test_messages_for_several_domains_share_a_connection_to_a_relay():
    mx = Mx()
    relay = Transport(kind="smtp", host="127.0.0.1", tls="none")

    async def run():
        async with mx, delivery(25, FakeResolver({}), idle_time=5) as remote:
            transport = dataclasses.replace(relay, port=mx.port)
            for n in range(3):
                (outcome,) = await remote.deliver(job(domain=f"d{n}.example", transport=transport))
                assert outcome.kind == "delivered"

    asyncio.run(run())
    assert mx.connections == 1
