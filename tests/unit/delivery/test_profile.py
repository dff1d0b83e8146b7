"""What a message feels like, on its way from the judge through the verdict's JSON into the store."""

from __future__ import annotations

import json
from dataclasses import asdict, astuple
from math import isfinite

from echomox.config.paths import Paths
from echomox.config.schema import JunkFilter
from echomox.delivery.filing import verdict_json
from echomox.filter.decide import decide
from echomox.filter.judge import Judge
from echomox.ipc.schema import Classify, Evidence, Verdict
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


def test_the_json_of_a_verdict_has_all_its_fields_in_their_order():
    evidence = (Evidence("bayes", 0.5, 1.25, ("a", 'b"ä')), Evidence("auth", 0.1, 0.0, ()))
    for verdict in (
        Verdict("u0", 0.0001, evidence, "all", 1000, 0.25, (0.0, 1.5, -2.0)),
        Verdict("u0", 0.0, (), "fallback", 0),
    ):
        expected = json.dumps({"place": "junk", "reason": "why", **asdict(verdict)})
        assert verdict_json("junk", "why", verdict) == expected
    assert verdict_json("inbox", "why", None) == ""


def test_the_json_of_a_verdict_has_the_digits_of_its_header():
    evidence = (Evidence("bayes", 0.99746975831, 0.76505399, ("x",)),)
    verdict = Verdict("u0", 0.99458566, evidence, "all", 7, 0.58634016)
    told = json.loads(verdict_json("junk", "why", verdict))
    header = decide(JunkFilter(), verdict).header
    assert b"p=%.4f;" % told["probability"] in header and b"bayes=%.4f*" % told["evidence"][0]["probability"] in header
    assert (told["probability"], told["acts"], told["evidence"][0]["weight"]) == (0.9946, 0.5863, 0.7651)
