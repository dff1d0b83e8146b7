"""The echo state network's stage: evidence along the tokens, learning and exact undo, batches, sizes, settings."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from echomox.config.schema import JunkFilter
from echomox.filter.context import Context
from echomox.filter.counts.known import log_odds
from echomox.filter.evidence import GROUPS, INPUTS, LIMIT, PLACE, STEPS, inputs, named, outline
from echomox.filter.features import read
from echomox.filter.hashed import strings
from echomox.filter.stages import esn
from echomox.filter.tokens import Text
from echomox.reservoir.esn import POOLS
from echomox.reservoir.matrices import SIZE
from tests.unit.filter.support import known
from tests.unit.filter.test_tokens import NASTY, mail

HAMMY = "meeting river walk garden sister letter music project review station weather dinner".split()  # noqa: SIM905
SPAMMY = "offer winner free click order cash prize limited deal urgent guarantee money".split()  # noqa: SIM905
PLAIN = "the and you with this that from have will your about when".split()  # noqa: SIM905
USUAL = JunkFilter()
LEARNER = esn.EsnLearner(esn.NETWORK, clock=lambda: 1_700_000_000.25)


def message(seed, spam):
    draw = random.Random(seed)
    words = draw.choices(PLAIN + (SPAMMY if spam else HAMMY), k=draw.randint(20, 150))
    subject = " ".join(draw.choices((SPAMMY if spam else HAMMY) + PLAIN, k=4))
    return read(mail(f"From: a{seed}@example.org", f"Subject: {subject}", body=" ".join(words)))


class Account:
    """Word counts and a network that learns, as the trainer keeps them."""

    def __init__(self, settings=USUAL):
        self.settings = settings
        self.words, self.ham, self.spam = {}, 0, 0
        self.state, self.model = LEARNER.fresh(), None
        self.lessons = []

    def context(self, settings=None):
        models = {esn.NAME: self.model}.get
        return Context(2, self.ham, self.spam, known(self.words), models, settings=settings or self.settings)

    def learn(self, features, spam):
        label = "spam" if spam else "ham"
        lesson = LEARNER.contribution(self.state, features, self.context(), label)
        LEARNER.add(self.state, label, lesson)
        self.lessons.append((label, lesson))
        for word in features.words(2):
            ham, bad = self.words.get(word, (0, 0))
            self.words[word] = (ham + (not spam), bad + spam)
        self.ham, self.spam = self.ham + (not spam), self.spam + spam
        self.publish()

    def publish(self):
        self.model = LEARNER.decode(LEARNER.publish(self.state))

    def judge(self, features, settings=None):
        return esn.run(features, self.context(settings))


def taught(number, settings=USUAL):
    account = Account(settings)
    for at in range(number):
        account.learn(message(at, at % 3 == 0), at % 3 == 0)
    return account


@pytest.fixture(scope="module")
def trained():
    return taught(90)


# -- the inputs --------------------------------------------------------------------


def test_inputs_are_named_in_groups_of_header_body_and_metadata():
    assert set(GROUPS) >= {"header", "body", "metadata"}
    assert len(set(INPUTS)) == len(INPUTS)
    (step, *_) = named(inputs([(message(1, True), Account().context())])[0])
    assert tuple(step) == INPUTS


def test_without_counts_nothing_is_known():
    u = inputs([(message(1, True), Account().context())])[0]
    assert (u[:, PLACE["unknown"]] == 1.0).all()
    assert not u[:, PLACE["word_mean"]].any()
    assert not u[:, PLACE["pair_mean"]].any()
    assert (u[:, PLACE["one"]] == 1.0).all()


def test_a_chunk_says_what_the_counts_say_of_its_words():
    features = read(mail("Subject: hello", body="cash prize garden cash prize unheard"))
    account = Account()
    account.words = {"cash": (0, 8), "prize": (0, 8), "garden": (9, 0), "cash prize": (0, 5)}
    account.ham = account.spam = 10
    u = inputs([(features, account.context())])[0]
    (body,) = u[u[:, PLACE["in_body"]] == 1.0]
    spam, ham, pair = log_odds(np.array([(0, 8), (9, 0), (0, 5)]), 10, 10)
    words = np.array([spam, spam, ham, spam, spam, 0.0])
    assert body[PLACE["word_mean"]] == pytest.approx(words.mean() / 2, abs=1e-6)
    assert body[PLACE["word_max"]] == pytest.approx(spam / LIMIT, abs=1e-6)
    assert body[PLACE["word_min"]] == pytest.approx(ham / LIMIT, abs=1e-6)
    assert body[PLACE["word_spread"]] == pytest.approx(words.std() / 3, abs=1e-5)
    shares = [body[PLACE[name]] for name in ("spammy", "hammy", "unknown", "pair_known")]
    assert shares == pytest.approx([4 / 6, 1 / 6, 1 / 6, 2 / 6])
    assert body[PLACE["pair_max"]] == pytest.approx(pair / LIMIT, abs=1e-6)
    assert body[PLACE["weight"]] == pytest.approx(np.tanh(words.sum() / 20), abs=1e-6)


def test_pairs_of_words_follow_the_words_in_which_they_begin():
    features = read(mail("Subject: one two", body="three four five"))
    drawn, tokens = outline(features, 2), features.places(2)
    at = drawn.places[0].tolist().index(tokens.at)
    words, pairs = drawn.places[:, at : at + 5]
    assert strings(features.text, tokens, words) == ["subject:one", "subject:two", "three", "four", "five"]
    none = len(tokens.hashes) - 1
    assert (pairs == none).tolist() == [False, True, False, False, True]
    assert strings(features.text, tokens, pairs[pairs != none]) == ["subject:one two", "three four", "four five"]
    assert set(drawn.places[1].tolist()) == {none, *pairs.tolist()}


def of_text(text):
    return replace(read(b""), text=text, memo={}, known={})


def test_places_of_a_message_of_very_many_tokens():
    features = of_text(Text([f"x{n}" for n in range(20_000)], [("", ["one", "two", "three"]), ("hid:", ["a", "b"])], 5))
    drawn, tokens = outline(features, 2), features.places(2)
    header, structure = [f"x{n}" for n in range(5)], [f"x{n}" for n in range(5, 65)]
    words = strings(features.text, tokens, drawn.places[0])
    assert words == [*header, "one", "two", "three", *structure, "hid:a", "hid:b"]
    pairs = drawn.places[1][drawn.places[1] != len(tokens.hashes) - 1]
    assert strings(features.text, tokens, pairs) == ["one two", "two three", "hid:a b"]


def test_a_message_without_words_has_no_steps_alone_or_among_others(trained):
    empty, full = of_text(Text([], [])), message(3, False)
    drawn = outline(empty, 2)
    assert (drawn.places.shape, len(drawn.starts), drawn.fixed.shape) == ((2, 0), 0, (0, len(INPUTS)))
    (alone,) = inputs([(full, trained.context())])
    assert inputs([(empty, trained.context())])[0].shape == (0, len(INPUTS))
    found = inputs([(empty, trained.context()), (full, trained.context()), (empty, trained.context())])
    assert [len(one) for one in found] == [0, len(alone), 0]
    assert found[1].tobytes() == alone.tobytes()
    assert inputs([]) == []


@pytest.mark.parametrize("number", [2, 3, 7])
def test_inputs_have_the_same_bits_alone_and_among_others(trained, number):
    """Of accounts that know words beyond the limit of log-odds, and of mails of all kinds."""
    account = Account()
    account.words = {"cash": (0, 9000), "river": (9000, 0), "cash prize": (0, 9000), "offer": (1, 1)}
    account.ham = account.spam = 10_000
    features = [message(seed, seed % 2 == 0) for seed in range(9)] + [read(data) for data in NASTY]
    asked = [(one, who.context()) for one in features for who in (account, trained)]
    alone = [inputs([one])[0] for one in asked]
    together = [u for at in range(0, len(asked), number) for u in inputs(asked[at : at + number])]
    assert [u.tobytes() for u in together] == [u.tobytes() for u in alone]
    assert max(u[:, PLACE["word_max"]].max(initial=0.0) for u in alone) == 1.0


def test_capitals_and_marks_are_seen_where_they_stand():
    body = "quiet words of a calm letter " * 12 + "ACT NOW!!! CALL TODAY!!! " * 12
    u = inputs([(read(mail("Subject: x", body=body)), Account().context())])[0]
    body_rows = u[u[:, PLACE["in_body"]] == 1.0]
    assert body_rows[0, PLACE["capitals"]] == 0.0
    assert body_rows[-1, PLACE["capitals"]] > 1.5
    assert body_rows[-1, PLACE["marks"]] > body_rows[0, PLACE["marks"]]


@pytest.mark.parametrize(
    "data",
    [
        *NASTY,
        mail("Subject: =?utf-8?b?4pyT?=", body="\u4f60\u597d\u4e16\u754c " * 2000),
        mail("Subject: x", body="a " * 40_000),
        mail(*[f"X-A{n}: {'w ' * 100}" for n in range(300)], body="end"),
        mail("Content-Type: text/html", body="<p>" + "<a href='http://x.example/'>y</a>" * 3000),
        mail("Content-Type: text/plain; charset=utf-16", body="\ud83d lone"[1:]),
    ],
)
def test_steps_are_bounded_and_finite_for_any_mail(data, trained):
    u = inputs([(read(data), trained.context())])[0]
    assert len(u) <= STEPS
    assert np.isfinite(u).all()
    assert np.abs(u).max(initial=0.0) <= 4.0
    assert 0.0 <= trained.judge(read(data)).probability <= 1.0


# -- judging ------------------------------------------------------------------------


def test_untrained_is_no_opinion():
    found = Account().judge(message(1, True))
    assert (found.weight, found.probability) == (0.0, 0.5)
    assert found.reasons == ("untrained 0/0",)


def test_one_sided_training_is_no_opinion():
    account = Account()
    for at in range(30):
        account.learn(message(at, True), True)
    assert account.judge(message(99, True)).weight == 0.0


def test_trained_it_tells_spam_from_ham_and_trust_grows(trained):
    for seed in range(200, 230):
        assert trained.judge(message(seed, True)).probability > 0.8
        assert trained.judge(message(seed, False)).probability < 0.2
    assert 0.0 < taught(9).judge(message(300, True)).weight < trained.judge(message(300, True)).weight < 1.0


def test_any_batch_gives_the_same_bits(trained):
    features = [message(seed, seed % 2 == 0) for seed in range(400, 464)]
    alone = [trained.judge(item) for item in features]
    for size in (1, 2, 7, 8, 31, 32, 64):
        found = []
        for at in range(0, 64, size):
            found += esn.run_batch([(item, trained.context()) for item in features[at : at + size]])
        assert found == alone, size


def test_accounts_of_a_batch_do_not_mix(trained):
    other = Account()
    for at in range(60):
        other.learn(message(at, at % 3 == 0), at % 3 != 0)  # calls spam what the first calls ham
    item = message(500, True)
    questions = [(item, account.context()) for account in (trained, other, Account(), trained)]
    found = esn.run_batch(questions)
    assert found == [trained.judge(item), other.judge(item), Account().judge(item), trained.judge(item)]
    assert found[0].probability > 0.8 > 0.2 > found[1].probability


# -- learning -----------------------------------------------------------------------


def test_add_then_subtract_restores_every_bit(trained):
    before = LEARNER.dump(trained.state)
    state = LEARNER.load(before)
    extra = [("spam" if at % 2 else "ham", message(600 + at, at % 2)) for at in range(70)]
    lessons = [(label, LEARNER.contribution(state, item, trained.context(), label)) for label, item in extra]
    for label, lesson in lessons:
        LEARNER.add(state, label, lesson)
    assert LEARNER.dump(state) != before
    for label, lesson in sorted(lessons):
        LEARNER.subtract(state, label, lesson)
    assert LEARNER.dump(state) == before
    assert LEARNER.publish(state) == LEARNER.publish(trained.state)


def test_unlearning_all_leaves_a_fresh_state():
    account = taught(30)
    for label, lesson in account.lessons:
        LEARNER.subtract(account.state, label, lesson)
    assert LEARNER.dump(account.state) == LEARNER.dump(LEARNER.fresh())
    account.publish()
    assert account.judge(message(1, True)).weight == 0.0


def test_a_contribution_does_not_change_the_state(trained):
    before = LEARNER.dump(trained.state)
    LEARNER.contribution(trained.state, message(700, True), trained.context(), "spam")
    assert LEARNER.dump(trained.state) == before


def test_what_the_stage_left_is_what_training_would_compute(trained):
    item, context = message(710, True), trained.context()
    esn.run(item, context)
    left = LEARNER.contribution(trained.state, item, context, "spam")
    assert left == LEARNER.contribution(trained.state, message(710, True), trained.context(), "spam")


def test_sums_and_read_outs_are_small(trained):
    assert len(LEARNER.dump(trained.state)) <= 200_000
    assert len(LEARNER.publish(trained.state)) <= 50_000
    assert len(trained.lessons[0][1]) <= 400


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xc1", b"\x93\x01\x02\x03", b"x" * 400])
def test_damage_is_an_error_and_changes_nothing(data, trained):
    before = LEARNER.dump(trained.state)
    for call in (LEARNER.load, LEARNER.decode, esn.unpack_lesson):
        with pytest.raises(ValueError, match=r".*"):
            call(data)
    for call in (LEARNER.add, LEARNER.subtract):
        with pytest.raises(ValueError, match=r".*"):
            call(trained.state, "spam", data)
    assert LEARNER.dump(trained.state) == before


# -- settings -------------------------------------------------------------------------


def test_a_small_reservoir_takes_effect_without_training(trained):
    small = replace(USUAL, reservoir_size=50)
    for seed in range(800, 810):
        assert trained.judge(message(seed, True), small).probability > 0.7
        assert trained.judge(message(seed, False), small).probability < 0.3
    one = message(811, True)
    assert trained.judge(one, small) != trained.judge(one)
    assert esn.describe(trained.model, small, esn.seed_weights())["ReservoirSize"] == 50


def test_training_under_a_small_reservoir_is_training_of_the_whole():
    small, whole = taught(20, replace(USUAL, reservoir_size=50)), taught(20)
    assert LEARNER.dump(small.state) == LEARNER.dump(whole.state)


@pytest.mark.parametrize("change", [{"leak": 0.6}, {"spectral_radius": 0.5}, {"integrator": "euler"}])
def test_other_dynamics_begin_anew_and_old_lessons_are_no_longer_taken_back(change):
    account = taught(30)
    old = list(account.lessons)
    account.settings = replace(USUAL, **change)
    assert account.judge(message(1, True)).reasons == ("settings changed, not trained since",)
    for at in range(30, 60):
        account.learn(message(at, at % 3 == 0), at % 3 == 0)
    assert account.state.message_count == 30
    assert account.judge(message(900, True)).probability > 0.5
    before = LEARNER.dump(account.state)
    for label, lesson in old:
        LEARNER.subtract(account.state, label, lesson)
    assert LEARNER.dump(account.state) == before
    for label, lesson in account.lessons[30:]:
        LEARNER.subtract(account.state, label, lesson)
    assert account.state.message_count == 0


def test_the_ridge_of_the_settings_is_used():
    account = taught(30)
    mild = account.judge(message(950, True)).probability
    account.settings = replace(USUAL, ridge=10_000.0)
    account.learn(message(30, True), True)
    assert account.judge(message(950, True)).probability < mild


def test_a_prior_speaks_while_little_is_learnt(trained):
    prior = np.zeros(POOLS * SIZE + 1)
    prior[-1] = 0.7
    learner = esn.EsnLearner(esn.NETWORK, prior)
    read_out = learner.decode(learner.publish(learner.fresh()))
    assert read_out.weights[SIZE][-1] == round(0.7 * 2**20)
    assert not read_out.trained
    assert learner.publish(trained.state) != LEARNER.publish(trained.state)


# -- for people ------------------------------------------------------------------------


def test_the_row_of_reservoir(trained):
    row = esn.describe(trained.model, USUAL, esn.seed_weights())
    assert (row["ReservoirSize"], row["SpectralRadius"], row["LeakRate"]) == (100, 0.95, 0.3)
    assert (row["Trained"], row["MessageCount"]) == (True, 90)
    assert row["ReadOutBytes"] <= 50_000
    assert esn.describe(None, USUAL, esn.seed_weights())["Trained"] is False


def test_explain_shows_named_inputs_and_the_states_of_all_neurons(trained):
    item = message(960, True)
    shown = esn.explain(item, trained.context(), esn.NETWORK)
    assert len(shown["inputs"]) == len(shown["states"]) > 1
    assert tuple(shown["inputs"][0]) == INPUTS
    assert all(len(states) == 100 for states in shown["states"])
    assert shown["probability"] == trained.judge(item).probability


def test_the_last_state_is_that_of_the_message(trained):
    item = message(970, False)
    lesson = esn.unpack_lesson(LEARNER.contribution(trained.state, item, trained.context(), "ham"))
    states = esn.explain(item, trained.context(), esn.NETWORK)["states"]
    assert lesson.last_state == pytest.approx(states[-1], abs=0.005)
    assert lesson.updated == 1_700_000_000.25
