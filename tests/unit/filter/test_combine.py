"""The combination: its sum, its calibration, what it learns, and that it can be taken back."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echomox.config.schema import JunkFilter
from echomox.config.schema_dynamic import FILTER_PARTS, MOST_WEIGHT
from echomox.filter import combine as module
from echomox.filter.combine import (
    DECIDES,
    DEFAULT,
    HIGH,
    LEARNER,
    LOW,
    Model,
    State,
    calibrate,
    combine,
    high_of,
    logit,
    low_of,
    model_of,
    sigmoid,
)
from echomox.filter.context import Context, nothing
from echomox.filter.features import read
from echomox.filter.stages import STAGES
from echomox.ipc.schema import Evidence

PLAIN = Model({"x": 1.0, "y": 0.5, "z": 0.5})
FEATURES = read(b"")


def part(probability, weight=1.0, stage="x"):
    return Evidence(stage, probability, weight, ())


@pytest.mark.parametrize(
    "parts, expected",
    [
        ([], 0.0),
        ([part(0.9, 0.0)], 0.0),
        ([part(0.9)], 0.9),
        ([part(0.9, 1.0, "y")], 0.9),  # alone it counts fully, whatever its weight among others
        ([part(0.9), part(0.1, 0.0, "y")], 0.9),
        ([part(0.9), part(0.5, 1.0, "y")], 0.9),
        ([part(0.8, 1.0, "y"), part(0.8, 1.0, "z")], 0.8),
        ([part(0.7), part(0.6, 1.0, "y")], sigmoid(log(7 / 3) + 0.5 * log(1.5))),
        ([part(0.7), part(0.6, 0.5, "y")], sigmoid(log(7 / 3) + 0.25 * log(1.5))),
        ([part(0.9, 0.5)], sigmoid(0.5 * log(9))),  # its own trust is kept when it is alone
        ([part(0.9), part(1e-4, DECIDES, "y")], 1e-4),
    ],
)
def test_the_sum_in_log_odds(parts, expected):
    model = PLAIN._replace(high=HIGH)
    assert combine(parts, model).probability == pytest.approx(expected, abs=1e-12)


def test_the_parts_that_can_be_weighed_by_hand_are_the_stages():
    assert tuple(stage.name for stage in STAGES) == FILTER_PARTS and MOST_WEIGHT == module.MOST_WEIGHT


def test_weights_of_the_settings_hold_in_place_of_those_learned():
    model = module.fixed(PLAIN, ("y=0", "z=2"))
    assert model.weights == {"x": 1.0, "y": 0.0, "z": 2.0} and module.fixed(PLAIN, ()) is PLAIN
    assert module.fixed(None, ("affect=0.3",)).weights == DEFAULT.weights | {"affect": 0.3}
    both = combine([part(0.9), part(0.01, 1.0, "y")], model)
    assert both.probability == combine([part(0.9)], model).probability
    assert [item.weight for item in both.evidence] == [1.0, 0.0]
    assert combine([part(0.9, 1.0, "y")], model).evidence[0].weight == 0.0  # no opinion: to the Inbox


def test_what_is_learnt_beside_a_fixed_weight_is_by_it():
    evidence = [part(0.9, 1.0, "bayes"), part(0.999, 1.0, "ngrams")]
    learnt = []
    for said in ((), ("ngrams=0",)):
        state = State()
        context = Context(1, 0, 0, nothing, evidence=evidence, settings=JunkFilter(weights=said))
        LEARNER.add(state, "ham", LEARNER.contribution(state, FEATURES, context, "ham"))
        learnt.append(state)
    assert learnt[0].ham != learnt[1].ham  # L is another


def test_certainty_of_a_part_is_bounded():
    assert combine([part(1.0), part(0.0)], PLAIN).probability == pytest.approx(0.5)
    assert 0.0 < combine([part(0.0, 1.0)], PLAIN).probability < 1e-4
    assert logit(0.0) == -module.CLIP and logit(1.0) == module.CLIP


def test_shares_and_the_deciding_part_are_told():
    found = combine([part(0.9), part(0.99, 1.0, "y"), part(0.2, 0.0, "z")], PLAIN)
    assert [item.weight for item in found.evidence] == [1.0, 0.5, 0.0]
    assert found.decisive == "y"
    assert combine([], PLAIN).decisive == ""


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=8))
def test_more_suspicion_of_a_part_never_lowers_the_whole(parts):
    evidence = [part(p, w, "xyz"[at % 3] + str(at // 3)) for at, (p, w) in enumerate(parts)]
    before = combine(evidence).probability
    for at, item in enumerate(evidence):
        more = part(item.probability + (1 - item.probability) / 2, item.weight, item.stage)
        assert combine([*evidence[:at], more, *evidence[at + 1 :]]).probability >= before
    assert 0.0 <= before <= 1.0


@given(st.floats(module.LOWEST, LOW), st.floats(HIGH, module.HIGHEST))
def test_calibration_is_increasing_and_meets_the_boundaries(low, high):
    values = [n / 20 for n in range(-240, 241)]
    out = [calibrate(value, low, high) for value in values]
    assert out == sorted(out)
    assert calibrate(low, low, high) == pytest.approx(LOW)
    assert calibrate(high, low, high) == pytest.approx(HIGH)
    assert calibrate(0.0, low, high) == 0.0
    assert calibrate(12.0, low, high) == 12.0 and calibrate(-12.0, low, high) == -12.0


def bins(**counts):
    out = [0] * module.BINS
    for value, count in counts.items():
        out[module.bin_of(float(value.replace("m", "-").replace("_", ".").lstrip("v")))] += count
    return out


def test_an_account_without_ham_refuses_late_and_one_with_much_clean_ham_early():
    nothing = [0] * module.BINS
    assert high_of(nothing) > 3.0
    assert high_of(bins(vm5=20_000)) < 2.0
    assert high_of(bins(vm5=1000, v4=5)) > 4.0


def test_the_band_of_junk_opens_only_for_spam_that_comes_near_ham():
    nothing = [0] * module.BINS
    assert low_of(nothing, nothing) == LOW
    assert low_of(bins(vm5=1000), bins(v5=1000)) == LOW
    assert low_of(bins(vm5=1000), bins(v5=900, vm1_6=100)) < -1.5
    assert low_of(bins(vm5=500, vm0_9=500), bins(v5=900, vm1_6=100)) == LOW  # it would cost ham


def context(*evidence):
    return Context(1, 50, 50, nothing, evidence=list(evidence))


def test_weights_move_towards_the_part_that_is_right():
    state = LEARNER.fresh()
    for n in range(400):
        label = ("ham", "spam")[n % 2]
        right, wrong = part(0.95 if n % 2 else 0.05, 1.0, "bayes"), part(0.05 if n % 2 else 0.95, 1.0, "ngrams")
        LEARNER.add(state, label, LEARNER.contribution(state, FEATURES, context(right, wrong), label))
    weights = model_of(state).weights
    assert weights["bayes"] > module.WEIGHTS["bayes"] and weights["ngrams"] < module.WEIGHTS["ngrams"]


def test_without_an_opinion_nothing_is_learned():
    assert LEARNER.contribution(LEARNER.fresh(), FEATURES, context(part(0.9, 0.0)), "spam") == b""
    assert LEARNER.contribution(LEARNER.fresh(), FEATURES, context(part(0.9, DECIDES)), "spam") == b""


@given(
    st.lists(
        st.tuples(st.sampled_from(["ham", "spam"]), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), max_size=12
    ),
    st.randoms(),
)
def test_taking_back_in_any_order_leaves_the_same_bits(lessons, random):
    state, added = LEARNER.fresh(), []
    before = LEARNER.dump(state)
    for label, p, q, weight in lessons:
        evidence = (part(p, weight, "bayes"), part(q, 1.0, "other"))
        contribution = LEARNER.contribution(state, FEATURES, context(*evidence), label)
        LEARNER.add(state, label, contribution)
        added.append((label, contribution))
    random.shuffle(added)
    for label, contribution in added:
        LEARNER.subtract(state, label, contribution)
    assert LEARNER.dump(state) == before


def test_dumped_and_published_come_back():
    state = State({"bayes": 5, "": -7}, bins(vm1=3), bins(v2=4))
    assert LEARNER.load(LEARNER.dump(state)) == state
    assert LEARNER.decode(LEARNER.publish(state)) == model_of(state)
    assert model_of(LEARNER.fresh()) == DEFAULT


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x80\x90\x90", b"\x01"])
def test_what_is_not_of_the_combination_is_an_error(data):
    for call in (LEARNER.load, LEARNER.decode, lambda data: LEARNER.add(LEARNER.fresh(), "ham", data)):
        with pytest.raises(ValueError):
            call(data)


def test_lessons_are_of_what_was_said_when_the_message_came():
    now = [Evidence("bayes", 0.999, 1.0, ()), Evidence("esn", 0.9, 0.5, ()), Evidence("affect", 0.4, 1.0, ())]
    told = (("bayes", 0.2), ("esn", 0.0))
    context = Context(1, 0, 0, nothing, evidence=now, scratch={module.TOLD: told})
    assert [(item.stage, item.probability, item.weight) for item in module.as_told(context)] == [
        ("bayes", 0.2, 1.0),
        ("esn", module.ROUNDED, 0.5),
    ]
    assert module.as_told(Context(1, 0, 0, nothing, evidence=now)) == now
