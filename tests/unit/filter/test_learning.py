"""Word counts: training, exact undo, readers that see it, and the outbox applied once whatever happens."""

import sqlite3
import time
import zlib
from math import isfinite

import msgpack
import numpy as np
import pytest

from echomox.config.schema import JunkFilter
from echomox.filter.context import Stage
from echomox.filter.counts.readers import Reader, Readers
from echomox.filter.counts.words import Writer, junk_path
from echomox.filter.features import READ_BYTES
from echomox.filter.hashing import hashes
from echomox.filter.judge import Judge, fallback_judge
from echomox.filter.learning.desk import BATCH, learn, retrain, state
from echomox.filter.learning.learn import BadRecord, Delta, Spelling, pack, unpack, unpack_strings
from echomox.filter.stages.membranes import default_rules
from echomox.filter.tools import stats
from echomox.filter.tools.explain import DETAILS, details, explain
from echomox.ipc.schema import Classify
from echomox.log import Log, Sink
from echomox.store.engine import LearnItem, StoreError

SETTINGS = JunkFilter()


@pytest.fixture
def log():
    sink = Sink()
    sink.default = 100
    return Log("test", sink=sink)


@pytest.fixture
def accounts(tmp_path):
    (tmp_path / "u0").mkdir()
    return tmp_path


class Content:
    def __init__(self, data):
        self.data, self.prefix_size, self.size = data, 4, len(data) + 4

    def read(self, offset=0, length=None):
        if offset == 0:
            return b"X: \n"[:length]
        assert offset == self.prefix_size  # our own trace headers are never learnt
        return self.data[:length]

    def close(self):
        pass


class Account:
    """The learning part of an AccountStore, in memory."""

    name = "u0"

    def __init__(self):
        self.messages, self.outbox, self.forgotten, self.next = {}, [], 0, 1

    def says(self, message, label):
        self.outbox.append(LearnItem(self.next, message, label))
        self.next += 1

    def learn_outbox(self, after, limit):
        return [item for item in self.outbox if item.id > after][:limit]

    def learned(self, up_to):
        self.forgotten = up_to
        self.outbox = [item for item in self.outbox if item.id > up_to]

    def content(self, message):
        if message not in self.messages:
            raise StoreError("the message is gone")
        return Content(self.messages[message])


def mail(text):
    return f"From: a@example.org\r\nSubject: {text}\r\n\r\n{text} body of it\r\n".encode()


@pytest.fixture
def account():
    made = Account()
    made.messages = {n: mail(f"word{n} word{n + 1}") for n in range(40)}
    return made


def rows(accounts):
    connection = sqlite3.connect(junk_path(accounts, "u0"))
    tables = ("WORD", "JUNKFILTER", "trained")
    assert connection.execute("SELECT * FROM waiting").fetchall() == []
    found = {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in tables}
    found["WORD"] = [row[:3] for row in found["WORD"]]
    connection.close()
    return found


def named(accounts):
    connection = sqlite3.connect(junk_path(accounts, "u0"))
    found = connection.execute("SELECT Hash, Word, Ham, Spam FROM WORD").fetchall()
    connection.close()
    return found


def teach(account, accounts, log, *lessons):
    for message, label in lessons:
        account.says(message, label)
    return learn(account, accounts, SETTINGS, log)


def test_training_counts_and_undo_leaves_the_same_rows(account, accounts, log):
    teach(account, accounts, log, (1, "spam"), (2, "ham"))
    before = rows(accounts)
    assert before["JUNKFILTER"] == [(1, 2, 1, 1, SETTINGS.junk)]
    assert ("word2", 1, 1) in before["WORD"] and ("word1", 0, 1) in before["WORD"]
    assert teach(account, accounts, log, (3, "spam"), (4, "ham"))[1:] == (1, 1, 0, False)
    assert rows(accounts) != before
    assert teach(account, accounts, log, (3, ""), (4, ""))[1:] == (0, 0, 2, False)
    assert rows(accounts) == before


def test_undo_is_exact_after_the_message_and_the_settings_changed(account, accounts, log):
    teach(account, accounts, log, (1, "spam"))
    before = rows(accounts)
    teach(account, accounts, log, (2, "ham"))
    account.messages.clear()
    account.says(2, "")
    learn(account, accounts, JunkFilter(ngrams=3), log)
    assert rows(accounts) == before


def test_another_label_moves_the_counts(account, accounts, log):
    teach(account, accounts, log, (1, "spam"))
    as_spam = rows(accounts)
    teach(account, accounts, log, (1, "ham"))
    assert rows(accounts)["WORD"] == [(word, spam, ham) for word, ham, spam in as_spam["WORD"]]
    teach(account, accounts, log, (1, "spam"))
    assert rows(accounts) == as_spam


