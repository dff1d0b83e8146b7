"""Reputation and authentication as evidence."""

import pytest

from echomox.config.schema import JunkFilter
from echomox.config.senderlists import SERVER, AccountFilter, Lists, listed
from echomox.filter import identities
from echomox.filter.combine import DECIDES, combine
from echomox.filter.context import DEFAULTS, Context
from echomox.filter.features import Envelope, read
from echomox.filter.stages import STAGES, auth, reputation
from echomox.message.proven import proven
from tests.unit.filter.support import known as look_up

PASS = (("spf", "pass"), ("dkim", "pass"), ("dmarc", "pass"))


def signed(*domains, spf=""):
    """What the delivery says of a mail with these signatures."""
    return proven([spf] if spf else [], domains)


def mail(sender="Ann <Ann@Mail.Example.co.uk>", ip="192.0.2.77", results=()):
    return read(f"From: {sender}\r\nSubject: x\r\n\r\ny\r\n".encode(), Envelope(remote_ip=ip, auth=results))


def context(settings=DEFAULTS, ham=20, spam=20, **counts):
    known = {word.replace("__", ":"): pair for word, pair in counts.items()}
    return Context(2, ham, spam, look_up(known), settings=settings)


def test_whom_a_mail_is_of():
    assert mail().identities() == {
        "from": "ann@mail.example.co.uk",
        "domain": "mail.example.co.uk",
        "organisation": "example.co.uk",
        "ip": "192.0.2.77",
        "net": "192.0.2.64/26",
        "wide-net": "192.0.0.0/21",
    }
    assert tuple(mail(results=signed("news.example", spf="bounce.example")).identities()) == identities.STEPS
    assert mail("nobody", "").identities() == {}
    assert reputation.words(mail(ip=""))[0] == "rep:from:ann@mail.example.co.uk"


@pytest.mark.parametrize(
    "domain, expected",
    [
        ("example.org", "example.org"),
        ("a.b.example.org", "example.org"),
        ("x.example.com.au", "example.com.au"),
        ("a", "a"),
    ],
)
def test_the_domain_of_one_owner(domain, expected):
    assert identities.organisational_domain(domain) == expected


@pytest.mark.parametrize(
    "ip, expected",
    [
        ("192.0.2.77", ("192.0.2.77", "192.0.2.64/26", "192.0.0.0/21")),
        ("2001:db8:1:2::3", ("2001:db8:1:2::/64", "2001:db8:1::/48", "2001:db8::/32")),
        ("2001:DB8:1:2:0::9", ("2001:db8:1:2::/64", "2001:db8:1::/48", "2001:db8::/32")),
        ("fe80::1%eth0", ("fe80::/64", "fe80::/48", "fe80::/32")),
        ("::ffff:192.0.2.77", ("192.0.2.77", "192.0.2.64/26", "192.0.0.0/21")),
        ("x", ("", "", "")),
        ("", ("", "", "")),
    ],
)
def test_the_nets_of_an_address(ip, expected):
    assert identities.nets(ip) == expected


@pytest.mark.parametrize(
    "domains, author, expected",
    [
        ((), "example.org", ""),
        (("esp.example",), "example.org", "esp.example"),
        (("esp.example", "mail.example.org"), "example.org", "mail.example.org"),
        (("esp.example", "mail.example.org", "example.org"), "example.org", "example.org"),
        (("b.example", "a.example"), "example.org", "b.example"),
        (("b.example", "a.example"), "", "b.example"),
        (("esp.example", "xn--mnchen-3ya.example"), "m\u00fcnchen.example", "xn--mnchen-3ya.example"),
        (("esp.co.uk", "example.co.uk"), "shop.example.co.uk", "example.co.uk"),
    ],
)
def test_of_several_signers_the_authors_own_is_counted(domains, author, expected):
    assert identities.signer(domains, author) == expected


def words(**counts):
    names = {
        "address": "rep:from:ann@mail.example.co.uk",
        "domain": "rep:domain:mail.example.co.uk",
        "owner": "rep:organisation:example.co.uk",
        "dkim": "rep:dkim:esp.example",
        "spf": "rep:spf:bounces.example",
        "ip": "rep:ip:192.0.2.77",
        "net": "rep:net:192.0.2.64/26",
        "wide": "rep:wide-net:192.0.0.0/21",
        "old": "rep:net:192.0.2.0/24",
    }
    known = {names[name]: pair for name, pair in counts.items()}
    return Context(2, 20, 20, look_up(known))


@pytest.mark.parametrize(
    "known, probability, step",
    [
        ({"address": (5, 0), "owner": (0, 50)}, 0.5 / 6, "from"),
        ({"owner": (0, 9), "net": (50, 0)}, 9.5 / 10, "organisation"),
        ({"owner": (1, 1), "net": (0, 7)}, 7.5 / 8, "net"),
    ],
)
def test_the_most_exact_step_that_is_known_answers_and_is_named(known, probability, step):
    found = reputation.run(mail(), words(**known))
    assert found.probability == pytest.approx(probability)
    assert found.reasons[0].startswith(step + " ")
    assert 0 < found.weight < 1


