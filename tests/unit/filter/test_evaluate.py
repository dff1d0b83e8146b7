"""Corpora, figures, protocols, plots, the JSON service and replay, on a small made-up corpus."""

import io
import json
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest

from echomox.config.schema import JunkFilter
from echomox.filter.features import read
from echomox.filter.learning.desk import learn
from echomox.filter.stages import STAGES, membranes, with_own
from echomox.filter.stages.membranes import default_rules, rules_from
from echomox.filter.tools import evaluate, figures, plots, servejson, table
from echomox.filter.tools.corpus import CorpusError, halves, load
from echomox.filter.tools.evaluate import Evaluation, Plan
from echomox.filter.tools.explain import details
from echomox.filter.tools.padding import padded, plain_text
from echomox.filter.tools.replay import replay
from echomox.filter.tools.trial import silent
from tests.unit.filter.test_learning import Account
from tests.unit.filter.test_parts import mail


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    lines = []
    for n in range(80):
        spam = n % 2 == 1
        (directory / f"{n}.eml").write_bytes(mail(n, spam).replace(b"\r\n", b"\n"))
        lines.append(f"{'spam' if spam else 'ham'}\t{n}.eml\t2024-01-{1 + n // 4:02}T00:00:00Z")
    (directory / "index.tsv").write_text("\n".join(lines) + "\n")
    return directory


# -- corpora -------------------------------------------------------------------


def test_an_indexed_corpus_has_crlf_and_its_times(corpus):
    mails = load(corpus)
    assert len(mails) == 80 and sum(one.spam for one in mails) == 40
    assert mails[3].read() == mail(3, True)
    assert mails[79].time - mails[0].time == 19 * 86400


def test_directories_and_mboxes_are_mixed_by_date(tmp_path):
    (tmp_path / "SPAM").mkdir()
    for day in (2, 4):
        (tmp_path / "SPAM" / str(day)).write_bytes(b"Date: %d Jan 2024 10:00:00 +0000\n\nx\n" % day)
    ham = b"".join(
        b"From a Mon Jan\nDate: %d Jan 2024 10:00:00 +0000\n\n>From here\nFrom x\n\n" % day for day in (1, 3)
    )
    (tmp_path / "ham.mbox").write_bytes(ham)
    mails = load(tmp_path)
    assert [one.spam for one in mails] == [False, True, False, True]
    assert mails[0].read().endswith(b"\r\n\r\nFrom here\r\nFrom x\r\n\r\n")


@pytest.mark.parametrize(
    "index",
    ["spam\tx", "odd\tx\t2024-01-01", "ham\tx\tyesterday", "ham\tx\t2024-01-01", "ham\ty\t2024-01-01"],
)
def test_a_corpus_that_cannot_be_used_says_why(tmp_path, index):
    (tmp_path / "x").write_bytes(b"")
    (tmp_path / "index.tsv").write_text(index + "\n")
    with pytest.raises(CorpusError, match=r"index.tsv:1|no spam"):
        load(tmp_path)


def test_halves_are_of_each_kind(corpus):
    first, second = halves(load(corpus))
    assert first == list(range(40)) and second == list(range(40, 80))


# -- figures -------------------------------------------------------------------


def test_figures_against_plain_counting():
    random = np.random.default_rng(3)
    p, y = random.integers(0, 20, 300) / 20, random.random(300) < 0.4
    found = figures.sample(p, y)
    pairs = [(a > b) + 0.5 * (a == b) for a in p[y] for b in p[~y]]
    assert figures.auc_error(found) == pytest.approx(100 * (1 - np.mean(pairs)))
    assert figures.bands(found.spam_p) == pytest.approx(
        [100 * np.mean(p[y] < 0.3), 100 * np.mean((p[y] >= 0.3) & (p[y] <= 0.8)), 100 * np.mean(p[y] > 0.8)]
    )
    best = min(np.mean(p[y] <= t) for t in [-1, *p] if np.mean(p[~y] > t) <= 0.05)
    assert figures.missed_at(found, 5.0) == pytest.approx(100 * best)
    best = min(np.mean(p[~y] >= t) for t in p if np.mean(p[y] >= t) >= 0.9)
    assert figures.lost_at(found, 90.0) == pytest.approx(100 * best)
    roc = figures.roc(found)
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(roc))
    assert 100 * (1 - area) == pytest.approx(figures.auc_error(found))


def test_figures_of_perfect_and_useless_filters():
    y = [True, False] * 50
    perfect, useless = figures.sample([float(x) for x in y], y), figures.sample([0.5] * 100, y)
    assert figures.auc_error(perfect) == 0 and figures.auc_error(useless) == 50
    assert figures.log_loss(useless) == pytest.approx(np.log(2))
    assert figures.missed_at(perfect, 0.1) == 0 and figures.missed_at(useless, 0.1) == 100
    assert figures.lam(useless) == pytest.approx(100 * 0.5, abs=1e-6) or figures.lam(useless) > 1
    assert np.isnan(figures.auc_error(figures.sample([0.5], [True])))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("spam", [[], [True], [False], [True, False]])