def test_items_applied_twice_count_once(account, accounts, log):
    account.says(1, "spam"), account.says(2, "ham"), account.says(1, "ham")
    again = list(account.outbox)
    learn(account, accounts, SETTINGS, log)
    once = rows(accounts)
    account.outbox = again  # killed before the store forgot them
    assert learn(account, accounts, SETTINGS, log).items == 3
    assert rows(accounts) == once
    assert account.outbox == []


def test_a_message_that_is_gone_teaches_nothing(account, accounts, log):
    assert teach(account, accounts, log, (999, "spam")) == (1, 0, 0, 0, False)
    assert rows(accounts)["WORD"] == []
    assert account.forgotten == 1


def test_a_disk_error_leaves_the_item_in_the_outbox(account, accounts, log):
    def content(message):
        raise OSError("disk")

    account.content = content
    account.says(1, "spam")
    with pytest.raises(OSError, match="disk"):
        learn(account, accounts, SETTINGS, log)
    assert len(account.outbox) == 1
    assert rows(accounts)["WORD"] == []


def test_large_outboxes_come_in_batches(account, accounts, log):
    for n in range(BATCH + 5):
        account.says(n % 40, "spam")
    assert learn(account, accounts, SETTINGS, log).items == BATCH
    assert learn(account, accounts, SETTINGS, log).items == 5
    assert learn(account, accounts, SETTINGS, log).items == 0
    assert state(account, accounts).spam == 40
    assert state(account, accounts).outbox == BATCH + 5


@pytest.mark.parametrize("again", ["spam", "ham"])
def test_words_of_which_the_last_message_is_taken_back_as_another_comes_are_counted_down(
    account, accounts, log, again
):
    """They are spelled anew, for nothing held them in between; there are fewer than before."""
    teach(account, accounts, log, (1, "spam"), (2, "spam"), (3, "spam"), (4, "ham"), (5, "ham"))
    teach(account, accounts, log, *((number, "") for number in range(1, 6)), (6, again))
    counts = {word: (ham, spam) for _, word, ham, spam in named(accounts)}
    assert counts["body"] == ((1, 0) if again == "ham" else (0, 1))
    before = rows(accounts)
    retrain(account, accounts, SETTINGS, log)
    assert rows(accounts)["WORD"] == before["WORD"]


def test_retraining_gives_the_same_counts(account, accounts, log):
    teach(account, accounts, log, *[(n, ("spam", "ham")[n % 2]) for n in range(20)])
    before = rows(accounts)
    connection = sqlite3.connect(junk_path(accounts, "u0"))
    connection.execute("DELETE FROM WORD WHERE Ham > 0")
    connection.execute("UPDATE JUNKFILTER SET MessageHam = 1000")
    connection.commit()
    connection.close()
    assert retrain(account, accounts, SETTINGS, log).messages == 20
    assert rows(accounts) == before


def test_packed_words_come_back():
    words = hashes(["a b", "größe", "日本", "with\nline"])
    assert unpack(pack(words)).tolist() == words.tolist() and unpack(pack(words[:0])).tolist() == []


@pytest.mark.parametrize("record", [b"", b"junk", pack(hashes(["a"]))[:-3], pack(hashes(["a"])) + b"x", b"\0" * 11])
def test_a_damaged_record_is_an_error(record):
    for read in (unpack, Delta.load):
        with pytest.raises(BadRecord):
            read(record)


def test_words_of_older_files_are_read_or_an_error():
    record = zlib.compress(msgpack.packb(["a b", "größe"]))
    assert unpack_strings(record) == ["a b", "größe"]
    for damaged in (record[:-3], b"x", zlib.compress(b"\xc1"), zlib.compress(msgpack.packb([1]))):
        with pytest.raises(BadRecord):
            unpack_strings(damaged)


def test_a_delta_that_cancels_out_changes_nothing():
    delta = Delta()
    delta.add("spam", hashes(["a", "b"]), 1)
    delta.add("spam", hashes(["a", "b"]), -1)
    assert len(delta.changes()[0]) == 0 and (delta.ham, delta.spam) == (0, 0)


def test_a_delta_comes_back():
    delta = Delta()
    delta.add_many([("spam", hashes(["a", "b"])), ("ham", hashes(["b", "c"]))])
    delta.spelled.add(hashes(["a"]), ["a"])
    again = Delta.load(delta.dump())
    assert again.lookup(hashes(["a", "b", "c", "d"])).tolist() == [[0, 1], [1, 1], [1, 0], [0, 0]]
    assert again.spelled.of(hashes(["b", "a"])) == [None, "a"]


