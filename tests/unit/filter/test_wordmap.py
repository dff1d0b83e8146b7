"""words.map: the same counts as a dictionary, never half of a change, whatever happens to the file or its writer."""

import os
import random
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.filter.counts import wordmap
from echomox.filter.counts.readers import Reader
from echomox.filter.counts.wordmap import Damaged, Table, Totals, WordMap, table_of, together, write
from echomox.filter.counts.words import Writer, junk_path, map_path
from echomox.filter.hashing import hashes
from echomox.filter.learning.learn import Delta

TOTALS = Totals(7, 4, 3, 0.3)


def array(numbers):
    return np.array(numbers, np.uint64)


def pairs(numbers):
    return np.array(numbers, np.int32).reshape(-1, 2)


keys = st.integers(1, 1 << 64 - 1) | st.integers(1, 200).map(lambda n: n << 40)
messages = st.lists(st.tuples(st.sets(keys, max_size=60), st.sampled_from([(1, 0), (0, 1), (-1, 0)])), max_size=12)


@given(messages)
@settings(max_examples=60, deadline=None)
def test_a_table_counts_like_a_dictionary(steps):
    table, plain = Table(), {}
    for words, add in steps:
        if words:
            table.add(*together([array(sorted(words))], [add]))
        for word in words:
            ham, spam = plain.get(word, (0, 0))
            plain[word] = (ham + add[0], spam + add[1])
    asked = [*plain, 3, 0, *plain]
    assert table.lookup(array(asked)).tolist() == [list(plain.get(word, (0, 0))) for word in asked]
    found = {int(word): tuple(both) for word, both in zip(*map(np.ndarray.tolist, table.items()))}
    assert found == {word: both for word, both in plain.items() if both != (0, 0)}


def test_words_that_come_again_as_the_table_grows_are_counted():
    """Their count was 0, so the larger table has no slot of theirs."""
    table = Table()
    old = hashes([f"old {n}" for n in range(20)])
    new = hashes([f"new {n}" for n in range(len(table.hashes))])
    table.add(old, pairs([(1, 0)] * len(old)))
    table.add(old, pairs([(-1, 0)] * len(old)))
    both = np.concatenate([old, new])
    table.add(both, pairs([(0, 1)] * len(both)))
    assert table.lookup(both).tolist() == [[0, 1]] * len(both)
    assert table.lookup(array([0])).tolist() == [[0, 0]]
    assert table.used == len(both)


def test_full_buckets_flow_over_around_the_end():
    """Words whose home is one bucket: the last."""
    inverse = pow(int(wordmap._MULTIPLIER), -1, 1 << 64)
    number = wordmap.WIDTH * (2 * wordmap.NEXT + 2) - 3  # the last are found at the third look
    words = array([(((1 << 64) - 1 - n) * inverse) % (1 << 64) for n in range(number)])
    table = Table()
    table.put(words, pairs([(n + 1, n) for n in range(number)]))
    assert table.lookup(words).tolist() == [[n + 1, n] for n in range(number)]
    assert table.hashes[table.find(words)].tolist() == words.tolist()
    table.put(words, pairs([(n, n + 2) for n in range(number)]))
    assert (table.lookup(words).tolist(), table.used) == ([[n, n + 2] for n in range(number)], number)
    assert not table.lookup(array([((1 << 64) - 99) * inverse % (1 << 64)])).any()


def test_words_of_several_messages_are_summed():
    words, counts = together([array([1, 2]), array([2, 3]), array([])], [(1, 0), (0, 1), (1, 0)])
    assert words.tolist() == [1, 2, 3] and counts.tolist() == [[1, 0], [1, 1], [0, 1]]


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "words.map", table_of(array([1, 2, 3]), pairs([(1, 0), (2, 5), (0, 1)])), TOTALS, 9)
    return tmp_path / "words.map"


def test_a_written_file_is_read(path):
    found = WordMap(path)
    assert found.lookup(array([2, 4, 3])).tolist() == [[2, 5], [0, 0], [0, 1]]
    assert (found.totals(), found.stamp, found.check()) == (TOTALS, 9, True)


