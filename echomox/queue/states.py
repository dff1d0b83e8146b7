"""What may become of a message in the queue: the table, and nothing else decides.

| state   | on disk                              | after kill -9 or power loss                              |
|---------|--------------------------------------|----------------------------------------------------------|
| queued  | row of `message`, no lease           | the same                                                 |
| leased  | row of `message` with its holder     | queued as before: who holds it is gone, or its time ends |
| held    | row of `message`, reason in `hold`   | the same                                                 |
| retired | row of `retired` with the result, or | the same: row, result and the report that it causes are  |
|         | none when nothing is kept            | one transaction                                          |

Adding: file (if large) written and synced, its directory synced; then rows in one transaction that is on disk when
the addition returns. Killed before the commit: no row, and a file without a row is removed at the next start.
Removing: rows first, the file after them.
"""

from __future__ import annotations

from echomox.errors import Bug

QUEUED, LEASED, HELD, RETIRED = "queued", "leased", "held", "retired"
STATES = (QUEUED, LEASED, HELD)

TRANSITIONS = {
    ("", "add"): QUEUED,
    ("", "add-held"): HELD,
    (QUEUED, "lease"): LEASED,
    (LEASED, "release"): QUEUED,
    (LEASED, "retry"): QUEUED,
    (LEASED, "delivered"): RETIRED,
    (LEASED, "relayed"): RETIRED,
    (LEASED, "failed"): RETIRED,
    (LEASED, "suppressed"): RETIRED,
    (QUEUED, "postpone"): QUEUED,
    (QUEUED, "hold"): HELD,
    (HELD, "hold"): HELD,
    (HELD, "unhold"): QUEUED,
    (QUEUED, "change"): QUEUED,
    (HELD, "change"): HELD,
    (QUEUED, "fail"): RETIRED,
    (HELD, "fail"): RETIRED,
    (QUEUED, "drop"): RETIRED,
    (HELD, "drop"): RETIRED,
}
"""(state, event) -> state. What is under way is changed by nobody but who delivers it."""


def after(state: str, event: str) -> str:
    """Raises Bug for what the table does not have."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise Bug(f"{event} of a message that is {state or 'new'}") from None


def states_for(event: str) -> tuple[str, ...]:
    """From which states an event leads on."""
    return tuple(state for state, name in TRANSITIONS if name == event)
