"""Channels over real Unix sockets in a scratch directory: answers, time-outs, and peers that misbehave.

Every wait is for an event of the loop; the time limits of the servers are set short instead of slept through.
"""

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import uvloop

from echomox.config.paths import Paths
from echomox.ipc import unix
from echomox.ipc.bells import Bells
from echomox.ipc.channel import Client, Limits, Server
from echomox.ipc.classify import ClassifierPool
from echomox.ipc.frame import LENGTH, encode
from echomox.ipc.schema import (
    Classify,
    Failed,
    Learned,
    LearnState,
    Listen,
    Ring,
    Verdict,
    Verdicts,
)
from echomox.log import Log, Sink
from workers.notifier import Notifier

SHORT = Limits(half_frame=0.5, first_frame=0.5, unread=0.5, buffer=1024, buffer_most=1 << 20)
PATIENT = replace(SHORT, half_frame=60.0, first_frame=60.0, unread=60.0)
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
WAIT = 60.0


@pytest.fixture(params=LOOPS.values(), ids=LOOPS.keys())
def run(request):
    """Runs a coroutine to its end on each kind of loop."""

    def runner(body):
        with asyncio.Runner(loop_factory=request.param) as loop:
            loop.run(asyncio.wait_for(body, WAIT))

    return runner


@pytest.fixture
def log():
    sink = Sink()
    sink.default = 100
    return Log("test", sink=sink)


def answer(link, frame):
    message = frame.message
    if isinstance(message, Learned):
        link.send(LearnState(message.account, 1, 2, 3, 4, 5), frame.request)
    elif message == Failed("raise"):
        raise RuntimeError("as told")


class World:
    """A server at a path, and what it has dropped."""

    def __init__(self, path, log, limits=PATIENT, handler=answer):
        self.path, self.dropped, self.ended, self.log = path, 0, asyncio.Event(), log
        self.server = Server(handler, log, lambda link: self.ended.set(), self._drop, limits)

    def _drop(self):
        self.dropped += 1

    async def start(self):
        self.listener = unix.listen(self.path)
        await self.server.serve([self.listener])
        return self

    async def ask(self):
        """A well-behaved client is answered."""
        client = Client(self.path, "good", self.log)
        await client.start()
        assert await client.request(Learned("a"), WAIT) == LearnState("a", 1, 2, 3, 4, 5)
        await client.close()


@asynccontextmanager
async def world(tmp_path, log, **more):
    made = await World(tmp_path / "t.sock", log, **more).start()
    yield made
    await made.server.close()


def test_many_questions_at_once_find_their_answers(run, tmp_path, log):
    async def body():
        async with world(tmp_path, log) as at:
            client = Client(at.path, "c", log)
            await client.start()
            names = [f"account{n}" for n in range(200)]
            answers = await asyncio.gather(*[client.request(Learned(name), WAIT) for name in names])
            assert [state.account for state in answers] == names
            assert client.owed == 0
            await client.close()

    run(body())


def test_questions_of_one_turn_go_out_in_one_write(run, tmp_path, log):
    async def body():
        async with world(tmp_path, log) as at:
            client = Client(at.path, "c", log)
            await client.start()
            sent, write = [], client.write
            client.write = lambda data: (sent.append(data), write(data))
            await asyncio.gather(*[client.request(Learned(name), WAIT) for name in "abc"])
            assert sent == [b"".join(encode(Learned(name), at) for at, name in enumerate("abc", 1))]
            await client.close()

    run(body())


def test_a_question_of_a_connection_that_ended_at_once_is_not_asked_on_the_next(run, tmp_path, log):
    async def body():
        async with world(tmp_path, log) as at:
            client = Client(at.path, "c", log)
            await client.start()
            asked = asyncio.ensure_future(client.request(Learned("a"), WAIT))
            asyncio.get_running_loop().call_soon(client._link.drop, "as told")
            assert await asked is None
            while not client.connected:
                await asyncio.sleep(0.01)
            assert (client.owed, client._asked) == (0, [])
            assert await client.request(Learned("b"), WAIT) == LearnState("b", 1, 2, 3, 4, 5)
            await client.close()

    run(body())


