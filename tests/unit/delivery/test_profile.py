"""What a message feels like, on its way from the judge through the verdict's JSON into the store."""

from __future__ import annotations

import json
from dataclasses import astuple
from math import isfinite

from echomox.config.paths import Paths
from echomox.config.schema import JunkFilter
from echomox.delivery.local import verdict_json
from echomox.filter.decide import decide
from echomox.filter.judge import Judge
from echomox.ipc.schema import Classify
from echomox.log import logger
from echomox.store.sqlite import SqliteEngine
from tests.contract.stores import ALICE, add, message


def test_the_store_gives_the_ten_values_of_the_judged_message(tmp_path):
    source = message("Great news", "What a wonderful, happy surprise; I am so glad!\r\n")
    settings = JunkFilter()
    judge = Judge(tmp_path, lambda name: settings, logger("test"))
    (verdict,) = judge.verdicts(Classify("c", ("a",), source, "", "", "", "", False), tmp_path, 60.0)
    judge.close()
    assert len(verdict.profile) == 10 and all(map(isfinite, verdict.profile)) and any(verdict.profile)
    decision = decide(settings, verdict)
    text = verdict_json(decision.place, decision.reason, verdict)
    assert json.loads(text)["profile"] == list(verdict.profile)
    engine = SqliteEngine(Paths.home(tmp_path))
    engine.recover()
    engine.create(ALICE)
    added = add(engine, source=source, verdict=text)
    found = engine.open(ALICE).affect(added.message_id)
    engine.close()
    assert found is not None and astuple(found) == (added.message_id, *verdict.profile)