def test_figures_of_hardly_anything_are_json(spam):
    found = figures.plain(figures.summary(figures.sample([0.25] * len(spam), spam)))
    json.dumps(found, allow_nan=False)
    assert (found["lam"] is None) == (len(set(spam)) < 2)


def test_the_calibration_error_is_the_mean_distance_from_the_truth():
    found = figures.sample([0.2, 0.2, 0.2, 0.2, 0.9, 0.9], [True, False, False, False, True, True])
    assert figures.calibration_error(found) == pytest.approx((4 * abs(0.2 - 0.25) + 2 * abs(0.9 - 1.0)) / 6)


# -- protocols -----------------------------------------------------------------


@pytest.fixture(scope="module")
def report(corpus):
    patch = pytest.MonkeyPatch()
    for name, value in (("COLD", 20), ("STARTS", 2), ("ATTACKED", 6), ("AMOUNTS", (0, 100))):
        patch.setattr(evaluate, name, value)
    found = Evaluation(load(corpus), Plan(delay=10)).run()
    patch.undo()
    return found


def test_every_protocol_is_told_with_its_ablation(report):
    assert set(evaluate.PROTOCOLS) < set(report)
    for protocol in ("online", "delayed", "drift"):
        found = report[protocol]
        assert set(found["alone"]) | {"nothing"} == set(found["without"]) >= {"bayes", "ngrams", "membranes"}
        assert found["all"]["auc_error"] < 25
        assert sum(sum(places.values()) for places in found["places"].values()) == found["all"]["messages"]
    assert report["drift"]["all"]["messages"] == 40
    assert report["cold"]["totals"]["ham_rejected"] == 0
    assert set(report["attack"]["amounts"]) == {"0", "100"}


def test_a_report_is_json_and_a_table(report):
    text = "\n".join(table.lines(json.loads(json.dumps(report))))
    for word in ("messages/s)", "calibration error 0.", "lost@99%"):
        assert word in text
    for word in ("online: 80 messages", "bayes alone", "without ngrams", "cold:", "untrained:", "attack:", "CPU"):
        assert word in text


def test_charts_are_drawn_as_svg_and_png(report, tmp_path, monkeypatch):
    drawn = plots.charts(json.loads(json.dumps(report)))
    assert {"online-roc", "drift-reliability", "delayed-learning", "cold", "attack"} <= set(drawn)
    assert set(drawn["cold"].lines) == {"spam caught", "ham in Junk", "ham refused"}
    for chart in drawn.values():
        assert ET.fromstring(plots.svg(chart)).tag == "{http://www.w3.org/2000/svg}svg"
    names = plots.write(tmp_path / "new", {"one": drawn["cold"]})
    assert names == ["one.svg", "one.png"]
    image = (tmp_path / "new" / "one.png").read_bytes()
    assert image.startswith(b"\x89PNG\r\n\x1a\n") and 2000 < len(image) < 100_000
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert plots.write(tmp_path, {"two": drawn["cold"]}) == ["two.svg"]


def test_an_image_shows_lines_cells_and_text_where_they_belong():
    image = pytest.importorskip("PIL.Image")
    lines = {"one": [(0.0, 0.0), (1.0, 1.0)]}
    for chart, colour in ((plots.Chart("T", "x", "y", lines), (27, 108, 168)), (CELLS, (255, 0, 0))):
        found = image.open(io.BytesIO(plots.png(chart)))
        assert found.size == (2 * plots.WIDTH, 2 * plots.HEIGHT)
        pixels = found.convert("RGB")
        inside = pixels.crop((2 * plots.LEFT, 2 * plots.TOP, 2 * (plots.WIDTH - plots.RIGHT), 2 * 374))
        assert colour in {item for _, item in inside.getcolors(1 << 20)}
        assert min(pixels.crop((0, 0, 400, 50)).convert("L").tobytes()) < 64  # the title


CELLS = plots.Chart("states", "chunk", "neuron", cells=[[1.0, -1.0], [0.0, 0.5]])


def test_the_trace_of_a_message_is_drawn(tmp_path):
    found = details((mail(1, True), "new"), tmp_path, JunkFilter(), default_rules(), ["esn"])["esn"]
    drawn = plots.trace(found)
    assert len(drawn["states"].cells) == 100 and set(drawn["inputs"].lines) == set(plots.TRACED)
    for chart in drawn.values():
        ET.fromstring(plots.svg(chart))
    ET.fromstring(plots.svg(plots.trace(found | {"inputs": [], "states": []})["states"]))