@pytest.mark.parametrize(
    "bad",
    [b"GET / HTTP/1.1\r\n\r\n", LENGTH.pack(1 << 31), LENGTH.pack(0), encode(Ring("a", 1))[:9], b"", b"\0"],
    ids=["garbage", "huge", "empty", "half", "nothing", "one byte"],
)
def test_a_bad_peer_is_dropped_and_harms_no_one(run, tmp_path, log, bad):
    async def body():
        async with world(tmp_path, log, limits=SHORT) as at:
            reader, writer = await asyncio.open_unix_connection(at.path)
            writer.write(bad)
            await at.ask()
            assert await reader.read() == b""  # the end, not an answer
            writer.close()
            assert at.dropped == 1

    run(body())


def test_a_frame_in_two_halves_is_served_and_the_clock_is_stopped(run, tmp_path, log):
    async def body():
        async with world(tmp_path, log) as at:
            reader, writer = await asyncio.open_unix_connection(at.path)
            data = encode(Learned("a"), 7)
            writer.write(data[:5])
            await at.ask()
            writer.write(data[5:])
            expected = encode(LearnState("a", 1, 2, 3, 4, 5), 7)
            assert await reader.readexactly(len(expected)) == expected
            assert at.dropped == 0
            writer.close()

    run(body())


def test_a_peer_that_does_not_read_is_dropped(run, tmp_path, log):
    async def body():
        async with world(tmp_path, log, limits=SHORT) as at:
            peer = unix.dial(at.path)
            loop = asyncio.get_running_loop()
            at.ended.clear()
            question = encode(Learned("a" * 60_000), 1)

            async def flood():
                while True:
                    await loop.sock_sendall(peer, question)

            task = asyncio.create_task(flood())
            await at.ended.wait()
            assert at.dropped == 1
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            peer.close()
            await at.ask()

    run(body())


def test_a_peer_whose_frame_makes_the_handler_raise_is_dropped(run, tmp_path, log):
    async def body():
        async with world(tmp_path, log) as at:
            reader, writer = await asyncio.open_unix_connection(at.path)
            writer.write(encode(Failed("raise")))
            assert await reader.read() == b""
            writer.close()
            await at.ask()

    run(body())


def test_a_late_answer_is_none_and_still_owed(run, tmp_path, log):
    async def body():
        async with world(tmp_path, log, handler=lambda link, frame: None) as at:
            client = Client(at.path, "c", log)
            await client.start()
            assert await client.request(Learned("a"), 0.01) is None
            assert client.owed == 1
            await client.close()

    run(body())


def test_questions_end_with_the_connection(run, tmp_path, log):
    async def body():
        async with world(tmp_path, log, handler=lambda link, frame: link.drop("as told")) as at:
            client = Client(at.path, "c", log)
            await client.start()
            assert await client.request(Learned("a"), WAIT) is None
            assert not client.connected
            await client.close()

    run(body())


def test_a_client_comes_back_when_the_server_does(run, tmp_path, log):
    async def body():
        path, back = tmp_path / "t.sock", asyncio.Event()
        client = Client(path, "c", log, on_connect=back.set)
        await client.start()
        assert not client.connected
        assert not client.send(Ring("a", 1))
        assert await client.request(Learned("a"), WAIT) is None
        at = await World(path, log).start()
        await back.wait()
        assert await client.request(Learned("a"), WAIT) is not None
        await client.close()
        await at.server.close()

    run(body())


def test_a_socket_may_stand_deep(run, tmp_path, log):
    async def body():
        directory = tmp_path / ("d" * 150)
        directory.mkdir()
        async with world(directory, log) as at:
            assert at.path.stat().st_mode & 0o777 == 0o600
            await at.ask()

    run(body())