STEPS = {
    "address": "from ann@mail.example.co.uk",
    "domain": "domain mail.example.co.uk",
    "owner": "organisation example.co.uk",
    "dkim": "dkim esp.example",
    "spf": "spf bounces.example",
    "ip": "ip 192.0.2.77",
    "net": "net 192.0.2.64/26",
    "wide": "wide-net 192.0.0.0/21",
}
PROVEN = signed("esp.example", spf="bounces.example")


@pytest.mark.parametrize("place", range(len(STEPS)), ids=list(STEPS))
def test_each_step_answers_in_its_turn(place):
    """When it and the wider ones are known, and the more exact ones are not, or from too few."""
    names = list(STEPS)
    step = identities.STEPS[place]
    known = {names[place]: (0, reputation.LEAST[step])} | dict.fromkeys(names[place + 1 :], (50, 0))
    known |= {name: (reputation.LEAST[of] - 1, 0) for name, of in zip(names[:place], identities.STEPS)}
    found = reputation.run(mail(results=PROVEN), words(**known))
    assert found.reasons == (f"{STEPS[names[place]]} 0/{reputation.LEAST[step]}",)
    assert found.probability > 0.5
    assert found.weight == reputation.LEAST[step] / (reputation.LEAST[step] + reputation.YOUTH[step])


def test_a_wider_net_is_a_weaker_sign_and_so_is_a_signer_of_others():
    weights = {step: 20 / (20 + reputation.YOUTH[step]) for step in identities.STEPS}
    for strong, weak in [("organisation", "dkim"), ("organisation", "spf"), ("ip", "net"), ("net", "wide-net")]:
        assert weights[strong] > weights[weak]


def test_a_known_signer_vouches_for_an_address_never_seen():
    stranger = mail("Bo <bo@new.example>", ip="198.51.100.9", results=(("dkim", "pass"), *signed("esp.example")))
    assert reputation.run(stranger, words(dkim=(12, 0))).reasons == ("dkim esp.example 12/0",)
    unsigned = mail("Bo <bo@new.example>", ip="198.51.100.9", results=(("dkim", "fail"),))
    assert reputation.run(unsigned, words(dkim=(12, 0))).reasons == ("stranger",)


def test_a_forged_from_gains_nothing_by_its_own_signature():
    """Its From counts as it did without; only what is proven is looked up beside it."""
    forged = (("dmarc", "fail"), *signed("evil.example", spf="evil.example"))
    for known in ({"address": (5, 0), "dkim": (50, 0)}, {"owner": (5, 1)}):
        plain = reputation.run(mail(results=(("dmarc", "fail"),)), words(**known))
        assert reputation.run(mail(results=forged), words(**known)) == plain
    assert reputation.run(mail(results=forged), words(dkim=(50, 0), spf=(50, 0))).reasons == ("stranger",)


def test_counts_of_wider_nets_of_old_are_not_read():
    assert reputation.run(mail(), words(old=(0, 50))).reasons == ("stranger",)


def test_words_and_senders_are_looked_up_at_once():
    """Of all messages of an account, for all stages that read counts."""
    asked = []

    def counts(hashes):
        asked.append(len(hashes))
        return look_up({"rep:from:ann@mail.example.co.uk": (5, 0), "y": (3, 0)})(hashes)

    questions = [(mail(ip=f"192.0.2.{place}"), Context(2, 20, 20, counts)) for place in range(3)]
    found = [stage.run_batch(questions) for stage in STAGES if stage.run_batch]
    assert asked == [sum([len(features.places(2).hashes) for features, _ in questions])]
    assert [item.reasons for item in found[-1]] == [("from ann@mail.example.co.uk 5/0",)] * 3


def test_a_stranger_is_no_evidence():
    assert reputation.run(mail(), words()).weight == 0.0
    assert reputation.run(mail(), context(ham=0, spam=0)).weight == 0.0


@pytest.mark.parametrize(
    "entry", ["ann@mail.example.co.uk", "@example.co.uk", "@Mail.Example.co.uk", "ANN@mail.example.co.uk"]
)
def test_lists_decide_alone(entry):
    allowed = reputation.run(mail(), context(JunkFilter(allow=(entry,), block=(entry,)), 0, 0))
    assert allowed.weight == DECIDES and allowed.reasons[0].startswith("allow list")
    assert combine([allowed]).probability < 0.01
    blocked = reputation.run(mail(), context(JunkFilter(block=(entry,)), 0, 0))
    assert combine([blocked]).probability > 0.99


def test_a_forged_sender_is_not_let_in():
    found = reputation.run(mail(results=(("dmarc", "fail"),)), context(JunkFilter(allow=("@example.co.uk",))))
    assert found.weight < DECIDES
    assert not listed("a@notexample.co.uk", ["@example.co.uk"])


