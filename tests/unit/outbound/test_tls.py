"""TLS to a host on loopback: what a policy asks for is what is done, or nothing is sent."""

import asyncio
import ssl

import pytest
import trustme
from cryptography import x509

from echomox.config.schema import Transport
from echomox.dns.fake import FakeResolver
from echomox.dns.types import DnsBogus, DnsTemporary
from echomox.tlspolicy.dane import make_record
from echomox.tlspolicy.policies import Found
from tests.unit.outbound.mx import EHLO, FixedPolicies, Mx, authority, deliver, job, policy, server_context, zone

STRANGER = trustme.CA()


def leaf_of(context):
    """The certificate that a server context presents."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    a, b, c, d = (ssl.MemoryBIO() for _ in range(4))
    server = context.wrap_bio(a, b, server_side=True)
    user = client.wrap_bio(c, d)
    for _ in range(4):
        for one in (user, server):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                pass
            a.write(d.read())
            c.write(b.read())
    return x509.load_der_x509_certificate(user.getpeercert(True))


def failures(policies):
    return [(r.policy, r.domain, r.failure) for r in policies.results]


def test_tls_is_used_when_offered_whatever_the_certificate():
    policies = FixedPolicies()
    mx = Mx(tls=server_context("wrong.example", ca=STRANGER))
    (outcome,) = deliver(mx, policies=policies)
    assert (outcome.kind, outcome.tls, outcome.policy) == ("delivered", "TLSv1.3", "opportunistic")
    assert mx.verbs[:3] == ["EHLO", "STARTTLS", "EHLO"]
    assert failures(policies) == [("no-policy-found", "there.example", "")]


def test_a_handshake_that_fails_falls_back_to_plain_and_is_recorded():
    policies = FixedPolicies()
    old = server_context("mx.example")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("NULL-SHA256:@SECLEVEL=0")
    mx = Mx(tls=old)
    (outcome,) = deliver(mx, policies=policies)
    assert (outcome.kind, outcome.tls, mx.connections) == ("delivered", "", 2)
    assert failures(policies) == [("no-policy-found", "there.example", "validation-failure")]
    assert mx.counts["outbound_tls_fallback"] == 1


def test_bytes_after_the_reply_to_starttls_are_an_injection():
    mx = Mx({"STARTTLS": b"220 go\r\n250 evil\r\n"}, tls=server_context("mx.example"))
    (outcome,) = deliver(mx, policies=FixedPolicies(policy()))
    assert (outcome.kind, mx.mail) == ("retry", [])


# MTA-STS


def test_mta_sts_enforced_with_a_right_certificate():
    policies = FixedPolicies(policy())
    (outcome,) = deliver(Mx(tls=server_context("mx.example")), policies=policies)
    assert (outcome.kind, outcome.policy) == ("delivered", "mta-sts")
    (result,) = policies.results
    assert (result.policy, result.domain, result.failure) == ("sts", "there.example", "")
    assert result.patterns == ("*.example",)


def expired():
    import datetime

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    authority().issue_cert("mx.example", not_before=past, not_after=past).configure_cert(context)
    return context


WRONG = [
    (lambda: server_context("other.example"), "certificate-host-mismatch"),
    (lambda: server_context("mx.example", ca=STRANGER), "certificate-not-trusted"),
    (expired, "certificate-expired"),
    (lambda: None, "starttls-not-supported"),
]


@pytest.mark.parametrize("make, failure", WRONG)
@pytest.mark.parametrize("mode", ["enforce", "testing"])
def test_mta_sts_with_a_wrong_certificate(make, failure, mode):
    policies = FixedPolicies(policy(mode))
    mx = Mx(tls=make())
    (outcome,) = deliver(mx, policies=policies)
    if mode == "enforce":
        assert (outcome.kind, outcome.unreachable, mx.mail) == ("retry", True, [])
        assert outcome.enhanced in ("4.7.5", "4.7.10")
    else:
        assert (outcome.kind, outcome.policy) == ("delivered", "opportunistic" if mx.tls else "")
    assert failures(policies) == [("sts", "there.example", failure)]


@pytest.mark.parametrize("mode, kind", [("enforce", "retry"), ("testing", "delivered")])
def test_an_mx_outside_the_policy(mode, kind):
    policies = FixedPolicies(policy(mode, "mx.other.example"))
    mx = Mx(tls=server_context("mx.example"))
    (outcome,) = deliver(mx, policies=policies)
    assert (outcome.kind, len(mx.mail)) == (kind, kind == "delivered")
    assert failures(policies) == [("sts", "there.example", "validation-failure")]


def test_an_mx_outside_the_policy_is_passed_over():
    policies = FixedPolicies(policy("enforce", "mx2.example"))
    (outcome,) = deliver(
        Mx(tls=server_context("mx2.example")), tables=zone("mx1.example", "mx2.example"), policies=policies
    )
    assert (outcome.kind, outcome.remote_mta) == ("delivered", "mx2.example")


def test_a_policy_that_could_not_be_got_is_recorded_and_does_not_stop_mail():
    policies = FixedPolicies(found=Found(None, "", "status 404 instead of 200", "sts-policy-fetch-error"))
    (outcome,) = deliver(Mx(), policies=policies)
    assert outcome.kind == "delivered"
    assert failures(policies)[0] == ("sts", "there.example", "sts-policy-fetch-error")


# DANE


def dane_zone(port, *records):
    return {**zone("mx.example"), (f"_{port}._tcp.mx.example", "TLSA"): list(records)}


def deliver_dane(mx, records, one=None, policies=None, secure=True):
    async def run():
        from tests.unit.outbound.mx import delivery

        async with mx:
            resolver = FakeResolver(dane_zone(mx.port, *records), secure=secure)
            async with delivery(mx.port, resolver, policies) as remote:
                return await remote.deliver(one or job())

    return asyncio.run(run())


def test_dane_ee_with_a_certificate_of_nobody():
    context = server_context("whatever.example", ca=STRANGER)
    policies = FixedPolicies()
    (outcome,) = deliver_dane(Mx(tls=context), [make_record(leaf_of(context))], policies=policies)
    assert (outcome.kind, outcome.policy) == ("delivered", "dane")
    assert failures(policies) == [("tlsa", "mx.example", "")]
    assert policies.results[0].strings[0].startswith("3 1 1 ")


def test_dane_with_another_key_sends_nothing():
    context = server_context("mx.example")
    policies = FixedPolicies()
    mx = Mx(tls=context)
    (outcome,) = deliver_dane(mx, [(3, 1, 1, bytes(32))], policies=policies)
    assert (outcome.kind, outcome.enhanced, mx.mail) == ("retry", "4.7.5", [])
    assert failures(policies) == [("tlsa", "mx.example", "validation-failure")]


def test_dane_without_starttls_sends_nothing():
    mx = Mx()
    (outcome,) = deliver_dane(mx, [(3, 1, 1, bytes(32))])
    assert (outcome.kind, outcome.enhanced, mx.mail) == ("retry", "4.7.10", [])


def test_dane_records_without_dnssec_do_not_count():
    (outcome,) = deliver_dane(Mx(tls=server_context("mx.example")), [(3, 1, 1, bytes(32))], secure=False)
    assert (outcome.kind, outcome.policy) == ("delivered", "opportunistic")


def test_unusable_records_ask_for_tls_without_authentication():
    # RFC 7672 2.2: usages 0 and 1 are of no use to SMTP.
    records = [(1, 1, 1, bytes(32))]
    policies = FixedPolicies()
    (outcome,) = deliver_dane(Mx(tls=server_context("wrong.example", ca=STRANGER)), records, policies=policies)
    assert (outcome.kind, outcome.policy) == ("delivered", "dane")
    assert failures(policies) == [("tlsa", "mx.example", "tlsa-invalid")]
    (outcome,) = deliver_dane(Mx(), records)
    assert outcome.kind == "retry"


def test_dane_goes_before_mta_sts():
    context = server_context("mx.example", ca=STRANGER)
    (outcome,) = deliver_dane(
        Mx(tls=context), [make_record(leaf_of(context))], policies=FixedPolicies(policy("enforce", "elsewhere.example"))
    )
    assert (outcome.kind, outcome.policy) == ("delivered", "dane")


@pytest.mark.parametrize(
    "trouble, recorded", [(DnsTemporary("SERVFAIL"), []), (DnsBogus("bad"), [("tlsa", "mx.example", "dnssec-invalid")])]
)
def test_a_tlsa_lookup_that_fails_means_later(trouble, recorded):
    # RFC 7672 2.1.2: else an attacker who drops the answer has won.
    policies = FixedPolicies()
    mx = Mx(tls=server_context("mx.example"))

    async def run():
        from tests.unit.outbound.mx import delivery

        async with mx:
            tables = {**zone("mx.example"), (f"_{mx.port}._tcp.mx.example", "TLSA"): trouble}
            async with delivery(mx.port, FakeResolver(tables, secure=True), policies) as remote:
                return await remote.deliver(job())

    (outcome,) = asyncio.run(run())
    assert (outcome.kind, mx.connections) == ("retry", 0)
    assert failures(policies) == recorded


# REQUIRETLS


def test_requiretls_needs_a_host_that_is_vouched_for():
    mx = Mx(tls=server_context("mx.example"), ehlo=(*EHLO, "REQUIRETLS"))
    (outcome,) = deliver(mx, job(require_tls=True))
    assert (outcome.kind, outcome.enhanced, mx.connections) == ("failed", "5.7.10", 0)


@pytest.mark.parametrize("secure, policies", [(True, None), (False, FixedPolicies(policy()))])
def test_requiretls_with_dnssec_or_mta_sts(secure, policies):
    mx = Mx(tls=server_context("mx.example"), ehlo=(*EHLO, "REQUIRETLS"))
    (outcome,) = deliver(mx, job(require_tls=True), secure=secure, policies=policies)
    assert (outcome.kind, outcome.policy) == ("delivered", "requiretls")
    assert mx.lines[3].endswith(b" REQUIRETLS")


def test_requiretls_that_the_host_does_not_do():
    mx = Mx(tls=server_context("mx.example"))
    (outcome,) = deliver(mx, job(require_tls=True), secure=True)
    assert (outcome.kind, outcome.enhanced, mx.mail) == ("failed", "5.7.30", [])


def test_requiretls_and_a_wrong_certificate():
    mx = Mx(tls=server_context("wrong.example"), ehlo=(*EHLO, "REQUIRETLS"))
    (outcome,) = deliver(mx, job(require_tls=True), secure=True)
    assert (outcome.kind, outcome.enhanced, mx.mail) == ("failed", "5.7.10", [])


def test_a_bounce_only_passes_requiretls_on():
    # RFC 8689 5.
    mx = Mx(ehlo=(*EHLO,))
    (outcome,) = deliver(mx, job(require_tls=True, sender=""))
    assert (outcome.kind, b"REQUIRETLS" in mx.lines[1]) == ("delivered", False)


def test_tls_required_no_ignores_policies():
    (outcome,) = deliver(Mx(), job(require_tls=False), policies=FixedPolicies(policy()))
    assert outcome.kind == "delivered"
    (outcome,) = deliver_dane(Mx(), [(3, 1, 1, bytes(32))], job(require_tls=False))
    assert outcome.kind == "delivered"


# transports


def deliver_relay(mx, base, *, tlsa=(), secure=False, changes=None, policies=None, **transport):
    async def run():
        from tests.unit.outbound.mx import delivery

        async with mx:
            one = job(transport=Transport(host="relay.example", port=mx.port, **transport), **(changes or {}))
            tables = {("relay.example", "A"): "127.0.0.1", (f"_{mx.port}._tcp.relay.example", "TLSA"): tlsa}
            async with delivery(1, FakeResolver(tables, secure=secure), policies, base=base) as remote:
                return await remote.deliver(one)

    return asyncio.run(run())


@pytest.mark.parametrize("kind, implicit", [("submission", False), ("submissions", True)])
def test_a_relay_with_tls_and_login(tmp_path, kind, implicit):
    (tmp_path / "pw").write_text("secret\n")
    mx = Mx({"AUTH": b"235 ok\r\n"}, (*EHLO, "AUTH PLAIN"), server_context("relay.example"), implicit)
    (outcome,) = deliver_relay(mx, tmp_path, kind=kind, user="u", password_file="pw")
    assert (outcome.kind, outcome.remote_mta, outcome.tls) == ("delivered", "relay.example", "TLSv1.3")
    assert b"AUTH PLAIN AHUAc2VjcmV0" in mx.lines


def test_a_relay_whose_certificate_is_wrong_gets_no_password(tmp_path):
    (tmp_path / "pw").write_text("secret\n")
    mx = Mx(ehlo=(*EHLO, "AUTH PLAIN"), tls=server_context("wrong.example"))
    (outcome,) = deliver_relay(mx, tmp_path, kind="submission", user="u", password_file="pw")
    assert (outcome.kind, outcome.enhanced) == ("retry", "4.7.5")
    assert "AUTH" not in mx.verbs


def test_a_relay_without_tls_gets_no_password_in_the_clear(tmp_path):
    (tmp_path / "pw").write_text("secret\n")
    mx = Mx(ehlo=(*EHLO, "AUTH PLAIN"))
    (outcome,) = deliver_relay(mx, tmp_path, kind="smtp", user="u", password_file="pw")
    assert (outcome.kind, outcome.enhanced) == ("retry", "4.7.0")
    assert "AUTH" not in mx.verbs


def test_a_refused_login_means_later(tmp_path):
    (tmp_path / "pw").write_text("wrong\n")
    mx = Mx({"AUTH": b"535 5.7.8 no\r\n"}, (*EHLO, "AUTH PLAIN"))
    (outcome,) = deliver_relay(mx, tmp_path, kind="smtp", tls="none", user="u", password_file="pw")
    assert (outcome.kind, outcome.code) == ("retry", 454)


def test_a_password_file_that_is_missing_means_later(tmp_path):
    (outcome,) = deliver_relay(Mx(), tmp_path, kind="smtp", user="u", password_file="none")
    assert (outcome.kind, outcome.enhanced) == ("retry", "4.3.5")


RELAY = server_context("relay.example", ca=STRANGER)
OTHER_KEY = (3, 1, 1, bytes(32))


@pytest.mark.parametrize(
    "options, kind, policy",
    [
        ({}, "delivered", "dane"),
        ({"secure": False}, "delivered", "opportunistic"),
        ({"changes": {"require_tls": False}}, "delivered", "opportunistic"),
        ({"tls": "required"}, "retry", ""),  # the certificate is of nobody known
        ({"tls": "none"}, "delivered", ""),
    ],
)
def test_dane_holds_for_the_named_host_of_an_smtp_transport(tmp_path, options, kind, policy):
    # RFC 7672 2.2.2: a host that the administrator configured; only its addresses and TLSA records need DNSSEC.
    policies = FixedPolicies()
    options = {"secure": True, "kind": "smtp", "tlsa": [make_record(leaf_of(RELAY))], "policies": policies, **options}
    (outcome,) = deliver_relay(Mx(tls=RELAY), tmp_path, **options)
    assert (outcome.kind, outcome.policy) == (kind, policy)
    assert failures(policies) == []  # TLS reports are about domains, not about relays of ours


def test_a_transports_host_with_another_key_than_its_tlsa_record_gets_nothing(tmp_path):
    mx = Mx(tls=RELAY)
    (outcome,) = deliver_relay(mx, tmp_path, kind="smtp", secure=True, tlsa=[OTHER_KEY])
    assert (outcome.kind, outcome.enhanced, mx.mail) == ("retry", "4.7.5", [])


def test_a_transports_host_with_a_tlsa_record_and_without_starttls_gets_nothing(tmp_path):
    mx = Mx()
    (outcome,) = deliver_relay(mx, tmp_path, kind="smtp", secure=True, tlsa=[OTHER_KEY])
    assert (outcome.kind, outcome.enhanced, mx.mail) == ("retry", "4.7.10", [])


def test_mail_waits_while_a_transports_tlsa_records_cannot_be_looked_up(tmp_path):
    mx = Mx(tls=RELAY)
    (outcome,) = deliver_relay(mx, tmp_path, kind="smtp", secure=True, tlsa=DnsTemporary("SERVFAIL"))
    assert (outcome.kind, outcome.enhanced, mx.connections) == ("retry", "4.4.4", 0)


def test_mta_sts_says_nothing_of_a_transports_host(tmp_path):
    (outcome,) = deliver_relay(Mx(), tmp_path, kind="smtp", policies=FixedPolicies(policy("enforce", "mx.example")))
    assert outcome.kind == "delivered"


def test_direct_with_tls_required():
    (outcome,) = deliver(Mx(), job(transport=Transport(kind="direct", tls="required")))
    assert (outcome.kind, outcome.enhanced) == ("retry", "4.7.10")
    mx = Mx(tls=server_context("mx.example"))
    (outcome,) = deliver(mx, job(transport=Transport(kind="direct", tls="required")))
    assert (outcome.kind, outcome.tls) == ("delivered", "TLSv1.3")
