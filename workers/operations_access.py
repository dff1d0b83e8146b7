"""Operations on who may come in and who is in: blocked addresses (A12) and live sessions (A13). See
`workers.operations`.

Blocks are written here only: by the control worker while a server runs, else by the command itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from echomox.config.files import writers_lock
from echomox.net import sessions
from echomox.net.blocks import FILE, BadBlock, Block, BlockList, Net, net_text, parse_net, read_blocks, write_blocks
from shm.scoreboard import Slot, State
from workers.operations_mail import time_text
from workers.site import Refused, Site

Fields = Mapping[str, Any]
Answer = dict[str, Any]

DAY = 86_400
LONGEST = 3650 * DAY
WHY_LENGTH = 200
AUTOMATIC = "too many failed logins"
LOGIN_SERVICES = ("submission", "imap")
"""Those whose workers have logged-in sessions."""
ANSWER_TIME = 3.0
"""Seconds: a worker looks once a second."""
LOOK = 0.02


# -- blocks -----------------------------------------------------------------------------


def block_list(site: Site, fields: Fields) -> Answer:
    """Those that have not ended, the one that ends first at the top."""
    listed = _read(site).current(time.time())
    return {"blocks": [_shown(block) for block in sorted(listed.blocks, key=lambda block: block.until)]}


def block_add(site: Site, fields: Fields) -> Answer:
    net = _net(fields["net"])
    seconds, why = fields.get("seconds", DAY), fields.get("why", "by hand")
    if not 1 <= seconds <= LONGEST:
        raise Refused(f"a block lasts from 1 s to {LONGEST // DAY} days, not {seconds} s")
    if len(why) > WHY_LENGTH:
        raise Refused(f"the reason is longer than {WHY_LENGTH} characters")
    if net.prefixlen == 0:
        raise Refused(f"{net} is everybody; stop the server instead")
    now = time.time()
    new = Block(net_text(net), now, now + seconds, why)
    listed = change(site, lambda listed: listed.adding(new))
    return _shown(next(block for block in listed.blocks if block.net == new.net))


def block_remove(site: Site, fields: Fields) -> Answer:
    net = _net(fields["net"])
    text, now = net_text(net), time.time()

    def removing(listed: BlockList) -> BlockList:
        names = [block.net for block in listed.blocks]
        if text in names:
            return listed.removing(text, now)
        wider = [name for name in names if _within(net, parse_net(name))]
        hint = f"but {', '.join(wider)} is; remove that" if wider else "`echomox block list` shows what is"
        raise Refused(f"{text} is not blocked; {hint}")

    change(site, removing)
    return {"address": text}


def block_asked(site: Site, asked: Mapping[str, int], seconds: float) -> list[str]:
    """What workers have asked for: failed logins by net. Returns the nets that were not blocked before."""
    now = time.time()
    before = {block.net for block in _read(site).current(now).blocks}
    new = {net: count for net, count in asked.items() if net not in before}

    def adding(listed: BlockList) -> BlockList:
        for net, count in new.items():
            listed = listed.adding(Block(net, now, now + seconds, AUTOMATIC, count))
        return listed

    if new:
        change(site, adding)
    return list(new)


def change(site: Site, function: Callable[[BlockList], BlockList]) -> BlockList:
    """The list, what has ended taken out and changed by `function`, written and published if it is another one
    then. Raises Refused."""
    with writers_lock(site.paths.data):
        before = _read(site)
        listed = function(before.current(time.time()))
        if listed == before:
            return listed
        write_blocks(site.paths.data / FILE, listed)
    if site.worker is not None:
        site.worker.board.set("blocks", site.worker.board.blocks_generation + 1)
    return listed


def _read(site: Site) -> BlockList:
    try:
        return read_blocks(site.paths.data / FILE)
    except BadBlock as error:
        raise Refused(str(error)) from None


def _net(text: str) -> Net:
    try:
        return parse_net(text)
    except BadBlock as error:
        raise Refused(str(error)) from None


def _within(net: Net, other: Net) -> bool:
    bits = other.max_prefixlen - other.prefixlen
    same = int(net.network_address) >> bits == int(other.network_address) >> bits
    return net.version == other.version and net.prefixlen >= other.prefixlen and same


def _shown(block: Block) -> Answer:
    return {
        "address": block.net,
        "since": time_text(block.since),
        "until": time_text(block.until),
        "why": block.why,
        "count": block.count,
    }


# -- sessions ---------------------------------------------------------------------------


def sessions_list(site: Site, fields: Fields) -> Answer:
    """The newest first. silent: workers that did not answer in time."""
    account = fields.get("account")
    if account is not None:
        site.account(account)
    answers, silent = _ask(site, "")
    found = [
        {**session, "since": time_text(session["since"]), "idle": round(session["idle"], 1), "worker": name}
        for name, answer in answers
        for session in sorted(answer["sessions"], key=lambda session: -session["since"])
        if account in (None, session["account"])
    ]
    found.sort(key=lambda session: session["since"], reverse=True)
    return {"sessions": found, "silent": silent}


def sessions_end(site: Site, fields: Fields) -> Answer:
    answers, silent = _ask(site, fields["id"])
    if not any(answer["ended"] for _, answer in answers):
        late = f"; {', '.join(silent)} did not answer" if silent else ""
        raise Refused(f"no session {fields['id']}{late}; `echomox sessions list` shows what there is")
    return {"id": fields["id"]}


def _ask(site: Site, end: str) -> tuple[list[tuple[str, Answer]], list[str]]:
    """(worker's name, its answer) of all that answered, and the names of the others. end: see `sessions.ask`."""
    worker = site.running()
    board, run = worker.board, worker.paths.run
    number = board.sessions_asked + 1
    sessions.clear(run)
    sessions.ask(run, number, end)
    board.set("sessions_asked", number)
    waiting = [slot for slot in board.live() if _has_sessions(slot)]
    answers: list[tuple[str, Answer]] = []
    deadline = time.monotonic() + ANSWER_TIME
    while waiting and time.monotonic() < deadline and not (end and any(answer["ended"] for _, answer in answers)):
        time.sleep(LOOK)
        found = [(slot, sessions.take_answer(run, slot.number, number)) for slot in waiting]
        answers += [(slot.name, answer) for slot, answer in found if answer is not None]
        waiting = [slot for slot, answer in found if answer is None and _has_sessions(slot)]
    sessions.clear(run)
    return answers, _names(waiting)


def _has_sessions(slot: Slot) -> bool:
    return slot.service in LOGIN_SERVICES and slot.state in (State.READY, State.DRAINING) and slot.get("pid") != 0


def _names(slots: Iterable[Slot]) -> list[str]:
    return [slot.name for slot in slots]