def over(own=None, domain=None, server=None):
    """Settings of an account with lists of its domain and of the server."""
    empty = {"allow": (), "block": ()}
    wider = tuple(
        Lists(where, **{**empty, **lists}) for where, lists in (("here.example", domain), (SERVER, server)) if lists
    )
    return AccountFilter(**(own or {}), wider=wider)


SENDER = ("ann@mail.example.co.uk",)
ALLOW, BLOCK = {"allow": SENDER}, {"block": SENDER}


@pytest.mark.parametrize(
    "settings, reason",
    [
        (over(server=BLOCK), "block list of the server ann@mail.example.co.uk"),
        (over(domain=ALLOW, server=BLOCK), "allow list of here.example ann@mail.example.co.uk"),
        (over(ALLOW, BLOCK, BLOCK), "allow list ann@mail.example.co.uk"),
        (over(BLOCK, ALLOW, ALLOW), "block list ann@mail.example.co.uk"),
        (over(domain={**ALLOW, **BLOCK}), "allow list of here.example ann@mail.example.co.uk"),
    ],
)
def test_the_users_list_comes_before_the_domains_and_that_before_the_servers(settings, reason):
    found = reputation.run(mail(), context(settings, 0, 0))
    assert found.reasons == (reason,)
    assert (found.weight, found.probability < 0.5) == (DECIDES, reason.startswith("allow"))


def test_no_list_lets_a_forged_sender_in():
    forged = mail(results=(("dmarc", "fail"),))
    for settings in (over(domain=ALLOW), over(server=ALLOW), over(domain=ALLOW, server=BLOCK)):
        assert reputation.run(forged, context(settings)).weight < DECIDES
    assert reputation.run(forged, context(over(server=BLOCK))).weight == DECIDES


def test_a_friend_whose_mail_is_authentic_decides_alone():
    assert reputation.run(mail(results=PASS), words(address=(3, 0))).weight == DECIDES
    assert reputation.run(mail(results=PASS), words(address=(3, 1))).weight < 1
    assert reputation.run(mail(), words(address=(3, 0))).weight < 1


@pytest.mark.parametrize(
    "results, low, high",
    [
        (PASS, 0.1, 0.5),
        ((("dmarc", "fail"),), 0.8, 1.0),
        ((("dkim", "fail"), ("dmarc", "fail")), 0.9, 1.0),
        ((("dmarc", "watched"),), 0.6, 0.8),
        ((("spf", "fail"), ("dkim", "fail")), 0.8, 0.9),
    ],
)
def test_checks_of_the_delivery_are_evidence(results, low, high):
    found = auth.run(mail(results=results), context())
    assert low < found.probability < high and found.weight == 1.0
    assert set(found.reasons) == {f"{method}={result}" for method, result in results}


def test_a_failure_of_spf_is_in_that_of_dmarc():
    found = auth.run(mail(results=(("spf", "fail"), ("dmarc", "fail"))), context())
    assert found.reasons == ("dmarc=fail",)


@pytest.mark.parametrize("results", [(), (("spf", "none"),), (("spf", "odd"), ("x", "pass"))])
def test_without_results_there_is_no_opinion(results):
    assert auth.run(mail(results=results), context()).weight == 0.0


WRITTEN = (reputation.CORRESPONDENT,)


@pytest.mark.parametrize(
    "results, known, decides",
    [
        (WRITTEN, {}, False),
        (WRITTEN + PASS, {}, True),
        (WRITTEN + PASS, {"address": (2, 1)}, False),
        ((*WRITTEN, ("spf", "softfail")), {"address": (1, 0)}, False),
    ],
)
def test_whom_the_account_has_written_to_is_no_stranger(results, known, decides):
    for about in (words(**known), context(ham=0, spam=0)) if not known else (words(**known),):
        found = reputation.run(mail(results=results), about)
        assert found.reasons[0].startswith("written to ann@mail.example.co.uk ")
        assert found.probability < 0.2 and (found.weight == DECIDES) is decides
        assert found.weight > 0.75


@pytest.mark.parametrize("results", [(("dmarc", "fail"),), (("spf", "fail"),), (("spf", "fail"), ("dmarc", "none"))])
def test_a_forged_acquaintance_is_a_stranger(results):
    assert reputation.run(mail(results=WRITTEN + results), words()).weight == 0.0


def test_an_acquaintance_on_the_block_list_stays_out():
    settings = JunkFilter(block=("@example.co.uk",))
    assert reputation.run(mail(results=WRITTEN + PASS), context(settings)).probability > 0.99


@pytest.mark.parametrize(
    "results, expected",
    [
        ((("dkim", "pass"), ("dkim", "fail"), ("dkim", "permerror")), ("dkim=pass",)),
        ((("dkim", "fail"), ("dkim", "pass")), ("dkim=pass",)),
        ((("dkim", "fail"), ("dkim", "none")), ("dkim=fail",)),
        ((("arc", "pass"),), ("arc=pass",)),
        ((("helo", "fail"), ("arc", "fail")), ("helo=fail", "arc=fail")),
    ],
)
def test_one_good_signature_is_enough(results, expected):
    assert auth.run(mail(results=results), context()).reasons == expected