def test_changes_are_seen_by_who_has_it_open(path):
    reader, writer = WordMap(path), WordMap(path, writable=True)
    assert writer.change(array([2, 9]), pairs([(3, 5), (1, 1)]), Totals(9, 5, 4, 0.4), 10)
    assert reader.lookup(array([1, 2, 9])).tolist() == [[1, 0], [3, 5], [1, 1]]
    assert (reader.totals(), reader.stamp, reader.check()) == (Totals(9, 5, 4, 0.4), 10, True)
    many = array(range(1, wordmap.redo_size(9) + 2))
    assert not writer.change(many, pairs([(1, 1)] * len(many)), TOTALS, 11) and reader.stamp == 10


def test_a_writer_that_is_killed_within_a_change_leaves_a_whole_one(path):
    """The generation stays odd and the slots are as they were, half changed, or changed: the end state is read."""
    before = path.read_bytes()
    WordMap(path, writable=True).change(array([1, 2]), pairs([(6, 6), (7, 7)]), TOTALS, 10)
    after = path.read_bytes()
    head = wordmap.HEAD.itemsize
    table = len(before) - 16 * (1 << wordmap.LEAST_BITS)
    differ = [at for at in range(table, len(before)) if before[at] != after[at]]
    for cut in range(len(differ) + 1):
        torn = bytearray(after)
        for at in differ[cut:]:
            torn[at] = before[at]
        torn[head - 24 : head] = after[head - 24 : head]
        generation = wordmap.HEAD.fields["generation"][1]
        torn[generation] = 1
        path.write_bytes(torn)
        found = WordMap(path)
        assert found.lookup(array([1, 2, 3, 4])).tolist() == [[6, 6], [7, 7], [0, 1], [0, 0]]
        assert found.stamp == -1


def test_readers_never_see_half_of_a_change(path):
    words = hashes([f"word {n}" for n in range(300)])
    write(path, table_of(words, np.ones((300, 2), np.int32)), TOTALS, 1)
    writer, done = WordMap(path, writable=True), threading.Event()

    def change():
        for n in range(2, 400):
            writer.change(words, np.full((300, 2), n, np.int32), TOTALS, n)
        done.set()

    reader, seen = WordMap(path), set()
    thread = threading.Thread(target=change)
    thread.start()
    while not done.is_set():
        found = reader.lookup(words)
        assert found.min() == found.max()
        seen.add(int(found[0, 0]))
    thread.join()
    assert len(seen) > 1


@pytest.mark.parametrize("cut", [0, 10, 4000, -1, 1])
def test_what_is_no_table_is_damaged(path, cut):
    data = path.read_bytes()
    path.write_bytes(data[:cut] if cut != 1 else data + b"x")
    with pytest.raises(Damaged):
        WordMap(path)
    assert wordmap.opened(path) is None


