"""What the rules of the model stand on: the world, the truth, the clients, and how they are asked and compared."""

from __future__ import annotations

import re

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tests.model.client import Client, Memory
from tests.model.reference import Box, Reference
from tests.model.world import PREFIX, World


def written(uids: list[int]) -> bytes:
    return b",".join(b"%d" % uid for uid in uids)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.truth = Reference()
        self.clients: list[Client] = []
        self.memories: list[Memory] = []
        self.tokens = 0
        self.connected = 0

    def teardown(self) -> None:
        self.world.close()

    def quiet(self) -> list[Client]:
        """Clients that can give a command."""
        return [client for client in self.clients if client.live != "idle"]

    def born(self, name: str) -> Box:
        """A mailbox that was just made; shared from now on."""
        box = self.truth.born(self.world.store, name)
        self.world.share(box.id)
        return box

    def owners(self) -> list[Client]:
        """Those of `quiet` that may make, rename and delete mailboxes."""
        return [client for client in self.quiet() if not client.prefix]

    def client(self, worker: int, kind: frozenset[str], shared: bool) -> Client:
        """Connected, and no more. Every third is compressed."""
        self.connected += 1
        connection = self.world.run(self.world.connect(worker, shared, compressed=not self.connected % 3))
        return Client(connection, worker, kind, PREFIX if shared else "")

    def pick(self, data: st.DataObject, selected: bool = False, writing: bool = False) -> Client | None:
        clients = [
            client for client in self.quiet() if (client.box or not selected) and not (writing and client.read_only)
        ]
        return data.draw(st.sampled_from(clients)) if clients else None

    def pick_box(self, data: st.DataObject) -> Box:
        name: str = data.draw(st.sampled_from([*self.truth.names(), "INBOX", "INBOX"]))
        return self.truth.named(name)

    def pick_open(self, data: st.DataObject, client: Client) -> Box:
        """One that the client may select: also a virtual one, if it is the account's own."""
        if self.truth.views and not client.prefix and not data.draw(st.integers(0, 2)):
            return self.truth.views[data.draw(st.sampled_from(sorted(self.truth.views)))]
        return self.pick_box(data)

    def token(self) -> str:
        self.tokens += 1
        return f"t{self.tokens}"

    def mail(self, token: str) -> bytes:
        return f"Subject: {token}\r\n\r\nx\r\n".encode()

    def deliver_into(self, box: Box, worker: int) -> None:
        token = self.token()
        added = self.world.run(self.world.deliver(worker, box.name, self.mail(token)))
        assert (added.mailbox_id, added.uidvalidity) == (box.id, box.validity)
        box.add(added.uid, token)

    def ask(self, client: Client, command: bytes, tag: bytes = b"t") -> list[bytes]:
        """Lines of the answer; empty literals as empty strings."""
        lines: list[bytes] = self.world.run(client.connection.command(command, tag))
        return b"\r\n".join(lines).replace(b" {0}\r\n", b' ""').split(b"\r\n")

    def do(self, client: Client, command: bytes, lines: list[bytes], expunges: bool = True) -> None:
        """The command was answered by `lines` and the truth is as it is after it: compares."""
        self.truth.check(self.world.store)
        if client.box is not None:
            client.believe(lines[:-1], expunges or client.watching)
            if modseq := re.search(rb"\[HIGHESTMODSEQ (\d+)\]", lines[-1]):
                client.modseq = int(modseq[1])
            client.complete(expunges)  # who watches is told of the rest a moment later
        self.settle(but=client)

    def settle(self, but: Client | None = None) -> None:
        """Clients that are told at any time have been; all others have got nothing."""
        self.world.run(self.world.settle())
        for client in self.clients:
            wire = client.connection.wire
            if client is but and not client.watching:
                assert not wire.received, bytes(wire.received)
                continue
            lines = bytes(wire.received).split(b"\r\n")
            wire.received.clear()
            assert not lines.pop()
            assert not lines or client.live or client.watching, lines
            if client.box is not None and (client.live or client.watching):
                if lines:
                    told = client.fetched, client.earlier
                    client.believe(lines, True)
                    client.fetched, client.earlier = told  # of the command before
                if not self.world.deaf:
                    client.complete(True)

    def drop(self, client: Client) -> None:
        self.clients.remove(client)
        self.world.run(self.world.hang_up(client.connection))

    def messages(self, data: st.DataObject, client: Client) -> tuple[bytes, list[int], bool]:
        """A set as the client writes it, the UIDs in its view that it means, and whether it is of UIDs."""
        by_uid = client.by_uid or data.draw(st.booleans())
        kind = data.draw(st.sampled_from(("some", "some", "range", "all", "last", "saved")))
        view = client.view
        if kind == "saved":
            return b"$", [uid for uid in view if uid in client.saved], by_uid
        if kind == "all" or not view:
            return b"1:*", list(view), by_uid
        if kind == "last":
            return b"*", view[-1:], by_uid
        places = data.draw(st.lists(st.integers(0, len(view) - 1), min_size=1, max_size=4))
        if kind == "range":
            low, high = min(places), max(places)
            ends = (view[low], view[high]) if by_uid else (low + 1, high + 1)
            return b"%d:%d" % (ends[1], ends[0]), view[low : high + 1], by_uid
        named = [view[place] if by_uid else place + 1 for place in places]
        if by_uid and data.draw(st.booleans()):
            named.append(client.last + 7)
        return written(named), sorted({view[place] for place in places}), by_uid

    def word(self, by_uid: bool, name: bytes) -> bytes:
        return b"UID " + name if by_uid else name
