"""A sink that notes how fast the first messages come: python -m tests.bench.drain PORT COUNT

prints READY, and when COUNT messages are there one JSON object: their rate from the first to the last of them.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from tests.bench.submit import Sink

LIMIT = 300.0


async def run(port: int, count: int) -> None:
    arrivals: list[tuple[float, float]] = []
    server = await asyncio.get_running_loop().create_server(lambda: Sink(arrivals), "127.0.0.1", port, backlog=1024)
    print("READY", flush=True)
    async with asyncio.timeout(LIMIT):
        while len(arrivals) < count:
            await asyncio.sleep(0.005)
    found = arrivals[:count]
    seconds = found[-1][0] - found[0][0]
    rate = round((count - 1) / seconds, 1)
    print(json.dumps({"count": count, "rate": rate, "seconds": round(seconds, 3)}), flush=True)
    await asyncio.sleep(3600)  # the rest may go on coming; whoever started this ends it
    server.close()


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1]), int(sys.argv[2])))
