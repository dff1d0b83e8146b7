"""Outcomes: what each does to the message, and what its sender is told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from echomox.config.schema import Queue
from echomox.queue import control, suppression
from echomox.queue.commit import once
from echomox.queue.finish import drop, fail, forget_retired
from echomox.queue.model import NEVER, QueueRecipient
from echomox.queue.routes import Way
from tests.unit.queue.support import NOW, Bench, mail, outcome


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def left(bench):
    return bench.one(
        "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM content), (SELECT count(*) FROM body)"
    )


def status(bench, identity):
    return bench.one("SELECT status FROM retired WHERE id = ?", identity)


def told(bench):
    return [(fate.address, fate.action) for report in bench.reports for fate in report.fates]


def to(address, notify, orcpt=""):
    return QueueRecipient(address, orcpt, frozenset(notify.split(",")))


def test_delivered_is_over_and_its_bytes_go_with_the_last_recipient(bench):
    one, two = bench.add(mail("a@x.test", "b@x.test"))
    bench.lease()
    bench.finish(outcome(one, "delivered"))
    assert left(bench) == (1, 1, 1)
    bench.finish(outcome(two, "delivered"))
    assert left(bench) == (0, 0, 0)
    assert status(bench, one) == "delivered"
    assert bench.reports == []


def test_each_step_of_the_schedule_happens(bench):
    (identity,) = bench.add(mail("a@x.test"))
    bench.queue = replace(bench.queue, jitter=0.0, delay_attempt=0)
    for number, pause in enumerate((450, 900, 1800, 3600, 7200, 14400, 28800, 57600), 1):
        (leased,) = bench.lease()
        assert leased.job.attempt == number
        bench.finish(outcome(identity, "retry"))
        assert bench.lease() == []
        assert bench.one("SELECT next_attempt - ?, attempts FROM message", bench.now) == (pause, number)
        bench.now += pause
    bench.lease()
    bench.finish(outcome(identity, "retry", remote_ip="192.0.2.1"))
    assert status(bench, identity) == "failed"
    (report,) = bench.reports
    assert report.fates[0].text == "given up after 9 tries, the last: said retry"
    results = json.loads(bench.one("SELECT results FROM retired WHERE id = ?", identity))
    assert len(results) == 9
    assert results[-1]["remote_ip"] == "192.0.2.1"


def test_the_tries_that_are_kept_are_bounded(bench):
    bench.queue = Queue(schedule=(0.0,) * 60, delay_attempt=0)
    (identity,) = bench.add(mail("a@x.test"))
    for _ in range(50):
        bench.lease()
        bench.finish(outcome(identity, "retry", text="x" * 10_000))
    results = bench.one("SELECT results FROM message")
    assert len(json.loads(results)) == 20
    assert len(results) < 20_000


def test_a_delay_is_told_once(bench):
    bench.queue = Queue(schedule=(0.0,) * 8, delay_attempt=3)
    (identity,) = bench.add(mail("a@x.test"))
    for _ in range(6):
        bench.lease()
        bench.finish(outcome(identity, "retry"))
    assert told(bench) == [("a@x.test", "delayed")]


@pytest.mark.parametrize(
    ("notify", "kind", "action"),
    [
        ("failure,delay", "failed", "failed"),
        ("never", "failed", None),
        ("success", "failed", None),
        ("failure", "delivered", None),
        ("success", "relayed", "relayed"),
        ("success", "delivered", None),  # the next server does DSN and tells itself
        ("failure", "relayed", None),
        ("failure", "suppressed", "failed"),
        ("never", "suppressed", None),
    ],
)
def test_who_is_told_what(bench, notify, kind, action):
    """RFC 3461 4.1, 5.2.2, 5.2.6"""
    (identity,) = bench.add(mail(to("a@x.test", notify)))
    bench.lease()
    bench.finish(outcome(identity, kind))
    assert told(bench) == ([("a@x.test", action)] if action else [])


def test_what_we_put_into_a_mailbox_is_ours_to_tell(bench):
    (identity,) = bench.add(mail(to("a@x.test", "success")))
    bench.lease()
    bench.finish(outcome(identity, "delivered", remote_mta=""))
    assert told(bench) == [("a@x.test", "delivered")]


def test_no_report_about_mail_without_a_sender(bench):
    """RFC 5321 4.5.5"""
    (identity,) = bench.add(mail("a@x.test", sender=""))
    bench.lease()
    bench.finish(outcome(identity, "failed"))
    assert bench.reports == []


def test_a_report_is_queued_in_the_same_transaction(bench):
    (identity,) = bench.add(mail("a@x.test"))
    bench.lease()
    with pytest.raises(ZeroDivisionError):
        once(bench.connection, lambda c: (bench_finish(bench, c, identity), 1 / 0))
    assert left(bench)[0] == 1
    done = bench.finish(outcome(identity, "failed"))
    assert bench.rows("SELECT id FROM message") == [(done.reports[0],)]
    bench.finish(outcome(identity, "failed"))
    assert left(bench)[0] == 1  # said twice, told once


def bench_finish(bench, connection, identity):
    from echomox.queue.finish import finish

    return finish(connection, "w", [outcome(identity, "failed")], bench.context())


def test_recipients_that_fail_together_are_one_report(bench):
    ids = bench.add(mail("a@x.test", "b@x.test", "c@x.test"))
    bench.lease()
    bench.finish(outcome(ids[0], "failed"), outcome(ids[1], "failed"), outcome(ids[2], "delivered"))
    assert told(bench) == [("a@x.test", "failed"), ("b@x.test", "failed")]
    assert len(bench.reports) == 1


@pytest.mark.parametrize(
    ("ret", "size", "whole"), [("", 100, True), ("full", 100, True), ("hdrs", 100, False), ("", 10, False)]
)
def test_the_original_comes_back_as_asked_and_as_it_fits(bench, ret, size, whole):
    """RFC 3461 4.3"""
    bench.queue = Queue(return_size=size)
    (identity,) = bench.add(mail("a@x.test", ret=ret, prefix=b"X: y\r\n"))
    bench.lease()
    bench.finish(outcome(identity, "failed"))
    (report,) = bench.reports
    assert report.header == b"X: y\r\nFrom: a@here.test\r\nSubject: s\r\n"
    assert report.body == (b"body\r\n" if whole else b"")


def test_a_dead_destination_counts_a_try_without_one(bench):
    ids = [bench.add(mail(f"u{n}@dead.test"))[0] for n in range(600)]
    other = bench.add(mail("a@alive.test"))[0]
    done = bench.put_off("dead.test", outcome(0, "retry", text="no connection"))
    assert len(done.statuses) == 500
    done = bench.put_off("dead.test", outcome(0, "retry", text="no connection"))
    assert len(done.statuses) == 100
    assert bench.one("SELECT min(attempts), max(attempts) FROM message WHERE id != ?", other) == (1, 1)
    assert bench.one("SELECT attempts FROM message WHERE id = ?", other) == 0
    assert [leased.hop for leased in bench.lease()] == ["alive.test"]
    assert len(ids) == 600


def test_what_has_a_way_round_a_dead_destination_by_now_is_not_put_off(bench):
    bench.add(mail("a@dead.test"))
    bench.add(mail("b@dead.test", sender="you@other.test"))
    bench.ways = lambda question: Way("=relay" if question.sender == "me@here.test" else question.domain)
    done = bench.put_off("dead.test", outcome(0, "retry", text="no connection"))
    assert len(done.statuses) == 1
    assert bench.rows("SELECT recipient, attempts, hop FROM message m JOIN flow f ON f.id = m.flow ORDER BY m.id") == [
        ("a@dead.test", 0, "=relay"),
        ("b@dead.test", 1, "dead.test"),
    ]


def test_put_off_to_the_end_is_told(bench):
    bench.queue = Queue(schedule=(0.0,))
    bench.add(mail("a@dead.test"))
    bench.put_off("dead.test", outcome(0, "retry", text="no connection"))
    assert told(bench) == [("a@dead.test", "failed")]


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "suppressed"),
    [
        (550, "5.1.1", "x", True),
        (550, "5.7.1", "user unknown to our spam filter", False),
        (550, "", "User unknown", True),
        (554, "5.0.0", "no such user here", True),
        (550, "", "blocked", False),
        (556, "5.1.10", "null MX", True),
    ],
)
def test_recipients_that_do_not_exist_are_remembered(bench, code, enhanced, text, suppressed):
    (identity,) = bench.add(mail("Some.One+tag@gmail.com"))
    bench.lease()
    bench.finish(replace(outcome(identity, "failed", text=text), code=code, enhanced=enhanced))
    assert suppression.is_suppressed(bench.connection, "me", "someone@GMAIL.com") is suppressed
    assert not suppression.is_suppressed(bench.connection, "other", "someone@gmail.com")
    again = bench.add(mail("someone+x@gmail.com"))
    (job,) = [leased for leased in bench.lease() if leased.job.kind == "submission"]
    assert job.suppressed == (frozenset(again) if suppressed else frozenset())


def test_it_takes_as_many_answers_as_configured(bench):
    for wanted in (False, False, True):
        once(bench.connection, lambda c: suppression.note_refusal(c, "me", "a@x.test", "no", 3))
        assert suppression.is_suppressed(bench.connection, "me", "a@x.test") is wanted
    assert once(bench.connection, lambda c: suppression.remove(c, "me", "A+b@x.test"))
    assert not suppression.is_suppressed(bench.connection, "me", "a@x.test")


def test_by_hand_fail_tells_and_drop_does_not(bench):
    one, two = bench.add(mail("a@x.test", "b@x.test"))
    once(bench.connection, lambda c: drop(c, [one], bench.context()))
    assert told(bench) == []
    once(bench.connection, lambda c: fail(c, [two], "not today", bench.context()))
    assert told(bench) == [("b@x.test", "failed")]
    assert (status(bench, one), status(bench, two)) == ("dropped", "failed")


def test_what_is_under_way_cannot_be_dropped(bench):
    (identity,) = bench.add(mail("a@x.test"))
    bench.lease()
    assert once(bench.connection, lambda c: drop(c, [identity], bench.context())).lost == [identity]


def test_what_is_over_is_kept_as_long_as_configured(bench):
    bench.queue = Queue(keep_delivered=0.0, keep_failed=100.0)
    one, two = bench.add(mail(to("a@x.test", "never"), to("b@x.test", "never")))
    bench.lease()
    bench.finish(outcome(one, "delivered"), outcome(two, "failed"))
    assert bench.rows("SELECT id FROM retired") == [(two,)]
    assert once(bench.connection, lambda c: forget_retired(c, NOW + 99)) == 0
    assert once(bench.connection, lambda c: forget_retired(c, NOW + 101)) == 1


def test_listing_finds_by_every_filter_and_shows_the_fields_of_the_seed(bench):
    bench.add(mail("a@x.test", subject="Hi", tls=True, transport="t"))
    bench.add(mail("b@y.test", account="", sender="", kind="dsn"))
    find = lambda **wanted: [one["RcptTo"] for one in control.listing(bench.connection, control.Filter(**wanted), 9, 9)]  # noqa: E731
    assert find() == ["a@x.test", "b@y.test"]
    for wanted in (
        {"account": "me"}, {"sender": "ME@"}, {"sender_domain": "here.test"}, {"recipient": "a@"}, {"subject": "hi"},
        {"recipient_domain": "X.test"}, {"transport": "t"}, {"kind": "submission"}, {"ids": (1,)},
    ):  # fmt: skip
        assert find(**wanted) == ["a@x.test"], wanted
    assert find(account="") == find(after=1) == ["b@y.test"]
    assert find(sender_domain="%") == find(before=NOW - 1) == find(state="held") == []
    shown = control.listing(bench.connection, control.Filter(), 1, 9)[0]
    assert {"ID", "MessageID", "Sender", "RcptTo", "Queued", "Size", "IsTLS", "RequireTLS", "Transport"} <= set(shown)
    assert (shown["Attempts"], shown["MaxAttempts"], shown["NextAttempt"], shown["Status"]) == (0, 9, NOW, "queued")


def test_hold_rules_hold_what_is_there_and_what_comes(bench):
    bench.add(mail("a@x.test"))
    number, held = once(bench.connection, lambda c: control.add_rule(c, ("me", "", "x.test"), NOW))
    assert held == 1
    bench.add(mail("b@x.test"))
    bench.add(mail("c@y.test"))
    bench.add(mail("d@x.test", account="other"))
    assert bench.rows("SELECT recipient FROM message WHERE hold = ?", f"hold rule {number}") == [
        ("a@x.test",),
        ("b@x.test",),
    ]
    assert once(bench.connection, lambda c: control.remove_rule(c, number))
    assert not once(bench.connection, lambda c: control.remove_rule(c, number))


def test_a_new_time_takes_effect(bench):
    ids = bench.add(mail("a@x.test"))
    once(bench.connection, lambda c: control.reschedule(c, ids, ("by", 500.0), bench.ways))
    assert bench.lease() == []
    assert bench.wait_until == NOW + 500
    once(bench.connection, lambda c: control.reschedule(c, ids, ("at", NOW), bench.ways))
    assert len(bench.lease()) == 1


@pytest.mark.parametrize("value", [True, False, None])
def test_tls_by_hand(bench, value):
    ids = bench.add(mail("a@x.test"))
    assert once(bench.connection, lambda c: control.set_require_tls(c, ids, value)) == 1
    assert bench.lease()[0].job.require_tls is value


def test_never_is_told_nothing():
    assert frozenset({"never"}) == NEVER
