"""`echomox filter explain|state`, `message affect` and `verifydata` on the files of a demo, without a server."""

from __future__ import annotations

import json
import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing

import pytest

from echomox.cli.filter_text import _objects
from echomox.cli.main import main
from echomox.filter.counts.words import junk_path
from echomox.filter.stages import STAGES
from echomox.filter.tools.drawings import drawings
from echomox.filter.weights import DIRECTORY, StateFile
from echomox.reservoir.affect import FIELDS
from echomox.store import open_engine
from echomox.store.engine import SendLimits
from tests.contract.stores import add, message

PROFILE = [n / 16 for n in range(10)]
SOURCE = message("Urgent offer", "You are a winner! Act now, click here: http://192.0.2.1/free\r\n")


@pytest.fixture
def stored(demo):
    """(id of a classified message, id of one that was not)"""
    engine = open_engine(demo.paths)
    ids = [
        add(engine, source=SOURCE, account="u0", verdict=text).message_id
        for text in (json.dumps({"profile": PROFILE}), "")
    ]
    engine.close()
    return ids


@pytest.fixture
def run(capsys, demo):
    def command(*argv):
        code = main(["--config", str(demo.paths.config), *map(str, argv)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def test_affect_has_the_ten_fields(run, stored):
    code, out, _ = run("message", "affect", "u0", stored[0], "--json")
    assert code == 0 and json.loads(out) == {"MessageID": stored[0], **dict(zip(FIELDS, PROFILE))}
    assert "Joy" in run("message", "affect", "u0", stored[0])[1]
    code, _, err = run("message", "affect", "u0", stored[1])
    assert code == 1 and "was not classified" in err


def test_explain_has_a_line_for_each_stage_and_no_more_than_asked(run, stored):
    code, out, _ = run("filter", "explain", stored[0], "--account", "u0")
    assert code == 0
    lines = [line for line in out.splitlines() if line.startswith("stage ")]
    assert [line.split()[1] for line in lines] == [stage.name for stage in STAGES]
    assert all(" P 0." in line and " weight " in line for line in lines)
    assert not {"membranes:", "esn:", "affect:"} & {line.split(" ")[0] for line in out.splitlines()}


def test_details_are_the_same_of_a_file_and_of_a_message(run, stored, tmp_path):
    file = tmp_path / "mail.eml"
    file.write_bytes(SOURCE)
    flags = ("--account", "u0", "--membranes", "--esn", "--affect")
    code, out, _ = run("filter", "explain", file, *flags)
    assert (code, out) == run("filter", "explain", stored[0], *flags)[:2] and code == 0
    names = [line.strip().split(" ")[0] for line in out.splitlines() if "): permeability " in line]
    assert names[:3] == ["skin", "content", "word_patterns"] and names.index("ham_words") < names.index("link_analysis")
    assert "\n      word_patterns (" in out and "\n  events, as" in out and " -> " in out
    assert "esn: no opinion: untrained 0/0" in out and "  chunk 1 inputs: " in out and "    states: " in out
    assert "warning" in out and "profile.Joy" in out and "terms.pressure" in out
    for name in (file, stored[0]):
        everything = json.loads(run("filter", "explain", name, "--account", "u0", "--json")[1])
        assert {"stages", "membranes", "esn", "affect"} <= set(everything)


TRACE = (
    b"Return-Path: <shop@shop.example>\r\n"
    b"Received: from mx.shop.example (rdns.example [192.0.2.7]) by here with ESMTPS\r\n\tid 1;\r\n"
    b"Authentication-Results: here;\r\n\tspf=fail smtp.mailfrom=shop.example;\r\n\tdkim=none;\r\n\tdmarc=fail\r\n"
)
VERDICT = {
    "place": "junk", "reason": "from-junk-to-reject", "probability": 0.5, "parts": "all", "learned": 0,
    "evidence": [{"stage": "auth", "probability": 0.9, "weight": 0.2, "reasons": ["dmarc=watched", "helo=fail"]}],
}  # fmt: skip


def test_a_stored_message_is_explained_with_what_its_delivery_found(run, demo):
    engine = open_engine(demo.paths)
    (one,) = (
        found.message_id
        for found in [add(engine, source=SOURCE, account="u0", prefix=TRACE, verdict=json.dumps(VERDICT))]
    )
    engine.close()
    found = json.loads(run("filter", "explain", one, "--account", "u0", "--json")[1])
    assert found["features"]["metadata"]["remote_ip"] == "192.0.2.7" and found["features"]["metadata"]["tls"]
    assert found["checks"] == [
        {"method": "spf", "result": "fail", "log_odds": 1.2},
        {"method": "dkim", "result": "none", "log_odds": 0.0},
        {"method": "dmarc", "result": "watched", "log_odds": 0.8},
        {"method": "helo", "result": "fail", "log_odds": 0.3},
    ]
    (said,) = [stage for stage in found["stages"] if stage["stage"] == "auth"]
    assert said["reasons"] == ["dmarc=watched", "helo=fail"] and said["weight"] > 0
    assert found["delivered"] == {name: VERDICT[name] for name in VERDICT if name != "evidence"}
    text = run("filter", "explain", one, "--account", "u0")[1]
    assert "when it came: junk: P(spam) 0.5000, from-junk-to-reject" in text and "dmarc=watched +0.8" in text


def test_whom_the_account_wrote_to_is_known_to_explain(run, demo, tmp_path):
    file = tmp_path / "mail"
    file.write_bytes(b"From: Friend <Friend@far.example>\r\nSubject: x\r\n\r\nhello\r\n")

    def reasons():
        stages = json.loads(run("filter", "explain", file, "--account", "u0", "--json")[1])["stages"]
        return [stage["reasons"] for stage in stages if stage["stage"] == "reputation"]

    assert reasons() == [["untrained"]]
    engine = open_engine(demo.paths)
    engine.open("u0").note_sent(["friend@far.example"], [], 1_700_000_000.0, SendLimits(0, 0))
    engine.close()
    assert reasons() == [["written to friend@far.example 0/0"]]


def test_explain_tells_how_long_each_part_takes_when_asked(run, stored):
    assert "timing:" not in run("filter", "explain", stored[0], "--account", "u0")[1]
    assert "timing:" in run("filter", "explain", stored[0], "--account", "u0", "--timing")[1]
    found = json.loads(run("filter", "explain", stored[0], "--account", "u0", "--json")[1])["timing"]
    assert set(found) == {"read", "all", *(stage.name for stage in STAGES)}
    assert 0 < sum(found.values()) - found["all"] <= found["all"] * 1.5


def test_explain_draws_all_that_it_says(run, tmp_path):
    file, plots = tmp_path / "mail", tmp_path / "plots"
    file.write_bytes(SOURCE.replace(b"winner", b"win\x07\x1bner <&>"))
    code, out, _ = run("filter", "explain", file, "--account", "u0", "--plot", plots)
    assert code == 0 and "esn:" not in out and "membranes:" not in out
    names = {path.stem for path in plots.glob("*.svg")}
    assert names == {"parts", "emotions", "inputs", "states", "tree"}  # it knows no words
    for path in plots.glob("*.svg"):
        ET.fromstring(path.read_bytes())
    texts = [item.text for item in ET.fromstring((plots / "tree.svg").read_bytes()) if item.tag.endswith("}text")]
    titles = [text.partition(":")[0] for text in texts[1:]]
    assert titles[:4] == ["Skin", "1 Content analysis", "1.1 Word patterns", "Ham words"] and len(titles) == 13


def test_words_are_drawn_where_there_are_known_ones(run, stored):
    answer = json.loads(run("filter", "explain", stored[0], "--account", "u0", "--json")[1])
    assert "words" not in drawings(answer)
    answer["words"]["ham"] = [{"probability": 0.1, "word": "thanks", "ham": 20, "spam": 1}]
    assert list(drawings(answer)["words"].bars) == ["thanks"]


def test_objects_are_shown_with_their_mobility():
    found = {"type": "spam", "value": 1.5, "charge": -1, "mobility": 0.5}
    assert _objects([found, found | {"charge": 0, "mobility": 1.0}]) == "spam-(1.5)~0.5, spam(1.5)"


def test_state_shows_the_rows_of_state_db(run, demo):
    shape = {"ReservoirSize": 100, "SpectralRadius": 0.9, "LeakRate": 0.3, "Trained": False, "MessageCount": 0}
    fresh = json.loads(run("filter", "state", "u0", "--json")[1])
    assert fresh["reservoir"].keys() == {"AccountID", *shape} and (fresh["states"], fresh["recorded"]) == ([], False)
    assert "no states" in run("filter", "state", "u0")[1]
    assert fresh["reservoir"].items() <= {"AccountID": "u0", **json.loads(stats(run))["reservoir"]}.items()
    with closing(StateFile(demo.paths.data / DIRECTORY)) as file:
        file.put("u0", {**shape, "Trained": True, "MessageCount": 7}, [(0, 0.5, "2026-11-01T00:00:00+00:00")])
    kept = json.loads(run("filter", "state", "u0", "--json")[1])
    assert kept["reservoir"] == {"AccountID": "u0", **shape, "Trained": True, "MessageCount": 7}
    assert kept["states"] == [{"NeuronIndex": 0, "State": 0.5, "LastUpdate": "2026-11-01T00:00:00Z"}]
    lines = run("filter", "state", "u0")[1].splitlines()
    assert "Trained         yes" in lines and lines[-1].split() == ["0", "0.5000", "2026-11-01T00:00:00Z"]


def stats(run):
    return run("filter", "stats", "u0", "--json")[1]


def test_a_broken_state_db_is_refused_in_one_line(run, demo):
    (demo.paths.data / DIRECTORY).mkdir(exist_ok=True)
    (demo.paths.data / DIRECTORY / "state.db").write_bytes(b"no database" * 1000)
    code, _, err = run("filter", "state", "u0")
    assert code == 1 and "verifydata" in err and err.count("\n") == 1


def test_eval_takes_settings_and_rules_and_prints_json_without_nan(run, tmp_path):
    for kind in ("ham", "spam"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "1").write_bytes(SOURCE)
    evaluate = ("filter", "eval", tmp_path, "--protocol", "online")
    code, out, err = run(*evaluate, "--json", "--set", "leak=0.2")
    assert (code, err) == (0, "")

    def odd(name):
        raise AssertionError(name)

    assert json.loads(out, parse_constant=odd)["online"]["all"]["auc_error_second_half"] is None
    text = run(*evaluate)[1]
    assert "messages/s)" in text and "how often a ham ranks above a spam" in text and "nan" not in text
    for more, expected, why in (
        (("--delay", "-1"), 2, "0 or more"),
        (("--set", "strict=0.5"), 2, "works at a delivery"),
        (("--set", "weights=bayes=x"), 2, "is no weight"),
        (("--set", "junkk=0.5"), 2, "no setting junkk; did you mean `junk`?"),
        (("--set", "junk=7"), 2, "junk=7: not allowed; a number from 0 to 1"),
        (("--set", "mode=odd"), 2, "mode=odd: not allowed; one of"),
        (("--rules", tmp_path / "none"), 1, "none"),
        (("--protocol", "onlin"), 2, "no protocol onlin; did you mean `online`?"),
    ):
        code, _, err = run(*evaluate, *more)
        assert code == expected and why in err and err.startswith("echomox: ")
    (tmp_path / "ham" / "1").unlink()
    code, _, err = run(*evaluate)
    assert code == 1 and "no ham; a corpus has" in err


def test_verifydata_looks_at_the_filter(run, demo, stored):
    assert run("verifydata")[:2] == (0, "no faults\n")
    junk_path(demo.paths.accounts, "u1").write_bytes(b"no database" * 1000)
    code, out, _ = run("verifydata", "--json")
    (fault,) = json.loads(out)["faults"]
    assert code == 1 and (fault["account"], fault["kind"], fault["fixed"]) == ("u1", "filter", False)
    assert "--fix" not in run("verifydata")[1] and run("verifydata", "--account", "u0")[0] == 0


def test_verifydata_names_the_account_of_a_newer_program_and_promises_no_repair(run, demo):
    with closing(sqlite3.connect(demo.paths.accounts / "u1" / "index.db")) as connection:
        connection.execute("PRAGMA user_version=99")
    code, out, _ = run("verifydata")
    assert code == 1 and "account u1 has version 99" in out and "start the newer echomox" in out
    assert "--fix" not in out


def test_a_rule_file_is_checked_and_tried_on_a_message(run, tmp_path):
    code, out, _ = run("filter", "rules", "check", "default")
    assert code == 0 and "default: good" in out
    mail = tmp_path / "mail"
    mail.write_bytes(SOURCE)
    code, out, _ = run("filter", "rules", "check", "default", "--message", mail, "--json")
    assert code == 0 and json.loads(out)["trial"]["events"]
    bad = tmp_path / "bad.rules"
    bad.write_text("membrane skin\nrule (\n")
    code, _, err = run("filter", "rules", "check", bad)
    assert code == 1 and f"{bad}: line 2: rule:" in err
    bad.write_bytes(b"\xff\xfe")
    assert run("filter", "rules", "check", bad)[0] == 1
    assert run("filter", "rules", "check", tmp_path / "none")[0] == 1