@pytest.mark.parametrize("words", [[], [""], ["a"], ["a", "", "größe", "日本", "a"], ["a\0b", "\ud800"]])
def test_how_words_are_written_comes_back(words):
    delta = Delta()
    for word in words:
        delta.spelled.add(hashes([word]), [word])
    found = Delta.load(delta.dump()).spelled
    wanted = [word.replace("\0", "").replace("\ud800", "?") for word in words]
    assert found.of(hashes(words)) == wanted and len(found) == len(words)
    assert found.of(hashes(["none"])) == [None]


def test_what_was_said_of_a_word_last_holds():
    one, other = Spelling(), Spelling()
    one.add(hashes(["a", "b"]), ["first", "b"])
    other.add(hashes(["a"]), ["last"])
    one.merge(other)
    assert one.of(hashes(["b", "a"])) == ["b", "last"]


@pytest.mark.parametrize("words", [{}, {"a": "a", "größe": "größe"}])
def test_changes_that_an_older_program_left_waiting_are_read(words):
    keys = hashes(["a", "b"])
    spelled = {int(hashes([key])[0]): word for key, word in words.items()}
    data = msgpack.packb([keys.tobytes(), np.array([[1, 0], [0, 2]], np.int32).tobytes(), spelled])
    found = Delta.load(zlib.crc32(data).to_bytes(4, "little") + data)
    assert found.lookup(keys).tolist() == [[1, 0], [0, 2]]
    assert found.spelled.of(hashes(list(words))) == list(words.values())


@pytest.mark.parametrize(
    "spelled", [[], [7], [None], [{-1: "a"}], [{"a": "a"}], [b"x" * 8, b"a\0b"], [b"", b"", b""], [b"x" * 8, b"\xff"]]
)
def test_a_record_of_another_shape_is_an_error(spelled):
    keys = hashes(["a"])
    data = msgpack.packb([keys.tobytes(), np.array([[1, 0]], np.int32).tobytes(), *spelled])
    record = zlib.crc32(data).to_bytes(4, "little") + data
    with pytest.raises(BadRecord):
        Delta.load(record)


def test_which_messages_are_trained_is_asked_for_any_number(accounts):
    writer = Writer(junk_path(accounts, "u0"))
    with writer.transaction():
        writer.remember([(n, "ham", hashes(["a"])) for n in range(0, 2000, 3)])
    assert writer.which(range(1700)) == set(range(0, 1700, 3))
    assert writer.which([]) == writer.which({1: "ham"}) == set()
    writer.close()


def put(accounts, settle=False, **words):
    writer = Writer(junk_path(accounts, "u0"))
    delta = Delta()
    for kind in (0, 1):
        for word, counts in words.items():
            for _ in range(counts[kind]):
                delta.add(("ham", "spam")[kind], hashes([word]), 1)
    delta.spelled.add(hashes(list(words)), list(words))
    delta.ham = delta.spam = 20
    with writer.transaction():
        writer.apply(delta)
    if settle:
        with writer.transaction():
            writer.settle()
    writer.close()


def test_a_reader_sees_what_was_committed_and_not_less(accounts):
    put(accounts, one=(1, 2), two=(3, 0))
    reader = Reader(junk_path(accounts, "u0"))
    assert reader.totals().ham == 20
    assert reader.counts(["none", "two", "one"]) == {"two": (3, 0), "one": (1, 2)}
    put(accounts, one=(1, 0), none=(0, 1))
    assert reader.totals().total == 80
    assert reader.counts(["none", "one"]) == {"none": (0, 1), "one": (2, 2)}
    reader.close()


def test_readers_follow_a_new_file_and_close_the_oldest(accounts):
    for name in ("u1", "u2"):
        (accounts / name).mkdir()
        Writer(junk_path(accounts, name)).close()
    readers = Readers(accounts, most=1)
    assert readers.get("u0") is None
    first = readers.get("u1")
    assert readers.get("u1") is first
    readers.get("u2")
    again = readers.get("u1")
    assert again is not first
    path = junk_path(accounts, "u1")
    Writer(path.with_name("new.db")).close()
    path.with_name("new.db").rename(path)
    assert readers.get("u1") is not again
    readers.close()


def test_a_bad_account_name_is_no_path(accounts):
    with pytest.raises(StoreError):
        junk_path(accounts, "../u0")