@pytest.mark.parametrize("at", [0, 9, 13])
def test_a_damaged_head_is_noticed(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(Damaged):
        WordMap(path)


def test_every_damaged_slot_is_noticed(path):
    data = path.read_bytes()
    start = len(data) - 16 * (1 << wordmap.LEAST_BITS)
    for at in [at for at in range(start, len(data)) if data[at]]:
        broken = bytearray(data)
        broken[at] ^= 1 << random.Random(at).randrange(8)
        path.write_bytes(broken)
        assert not WordMap(path).check()


def test_a_full_disk_leaves_the_old_file(path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="space"):
        write(path, Table(), TOTALS, 10)
    assert WordMap(path).stamp == 9 and [item.name for item in path.parent.iterdir()] == [path.name]


# -- beside junk.db ------------------------------------------------------------


def teach(writer, *words, settle=False):
    delta = Delta()
    found = hashes(words)
    delta.add("spam", found, 1)
    delta.spelled.add(found, words)
    with writer.transaction():
        writer.apply(delta)
    if settle:
        with writer.transaction():
            writer.settle()


@pytest.fixture
def junk(tmp_path):
    (tmp_path / "u0").mkdir()
    path = junk_path(tmp_path, "u0")
    writer = Writer(path)
    teach(writer, "one", "two", settle=True)
    teach(writer, "two", "three")
    writer.close()
    return path


COUNTS = {"one": (0, 1), "two": (0, 2), "three": (0, 1)}


def counts(path):
    reader = Reader(path)
    found = reader.totals().spam, reader.counts(["one", "none", "two", "three"])
    assert reader.word("two") == found[1]["two"] and reader.size()[0] == 3
    reader.close()
    return found


@pytest.mark.parametrize("what", ["missing", "garbage", "short", "slot", "odd", "other"])
def test_without_a_good_map_readers_have_the_same_counts_and_the_writer_makes_it_anew(junk, what):
    path = map_path(junk)
    data = bytearray(path.read_bytes())
    if what == "missing":
        path.unlink()
    elif what == "garbage":
        path.write_bytes(os.urandom(len(data)))
    elif what == "short":
        path.write_bytes(data[:5000])
    elif what == "other":
        write(path, table_of(hashes(["one"]), pairs([(50, 50)])), TOTALS, 3)
    else:
        data[wordmap.HEAD.fields["generation"][1] if what == "odd" else data.rindex(b"\x02")] ^= 1
        path.write_bytes(data)
    assert counts(junk) == (2, COUNTS)
    writer = Writer(junk)
    assert writer.lookup(hashes(["two", "none"])).tolist() == [[0, 2], [0, 0]]
    writer.close()
    assert wordmap.opened(path).check() and counts(junk) == (2, COUNTS)


def test_without_room_for_a_map_everything_goes_on(junk, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    map_path(junk).unlink()
    monkeypatch.setattr(os, "posix_fallocate", full)
    writer = Writer(junk)
    assert writer.lookup(hashes(["two"])).tolist() == [[0, 2]]
    teach(writer, "two")
    assert writer.lookup(hashes(["two"])).tolist() == [[0, 3]]
    writer.close()
    assert counts(junk) == (3, COUNTS | {"two": (0, 3)}) and not map_path(junk).exists()


def test_a_lesson_waits_outside_of_word_and_is_settled(junk):
    writer = Writer(junk)
    run = writer._connection.execute
    rows = "SELECT Word, Ham, Spam FROM WORD ORDER BY Word"
    assert run(rows).fetchall() == [("one", 0, 1), ("two", 0, 1)] and writer.waits
    with writer.transaction():
        writer.settle()
    assert run(rows).fetchall() == [("one", 0, 1), ("three", 0, 1), ("two", 0, 2)] and not writer.waits
    writer.close()
    assert counts(junk) == (2, COUNTS)


KILLED = """
import sys
from pathlib import Path
from tests.unit.filter.test_wordmap import teach
from echomox.filter.counts.words import Writer
writer = Writer(Path(sys.argv[1]))
print("ready", flush=True)
for n in range(100000):
    teach(writer, "one", f"word {n % 500}", settle=n % 7 == 0)
"""


@pytest.mark.parametrize("after", [0.05, 0.11, 0.23])
def test_kill_9_of_the_writer_leaves_the_counts_of_a_commit(junk, after):
    child = subprocess.Popen([sys.executable, "-c", KILLED, junk], stdout=subprocess.PIPE)
    child.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(after)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    words = hashes(["one", *[f"word {n}" for n in range(500)]])
    reader = Reader(junk)
    seen = reader.lookup(words)
    reader.close()
    writer = Writer(junk)
    spam, found = writer.totals().spam, writer.lookup(words)
    assert found[0, 1] == spam - 1 and found[1:, 1].sum() == spam - 2
    assert int(seen[0, 1]) in (spam - 1, spam - 2) and seen[1:, 1].sum() == seen[0, 1] - 1
    with writer.transaction():
        writer.settle()
    run = writer._connection.execute
    assert run("SELECT Spam FROM WORD WHERE Word = 'one'").fetchone() == (spam - 1,)
    writer.close()
