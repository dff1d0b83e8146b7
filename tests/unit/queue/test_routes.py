"""Which transport a message takes."""

from __future__ import annotations

import pytest

from echomox.config.schema import Account, Domain, Dynamic, Route, Transport
from echomox.queue.routes import Question, domain_of, find_way, matches

DYNAMIC = Dynamic(
    domains={"here.test": Domain(routes=(Route(to_domains=(".partner.test",), transport="relay"),))},
    accounts={"ann": Account(routes=(Route(to_domains=("x.test",), transport="socks"),))},
    transports={"relay": Transport("smtp", host="h"), "socks": Transport("socks", host="p"), "no": Transport("fail")},
    routes=(
        Route(to_domains=("bad.test",), transport="no"),
        Route(from_domains=("here.test",), minimum_attempt=3, transport="relay"),
        Route(to_domains=("gone.test",), transport="nowhere"),
    ),
)


@pytest.mark.parametrize(
    ("pattern", "domain", "fits"),
    [
        ("a.test", "a.test", True), ("A.test", "a.test", True), ("a.test", "b.a.test", False),
        (".a.test", "b.a.test", True), (".a.test", "a.test", True), (".a.test", "ba.test", False), ("*", "x", True),
    ],
)  # fmt: skip
def test_patterns(pattern, domain, fits):
    assert matches(pattern, domain) is fits


@pytest.mark.parametrize(
    ("question", "name", "hop"),
    [
        (Question("", "a@else.test", "x.test"), "", "x.test"),
        (Question("ann", "a@else.test", "x.test"), "socks", "x.test"),  # a proxy is a way, not a destination
        (Question("", "a@here.test", "sub.partner.test"), "relay", "=relay"),
        (Question("", "a@else.test", "bad.test"), "no", "bad.test"),
        (Question("", "a@here.test", "y.test", 2), "", "y.test"),
        (Question("", "a@here.test", "y.test", 3), "relay", "=relay"),
        (Question("ann", "a@here.test", "x.test", 1, "relay"), "relay", "=relay"),  # by hand comes first
    ],
)
def test_the_first_route_that_fits(question, name, hop):
    way = find_way(DYNAMIC, question)
    assert (way.name, way.hop, way.missing) == (name, hop, "")


def test_a_transport_that_is_gone_is_said():
    assert find_way(DYNAMIC, Question("", "", "gone.test")).missing == "nowhere"
    assert find_way(DYNAMIC, Question("", "", "x.test", 1, "old")).missing == "old"


@pytest.mark.parametrize(
    ("address", "domain"),
    [("a@X.Test", "x.test"), ("a@b@c.test", "c.test"), ("a@bücher.test", "xn--bcher-kva.test"), ("a", "a")],
)
def test_domains_are_compared_as_a_labels(address, domain):
    assert domain_of(address) == domain
