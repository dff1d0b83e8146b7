"""A relay between a client and the server that keeps what both said: what a client waits for is seen, not guessed."""

from __future__ import annotations

import re
import socket
import threading
import zlib

_IDLE = re.compile(rb"\A[^ \r\n]+ IDLE\r\n\Z", re.IGNORECASE)


class Conversation:
    """One connection: turns of (the client's or not, bytes), without the compression of RFC 4978."""

    def __init__(self) -> None:
        self.turns: list[tuple[bool, bytes]] = []
        self._inflate: dict[bool, zlib._Decompress] = {}

    def add(self, client: bool, data: bytes) -> None:
        if client in self._inflate:
            data = self._inflate[client].decompress(data)
        elif not client and data.endswith(b" OK DEFLATE active\r\n"):
            self._inflate = {True: zlib.decompressobj(-15), False: zlib.decompressobj(-15)}
        if self.turns and self.turns[-1][0] == client:
            self.turns[-1] = (client, self.turns[-1][1] + data)
        else:
            self.turns.append((client, data))

    @property
    def idles(self) -> bool:
        """The server has said "+" to the last command, which is IDLE."""
        turns = self.turns
        if len(turns) < 2 or turns[-1][0]:
            return False
        return _IDLE.match(turns[-2][1].splitlines(keepends=True)[-1]) is not None and turns[-1][1].startswith(b"+")


class Tap:
    """Listens on a port of its own at loopback and hands on to another."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.conversations: list[Conversation] = []
        self._sockets: list[socket.socket] = []

    def start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in (self._listener, *self._sockets):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def idles(self, text: bytes) -> bool:
        """Whether a connection in which that text was said waits in IDLE."""
        return any(one.idles and any(text in said for _, said in one.turns) for one in list(self.conversations))

    @property
    def transcript(self) -> str:
        """The end of every conversation."""
        return "\n".join(
            f"-- {number}\n" + b"".join(b"C " * client + data for client, data in one.turns)[-2000:].decode("latin-1")
            for number, one in enumerate(list(self.conversations), 1)
        )

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += client, server
            conversation = Conversation()
            self.conversations.append(conversation)
            for source, target, spoken in ((client, server, True), (server, client, False)):
                threading.Thread(target=_hand_on, args=(source, target, conversation, spoken), daemon=True).start()


def _hand_on(source: socket.socket, target: socket.socket, conversation: Conversation, client: bool) -> None:
    try:
        while data := source.recv(65536):
            conversation.add(client, data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
