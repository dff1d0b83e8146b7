"""The affective stage: evidence, profile, and that a message is a value of its own."""

import itertools
from dataclasses import replace

import pytest

from echomox.filter.context import Context, nothing
from echomox.filter.features import read
from echomox.filter.stages import affect
from echomox.ipc.schema import Evidence
from echomox.reservoir.affect import FIELDS
from tests.unit.filter.test_tokens import NASTY, mail

PRESSING = mail(
    "Subject: URGENT: your account will be suspended",
    body="Final warning! Unusual activity was found. Act now: click here within 24 hours and verify your password, or"
    " your account will be suspended immediately. Do not delay.",
)
LETTER = mail(
    "Subject: Re: Sunday",
    body="Perhaps we could walk along the river again? I am not sure about the weather, but the forecast, which was"
    " wrong last week too, seems to promise a dry afternoon. It was a sad winter. Maybe your sister wonders too.",
)
OFFER = mail("Subject: You win", body="Congratulations! A free prize, amazing offers, click here and order today.")
EMPTY = mail()
MESSAGES = (PRESSING, LETTER, OFFER, EMPTY)


def context(*before):
    return Context(2, 0, 0, nothing, evidence=[Evidence("bayes", 0.5, weight, ()) for weight in before])


def values(data):
    return affect.of(read(data)).affect


def test_it_tells_mail_that_presses_from_a_letter():
    assert values(PRESSING).spam > 0.6 > 0.4 > values(LETTER).spam
    assert values(PRESSING).engagement > 0.3 > values(LETTER).engagement
    assert values(LETTER).uncertainty > values(PRESSING).uncertainty
    assert values(LETTER).complexity != values(PRESSING).complexity


def test_it_has_a_small_voice_beside_others_and_none_alone():
    alone = affect.run(read(PRESSING), context())
    assert (alone.stage, alone.weight) == ("affect", 0.0)
    assert affect.run(read(PRESSING), context(0.0)).weight == 0.0
    beside = affect.run(read(PRESSING), context(0.0, 1.0))
    assert beside.weight > 0 and beside.probability == alone.probability == values(PRESSING).spam


@pytest.mark.parametrize("taught, trust", [(0, 1.0), (20, 0.5), (60, 0.25), (6000, 0.25)])
def test_it_is_heard_most_where_nothing_was_taught(taught, trust):
    given = replace(context(1.0), ham=taught // 2, spam=taught - taught // 2)
    assert affect.run(read(PRESSING), given).weight == trust


def test_a_message_without_text_has_no_opinion():
    assert affect.run(read(EMPTY), context(1.0)) == Evidence("affect", 0.5, 0.0, ("no text",))


def test_reasons_name_what_is_felt_with_the_terms():
    reasons = affect.run(read(OFFER), context(1.0)).reasons
    kinds = [reason.split()[0] for reason in reasons]
    strength = [float(reason.split()[1]) for reason in reasons]
    assert strength == sorted(strength, reverse=True)
    assert {"joy", "interest", "surprise", "ask"} <= set(kinds)
    assert any("click here" in reason for reason in reasons)
    assert affect.run(read(mail(body="The table is made of wood.")), context(1.0)).reasons == ("nothing felt",)


def test_the_warning_names_means_and_terms():
    told = str(affect.of(read(PRESSING)).warning)
    assert told.startswith("this mail presses you with urgency and fear: ")
    assert "act now" in told and "suspended" in told
    assert affect.of(read(LETTER)).warning is None


@pytest.mark.parametrize("order", list(itertools.permutations(MESSAGES)))
def test_the_order_of_mails_does_not_change_a_profile(order):
    alone = {data: affect.of(read(data)) for data in MESSAGES}
    for data in order:
        features = read(data)
        affect.run(features, context(1.0))
        assert affect.of(features) == alone[data]


def test_the_profile_has_the_ten_values_of_the_store():
    found = affect.of(read(PRESSING))
    assert len(found.profile) == len(FIELDS) == 10
    assert found.profile == tuple(round(value, 4) for value in found.affect.row)


def test_it_is_computed_once_for_all_accounts():
    features = read(OFFER)
    affect.run(features, context())
    assert affect.of(features) is affect.of(features) is features.memo[affect.NAME]


def test_explain_has_every_part():
    shown = affect.explain(read(PRESSING))
    assert tuple(shown["profile"]) == FIELDS
    assert shown["profile"]["Arousal"] > 0.1
    assert "act now" in shown["terms"]["pressure"]
    assert shown["warning"]
    assert 0.0 < shown["complexity"] < 1.0
    assert affect.explain(read(LETTER))["warning"] == ""


@pytest.mark.parametrize("data", NASTY)
def test_nothing_breaks_it(data):
    found = affect.run(read(data), context(1.0))
    assert 0.0 <= found.probability <= 1.0
    assert all(-1.0 <= value <= 1.0 for value in affect.of(read(data)).profile)