def test_nobody_listening_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        unix.dial(tmp_path / "none.sock")


# -- bells ---------------------------------------------------------------------


@asynccontextmanager
async def exchange(tmp_path, log, clients=2, limits=PATIENT):
    notifier = Notifier(log, limits=limits)
    path = tmp_path / "change.sock"
    await notifier.server.serve([unix.listen(path)])
    bells = [Bells(path, log, f"b{n}") for n in range(clients)]
    for one in bells:
        await one.start()
    yield notifier, bells
    for one in bells:
        await one.close()
    await notifier.server.close()


class Ear:
    """A listener that can be waited for."""

    def __init__(self):
        self.heard = []
        self.event = asyncio.Event()

    def __call__(self, *what):
        self.heard.append(what)
        self.event.set()

    async def hears(self, *what):
        while what not in self.heard:
            self.event.clear()
            await self.event.wait()


def test_a_bell_reaches_those_who_listen_to_the_account(run, tmp_path, log):
    async def body():
        async with exchange(tmp_path, log) as (_, (ringer, hearer)):
            mine, other, every, own = Ear(), Ear(), Ear(), Ear()
            hearer.listen("a", mine)
            hearer.listen("b", other)
            hearer.listen_to_all(every)
            ringer.listen("a", own)
            ringer.ring("a", 7)
            await mine.hears(7)
            await every.hears("a", 7)
            await own.hears(7)
            assert other.heard == []

    run(body())


def test_bells_of_one_turn_are_one_with_the_highest_modseq(run, tmp_path, log):
    async def body():
        async with exchange(tmp_path, log) as (_, (ringer, hearer)):
            ear = Ear()
            hearer.listen("a", ear)
            for modseq in (1, 9, 3):
                ringer.ring("a", modseq)
            await ear.hears(9)
            assert ear.heard == [(9,)]

    run(body())


def test_one_who_begins_to_listen_hears_what_was_rung_just_before(run, tmp_path, log):
    async def body():
        async with exchange(tmp_path, log) as (_, (ringer, hearer)):
            early, late = Ear(), Ear()
            ringer.listen("a", early)
            ringer.ring("a", 5)
            await early.hears(5)
            hearer.listen("a", late)
            await late.hears(5)

    run(body())


def test_after_unlisten_no_bell_comes(run, tmp_path, log):
    async def body():
        async with exchange(tmp_path, log) as (_, (ringer, hearer)):
            ear, fence = Ear(), Ear()
            stop = hearer.listen("a", ear)
            stop()
            stop()
            hearer.listen("b", fence)
            ringer.ring("a", 1)
            ringer.ring("b", 2)
            await fence.hears(2)
            assert ear.heard == []

    run(body())


def test_a_new_connection_calls_listeners_with_0(run, tmp_path, log):
    async def body():
        bells, ear = Bells(tmp_path / "change.sock", log), Ear()
        bells.listen("a", ear)
        await bells.start()
        bells.ring("a", 1)  # nobody there: lost, and no error
        notifier = Notifier(log)
        await notifier.server.serve([unix.listen(tmp_path / "change.sock")])
        await ear.hears(0)
        await bells.close()
        await notifier.server.close()

    run(body())


def test_many_rings_are_few_bells_and_the_last_is_heard(run, tmp_path, log):
    async def body():
        async with exchange(tmp_path, log) as (_, (ringer, hearer)):
            ear, all_ear = Ear(), Ear()
            hearer.listen("a", ear)
            ringer.listen_to_all(all_ear)
            await hearer_is_known(hearer, ear)
            for modseq in range(1, 301):
                ringer.ring("a", modseq)
                await asyncio.sleep(0)
            await ear.hears(300)
            await all_ear.hears("a", 300)
            assert len(ear.heard) < 100
            assert len(all_ear.heard) < 100

    run(body())


async def hearer_is_known(hearer, ear):
    """Its Listen has been taken: a ring of its own comes back."""
    while not [what for what in ear.heard if what != (0,)]:
        hearer.ring("a", 1)
        await asyncio.sleep(0.01)
    ear.heard.clear()


