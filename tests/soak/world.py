"""What all loads of a soak run share."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.soak.imap import Refused
from tests.soak.ledger import Ledger
from tests.soak.letters import Letters
from tests.soak.site import Site

BROKEN = (OSError, EOFError, TimeoutError)
"""What happens to a client whose server is killed."""
AGAIN = 0.5


@dataclass
class World:
    """over: no more loads. quiet: nothing changes any more. counts: what was done. troubles: what must not be.
    harmed: when a fault was made last, so that what came of it can be told from what came by itself. full: the disk
    is."""

    site: Site
    ledger: Ledger
    letters: Letters
    dice: random.Random
    rate: float
    counts: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    harmed: float = 0.0
    full: bool = False

    def trouble(self, text: str) -> None:
        self.counts["troubles"] += 1
        if len(self.troubles) < 200:
            self.troubles.append(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}")
            print(f"    ! {text[:300]}", flush=True)

    async def sleep(self, seconds: float) -> bool:
        """False when it is over."""
        try:
            await asyncio.wait_for(self.over.wait(), seconds)
        except TimeoutError:
            pass
        return not self.over.is_set()

    async def again(self, name: str, play: Callable[[], Awaitable[None]]) -> None:
        """Plays until all is over; what a killed server does to a client is counted, all else is trouble."""
        while not self.over.is_set():
            try:
                await play()
            except BROKEN:
                self.counts[f"{name}: cut"] += 1
            except Refused as error:
                if self.full and "[UNAVAILABLE]" in str(error):
                    self.counts[f"{name}: refused while the disk was full"] += 1
                else:
                    self.trouble(f"{name}: {error}")
            except Exception as error:
                self.trouble(f"{name}: {type(error).__name__}: {error}")
            await self.sleep(AGAIN)