# -- the judge -----------------------------------------------------------------


WORD1 = mail("word1")


def question(*names, source=WORD1, spool=""):
    return Classify("cid", names, source, spool, "", "", "", False)


def trained(account, accounts, log):
    for n in range(40):
        account.messages[n] = mail(f"offer cheap {n}" if n % 2 else f"meeting minutes {n}")
        account.says(n, ("ham", "spam")[n % 2])
    while learn(account, accounts, SETTINGS, log).items:
        pass


def judge(accounts, log, **more):
    return Judge(accounts, lambda name: SETTINGS, log, **more)


def test_verdicts_are_one_per_account_in_order(account, accounts, log):
    trained(account, accounts, log)
    spam, ham = mail("offer cheap 7"), mail("meeting minutes of 8")
    for source, low, high in ((spam, 0.5, 1.0), (ham, 0.0, 0.5)):
        found = judge(accounts, log).verdicts(question("new", "u0", "../x", source=source), accounts)
        assert [verdict.account for verdict in found] == ["new", "u0", "../x"]
        assert [verdict.learned for verdict in found] == [0, 40, 0]
        assert low < found[1].probability < high
        assert found[0].probability < 0.3 and found[0].evidence[0].weight == 0.0
        assert found[1].parts == "all"


def test_a_stage_that_raises_leaves_the_decision_to_the_rest(account, accounts, log):
    trained(account, accounts, log)

    def broken(features, context):
        raise ZeroDivisionError

    whole = judge(accounts, log)
    stages = (Stage("broken", broken, 0.001), *whole._stages)
    (found,) = judge(accounts, log, stages=stages).verdicts(question("u0"), accounts)
    (alone,) = whole.verdicts(question("u0"), accounts)
    assert found.probability == alone.probability
    assert found.parts == "fallback"
    assert found.evidence[0].reasons == ("error ZeroDivisionError",)


def test_the_fallback_judges_by_what_is_light_and_says_so(account, accounts, log):
    trained(account, accounts, log)
    source = mail("offer cheap 7")
    (found,) = fallback_judge(accounts, lambda name: SETTINGS, log).verdicts(question("u0", source=source), accounts)
    (whole,) = judge(accounts, log).verdicts(question("u0", source=source), accounts)
    assert found.parts == "fallback"
    (bayes,) = [part for part in whole.evidence if part.stage == "bayes"]
    part = found.evidence[0]
    assert (part.stage, part.probability) == ("bayes", bayes.probability) and part.weight > 0.5
    assert [item.stage for item in found.evidence] == ["bayes", "reputation"]


@pytest.mark.parametrize(
    "lists, expected", [({"allow": ("@x.example",)}, 1e-4), ({"block": ("@x.example",)}, 1 - 1e-4)]
)
def test_lists_of_senders_hold_in_the_fallback_too(account, accounts, log, lists, expected):
    trained(account, accounts, log)
    settings = JunkFilter(**lists)
    source = b"From: a@x.example\r\n\r\ncheap offer\r\n"
    (found,) = fallback_judge(accounts, lambda name: settings, log).verdicts(question("u0", source=source), accounts)
    assert found.probability == expected and found.parts == "fallback"


def test_without_time_there_is_no_opinion(accounts, log):
    (found,) = judge(accounts, log).verdicts(question("u0"), accounts, budget=0.0)
    assert (found.probability, found.parts) == (0.0, "fallback")


@pytest.mark.parametrize("spool", ["smtp.0/none", "../../etc/passwd", ""])
def test_a_message_that_cannot_be_read_is_no_opinion(accounts, log, spool):
    (found,) = judge(accounts, log).verdicts(question("u0", source=None, spool=spool), accounts)
    assert (found.probability, found.parts, found.evidence[0].weight) == (0.0, "fallback", 0.0)


def test_a_spooled_message_is_judged_like_its_bytes(account, accounts, log):
    trained(account, accounts, log)
    (accounts / "smtp.0").mkdir()
    (accounts / "smtp.0" / "m").write_bytes(mail("cheap offer"))
    one = judge(accounts, log).verdicts(question("u0", source=None, spool="smtp.0/m"), accounts)
    assert one == judge(accounts, log).verdicts(question("u0", source=mail("cheap offer")), accounts)


def test_a_broken_junk_db_makes_the_account_untrained_for_now(accounts, log):
    junk_path(accounts, "u0").write_bytes(b"this is no database" * 500)
    (found,) = judge(accounts, log).verdicts(question("u0"), accounts)
    assert found.learned == 0 and found.evidence[0].weight == 0.0


