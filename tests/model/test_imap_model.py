"""Many clients, two workers, one store, and a model that knows what each client must have been told. I05.

No expunge is lost or told too early, no sequence number means another message than the client thinks, no UID comes
twice, mod-sequences grow, VANISHED is exactly what vanished, a client that comes back after any history (QRESYNC,
CHANGEDSINCE) has the right picture, UIDVALIDITY stays, "$" (SEARCHRES) is what was found and not more. Some clients
are of another account, with which the mailboxes are shared: they must be told the same. Short by default;
HYPOTHESIS_PROFILE=long for the long run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.model.asking import CRITERIA, QUIET, SELECTED, Asking
from tests.model.client import Client, Memory, numbers
from tests.model.machine import written
from tests.model.reference import Box
from tests.model.updates import expand
from tests.model.views import VIEWS, View
from tests.model.world import SERVICES

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
NAMES = ("INBOX", "Box", "Other", "New")
KINDS = (
    frozenset[str](),
    frozenset({"CONDSTORE"}),
    frozenset({"QRESYNC", "CONDSTORE"}),
    frozenset({"QRESYNC", "CONDSTORE"}),
    frozenset({"IMAP4rev2"}),
    frozenset({"UIDONLY", "CONDSTORE"}),
    frozenset({"UIDONLY", "QRESYNC", "CONDSTORE"}),
)
MOST_CLIENTS = 5
SHARED = st.sampled_from((False, False, True))
SAVING: Mapping[bytes, Callable[[list[int]], list[int]]] = {
    b"SAVE": lambda found: found,
    b"SAVE ALL": lambda found: found,
    b"SAVE COUNT": lambda found: found,
    b"SAVE MIN": lambda found: found[:1],
    b"SAVE MAX": lambda found: found[-1:],
    b"SAVE MIN MAX": lambda found: sorted({*found[:1], *found[-1:]}),
    b"SAVE MIN COUNT": lambda found: found,
}
"""RFC 5182 2.4: what "$" is after a search with these options."""
FLAG_SETS = st.frozensets(st.sampled_from(("\\Seen", "\\Flagged", "\\Deleted", "\\Deleted", "kw1", "kw2")), max_size=3)
WORKERS = st.integers(0, SERVICES - 1)
COPYUID = re.compile(rb"\[COPYUID (\d+) ([\d:,]+) ([\d:,]+)\]")
APPENDUID = re.compile(rb"\[APPENDUID (\d+) ([\d:,]+)\]")


class Mailboxes(Asking):
    @initialize(
        counts=st.tuples(st.integers(1, 6), st.integers(0, 3)),
        clients=st.lists(st.tuples(WORKERS, st.sampled_from(KINDS), SHARED), min_size=2, max_size=4),
        views=st.booleans(),
    )
    def begin(self, counts: tuple[int, int], clients: list[tuple[int, frozenset[str], bool]], views: bool) -> None:
        store = self.world.store
        store.create_mailbox("Box")
        for name, count in zip(("INBOX", "Box"), counts, strict=True):
            box = self.born(name)
            for _ in range(count):
                self.deliver_into(box, 0)
        for name, (search, _) in VIEWS.items() if views else ():
            self.truth.define(store, name, search)
        self.truth.check(store)
        for worker, kind, shared in clients:
            self.open_client(self.client(worker, kind, shared), self.truth.named("INBOX"), False)

    # -- connections

    @rule(worker=WORKERS, kind=st.sampled_from(KINDS), shared=SHARED, data=st.data(), read_only=st.booleans())
    @precondition(lambda self: len(self.clients) < MOST_CLIENTS)
    def connect(self, worker: int, kind: frozenset[str], shared: bool, data: Any, read_only: bool) -> None:
        client = self.client(worker, kind, shared)
        self.open_client(client, self.pick_open(data, client), read_only and data.draw(st.booleans()))

    def open_client(self, client: Client, box: Box, read_only: bool) -> None:
        if client.enabled:
            lines = self.ask(client, b"ENABLE " + " ".join(sorted(client.enabled)).encode())
            assert lines[-1].startswith(b"t OK")
        self.clients.append(client)
        self.select(client, box, read_only)
        self.look_at_all(client)

    def select(self, client: Client, box: Box, read_only: bool, qresync: bytes = b"") -> list[bytes]:
        command = b"EXAMINE" if read_only else b"SELECT"
        lines = self.ask(client, b"%b %b%b" % (command, client.name(box), qresync))
        assert lines[-1].startswith(b"t OK"), lines
        self.truth.check(self.world.store)
        client.open(box, read_only, lines)
        return lines

    def look_at_all(self, client: Client) -> None:
        """As a client does that opens a mailbox: all flags."""
        assert client.box is not None
        items = b"(FLAGS MODSEQ)" if client.condstore else b"(FLAGS)"
        lines = self.ask(client, b"UID FETCH 1:* " + items)
        self.do(client, b"UID FETCH", lines)
        assert client.fetched == client.view == list(client.flags)

    @QUIET
    @rule(data=st.data(), read_only=st.booleans(), look=st.booleans())
    def select_another(self, data: Any, read_only: bool, look: bool) -> None:
        """Who has one open already does so seldom."""
        client = self.pick(data)
        assert client
        if client.box is not None and data.draw(st.integers(0, 3)):
            return
        self.select(client, self.pick_open(data, client), read_only)
        self.settle(but=client)
        if look:
            self.look_at_all(client)

    @SELECTED
    @rule(data=st.data(), how=st.sampled_from((b"CLOSE", b"UNSELECT")))
    def leave(self, data: Any, how: bytes) -> None:
        client = self.pick(data, selected=True)
        assert client and client.box
        self.remember(client)
        box, read_only = client.box, client.read_only
        lines = self.ask(client, how)
        assert lines == [b"t OK %b completed" % how], lines
        client.close()
        if how == b"CLOSE" and not read_only:
            box.remove([uid for uid, message in box.messages.items() if "\\Deleted" in message.flags])
        self.do(client, how, lines)

    @rule(data=st.data(), worker=WORKERS)
    def now_and_then(self, data: Any, worker: int) -> None:
        """What happens seldom, so that it does not end what is interesting too early."""
        what = data.draw(st.sampled_from(("hang up", "restart", "delete", "rename", "create", "rename")))
        if what == "restart":
            self.restart(worker)
        elif what == "hang up" and len(self.clients) > 2:
            self.hang_up(data)
        elif what == "delete" and self.owners() and len(self.truth.boxes) > 2:
            self.delete(data)
        elif what in ("rename", "create") and self.owners() and len(self.truth.boxes) < len(NAMES):
            self.rename(data) if what == "rename" else self.create(data)

    def hang_up(self, data: Any) -> None:
        client = data.draw(st.sampled_from(self.clients))
        if client.box is not None:
            self.remember(client)
        self.drop(client)

    def restart(self, worker: int) -> None:
        """A worker is replaced: its clients keep what they have on disk."""
        for client in [client for client in self.clients if client.worker == worker]:
            if client.box is not None:
                self.remember(client)
            self.drop(client)
        self.world.run(self.world.restart(worker))
        self.settle()

    def remember(self, client: Client) -> None:
        """Only of what the client has seen all flags, as its disk has it."""
        if client.comes_back and set(client.view) == client.flags.keys():
            self.memories.append(client.memory())

    # -- what clients do

    @QUIET
    @rule(data=st.data(), flags=FLAG_SETS, count=st.integers(1, 3))
    def append(self, data: Any, flags: frozenset[str], count: int) -> None:
        client, box = self.pick(data), self.pick_box(data)
        assert client
        tokens = [self.token() for _ in range(count)]
        command = b"APPEND " + client.name(box)
        for token in tokens:
            mail = self.mail(token)
            command += b" (%b) {%d+}\r\n%b" % (" ".join(flags).encode(), len(mail), mail)
        lines = self.ask(client, command)
        found = APPENDUID.search(lines[-1])
        assert found and int(found[1]) == box.validity, lines
        uids = numbers(found[2])
        for uid, token in zip(uids, tokens, strict=True):
            box.add(uid, token, flags)
        self.do(client, b"APPEND", lines)

    @rule(worker=WORKERS, data=st.data(), count=st.integers(1, 3))
    def remove(self, worker: int, data: Any, count: int) -> None:
        """By another program."""
        box = self.pick_box(data)
        if box.messages:
            uids = data.draw(st.lists(st.sampled_from(list(box.messages)), min_size=1, max_size=count))
            self.world.run(self.world.remove(worker, box.id, box.remove(uids)))
            self.truth.check(self.world.store)
            self.settle()

    @rule(worker=WORKERS, data=st.data())
    def deliver(self, worker: int, data: Any) -> None:
        self.deliver_into(self.pick_box(data), worker)
        self.truth.check(self.world.store)
        self.settle()

    @SELECTED
    @rule(data=st.data(), op=st.sampled_from((b"+", b"-", b"")), flags=FLAG_SETS)
    def store_silent(self, data: Any, op: bytes, flags: frozenset[str]) -> None:
        self.store(data, op, flags, True)

    @SELECTED
    @rule(data=st.data(), op=st.sampled_from((b"+", b"-", b"")), flags=FLAG_SETS)
    def store_loud(self, data: Any, op: bytes, flags: frozenset[str]) -> None:
        self.store(data, op, flags, False)

    def store(self, data: Any, op: bytes, flags: frozenset[str], silent: bool) -> None:
        client = self.pick(data, selected=True, writing=True)
        if client is None or client.box is None:
            return
        text, uids, by_uid = self.messages(data, client)
        since = self.unchanged_since(data, client)
        named = b"%bFLAGS%b (%b)" % (op, b".SILENT" if silent else b"", " ".join(flags).encode())
        condition = b"" if since is None else b"(UNCHANGEDSINCE %d) " % since
        lines = self.ask(client, b"%b %b %b%b" % (self.word(by_uid, b"STORE"), text, condition, named))
        box = client.box
        present = [uid for uid in uids if uid in box.messages]
        conflicts = [] if since is None else [uid for uid in present if box.messages[uid].modseq > since]
        for uid in present:
            if uid not in conflicts:
                self.apply(client, uid, op, flags, silent)
        self.check_modified(client, lines[-1], conflicts, by_uid, len(present) < len(uids))
        self.do(client, b"STORE", lines, expunges=by_uid)
        if not silent:
            assert set(client.fetched) >= set(present) - set(conflicts)

    def unchanged_since(self, data: Any, client: Client) -> int | None:
        if not client.condstore or data.draw(st.booleans()):
            return None
        known = [0, client.modseq, *client.modseqs.values()]
        value: int = data.draw(st.sampled_from(known))
        return value

    def apply(self, client: Client, uid: int, op: bytes, flags: frozenset[str], silent: bool) -> None:
        """On the truth, and on what the client knows when it will not be told."""

        def change(old: frozenset[str]) -> frozenset[str]:
            return old | flags if op == b"+" else old - flags if op == b"-" else flags

        assert client.box is not None
        client.box.set_flags(uid, change(client.box.messages[uid].flags))
        if silent and uid in client.flags:
            client.flags[uid] = change(client.flags[uid])

    def check_modified(self, client: Client, answer: bytes, conflicts: list[int], by_uid: bool, missing: bool) -> None:
        found = re.search(rb"\[MODIFIED ([\d:,]+)\]", answer)
        named = numbers(found[1]) if found else []
        assert named == (conflicts if by_uid else [client.view.index(uid) + 1 for uid in conflicts]), answer
        refused = b"t NO [MODIFIED " if conflicts else b"t NO [EXPUNGEISSUED]"
        assert answer.startswith(refused if missing and not by_uid else b"t OK"), answer

    @SELECTED
    @rule(data=st.data(), uid_form=st.booleans())
    def expunge(self, data: Any, uid_form: bool) -> None:
        client = self.pick(data, selected=True, writing=True)
        if client is None or client.box is None:
            return
        deleted = [uid for uid, message in client.box.messages.items() if "\\Deleted" in message.flags]
        command = b"EXPUNGE"
        if uid_form:
            uids = data.draw(st.lists(st.sampled_from(client.view), max_size=4)) if client.view else []
            command = b"UID EXPUNGE " + (written(uids) if uids else b"1:*")
            deleted = [uid for uid in deleted if uid in (uids or client.view)]
        lines = self.ask(client, command)
        assert lines[-1].startswith(b"t OK"), lines
        client.box.remove(deleted)
        self.do(client, command, lines)

    @SELECTED
    @rule(data=st.data(), moving=st.booleans())
    def copy_or_move(self, data: Any, moving: bool) -> None:
        client = self.pick(data, selected=True, writing=moving)
        if client is None or client.box is None:
            return
        source, target = client.box, self.pick_box(data)
        text, uids, by_uid = self.messages(data, client)
        word = self.word(by_uid, b"MOVE" if moving else b"COPY")
        lines = self.ask(client, b"%b %b %b" % (word, text, client.name(target)))
        present = [uid for uid in uids if uid in source.messages]
        found = COPYUID.search(b"\n".join(lines))
        if present:
            assert found and int(found[1]) == target.validity, lines
            assert numbers(found[2]) == present, lines
            new = expand(found[3]) if isinstance(source, View) else numbers(found[3])
            copies = [source.messages[uid] for uid in present]
            if moving:
                source.remove(present)
            for uid, message in sorted(zip(new, copies, strict=True), key=lambda pair: pair[0]):
                target.add(uid, message.token, message.flags)
        else:
            assert not found and lines[-1].startswith(b"t OK" if by_uid or not uids else b"t NO"), lines
        self.do(client, word, lines)

    @SELECTED
    @rule(data=st.data(), items=st.sampled_from((b"(FLAGS)", b"(UID ENVELOPE)", b"(UID FLAGS ENVELOPE)", b"(MODSEQ)")))
    def fetch(self, data: Any, items: bytes) -> None:
        client = self.pick(data, selected=True)
        assert client and client.box
        if items == b"(MODSEQ)" and not client.condstore:
            return
        text, uids, by_uid = self.messages(data, client)
        lines = self.ask(client, b"%b %b %b" % (self.word(by_uid, b"FETCH"), text, items))
        present = [uid for uid in uids if uid in client.box.messages]
        self.do(client, b"FETCH", lines, expunges=by_uid)
        assert client.fetched[: len(present)] == present
        refused = len(present) < len(uids) and not by_uid
        assert lines[-1].startswith(b"t NO [EXPUNGEISSUED]" if refused else b"t OK"), lines

    @SELECTED
    @rule(data=st.data())
    def read(self, data: Any) -> None:
        """FETCH of a body sets \\Seen, and tells it."""
        client = self.pick(data, selected=True)
        assert client and client.box
        text, uids, by_uid = self.messages(data, client)
        lines = self.ask(client, b"%b %b (BODY[]<99999.1>)" % (self.word(by_uid, b"FETCH"), text))
        for uid in uids:
            if uid in client.box.messages and not client.read_only:
                client.box.set_flags(uid, client.box.messages[uid].flags | {"\\Seen"})
        self.do(client, b"FETCH", lines, expunges=by_uid)

    @SELECTED
    @rule(data=st.data(), flags=FLAG_SETS)
    def replace(self, data: Any, flags: frozenset[str]) -> None:
        """RFC 8508."""
        client = self.pick(data, selected=True, writing=True)
        if client is None or client.box is None or not client.view:
            return
        by_uid = client.by_uid or data.draw(st.booleans())
        place, target, token = data.draw(st.integers(0, len(client.view) - 1)), self.pick_box(data), self.token()
        uid, mail = client.view[place], self.mail(token)
        named = b"%b %d %b" % (self.word(by_uid, b"REPLACE"), uid if by_uid else place + 1, client.name(target))
        lines = self.ask(client, b"%b (%b) {%d+}\r\n%b" % (named, " ".join(flags).encode(), len(mail), mail))
        found = APPENDUID.search(b"\n".join(lines))
        assert bool(found) is (uid in client.box.messages), lines
        if found:
            client.box.remove([uid])
            target.add(int(found[2]), token, flags)
        assert lines[-1].startswith(b"t OK" if found else b"t NO [EXPUNGEISSUED]"), lines
        self.do(client, b"REPLACE", lines)

    @SELECTED
    @rule(data=st.data(), criterion=st.sampled_from(sorted(CRITERIA)), options=st.sampled_from(sorted(SAVING)))
    def search_and_save(self, data: Any, criterion: bytes, options: bytes) -> None:
        """RFC 5182"""
        client = self.pick(data, selected=True)
        assert client and client.box
        by_uid = client.by_uid or data.draw(st.booleans())
        known = set(client.view)
        lines = self.ask(client, b"%b RETURN (%b) %b" % (self.word(by_uid, b"SEARCH"), options, criterion))
        assert lines[-1].startswith(b"t OK"), lines
        messages = client.box.messages
        found = [uid for uid in messages if uid in known and CRITERIA[criterion](messages[uid].flags)]
        client.saved = SAVING[options](found)
        self.do(client, b"SEARCH", lines, expunges=by_uid)

    @SELECTED
    @rule(data=st.data(), criterion=st.sampled_from(sorted(CRITERIA)), by_uid=st.booleans(), within=st.booleans())
    def search(self, data: Any, criterion: bytes, by_uid: bool, within: bool) -> None:
        client = self.pick(data, selected=True)
        assert client and client.box
        by_uid = by_uid or client.by_uid
        known = set(client.view) & set(client.saved) if within else set(client.view)
        view = list(client.view)
        program = b"$ " + criterion if within else criterion
        lines = self.ask(client, self.word(by_uid, b"SEARCH") + b" RETURN (ALL) " + program)
        right = [
            uid if by_uid else view.index(uid) + 1
            for uid, message in client.box.messages.items()
            if uid in known and CRITERIA[criterion](message.flags)
        ]
        found = re.fullmatch(rb'\* ESEARCH \(TAG "t"\)(?: UID)?(?: ALL ([\d:,]+))?', lines[0])
        assert found, lines
        assert (numbers(found[1]) if found[1] else []) == right
        self.do(client, b"SEARCH", lines, expunges=by_uid)

    @QUIET
    @rule(data=st.data())
    def noop(self, data: Any) -> None:
        client = self.pick(data)
        assert client
        self.do(client, b"NOOP", self.ask(client, b"NOOP"))

    # -- being told at any time

    @QUIET
    @rule(data=st.data())
    def idle(self, data: Any) -> None:
        client = self.pick(data)
        assert client
        assert self.world.run(self.world.say(client.connection, b"i IDLE\r\n")) == b"+ idling"
        client.live = "idle"
        self.settle()

    @rule(data=st.data())
    @precondition(lambda self: any(client.live for client in self.clients))
    def done(self, data: Any) -> None:
        client = data.draw(st.sampled_from([client for client in self.clients if client.live]))
        lines = [self.world.run(self.world.say(client.connection, b"DONE\r\n"))]
        while not lines[-1].startswith(b"i "):  # news, when bells were lost
            lines.append(self.world.run(self.world.say(client.connection, b"")))
        assert lines[-1] == b"i OK IDLE completed"
        client.live = ""
        self.do(client, b"DONE", lines)

    @rule(deaf=st.booleans())
    def lose_bells(self, deaf: bool) -> None:
        self.world.deaf = False
        self.world.run(self.world.poll())
        self.settle()
        self.world.deaf = deaf

    @QUIET
    @rule(data=st.data(), on=st.booleans())
    def notify(self, data: Any, on: bool) -> None:
        client = self.pick(data)
        assert client
        group = b"NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange))"
        lines = self.ask(client, group if on else b"NOTIFY NONE")
        assert lines[-1].startswith(b"t OK"), lines
        client.watching = on
        self.do(client, b"NOTIFY", lines)

    # -- coming back

    @QUIET
    @rule(data=st.data())
    @precondition(lambda self: self.memories)
    def changed_since(self, data: Any) -> None:
        """RFC 7162 3.1.4.1, 3.2.6: what a client asks that has the mailbox open already."""
        client = self.pick(data, selected=True)
        if client is None or client.box is None or not client.condstore:
            return
        known = [memory.modseq for memory in self.memories if memory.box is client.box]
        since = data.draw(st.sampled_from([1, client.modseq, *known]))
        vanished = "QRESYNC" in client.enabled and data.draw(st.booleans())
        asked = b"UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d%b)" % (since, b" VANISHED" if vanished else b"")
        view, pending = set(client.view), client.gone()
        lines = self.ask(client, asked)
        box = client.box
        self.do(client, b"UID FETCH", lines)
        news = {uid for uid, message in box.messages.items() if message.modseq > since and uid in view}
        assert set(client.fetched) >= news
        if vanished and since == 1:
            assert set(client.earlier) == box.ever.keys() - box.messages.keys() - set(pending)

    @rule(worker=WORKERS, data=st.data(), how=st.sampled_from(("all", "known", "match")), read_only=st.booleans())
    @precondition(lambda self: self.memories and len(self.clients) < MOST_CLIENTS)
    def come_back(self, worker: int, data: Any, how: str, read_only: bool) -> None:
        """RFC 7162 3.2.5, after whatever has happened."""
        self.resume(worker, data, how, read_only, data.draw(st.sampled_from(self.memories)))

    @SELECTED
    @rule(worker=WORKERS, data=st.data(), how=st.sampled_from(("all", "known", "match")))
    def lose_the_connection(self, worker: int, data: Any, how: str) -> None:
        """At any moment, perhaps with a VANISHED that has to wait (RFC 7162 6), and come back at once."""
        client = self.pick(data, selected=True)
        assert client
        comes_back = client.comes_back
        self.memories.append(client.memory()) if comes_back else None
        self.drop(client)
        if comes_back:
            self.resume(worker, data, how, client.read_only, self.memories[-1])

    def resume(self, worker: int, data: Any, how: str, read_only: bool, memory: Memory) -> None:
        kind = data.draw(st.sampled_from([kind for kind in KINDS if "QRESYNC" in kind]))
        name = memory.box.name
        if name not in self.truth.names() and name not in self.truth.views:
            return
        box = self.truth.named(name)
        client = self.client(worker, kind, name not in self.truth.views and data.draw(SHARED))
        self.ask(client, b"ENABLE " + " ".join(sorted(kind)).encode())
        self.clients.append(client)
        known = sorted(memory.flags)
        option = b" (QRESYNC (%d %d" % (memory.validity, memory.modseq)
        if how != "all" and known:
            option += b" " + written(known)
            if how == "match" and not client.by_uid:
                places = data.draw(st.lists(st.integers(0, len(known) - 1), unique=True, min_size=1).map(sorted))
                option += b" (%b %b)" % (written([p + 1 for p in places]), written([known[p] for p in places]))
        lines = self.select(client, box, read_only, option + b"))")
        client.flags = {uid: flags for uid, flags in memory.flags.items() if uid in box.messages}
        client.believe([line for line in lines if b"(EARLIER)" in line or b"FETCH (" in line], False)
        self.check_memory(client, memory, set(known) if how != "all" and known else None)
        self.settle(but=client)

    def check_memory(self, client: Client, memory: Memory, known: set[int] | None) -> None:
        box = client.box
        assert box is not None
        if memory.validity != box.validity:
            assert not client.earlier and not client.fetched
            client.flags = {}
            return
        missed = memory.flags.keys() - box.messages.keys()
        assert set(client.earlier) >= missed, (client.earlier, missed)
        if known is not None:
            assert set(client.earlier) == missed
            assert set(client.fetched) <= known
        else:
            news = {uid for uid, message in box.messages.items() if message.modseq > memory.modseq}
            assert set(client.fetched) >= news, "new ones"
        for uid, flags in client.flags.items():
            assert flags == box.messages[uid].flags, (uid, "a change of flags was missed")

    # -- mailboxes

    def create(self, data: Any) -> None:
        client = data.draw(st.sampled_from(self.owners()))
        name = data.draw(st.sampled_from([name for name in NAMES if name not in self.truth.names()]))
        lines = self.ask(client, b"CREATE " + name.encode())
        assert lines[-1].startswith(b"t OK"), lines
        self.born(name)
        self.do(client, b"CREATE", lines)

    def rename(self, data: Any) -> None:
        """Clients that have it selected go on (but INBOX stays, empty: RFC 9051 6.3.6), unless it has another
        UIDVALIDITY now."""
        self.lose_bells(False)
        client, box = data.draw(st.sampled_from(self.owners())), self.pick_box(data)
        name = data.draw(st.sampled_from([name for name in NAMES if name not in self.truth.names()]))
        lines = self.ask(client, b"RENAME %b %b" % (box.name.encode(), name.encode()))
        assert lines[-1].startswith(b"t OK"), lines
        if box.name == "INBOX":
            new = self.born(name)
            moved = list(box.messages.values())
            uids = [row[0] for row in self.world.store.fetch(new.id, 1, 2**32 - 1, ("uid",))]
            box.remove(list(box.messages))
            for uid, message in zip(uids, moved, strict=True):
                new.add(uid, message.token, message.flags)
        elif self.truth.renamed(self.world.store, box, name):
            self.memories = [memory for memory in self.memories if memory.box is not box]
            told = b"* OK [UIDVALIDITY %d]" % box.validity
            assert (client.box is box) is any(line.startswith(told) for line in lines), lines
            self.leave_to(box, client)
        self.do(client, b"RENAME", lines)

    def leave_to(self, box: Box, client: Client | None) -> None:
        """All others that have it selected get a BYE."""
        self.world.run(self.world.settle())
        for other in [other for other in self.clients if other.box is box and other is not client]:
            self.check_bye(other)
            self.drop(other)

    def delete(self, data: Any) -> None:
        """Who has it selected is told at the next command, or at once, and has to come again (RFC 2180 3.3)."""
        self.lose_bells(False)
        client = data.draw(st.sampled_from(self.owners()))
        name = data.draw(st.sampled_from([name for name in self.truth.names() if name != "INBOX"]))
        box = self.truth.named(name)
        lines = self.ask(client, b"DELETE " + name.encode())
        assert lines[-1].startswith(b"t OK"), lines
        del self.truth.boxes[box.id]
        self.truth.give_up(box)
        box.alive = False
        if client.box is box:
            assert lines[0].startswith(b"* OK [CLOSED]"), lines
            client.close()
        self.memories = [memory for memory in self.memories if memory.box is not box]
        self.leave_to(box, None)
        self.do(client, b"DELETE", lines)

    def check_bye(self, client: Client) -> None:
        told = client.live or client.watching
        line = self.world.run(self.world.say(client.connection, b"" if told else b"x NOOP\r\n"))
        assert line is not None and line.startswith(b"* BYE "), line

    @invariant()
    def nobody_has_lost_the_connection(self) -> None:
        assert not any(client.connection.wire.closed for client in self.clients)


TestMailboxes = Mailboxes.TestCase
TestMailboxes.settings = settings(
    max_examples=2000 if LONG else 60,
    stateful_step_count=80 if LONG else 40,
    deadline=None,
    phases=tuple(Phase) if LONG else (Phase.explicit, Phase.reuse, Phase.generate),  # making it small takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
