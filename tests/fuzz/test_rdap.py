"""What registries say: a value in bounds or the one declared error, nothing else."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.outbound.https import GetError, split
from echomox.outbound.rdap import MOST, TEXT, RdapError, parse_bootstrap, parse_domain, servers_for

WORDS = st.sampled_from(
    ["registration", "expiration", "registrar", "fn", "2001-02-03T04:05:06Z", "0001-01-01T00:00:00+23:59", "test",
     "9999-12-31T23:59:59-23:59", "https://a.example/", "http://a.example", "https://[::1", "\x1b[31m", ""]
)  # fmt: skip
LEAF = st.one_of(WORDS, st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5))
KEYS = st.sampled_from(
    ["objectClassName", "ldhName", "events", "eventAction", "eventDate", "entities", "roles", "vcardArray", "status",
     "nameservers", "secureDNS", "delegationSigned", "publicIds", "identifier", "services"]
)  # fmt: skip
VALUES = st.recursive(
    LEAF, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=6)), max_leaves=30
)
EVENTS = st.lists(st.fixed_dictionaries({"eventAction": WORDS, "eventDate": LEAF}), max_size=3)
DOMAINS = st.fixed_dictionaries({"ldhName": LEAF, "events": st.one_of(EVENTS, VALUES)}, optional={"entities": VALUES})
ANSWERS = st.one_of(
    st.binary(max_size=100),
    st.one_of(DOMAINS, st.dictionaries(KEYS, VALUES)).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=400, deadline=None)
@given(ANSWERS)
def test_an_answer(data):
    try:
        found = parse_domain(data, "a.test", 1e9)
    except RdapError:
        return
    assert len(found.nameservers) <= MOST and len(found.status) <= MOST
    texts = [found.domain, found.registrar, found.registered, found.expires, *found.status, *found.nameservers]
    assert all(text.isprintable() and len(text) <= TEXT for text in texts)


@settings(max_examples=400, deadline=None)
@given(st.one_of(ANSWERS, VALUES.map(lambda value: json.dumps({"services": [[["test"], value]]}).encode())))
def test_a_bootstrap_file(data):
    try:
        services = parse_bootstrap(data)
    except RdapError:
        return
    for url in servers_for(services, "a.test"):
        assert url.startswith("https://") and url.endswith("/")


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=3).map("".join)))
def test_an_address_of_a_server(url):
    try:
        parts, host, port = split(url)
    except GetError:
        return
    assert parts.scheme == "https" and host and 0 < port < 65536
