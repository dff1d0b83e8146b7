"""Whatever bytes come, in whatever state: each line gets an answer or is part of one that does, nothing is our own
fault in the log, the connection ends within its limits, and another session is not touched."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echomox.imapd.commands import COMMANDS
from tests.dialog.server import PASSWORD, USER, serving

WORDS = st.sampled_from(
    (
        b"INBOX|1:*|1|*|2,4:1|$|FLAGS|+FLAGS.SILENT|(\\Seen kw)|\\Recent|BODY[]|(UID FLAGS BODY.PEEK[1.MIME]<0.9>)|"
        b'(CHANGEDSINCE 1)|(QRESYNC (1 1))|RETURN|(STATUS (SIZE))|NOT|OR|TEXT|"x"|MODSEQ|{3+}\r\nabc|{9}|~{1+}\r\n\0|'
        b'{99999999999+}|(|)|%|""|AUTHENTICATE|PLAIN|=|DONE|&AOk-|NIL|("a" NIL)|RFC822|ALL|\xff'
    ).split(b"|")
)
COMMAND = st.builds(
    lambda name, words, gap: b"t " + name.encode() + b"".join(gap + word for word in words) + b"\r\n",
    st.sampled_from([command.name for command in COMMANDS if command.name != "LOGOUT"]),
    st.lists(WORDS, max_size=5),
    st.sampled_from([b" ", b" ", b" ", b"", b"  "]),
)
LINE = st.one_of(COMMAND, st.binary(max_size=60).map(lambda data: data + b"\r\n"))
STATES = {
    "connected": b"",
    "logged in": f"s LOGIN {USER} {PASSWORD}\r\n".encode(),
    "selected": f"s LOGIN {USER} {PASSWORD}\r\ns SELECT INBOX\r\n".encode(),
    "idling": f"s LOGIN {USER} {PASSWORD}\r\ns SELECT INBOX\r\ns IDLE\r\n".encode(),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines=st.lists(LINE, max_size=12), cut=st.integers(1, 50), state=st.sampled_from(sorted(STATES)))
def test_garbage_harms_nobody(lines: list[bytes], cut: int, state: str) -> None:
    async def run(root: Path) -> None:
        async with serving(root, message_size=1 << 16) as server:
            await server.deliver("INBOX", b"Subject: x\r\n\r\nhello\r\n")
            other = await server.connect()
            client = await server.connect(login=False)
            client.send(STATES[state])
            await asyncio.sleep(0.01)
            data = b"".join(lines)
            for start in range(0, len(data), cut):
                if client.wire.closed:
                    break
                client.send(data[start : start + cut])
                await asyncio.sleep(0)
            for _ in range(5):
                await client.settle()
            assert await other.command(b"NOOP") == [b"t OK NOOP completed"]
            received = bytes(client.wire.received)
            assert b"SERVERBUG" not in received, received
            assert received.endswith(b"\r\n") or not received

    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(run(Path(scratch)))
