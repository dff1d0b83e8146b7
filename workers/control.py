"""The control worker: serves control.sock, where commands and the admin pages ask (P02, P03).

One JSON object a line: {"op": "account.list", ...} is answered {"ok": true, ...} or {"ok": false, "error":
"..."}; `workers.operations` has the rows. The socket is 0600, and the peer's user id (SO_PEERCRED, unix(7))
must be root's, ours or that of the data's owner. A line has at most LINE bytes, a silent peer is dropped
after IDLE seconds, and at most PEERS are served at once; garbage ends its own connection only.

Operations run one after the other in a thread of their own, so that a password's hash does not stop the
heartbeat. Once a second domains.toml is looked at: a valid change by hand is published to all workers, a
broken one is logged with its line and nothing changes. Accounts that a person wrote into the file get their
store here. As often, what workers ask to be blocked is (`echomox.net.blocks`).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from echomox.config.snapshot import accept, is_accepted
from echomox.errors import ConfigError
from echomox.ipc.bells import Bells
from echomox.net.blocks import take_requests
from workers.base import Worker
from workers.operations import CHANGES, Refused, Site, execute
from workers.operations_access import block_asked, change

LINE = 1024 * 1024  # bytes of a request
IDLE = 60.0  # seconds
PEERS = 64
WATCH = 1.0  # seconds between looks at domains.toml
_CRED = struct.Struct("3i")  # struct ucred: pid, uid, gid


async def run(worker: Worker) -> None:
    """The body of the service `control`."""
    await Control(worker).run()


class Control:
    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.site = Site(worker.paths, worker)
        self.thread = ThreadPoolExecutor(1, "operations")
        self.peers: set[asyncio.Task[None]] = set()
        self._seen = self._stamp()

    async def run(self) -> None:
        worker = self.worker
        bells = Bells(worker.paths.socket("change"), worker.log, worker.name)
        await bells.start()
        loop = asyncio.get_running_loop()

        def rung(account: str, modseq: int) -> None:
            loop.call_soon_threadsafe(bells.ring, account, modseq)

        self.site.rung = rung
        await self._in_thread(self._begin)
        servers = [
            await asyncio.start_unix_server(self._accept, sock=sock, limit=LINE) for sock in worker.listeners["control"]
        ]
        watch = asyncio.create_task(self._watch())
        worker.ready()
        await worker.stopping()
        for server in servers:
            server.close()
        watch.cancel()
        if self.peers:
            await asyncio.wait(self.peers, timeout=min(worker.drain_time(), worker.static.workers.stop_time))
        await self._in_thread(self.site.close)  # connections to SQLite are closed where they were opened
        self.thread.shutdown(wait=True)
        await bells.close()

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.thread, function, *arguments)

    # peers

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.peers.add(task)
        self.worker.use_connections(len(self.peers))
        try:
            if len(self.peers) > PEERS:
                await self._answer(writer, _refusal("too many connections; try again"))
            elif self._may(writer.get_extra_info("socket")):
                await self._serve(reader, writer)
            else:
                await self._answer(writer, _refusal("only root and the server's own user may ask"))
        except (OSError, TimeoutError, asyncio.LimitOverrunError, ValueError) as error:
            self.worker.log.debug("peer dropped", error=error)
        finally:
            self.peers.discard(task)
            self.worker.use_connections(len(self.peers))
            writer.close()

    def _may(self, peer: Any) -> bool:
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CRED.size)
        _, uid, _ = _CRED.unpack(credentials)
        return uid in (0, os.geteuid(), os.stat(self.worker.paths.data).st_uid)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not self.worker.draining:
            async with asyncio.timeout(IDLE):
                line = await reader.readline()  # ValueError when it is too long
            if not line.endswith(b"\n"):
                return
            await self._answer(writer, await self._reply(line))

    async def _answer(self, writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
        writer.write(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        async with asyncio.timeout(IDLE):
            await writer.drain()

    async def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return _refusal("not JSON; one object a line")
        if not isinstance(request, dict) or not isinstance(request.get("op"), str):
            return _refusal('a request is an object with "op"')
        op = request.pop("op")
        said = self.worker.log.info if op in CHANGES else self.worker.log.debug
        said("operation", op=op, about=_about(request))
        try:
            answer = await self._in_thread(execute, self.site, op, request)
        except Refused as refused:
            return _refusal(str(refused))
        except OSError as error:
            self.worker.log.error("operation failed", op=op, error=error)
            return _refusal(f"{error.filename or op}: {error.strerror or error}")
        except Exception:
            self.worker.log.exception("operation failed", op=op)
            self.worker.count("exceptions")
            return _refusal(f"{op} failed; the log says why")
        return {"ok": True, **answer}

    # changes by hand

    def _stamp(self) -> tuple[int, int, int]:
        try:
            state = os.stat(self.worker.paths.dynamic)
        except OSError:
            return (0, 0, 0)  # an editor that moves the file away for a moment
        return (state.st_ino, state.st_size, state.st_mtime_ns)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH)
            await self._look("requests for blocks", self._take_requests)
            stamp = self._stamp()
            if stamp == self._seen or stamp == (0, 0, 0):
                continue
            self._seen = stamp
            await self._look("domains.toml", self._take_over)

    async def _look(self, what: str, function: Callable[[], None]) -> None:
        try:
            await self._in_thread(function)
        except Exception:
            self.worker.log.exception(f"{what} not looked at")
            self.worker.count("exceptions")

    def _take_requests(self) -> None:
        worker = self.worker
        asked = take_requests(worker.paths.run, worker.log)
        if not asked:
            return
        try:
            for net in block_asked(self.site, asked, worker.static.limits.block_time):
                worker.log.warn("address blocked", remote=net, failed=asked[net])
        except (Refused, OSError) as error:
            worker.log.error("address not blocked", remote=", ".join(asked), error=error)

    def _take_over(self) -> None:
        """A changed domains.toml: published if it is valid, and not already (an operation wrote it)."""
        worker = self.worker
        try:
            if is_accepted(worker.paths):
                return
            self.site.publish()
        except ConfigError as error:
            worker.log.error("domains.toml not taken over", error=error)
            return
        self._make_stores()
        worker.log.info("domains.toml taken over", generation=worker.board.config_generation)

    def _begin(self) -> None:
        """At start: what is good now is what workers fall back to."""
        try:
            accept(self.worker.paths, self.worker.static)
        except (ConfigError, OSError) as error:
            self.worker.log.error("domains.toml not accepted", error=error)
        self._make_stores()
        try:
            change(self.site, lambda listed: listed)  # what ended meanwhile is taken out
        except (Refused, OSError) as error:
            self.worker.log.error("blocked addresses not read", error=error)

    def _make_stores(self) -> None:
        """Accounts without a store, as a person may have written them into the file, get one."""
        try:
            wanted = self.site.dynamic().accounts
            for name in sorted(set(wanted) - set(self.site.engine.accounts())):
                self.site.engine.create(name)
                self.worker.log.info("account made", account=name)
        except (ConfigError, OSError) as error:
            self.worker.log.error("accounts not made", error=error)


def _about(request: dict[str, Any]) -> object:
    """What an operation is on, for the log."""
    return next((request[field] for field in ("name", "address", "net", "id") if field in request), None)


def _refusal(text: str) -> dict[str, Any]:
    return {"ok": False, "error": text}