def test_a_verdict_carries_the_profile_of_the_message(accounts, log):
    joy = mail("what a wonderful, happy day; I am so glad")
    for found in judge(accounts, log).verdicts(question("u0", "new", source=joy), accounts):
        assert len(found.profile) == 10 and all(map(isfinite, found.profile))
        assert found.profile[0] > found.profile[1]
    (unread,) = judge(accounts, log).verdicts(question("u0", source=None, spool="smtp.0/none"), accounts)
    (alone,) = fallback_judge(accounts, lambda name: SETTINGS, log).verdicts(question("u0", source=joy), accounts)
    assert unread.profile == alone.profile == ()


@pytest.mark.parametrize("account, spool", [("u0", "smtp.0/none"), ("u0", "../../etc/passwd"), ("../x", None)])
def test_what_is_ordinary_is_a_warning_without_a_traceback(accounts, account, spool, monkeypatch):
    written = []
    log = Log("test", sink=Sink())
    monkeypatch.setattr(Log, "warn", lambda self, event, **fields: written.append(event))
    monkeypatch.setattr(Log, "exception", lambda self, event, **fields: pytest.fail(event))
    asked = question(account, source=None, spool=spool) if spool else question(account)
    judge(accounts, log).verdicts(asked, accounts)
    assert written == ["message not read" if spool else "word counts not read"]


# -- for people ----------------------------------------------------------------


def test_explain_shows_groups_words_and_the_decision(account, accounts, log):
    trained(account, accounts, log)
    found = explain(mail("cheap offer"), "u0", accounts, SETTINGS, default_rules())
    assert set(found["features"]) == {"headers", "body", "metadata"}
    assert found["learned"] == 40 and found["place"] in ("junk", "reject")
    assert {"cheap", "offer"} <= {word["word"] for word in found["words"]["spam"]}
    assert found["header"].startswith("X-EchoMox-Verdict: " + found["place"])
    (verdict,) = judge(accounts, log).verdicts(question("u0", source=mail("cheap offer")), accounts)
    assert found["probability"] == verdict.probability


def test_details_are_those_that_are_asked_for(account, accounts):
    text = mail("cheap offer, act now")
    assert details((text, "u0"), accounts, SETTINGS, default_rules(), []) == {}
    found = details((text, "u0"), accounts, SETTINGS, default_rules(), DETAILS)
    assert list(found) == ["membranes", "esn", "affect"]
    assert found["esn"]["weight"] == 0.0 and found["esn"]["inputs"] and found["esn"]["states"]
    assert found["membranes"]["events"] and len(found["affect"]["profile"]) == 10


def test_explain_of_an_account_that_knows_nothing(accounts, log):
    found = explain(mail("x") + b"y" * READ_BYTES, "u0", accounts, SETTINGS, default_rules())
    assert (found["place"], found["words"]["known"]) == ("inbox", 0)


def test_stats_are_the_seeds_four_numbers_and_words_rise(account, accounts, log):
    empty = stats.stats(accounts, "u0")
    assert [empty[name] for name in ("MessageTotal", "MessageHam", "MessageSpam", "words")] == [0, 0, 0, 0]
    trained(account, accounts, log)
    full = stats.stats(accounts, "u0")
    assert [full[name] for name in ("MessageTotal", "MessageHam", "MessageSpam")] == [40, 20, 20]
    assert full["Threshold"] == SETTINGS.junk and full["ready"] and full["words"] > 0
    word = stats.word(accounts, "u0", "cheap")
    assert (word["Ham"], word["Spam"]) == (0, 20) and word["probability"] > 0.9
    assert stats.word(accounts, "u0", "none")["probability"] == 0.5
    assert stats.word(accounts, "u0", "CHEAP") == word and stats.word(accounts, "u0", "NONE")["Word"] == "NONE"


def test_a_junk_db_that_is_being_made_is_that_of_an_untrained_account(account, accounts, log):
    empty = stats.stats(accounts, "u0")
    path = junk_path(accounts, "u0")
    path.parent.mkdir(parents=True, exist_ok=True)
    sqlite3.connect(path).close()
    path.touch()
    assert stats.stats(accounts, "u0") == empty
    readers = Readers(accounts)
    assert readers.get("u0") is None
    Writer(path).close()
    assert readers.get("u0").totals().total == 0
    readers.close()


def test_verdicts_do_not_depend_on_when(account, accounts, log):
    trained(account, accounts, log)
    one = judge(accounts, log)
    first = one.verdicts(question("u0"), accounts)
    assert one.verdicts(question("u0"), accounts, budget=time.monotonic()) == first
