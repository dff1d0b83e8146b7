"""RDAP against an HTTPS server of our own: the bootstrap file, redirects, answers in the form of RFC 9083, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl

import pytest
import trustme

from echomox.dns.fake import FakeResolver
from echomox.outbound.https import GetError, Getter
from echomox.outbound.rdap import (
    KEPT,
    Bootstrap,
    RdapError,
    ask,
    parse_bootstrap,
    parse_domain,
    servers_for,
)

NOW = 1_600_000_000.0

# RFC 9224 4, with one registry more.
BOOTSTRAP = {
    "version": "1.0",
    "publication": "2024-01-07T10:11:12Z",
    "description": "Some text",
    "services": [
        [["net", "com"], ["https://registry.example.com/myrdap/"]],
        [["org", "mytld"], ["https://example.org/"]],
        [["xn--zckzah"], ["http://example.net/rdap/xn--zckzah/", "https://example.net/rdap/xn--zckzah"]],
        [["co.test"], ["https://second.example/"]],
        [["test"], ["https://first.example/"]],
    ],
}

# After RFC 9083 5.3, shortened.
DOMAIN = {
    "objectClassName": "domain",
    "handle": "D-1836",
    "ldhName": "Example.COM",
    "nameservers": [
        {"objectClassName": "nameserver", "ldhName": "ns1.example.com"},
        {"objectClassName": "nameserver", "ldhName": "NS2.example.com."},
    ],
    "secureDNS": {"zoneSigned": True, "delegationSigned": True, "maxSigLife": 604800},
    "entities": [
        {"objectClassName": "entity", "handle": "ABC", "roles": ["registrant"]},
        {
            "objectClassName": "entity",
            "handle": "123",
            "roles": ["registrar"],
            "publicIds": [{"type": "IANA Registrar ID", "identifier": "1"}],
            "vcardArray": ["vcard", [["version", {}, "text", "4.0"], ["fn", {}, "text", "Joe's Registrar\x1b[31m"]]],
        },
    ],
    "events": [
        {"eventAction": "registration", "eventDate": "1990-12-31T23:59:60Z"},
        {"eventAction": "registration", "eventDate": "2000-12-31T23:59:59Z"},
        {"eventAction": "expiration", "eventDate": "2021-01-01T00:59:59+01:00", "eventActor": "joe@example.com"},
        {"eventAction": "last changed", "eventDate": "nonsense"},
    ],
    "status": ["locked", "transfer prohibited"],
    "notices": [{"title": "Terms of Use"}],
}


def test_which_server_is_asked():
    services = parse_bootstrap(json.dumps(BOOTSTRAP).encode())
    found = {
        name: servers_for(services, name)
        for name in ("example.com", "a.b.mytld", "x.xn--zckzah", "x.co.test", "x.test", "test", "noco.test", "x.de")
    }
    assert found == {
        "example.com": ("https://registry.example.com/myrdap/",),
        "a.b.mytld": ("https://example.org/",),
        "x.xn--zckzah": ("https://example.net/rdap/xn--zckzah/",),  # only with TLS
        "x.co.test": ("https://second.example/",),  # RFC 9224 4: the longest match
        "x.test": ("https://first.example/",),
        "test": ("https://first.example/",),
        "noco.test": ("https://first.example/",),
        "x.de": (),
    }


def test_an_answer_in_the_form_of_the_rfc():
    found = parse_domain(json.dumps(DOMAIN).encode(), "example.com", NOW)
    assert (found.domain, found.handle) == ("example.com", "D-1836")
    # 23:59:60 of the first registration is a leap second, which no clock here knows.
    assert (found.registered, found.expires, found.changed) == ("2000-12-31T23:59:59Z", "2020-12-31T23:59:59Z", "")
    assert (found.age_days, found.days_left) == (7195, 109)
    assert (found.registrar, found.registrar_id) == ("Joe's Registrar [31m", "1")
    assert found.status == ("locked", "transfer prohibited")
    assert (found.nameservers, found.signed) == (("ns1.example.com", "ns2.example.com"), True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"objectClassName": "entity"}',
        b"{}",
        b"[" * 100_000,
    ],
)
def test_what_is_no_answer_about_a_domain(data):
    with pytest.raises(RdapError):
        parse_domain(data, "example.com", NOW)


def test_an_answer_of_nonsense_says_nothing():
    data = {
        "ldhName": 7, "events": [{"eventAction": 3, "eventDate": []}, "x"], "entities": {"roles": 1}, "status": "x",
        "nameservers": [None], "secureDNS": {"delegationSigned": "yes"},
    }  # fmt: skip
    found = parse_domain(json.dumps(data).encode(), "example.com", NOW)
    assert (found.domain, found.age_days, found.registrar, found.status, found.nameservers, found.signed) == (
        "example.com", None, "", (), (), None
    )  # fmt: skip


@pytest.mark.parametrize("date", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "x" * 300, "2001", ""])
def test_a_date_out_of_the_calendar_is_none(date):
    data = {"ldhName": "a.test", "events": [{"eventAction": "expiration", "eventDate": date}]}
    found = parse_domain(json.dumps(data).encode(), "a.test", NOW)
    assert (found.expires, found.days_left) == ("", None)


# -- over HTTPS -----------------------------------------------------------------

CA = trustme.CA()


class Web:
    """answers: by path (status, header lines, body); a path that is not there is 404. asked: paths."""

    def __init__(self, names=("rdap.example",), ca=CA):
        self.answers = {}
        self.asked = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*names).configure_cert(self.context)

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        self.base = f"https://rdap.example:{self.port}/"
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def _serve(self, reader, writer):
        with contextlib.suppress(OSError, EOFError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            self.asked.append(path)
            status, lines, body = self.answers.get(path, (404, (), b'{"errorCode": 404}'))
            head = [b"HTTP/1.1 %d x" % status, *lines, b"", body]
            writer.write(b"\r\n".join(head))
            await writer.drain()
        writer.close()

    def getter(self, timeout=10.0):
        context = ssl.create_default_context()
        CA.configure_trust(context)
        tables = {("rdap.example", "A"): "127.0.0.1", ("wrong.example", "A"): "127.0.0.1"}
        return Getter(context, FakeResolver(tables), timeout)


def with_web(body, **how):
    async def run():
        async with Web(**how) as web:
            return await body(web)

    return asyncio.run(run())


def test_a_domain_is_asked_for_and_a_redirect_followed():
    async def body(web):
        text = json.dumps(DOMAIN).encode()
        web.answers["/domain/example.com"] = (301, (b"Location: /else/domain/example.com",), b"moved")
        web.answers["/else/domain/example.com"] = (200, (b"Content-Type: application/rdap+json",), text)
        found = await ask(web.getter(), web.base, "example.com", NOW)
        assert await ask(web.getter(), web.base, "nothing.example", NOW) is None
        return found, web.asked

    found, asked = with_web(body)
    assert found.registrar_id == "1"
    assert asked == ["/domain/example.com", "/else/domain/example.com", "/domain/nothing.example"]


@pytest.mark.parametrize(
    "status, lines, body, said",
    [
        (302, (b"Location: ",), b"", "status 302"),
        (302, (b"Location: /domain/example.com",), b"", "more than 5 redirects"),
        (302, (b"Location: http://rdap.example/",), b"", "not a usable https address"),
        (302, (b"Location: https://127.0.0.1/",), b"", "an address in place of a host"),
        (302, (b"Location: https://[::1/",), b"", "not a usable address"),
        (302, (b"Location: https://user:pw@rdap.example/",), b"", "not a usable https address"),
        (429, (b"Retry-After: 120",), b"{}", "asked too often, again after 120 s"),
        (400, (), b'{"title": "Bad", "description": ["so it is"]}', "status 400; Bad; so it is"),
        (500, (), b"<html>", "status 500"),
        (200, (), b"<html>", "not JSON"),
        (200, (b"Content-Length: 99999999",), b"", "longer than"),
        (200, (b"Transfer-Encoding: chunked",), b"ffffff\r\n", "longer than"),
        (200, (b"Content-Length: 10",), b"{}", "cut short"),
        (200, (b"Content-Encoding: gzip",), b"{}", "compressed"),
        (200, (b"X: " + b"y" * 20_000,), b"{}", "header too long"),
    ],
)
def test_an_answer_that_does_not_serve(status, lines, body, said):
    async def run(web):
        web.answers["/domain/example.com"] = (status, lines, body)
        await ask(web.getter(), web.base, "example.com", NOW)

    with pytest.raises(RdapError) as error:
        with_web(run)
    assert said in str(error.value)


def test_the_certificate_must_be_right():
    async def other_name(web):
        await ask(web.getter(), f"https://wrong.example:{web.port}/", "example.com", NOW)

    async def any_name(web):
        await ask(web.getter(), web.base, "example.com", NOW)

    for how, body in (({}, other_name), ({"ca": trustme.CA()}, any_name)):
        with pytest.raises(RdapError, match=r"certificate|mismatch"):
            with_web(body, **how)


def test_a_host_without_an_address_and_one_that_is_silent():
    async def body(web):
        with pytest.raises(GetError, match="no address"):
            await web.getter().get("https://nowhere.example/", "x/y", 10)

        async def hear(reader, writer):
            await reader.read()

        silent = await asyncio.start_server(hear, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        with pytest.raises(GetError, match="no answer within"):
            await web.getter(0.05).get(f"https://rdap.example:{port}/", "x/y", 10)
        silent.close()

    with_web(body)


def test_the_bootstrap_file_is_kept_for_a_day_and_longer_while_it_cannot_be_got(tmp_path):
    cache = tmp_path / "rdap.json"

    async def body(web):
        web.answers["/dns.json"] = (200, (), json.dumps(BOOTSTRAP).encode())
        made = Bootstrap(web.getter(), web.base + "dns.json", cache)
        first, _ = await made.services(NOW)
        assert servers_for(first, "example.com")
        again, whence = await made.services(NOW + KEPT - 1)
        assert (again, "24.0 h ago" in whence, len(web.asked)) == (first, True, 1)
        web.answers["/dns.json"] = (500, (), b"")
        late, whence = await made.services(NOW + 3 * KEPT)
        assert (late, "not got anew: status 500" in whence) == (first, True)
        cache.write_bytes(b'{"url": 1')  # damaged: as if it were not there
        with pytest.raises(RdapError, match="status 500"):
            await made.services(NOW)
        other = Bootstrap(web.getter(), web.base + "other.json", cache)
        with pytest.raises(RdapError, match="status 404"):
            await other.services(NOW)

    with_web(body)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"services": 1}', b'{"services": []}', b'{"services": [1, [2, 3]]}'])
def test_a_bootstrap_file_of_nonsense_is_an_error(body):
    with pytest.raises(RdapError):
        parse_bootstrap(body)
