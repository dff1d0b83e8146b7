"""What the processes say to each other: frozen dataclasses, one per message; `ipc.frame` puts them on the
wire.

A field is str, bytes, int, float, bool, one of these or None, a tuple of them, or another dataclass of this
file; `frame` checks each one when it decodes. Fields go by position: a change of any of them is a new
`VERSION`. Nothing here names shared memory or a path: a message is given by its bytes or by a spool id that
the receiver resolves itself (`ipc.spool`).
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = 3
EVERY = "*"
"""As the account of `Listen`: bells of all accounts."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame of a client: who it is, for the log of the server."""

    name: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer to a request that could not be served; the connection goes on."""

    reason: str


# -- classify.<i>.sock ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Classify:
    """One message for one or more accounts. source: its bytes, or None and then spool is "<worker>/<name>".

    cid: the connection's id of the log. mail_from, remote_ip, helo, tls: the envelope it came in. auth: (method,
    result) of the checks of the delivery, as ("spf", "pass"), ("dkim", "fail"), and the names that they prove, as
    ("dkim-domain", "example.org").
    """

    cid: str
    accounts: tuple[str, ...]
    source: bytes | None
    spool: str
    mail_from: str
    remote_ip: str
    helo: str
    tls: bool
    auth: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one stage of the filter found. probability: of spam, 0 to 1; weight: its share in the
    combination in log-odds, 0 for a stage that has no opinion; reasons: short, for people, strongest
    first."""

    stage: str
    probability: float
    weight: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The filter's answer for one account. parts: "all" when every stage ran, "fallback" when some did not.
    learned: messages this account's filter has been trained with; 0 means that it knows nothing yet. acts: the
    probability that decides where the mail goes, None for `probability`; less than it in an account that was
    taught one kind only, whose mail stays in the Inbox unless parts that need no teaching object. profile: the ten
    values of AFFECTIVE_STATE, in the order of reservoir.affect.FIELDS; empty where the affective stage did not run."""

    account: str
    probability: float
    evidence: tuple[Evidence, ...]
    parts: str
    learned: int
    acts: float | None = None
    profile: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The answer to `Classify`: one per account, in its order."""

    verdicts: tuple[Verdict, ...]


# -- change.sock ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ring:
    """Account has reached this modseq: tell those who listen."""

    account: str
    modseq: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The bell: account has reached at least this modseq. A hint only; the truth is in the store."""

    account: str
    modseq: int


@dataclass(frozen=True, slots=True)
class Listen:
    account: str


@dataclass(frozen=True, slots=True)
class Unlisten:
    account: str


# -- learn.sock ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Learned:
    """Asks how far learning of an account has come; answered with `LearnState`."""

    account: str


@dataclass(frozen=True, slots=True)
class Retrain:
    """Asks to rebuild an account's word counts from the trained messages it remembers; answered with
    `LearnState`, and before it any number of `Retraining` that answer no question.
    """

    account: str


@dataclass(frozen=True, slots=True)
class LearnState:
    """messages, ham, spam: what the account is trained with; outbox: the last outbox id applied; waiting:
    items that are not yet applied."""

    account: str
    messages: int
    ham: int
    spam: int
    outbox: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Retraining:
    """How far a `Retrain` has come, for the one who asked; no answer yet. Messages, of all."""

    account: str
    done: int
    of: int


Message = (
    Hello
    | Failed
    | Classify
    | Verdicts
    | Ring
    | Changed
    | Listen
    | Unlisten
    | Learned
    | Retrain
    | LearnState
    | Retraining
)
MESSAGES: tuple[type[Message], ...] = (
    Hello,
    Failed,
    Classify,
    Verdicts,
    Ring,
    Changed,
    Listen,
    Unlisten,
    Learned,
    Retrain,
    LearnState,
    Retraining,
)
"""What may stand in a frame of its own; Evidence and Verdict are parts of others only."""