def test_a_chart_escapes_its_text_and_stays_inside():
    text = plots.svg(plots.Chart("<a&b>", "x", "y", {"<l>": [(0.0, 5.0), (9.0, -9.0)]}, (0, 1), (0, 1)))
    root = ET.fromstring(text)
    line = next(item for item in root.iter() if item.tag.endswith("polyline"))
    for pair in line.get("points").split():
        x, y = map(float, pair.split(","))
        assert plots.LEFT <= x <= plots.WIDTH - plots.RIGHT and plots.TOP <= y <= plots.HEIGHT - plots.BOTTOM


@pytest.mark.parametrize(
    "axis, expected",
    [((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1.0]), ((0, 7), [0, 2, 4, 6]), ((90, 100), [90, 92, 94, 96, 98, 100])],
)
def test_ticks_are_round(axis, expected):
    assert plots.ticks(axis) == expected


def test_padding_adds_so_much_good_text():
    data = mail(1, True)
    body = len(data) - data.index(b"\r\n\r\n") - 4
    good = [plain_text(read(mail(2, False)))]
    assert len(padded(data, 200, good, 1)) == pytest.approx(len(data) + 2 * body, abs=20)
    page = b"Content-Type: text/html\r\n\r\n<body>buy buy buy</body>"
    assert padded(page, 100, ["<ok>"], 1).endswith(
        b"&lt;ok&gt;\r\n&lt;ok&gt;\r\n&lt;ok&gt;\r\n&lt;ok&gt;\r\n</p></body>"
    ) or b"&lt;" in padded(page, 100, ["<ok>"], 1)
    assert padded(b"Content-Transfer-Encoding: base64\r\n\r\nAAAA", 100, good, 1) is None


# -- services ------------------------------------------------------------------


def test_the_json_service_learns_and_answers(corpus, tmp_path):
    lines = [{"op": "train", "path": str(corpus / f"{n}.eml"), "spam": n % 2 == 1} for n in range(40)]
    asked = [{"op": "classify", "path": str(corpus / f"{n}.eml")} for n in (51, 52)]
    bad = [
        "nonsense",
        '{"op": "classify"}',
        '{"op": "train", "path": "%s"}' % (corpus / "1.eml"),
        '{"op":"classify","path":"/no"}',
    ]
    out = io.StringIO()
    count = servejson.serve([*map(json.dumps, lines), "", *map(json.dumps, asked), *bad], out, tmp_path, JunkFilter())
    answers = [json.loads(line) for line in out.getvalue().splitlines()]
    assert count == len(answers) == 46
    assert answers[:40] == [{}] * 40
    assert answers[40]["p"] > 0.5 > answers[41]["p"] and answers[41]["place"] == "inbox"
    assert all(set(answer) == {"error"} for answer in answers[42:])


def test_replay_tells_what_other_settings_would_do(tmp_path):
    account = Account()
    account.messages = {n: mail(n, n % 2 == 1) for n in range(40)}
    (tmp_path / "u0").mkdir()
    for n in range(40):
        account.says(n, ("ham", "spam")[n % 2])
    learn(account, tmp_path, JunkFilter(), silent())
    found = replay(account, tmp_path, (JunkFilter(), JunkFilter(mode="junk-only", junk=0.01)), silent())
    assert found["messages"] == 40
    assert found["then"]["confusion"]["spam"]["reject"] == 0
    assert found["now"]["confusion"]["ham"] != found["then"]["confusion"]["ham"] or found["moved"] >= 0
    assert found["now"]["figures"] == found["then"]["figures"]


def test_a_replay_and_an_evaluation_are_by_the_rules_that_are_given(tmp_path, corpus):
    rules = rules_from('membrane skin\nwords odd in skin: "xyzzy"\nrule odd in skin priority 1: odd -> spam(9)\n')
    stages = with_own(membranes.stage(lambda: rules))
    patch = pytest.MonkeyPatch()
    patch.setattr(evaluate, "PROTOCOLS", ("online",))
    found = Evaluation(load(corpus)[:8], Plan(("online",), stages=stages)).run()["online"]["alone"]["membranes"]
    patch.undo()
    assert found["auc_error"] == 50.0  # no word of these rules is in any message
    account = Account()
    account.messages = {n: mail(n, n % 2 == 1) for n in range(4)}
    (tmp_path / "u0").mkdir()
    for n in range(4):
        account.says(n, ("ham", "spam")[n % 2])
    learn(account, tmp_path, JunkFilter(), silent())
    both = (JunkFilter(), JunkFilter())
    found = replay(account, tmp_path, both, silent(), stages=(STAGES, stages))
    assert found["now"]["figures"]["log_loss"] != found["then"]["figures"]["log_loss"]
