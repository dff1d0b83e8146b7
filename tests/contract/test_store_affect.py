"""AFFECTIVE_STATE: the same for every engine."""

from __future__ import annotations

import json

import pytest

from echomox.store.engine import AffectiveState, Engine
from tests.contract.stores import ALICE, add

PROFILE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, -0.1, 0.58, 0.5)
VERDICT = json.dumps({"place": "inbox", "probability": 0.1, "profile": PROFILE})


def test_the_profile_of_the_verdict_is_kept_with_the_message(engine: Engine) -> None:
    added = add(engine, verdict=VERDICT)
    assert engine.open(ALICE).affect(added.message_id) == AffectiveState(added.message_id, *PROFILE)


@pytest.mark.parametrize(
    "verdict",
    [
        "",
        "{}",
        '{"profile": []}',
        '{"profile": null}',
        '{"profile": [1, 2]}',
        '{"profile": "abcdefghij"}',
        '{"profile": [NaN, 0, 0, 0, 0, 0, 0, 0, 0, 0]}',
        '["profile"]',
        'no JSON "profile"',
    ],
)
def test_other_verdicts_have_none(engine: Engine, verdict: str) -> None:
    added = add(engine, verdict=verdict)
    assert engine.open(ALICE).affect(added.message_id) is None


def test_a_copy_has_it_a_moved_message_keeps_it_and_it_goes_with_the_last(engine: Engine) -> None:
    added = add(engine, verdict=VERDICT)
    store = engine.open(ALICE)
    junk, trash = store.mailbox("Junk").id, store.mailbox("Trash").id
    copied = store.copy(added.mailbox_id, [added.uid], trash)
    (copy_id,) = next(iter(store.fetch(trash, copied.target[0], copied.target[0], ["id"])))
    store.move(added.mailbox_id, [added.uid], junk)
    assert store.affect(added.message_id) == AffectiveState(added.message_id, *PROFILE)
    assert store.affect(copy_id) == AffectiveState(copy_id, *PROFILE)
    store.remove(junk, [store.mailbox("Junk").uidnext - 1])
    assert store.affect(added.message_id) is None
    assert store.affect(copy_id) == AffectiveState(copy_id, *PROFILE)
    store.remove(trash, copied.target)
    assert store.affect(copy_id) is None


def test_of_no_message_there_is_none(engine: Engine) -> None:
    assert engine.open(ALICE).affect(12345) is None
