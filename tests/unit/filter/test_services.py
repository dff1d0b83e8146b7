"""The classifier and the trainer as they serve their sockets, in one process, on scratch directories."""

import asyncio
import sqlite3

import pytest

from echomox.config.paths import Paths
from echomox.config.schema import JunkFilter
from echomox.filter.counts.readers import Readers
from echomox.filter.counts.words import Writer
from echomox.filter.judge import Judge
from echomox.ipc import unix
from echomox.ipc.channel import Client
from echomox.ipc.classify import ClassifierPool
from echomox.ipc.schema import Classify, Failed, Learned, LearnState, Retrain, Ring
from echomox.log import Log, Sink
from echomox.store.engine import NoSuchAccount
from tests.unit.filter.test_learning import Account, mail
from workers.classifier import BATCH, Classifier
from workers.trainer import Trainer

WAIT = 60.0


@pytest.fixture
def log():
    sink = Sink()
    sink.default = 100
    return Log("test", sink=sink)


@pytest.fixture
def paths(tmp_path):
    made = Paths(tmp_path, tmp_path, tmp_path, tmp_path, tmp_path)
    (made.accounts / "u0").mkdir(parents=True)
    return made


class Engine:
    """Of the store's engine, what the trainer asks."""

    def __init__(self, *accounts):
        self.known = {account.name: account for account in accounts}

    def accounts(self):
        return list(self.known)

    def open(self, name):
        if name not in self.known:
            raise NoSuchAccount(name)
        return self.known[name]


class Counters(dict):
    def __call__(self, name, n=1):
        self[name] = self.get(name, 0) + n


def question(number, source=b"Subject: x\r\n\r\ny\r\n"):
    return Classify(f"c{number}", ("u0", "u1"), source, "", "", "", "", False)


def test_the_classifier_answers_all_in_batches(paths, log):
    async def body():
        counters = Counters()
        judge = Judge(paths.accounts, lambda name: JunkFilter(), log)
        served = Classifier((judge, paths.spool, 1.0), log, counters)
        await served.server.serve([unix.listen(paths.socket("classify.0"))])
        pool = ClassifierPool(paths, 1, WAIT, log)
        await pool.start()
        answers = await asyncio.gather(*[pool.classify(question(n)) for n in range(100)])
        assert all([verdict.account for verdict in answer] == ["u0", "u1"] for answer in answers)
        assert counters["classify_requests"] == 100
        assert 100 / BATCH <= counters["classify_batches"] < 100
        await pool.close()
        await served.drain()

    asyncio.run(asyncio.wait_for(body(), WAIT))


def test_the_classifier_survives_what_makes_it_fail(paths, log):
    async def body():
        def settings(name):
            raise RuntimeError("no settings")

        served = Classifier((Judge(paths.accounts, settings, log), paths.spool, 1.0), log)
        await served.server.serve([unix.listen(paths.socket("classify.0"))])
        client = Client(paths.socket("classify.0"), "c", log)
        await client.start()
        assert await client.request(question(1), WAIT) == Failed("error RuntimeError")
        assert await client.request(Ring("a", 1), WAIT) == Failed("not for a classifier")
        many = Classify("c", ("u0",) * 1001, b"", "", "", "", "", False)
        assert await client.request(many, WAIT) == Failed("too many accounts")
        await client.close()
        await served.drain()

    asyncio.run(asyncio.wait_for(body(), WAIT))


def test_a_bell_makes_the_trainer_learn_and_readers_see_it(paths, log):
    async def body():
        account, counters = Account(), Counters()
        account.messages = {1: mail("cheap"), 2: mail("minutes")}
        trainer = Trainer(Engine(account), paths.accounts, lambda name: JunkFilter(), log, counters)
        await trainer.turn(0.0)
        account.says(1, "spam"), account.says(2, "ham")
        await trainer.turn(1.0)
        assert len(account.outbox) == 2  # nobody rang
        trainer.rung("u0", 1)
        trainer.rung("unknown", 1)
        await trainer.turn(2.0)
        assert account.outbox == []
        assert Readers(paths.accounts).get("u0").counts(["cheap"]) == {"cheap": (0, 1)}
        account.says(1, "")
        trainer.rung("", 0)
        await trainer.turn(3.0)
        assert Readers(paths.accounts).get("u0").counts(["cheap"]) == {}
        assert counters == {"learned_spam": 1, "learned_ham": 1, "unlearned": 1}

    asyncio.run(asyncio.wait_for(body(), WAIT))


def test_the_trainer_comes_back_to_an_account_that_gave_trouble(paths, log):
    async def body():
        account = Account()
        account.messages = {1: mail("cheap")}
        trainer = Trainer(Engine(account), paths.accounts, lambda name: JunkFilter(), log)
        whole, account.content = account.content, lambda message: open("/nonexistent/file")  # noqa: SIM115
        account.says(1, "spam")
        await trainer.turn(0.0)
        assert len(account.outbox) == 1
        account.content = whole
        await trainer.turn(5.0)
        assert len(account.outbox) == 1
        await trainer.turn(20.0)
        assert account.outbox == []

    asyncio.run(asyncio.wait_for(body(), WAIT))


def test_learn_sock_tells_how_far_learning_is(paths, log):
    async def body():
        account = Account()
        account.messages = {1: mail("cheap")}
        account.says(1, "spam")
        trainer = Trainer(Engine(account), paths.accounts, lambda name: JunkFilter(), log)
        await trainer.server.serve([unix.listen(paths.socket("learn"))])
        client = Client(paths.socket("learn"), "c", log)
        await client.start()
        assert await client.request(Learned("u0"), WAIT) == LearnState("u0", 0, 0, 0, 0, 1)
        await trainer.turn(0.0)
        expected = LearnState("u0", 1, 0, 1, 1, 0)
        assert await client.request(Learned("u0"), WAIT) == expected
        assert await client.request(Retrain("u0"), WAIT) == expected
        assert await client.request(Retrain("../u0"), WAIT) == Failed("no such account")
        assert await client.request(Ring("u0", 1), WAIT) == Failed("not for the trainer")
        await client.close()
        await trainer.server.close()

    asyncio.run(asyncio.wait_for(body(), WAIT))


def test_who_asks_for_training_on_a_full_disk_is_told_so(paths, monkeypatch):
    sink = Sink()
    sink.configure(str(paths.logs / "log"), "trainer.0", {})

    def full(writer, *arguments):
        raise sqlite3.OperationalError("database or disk is full")

    async def body():
        account = Account()
        account.messages = {1: mail("cheap")}
        account.says(1, "spam")
        trainer = Trainer(Engine(account), paths.accounts, lambda name: JunkFilter(), Log("test", sink=sink))
        await trainer.server.serve([unix.listen(paths.socket("learn"))])
        client = Client(paths.socket("learn"), "c", Log("test", sink=sink))
        await client.start()
        await trainer.turn(0.0)
        monkeypatch.setattr(Writer, "replace", full)
        assert await client.request(Retrain("u0"), WAIT) == Failed("database or disk is full")
        monkeypatch.undo()
        assert await client.request(Retrain("u0"), WAIT) == LearnState("u0", 1, 0, 1, 1, 0)
        await client.close()
        await trainer.server.close()

    asyncio.run(asyncio.wait_for(body(), WAIT))
    assert "traceback" not in (paths.logs / "log").read_text()