def test_a_bell_may_be_rung_from_another_thread(run, tmp_path, log):
    async def body():
        async with exchange(tmp_path, log) as (_, (ringer, hearer)):
            ear = Ear()
            hearer.listen("a", ear)
            await asyncio.get_running_loop().run_in_executor(None, ringer.ring, "a", 4)
            await ear.hears(4)

    run(body())


def test_a_listener_that_fails_harms_no_other(run, tmp_path, log):
    async def body():
        async with exchange(tmp_path, log) as (_, (ringer, hearer)):
            ear = Ear()
            hearer.listen("a", lambda modseq: 1 // 0)
            hearer.listen("a", ear)
            ringer.ring("a", 4)
            await ear.hears(4)

    run(body())


def test_a_listener_that_does_not_read_is_dropped_and_the_others_hear(run, tmp_path, log):
    async def body():
        async with exchange(tmp_path, log, limits=SHORT) as (notifier, (ringer, hearer)):
            deaf = unix.dial(tmp_path / "change.sock")
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            loop = asyncio.get_running_loop()
            long = "a" * 2000
            await loop.sock_sendall(deaf, encode(Listen(long)))
            ear = Ear()
            hearer.listen(long, ear)
            modseq = 0
            while len(notifier.server.links) < 3:
                await asyncio.sleep(0)
            while len(notifier.server.links) == 3:
                modseq += 1
                ringer.ring(long, modseq)
                await ear.hears(modseq)
            deaf.close()
            assert len(notifier.server.links) == 2

    run(body())


# -- the classifier pool -------------------------------------------------------

QUESTION = Classify("c", ("u0",), b"x", "", "", "", "", False)


def judge(name):
    def handler(link, frame):
        verdict = Verdict("u0", 0.5, (), name, 0)
        link.send(Verdicts((verdict,)), frame.request)

    return handler


def test_the_pool_asks_the_one_that_owes_least(run, tmp_path, log):
    async def body():
        paths = Paths(tmp_path, tmp_path, tmp_path, tmp_path, tmp_path)
        hung = await World(paths.socket("classify.0"), log, handler=lambda link, frame: None).start()
        well = await World(paths.socket("classify.1"), log, handler=judge("well")).start()
        counted = []
        pool = ClassifierPool(paths, 2, 0.05, log, counted.append)
        await pool.start()
        assert pool.connected == 2
        answers = [await pool.classify(QUESTION) for _ in range(5)]
        assert answers[0] is None
        assert [answer[0].parts for answer in answers[1:]] == ["well"] * 4
        assert counted == ["classify_timeouts"]
        await pool.close()
        await hung.server.close()
        await well.server.close()

    run(body())


def test_without_classifiers_the_answer_is_none_at_once(run, tmp_path, log):
    async def body():
        counted = []
        paths = Paths(tmp_path, tmp_path, tmp_path, tmp_path, tmp_path)
        pool = ClassifierPool(paths, 2, WAIT, log, counted.append)
        await pool.start()
        assert await pool.classify(QUESTION) is None
        assert counted == ["classify_full"]
        await pool.close()

    run(body())


@pytest.mark.parametrize("answer", [Failed("full"), Verdicts(()), Ring("a", 1)], ids=lambda a: type(a).__name__)
def test_an_answer_that_is_none_of_ours_counts_as_none(run, tmp_path, log, answer):
    async def body():
        paths = Paths(tmp_path, tmp_path, tmp_path, tmp_path, tmp_path)
        handler = lambda link, frame: link.send(answer, frame.request)  # noqa: E731
        async with world(tmp_path, log) as _:
            at = await World(paths.socket("classify.0"), log, handler=handler).start()
            pool = ClassifierPool(paths, 1, WAIT, log)
            await pool.start()
            assert await pool.classify(QUESTION) is None
            await pool.close()
            await at.server.close()

    run(body())
