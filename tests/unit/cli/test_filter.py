"""`echomox filter explain|state`, `message affect` and `verifydata` on the files of a demo, without a server."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from echomox.cli.main import main
from echomox.filter.stages import STAGES
from echomox.filter.weights import DIRECTORY, StateFile
from echomox.filter.words import junk_path
from echomox.reservoir.affect import FIELDS
from echomox.store import open_engine
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
    assert kept["states"] == [{"NeuronIndex": 0, "State": 0.5, "LastUpdate": "2026-11-01T00:00:00+00:00"}]
    lines = run("filter", "state", "u0")[1].splitlines()
    assert "Trained         yes" in lines and lines[-1].split() == ["0", "0.5000", "2026-11-01T00:00:00+00:00"]


def stats(run):
    return run("filter", "stats", "u0", "--json")[1]


def test_a_broken_state_db_is_refused_in_one_line(run, demo):
    (demo.paths.data / DIRECTORY).mkdir(exist_ok=True)
    (demo.paths.data / DIRECTORY / "state.db").write_bytes(b"no database" * 1000)
    code, _, err = run("filter", "state", "u0")
    assert code == 1 and "verifydata" in err and err.count("\n") == 1


def test_verifydata_looks_at_the_filter(run, demo, stored):
    assert run("verifydata")[:2] == (0, "no faults\n")
    junk_path(demo.paths.accounts, "u1").write_bytes(b"no database" * 1000)
    code, out, _ = run("verifydata", "--json")
    (fault,) = json.loads(out)["faults"]
    assert code == 1 and (fault["account"], fault["kind"], fault["fixed"]) == ("u1", "filter", False)
    assert "--fix" not in run("verifydata")[1] and run("verifydata", "--account", "u0")[0] == 0


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
