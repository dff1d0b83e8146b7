"""The filter as one object: messages in, one verdict per account out. Used by classifiers, and without them as
fallback.

Questions that wait are judged together, stage by stage; the answers are the same bits whatever is judged together.
A stage that raises, or for which no time is left, gives evidence of weight 0 that says so, and the rest decides;
then the verdict's parts are "fallback". A junk.db that cannot be read makes the account untrained for this message.

An account that was taught fewer than LEAST messages of one kind does not know the other: what its learned parts
say is counted, but only the other parts, and lists the user wrote, act (`Verdict.acts`). P that is told of such
an account is what those make of the message, moved by how much more often spam was taught than ham,

    logit(P) = doubted(logit(acts)) + ln((spam + 1) / (ham + 1))

or what all parts say, if that is less: parts that have seen nothing but spam call everything spam. So P orders mail as
the rules do, and says how mail was so far. `doubted` halves what is below LOW: rules that know nothing of a message say
0.01, which is no knowledge.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from math import log
from pathlib import Path
from typing import Any, NamedTuple

from echomox.config.schema import JunkFilter
from echomox.filter import combine
from echomox.filter.combine import DECIDES
from echomox.filter.context import Context, Question, Stage, no_models, no_opinion, nothing
from echomox.filter.counts.readers import Reader, Readers
from echomox.filter.features import READ_BYTES, Envelope, Features, read
from echomox.filter.learning.learners import decode
from echomox.filter.pipeline import Run
from echomox.filter.stages import STAGES, affect
from echomox.ipc import spool
from echomox.ipc.schema import Classify, Evidence, Verdict
from echomox.log import Log
from echomox.store.engine import StoreError

BUDGET = 1.0
"""Seconds for one request."""
FALLBACK = ("bayes", "reputation")
"""Stages that are light enough to run in a worker that has other things to do."""
SEEN = ("membranes", "affect")
"""Stages that ask for the vocabulary of a message."""
LEAST = 10
SURE = 20
INBOX = 0.28
"""Before so many messages of spam, what all parts say of a one-sided account is told up to INBOX, whatever was taught
more often."""


def doubted(z: float) -> float:
    """Log-odds of what rules say, as far as they are told of an account that knows one kind of mail only."""
    return combine.LOW + (z - combine.LOW) / 2 if z < combine.LOW else z


class Asked(NamedTuple):
    """One message for one account. deadline: on the monotonic clock; stages that do not fit before it are left
    out."""

    account: str
    features: Features
    deadline: float


def _unseen(evidence: list[Evidence]) -> None:
    """For one who wants the verdict only."""


class Judge:
    """settings(account): its filter's settings, from the current snapshot. parts: what a complete verdict says of
    itself."""

    def __init__(
        self,
        accounts: Path,
        settings: Callable[[str], JunkFilter],
        log: Log,
        stages: Sequence[Stage] = STAGES,
        parts: str = "all",
    ) -> None:
        self._readers = Readers(accounts, decode)
        self._settings = settings
        self._log = log
        self._stages = stages
        self._learned = frozenset(stage.name for stage in stages if stage.learned)
        self._seen = any(stage.name in SEEN for stage in stages)
        self._parts = parts

    def close(self) -> None:
        self._readers.close()

    def features(self, request: Classify, spool_directory: Path) -> Features:
        """Reads the message of a request. Raises spool.BadId, OSError when the file is gone."""
        envelope = Envelope(request.mail_from, request.remote_ip, request.helo, request.tls, request.auth)
        data = request.source
        if data is None:
            data = spool.read(spool_directory, request.spool, READ_BYTES)
        made = read(data, envelope)
        if self._seen:
            made.vocabulary()  # while its words are at hand
        return made

    def verdicts(self, request: Classify, spool_directory: Path, budget: float = BUDGET) -> tuple[Verdict, ...]:
        """One per account of the request, in its order. Does not raise for what a message or a database holds."""
        return self.answers([request], spool_directory, budget)[0]

    def answers(
        self, requests: Sequence[Classify], spool_directory: Path, budget: float = BUDGET
    ) -> list[tuple[Verdict, ...]]:
        """The verdicts of several requests, judged together; budget: seconds for all of them."""
        deadline = time.monotonic() + budget
        asked: list[Asked] = []
        for request in requests:
            features = self._read(request, spool_directory)
            if features is not None:
                asked += [Asked(account, features, deadline) for account in request.accounts]
            else:
                asked += [Asked(account, UNREADABLE, deadline) for account in request.accounts]
        found = iter(self.judge(asked))
        return [tuple(next(found) for _ in request.accounts) for request in requests]

    def _read(self, request: Classify, spool_directory: Path) -> Features | None:
        try:
            return self.features(request, spool_directory)
        except (spool.BadId, FileNotFoundError) as error:  # the one who asked is gone, or asks nonsense
            self._log.warn("message not read", cid=request.cid, spool=request.spool, error=str(error))
            return None
        except Exception:
            self._log.exception("message not read", cid=request.cid)
            return None

    def verdict(self, account: str, features: Features, deadline: float) -> Verdict:
        return self.judge([Asked(account, features, deadline)])[0]

    def judge(self, asked: Sequence[Asked], observe: Callable[[list[Evidence]], None] = _unseen) -> list[Verdict]:
        """One verdict for each, in their order. observe: is given what the stages said of each, uncombined."""
        known: dict[str, Context] = {}
        questions = []
        for account, features, _ in asked:
            if account not in known:
                known[account] = self.context(account)
            questions.append((features, known[account].another()))

        def failed(stage: Stage, place: int, error: Exception) -> None:
            account = asked[places[place]].account
            self._log.error("stage failed", stage=stage.name, account=account, error=repr(error))
            if isinstance(error, sqlite3.Error):
                self._readers.forget(account)

        places = [place for place, item in enumerate(asked) if item.features is not UNREADABLE]
        run = Run(self._stages, failed)
        run.examine([questions[place] for place in places], [asked[place].deadline for place in places])
        complete = dict(zip(places, run.complete))
        verdicts = []
        for place, (item, (features, context)) in enumerate(zip(asked, questions)):
            observe(context.evidence)
            if place in complete:
                verdicts.append(self._verdict(item.account, (features, context), complete[place]))
            else:
                evidence = no_opinion("read", "error")
                verdicts.append(Verdict(item.account, 0.0, (evidence,), "fallback", 0, 0.0))
        return verdicts

    def _verdict(self, account: str, question: Question, complete: bool) -> Verdict:
        features, context = question
        try:
            model: combine.Model | None = combine.fixed(context.models(combine.NAME), context.settings.weights)
        except (ValueError, sqlite3.Error):
            self._log.exception("combination not read", account=account)
            model, complete = combine.fixed(None, context.settings.weights), False
        found = combine.combine(context.evidence, model)
        probability = acts = found.probability
        if context.ham + context.spam and min(context.ham, context.spam) < LEAST:
            unlearned = self._unlearned(context)
            acts = min(probability, unlearned)
            often = log((context.spam + 1) / (context.ham + 1))
            counted = combine.sigmoid(doubted(combine.logit(unlearned)) + often)
            little = INBOX * probability if context.spam < SURE else 0.0
            probability = max(acts, little, min(probability, counted))
        parts = self._parts if complete else "fallback"
        felt: affect.Found | None = features.memo.get(affect.NAME)
        profile = felt.profile if felt else ()
        return Verdict(account, probability, found.evidence, parts, context.ham + context.spam, acts, profile)

    def _unlearned(self, context: Context) -> float:
        """P by what needs no training."""
        kept = [item for item in context.evidence if item.stage not in self._learned or item.weight >= DECIDES]
        return combine.combine(kept, combine.fixed(None, context.settings.weights)).probability

    def context(self, account: str) -> Context:
        """What stages are given for an account; as for an untrained one when its junk.db cannot be read. Good until
        the judge is asked again."""
        settings = self._settings(account)
        try:
            reader = self._readers.get(account)
            if reader is not None:
                totals = reader.totals()
                models = _models(reader, account, self._log)
                return Context(settings.ngrams, totals.ham, totals.spam, reader.lookup, models, settings=settings)
        except StoreError as error:  # no account name
            self._log.warn("word counts not read", account=account, error=str(error))
        except (sqlite3.Error, OSError):
            self._log.exception("word counts not read", account=account)
            self._readers.forget(account)
        return Context(settings.ngrams, 0, 0, nothing, no_models, settings=settings)


def _models(reader: Reader, account: str, log: Log) -> Callable[[str], Any]:
    def model(name: str) -> Any:
        try:
            return reader.model(name)
        except ValueError as error:  # the trainer starts it afresh
            log.error("learned part not readable", account=account, part=name, error=str(error))
            return None

    return model


UNREADABLE = read(b"")
"""Stands for a message that could not be read; compared by identity."""


def fallback_judge(accounts: Path, settings: Callable[[str], JunkFilter], log: Log) -> Judge:
    """For a worker whose `ClassifierPool.classify` gave None (R64): judges in the worker itself, by Bayes, reputation
    and the lists of senders, with parts "fallback". It blocks the loop for some milliseconds a message; costs nothing
    until it is used."""
    stages = [stage for stage in STAGES if stage.name in FALLBACK]
    return Judge(accounts, settings, log, stages, "fallback")
