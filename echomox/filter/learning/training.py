"""Training one account's junk.db (F06): lessons, what takes them back, and everything anew. `desk` calls this.

A lesson says what a message is now: spam, ham, or neither. It takes back exactly what the message has added so far and
adds it anew under its label, so lessons may be given twice.

Messages are taught in order, each by what was known before it; in bulk, up to one in `STEP` of what was learnt so
far are examined together, so that a long outbox or a retraining runs in batches and a young account does not. In bulk
the combination learns from one in SAMPLE of the messages of which it is not known what was said when they came, with
steps SAMPLE times as long: what the parts say then is not quite what they would have said.

What a message added is kept for the KEEP messages trained last, about 6 KB each, so that an account stays bounded.
Older ones are folded: what they added stays in the sums for good. Taking one back later changes nothing then, and
another label for it counts as a new message. A retraining reads folded messages from the store again, and leaves
out those that are gone from there too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from echomox.config.schema import JunkFilter
from echomox.filter.combine import TIMES, TOLD
from echomox.filter.context import Context, Counts, LookUp, Question, Stage
from echomox.filter.counts.known import KEY as KNOWN
from echomox.filter.counts.known import Known, look_up
from echomox.filter.counts.words import Trained, Writer
from echomox.filter.decide import FIELD
from echomox.filter.features import READ_BYTES, Envelope, Features, hash_together, read
from echomox.filter.hashed import Places, strings
from echomox.filter.hashing import Hashes
from echomox.filter.learning.ahead import WORTH, Ahead, Fetch, Raw, helpers
from echomox.filter.learning.learn import LABELS, BadRecord, Delta
from echomox.filter.learning.learners import METHOD, Method
from echomox.filter.learning.parts import SAVED, Parts
from echomox.filter.pipeline import Run
from echomox.filter.stages import reputation
from echomox.log import Log
from echomox.message.proven import written
from echomox.store.engine import AccountStore, StoreError

BATCH = 50
STEP = 16
SAMPLE = 4
KEEP = 10_000
NEW = 128
"""Words of a message that no message before it had, about."""

Source = Callable[[int], Features | None]
"""A message's features by its id; None when it is gone or cannot be read. An OSError goes up: the disk may recover. Of
one that has `fetch` (ahead.Fetch) too, messages may be read in other processes."""


class Pupil:
    """One account's junk.db, open for training. Made and called within `writer.transaction()`. spam, ham, unlearned:
    messages newly counted, or not counted any more. source, settings: may be changed between transactions."""

    def __init__(
        self, writer: Writer, source: Source, settings: JunkFilter, log: Log, method: Method = METHOD
    ) -> None:
        self.writer = writer
        self.spam = self.ham = self.unlearned = 0
        self.source = source
        self.settings = settings
        self._log = log
        self._stages = method.stages
        self._parts = Parts(writer, log, method.learners)
        self._delta = Delta()
        self._base = writer.totals()
        self._anew = False
        self._bulk = False
        self._spelled: LookUp = writer.lookup
        """Counts that are not 0 for words of which WORD has the spelling."""
        self._counts = self._lookup
        """One object, by which stages know that messages are of one account."""

    # -- lessons

    def set_labels(self, labels: Mapping[int, str]) -> None:
        """labels: message -> one of LABELS, or anything else for none."""
        for _ in self.setting(labels):
            pass

    def setting(self, labels: Mapping[int, str]) -> Iterator[None]:
        """`set_labels` in steps, between which the process may do other things."""
        wanted = []
        trained = self.writer.which(labels)
        for message, label in labels.items():
            label = label if label in LABELS else ""
            known = self._known(message) if message in trained else None
            if known and known.label == label:
                continue
            if known:
                self._take_back(message, known)
            if label:
                wanted.append((message, label))
        self._bulk = len(wanted) >= WORTH
        self._delta.reserve(len(wanted) * NEW)
        with self._reading([message for message, _ in wanted]) as source:
            done = 0
            while done < len(wanted):
                chunk = wanted[done : done + self._chunk()]
                self._teach([(*item, source(item[0])) for item in chunk])
                done += len(chunk)
                yield

    def finish(self, threshold: float | None = None) -> None:
        """Puts everything into the file."""
        (self.writer.replace if self._anew else self.writer.apply)(self._delta)
        self._delta, self._base, self._anew = Delta(), self.writer.totals(), False
        self._spelled = self.writer.lookup
        self._parts.save()
        self.writer.fold(KEEP, self.writer.number(SAVED))
        if threshold is not None:
            self.writer.set_threshold(threshold)

    def relearn(self) -> Iterator[tuple[int, int]]:
        """All sums anew from the trained messages, in the order of their training: from the messages themselves,
        or from what they added when they are gone. Yields (done, of) after each step."""
        order = self.writer.in_order()
        self._anew, self._bulk = True, len(order) >= WORTH
        done = 0
        with self._reading([message for message, _ in order]) as source:
            self._begin_anew(len(order))
            while done < len(order):
                size = self._chunk()
                chunk = [(message, label, source(message)) for message, label in order[done : done + size]]
                self._teach([item for item in chunk if item[2] is not None])
                for message, label, features in chunk:
                    if features is None:
                        self._again(message, label)
                done += len(chunk)
                yield done, len(order)

    # -- how

    def _begin_anew(self, messages: int) -> None:
        self.writer.in_bulk()
        self._spelled = self.writer.clear().lookup
        self.writer.set_number("retrain", 0)
        self._parts.clear()
        self._delta, self._base = Delta(), self.writer.totals()
        self._delta.reserve(messages * NEW)

    @contextmanager
    def _reading(self, messages: Sequence[int]) -> Iterator[Source]:
        """The source of these messages, to be asked for in this order; many are read by other processes."""
        stored: Fetch | None = getattr(self.source, "fetch", None)
        if not self._bulk or stored is None or helpers() < 1:
            yield self.source
            return

        def fetch(message: int) -> Raw | None:
            raw = stored(message)
            return raw and raw._replace(whole=self._whole(message, raw.envelope))

        def failed(message: int, why: str) -> None:
            self._log.error("not learnt", message=message, error=why)

        with Ahead(fetch, messages, self.settings.ngrams, self._stages, failed) as ahead:
            yield ahead

    def _whole(self, message: int, envelope: Envelope) -> bool:
        """Whether the combination is to learn from it too."""
        return not self._bulk or message % SAMPLE == 0 or (bool(envelope.told) and not self._anew)

    def _chunk(self) -> int:
        total = self._base.total + self._delta.ham + self._delta.spam
        return max(1, min(BATCH, total // STEP))

    def _known(self, message: int) -> Trained | None:
        try:
            return self.writer.trained(message)
        except BadRecord:
            self._log.error("trained message not readable", message=message)
            self.writer.forget(message)
            self._parts.save_whole()
            return None

    def _take_back(self, message: int, known: Trained) -> None:
        if known.tokens is not None:
            self._delta.add(known.label, known.tokens, -1)
            self._parts.subtract(known.label, self.writer.contributions(message))
            self._parts.refresh()
        self.writer.forget(message)
        self.unlearned += 1

    def _again(self, message: int, label: str) -> None:
        """A trained message that is gone: what it has added, as it was."""
        known = self._known(message)
        if known is None or known.tokens is None:
            self.writer.forget(message)
            return
        self._delta.add(label, known.tokens, 1)
        self._parts.add(label, self.writer.contributions(message))
        self._parts.refresh()
        self.writer.remember([(message, label, known.tokens)])

    def _teach(self, chunk: Sequence[tuple[int, str, Features | None]]) -> None:
        taught = [(message, label, features) for message, label, features in chunk if features is not None]
        hash_together([features for _, _, features in taught], self.settings.ngrams)
        questions = [(features, self._context(features)) for _, _, features in taught]

        self._parts.prepare(questions)
        whole = [at for at, (message, _, features) in enumerate(taught) if self._whole(message, features.envelope)]

        def failed(stage: Stage, place: int, error: Exception) -> None:
            self._log.error("stage failed", stage=stage.name, message=taught[whole[place]][0], error=repr(error))

        Run(self._stages, failed).examine([questions[at] for at in whole])
        added = []
        for (message, label, features), (_, context) in zip(taught, questions):
            added.append((message, self._parts.teach(label, features, context)))
            self.spam += label == "spam"
            self.ham += label == "ham"
        words = self._words(questions)
        lessons = [(message, label, own) for (message, label, _), own in zip(taught, words)]
        self._delta.add_many([(label, own) for _, label, own in lessons])
        self.writer.remember(lessons)
        self.writer.put_contributions(added)
        self._parts.refresh()  # late models would look worse to the combination than they are

    def _words(self, questions: Sequence[Question]) -> list[Hashes]:
        """The hashes of all that is counted of each message. Keeps how those are written of which nothing has the
        spelling, as far as is known."""
        if not questions:
            return []
        look_up(questions)
        found: list[Known] = [context.scratch[KNOWN] for _, context in questions]
        own = [one.tokens.hashes.take(one.tokens.distinct) for one in found]
        others = [one.tokens.hashes[one.tokens.others : -1] for one in found]
        keys, words = others.copy(), [word for features, _ in questions for word in reputation.words(features)]
        for (features, _), one, new in zip(questions, found, self._new(found, own)):
            if len(new):
                keys.append(one.tokens.hashes.take(new))
                words += strings(features.text, one.tokens, new)
        self._delta.spelled.add(np.concatenate(keys), words)
        return [np.concatenate(both) for both in zip(own, others)]

    def _new(self, found: Sequence[Known], tokens: Sequence[Hashes]) -> list[Places]:
        """Of each message, the places of those of its tokens that are to be spelled."""
        places = [one.tokens.distinct for one in found]
        counts = [one.counts.view(np.int64)[:, 0].take(own) for one, own in zip(found, places)]
        new = np.concatenate(counts) == 0
        if self._anew:
            new[new] = self._spelled(np.concatenate(tokens)[new]).max(axis=1, initial=0) == 0
        ends = np.cumsum([len(own) for own in places]).tolist()
        return [own[new[end - len(own) : end]] for own, end in zip(places, ends)]

    def _context(self, features: Features) -> Context:
        ham, spam = self._base.ham + self._delta.ham, self._base.spam + self._delta.spam
        made = Context(
            self.settings.ngrams, ham, spam, self._counts, self._parts.model, settings=self.settings, brief=True
        )
        if self._bulk and not (features.envelope.told and not self._anew):
            made.scratch[TIMES] = SAMPLE
        if not self._anew:  # what the parts were long ago says nothing of what they are
            made.scratch[TOLD] = features.envelope.told
        return made

    def _lookup(self, words: Hashes) -> Counts:
        """Of the file, and what waits to be put there."""
        if self._anew:
            return self._delta.lookup(words)
        found = self.writer.lookup(words)
        return np.maximum(found + self._delta.lookup(words), 0) if self._delta.words else found


class StoreSource:
    """Messages of an account's store, with the envelope our own trace fields tell."""

    def __init__(self, store: AccountStore, log: Log) -> None:
        self._store = store
        self._log = log

    def fetch(self, message: int) -> Raw | None:
        try:
            content = self._store.content(message)
        except StoreError:
            return None
        try:
            trace = content.read(0, content.prefix_size) if content.prefix_size else b""
            return Raw(content.read(content.prefix_size, READ_BYTES), envelope_of(trace))
        except StoreError as error:
            self._log.warn("not learnt", account=self._store.name, message=message, error=str(error))
        finally:
            content.close()
        return None

    def __call__(self, message: int) -> Features | None:
        raw = self.fetch(message)
        try:
            return read(raw.data, raw.envelope) if raw else None
        except Exception:  # one message that cannot be read must not stop the account's learning
            self._log.exception("not learnt", account=self._store.name, message=message)
        return None


_PATH = re.compile(rb"^Return-Path: <([^>\r\n]*)>", re.M)
_FROM = re.compile(rb"^Received: from (\S+)\s+\((?:\S+\s+)?\[(?:IPv6:)?([0-9A-Fa-f.:]+)\]\)", re.M)
_WITH = re.compile(rb"\bwith (?:UTF8SMTP|ESMTP)S", re.M)
_AUTH = re.compile(rb"^Authentication-Results:(?:[^\n]*\n[ \t])*[^\n]*", re.M)
_VERDICT = re.compile(rb"^" + FIELD.encode() + rb":(?:[^\n]*\n[ \t])*[^\n]*", re.M)
_SENT_ON = re.compile(rb"^X-EchoMox-Rule:(?:[^\n]*\n[ \t])*[^\n]*[=,]ruleset-forward(?![A-Za-z0-9._:+-])", re.M)
_TOLD = re.compile(rb"[;\s]([a-z]+)=([01]\.\d{4})\*(\d+\.\d\d)(?=[\s;])")


def envelope_of(trace: bytes) -> Envelope:
    """How a message came, by the trace fields that we put before it (`delivery`). Of what a forwarder of the account's
    own has sent on, the peer and what was checked of it say nothing, as at the delivery."""
    path, hop, auth = _PATH.search(trace), _FROM.search(trace), _AUTH.search(trace)
    verdict = _VERDICT.search(trace)
    found = _TOLD.findall(verdict[0]) if verdict else []
    told = tuple((stage.decode(), float(said)) for stage, said, weight in found if float(weight) > 0)
    if _SENT_ON.search(trace):
        return Envelope(tls=True, told=told)
    return Envelope(
        path[1].decode("utf-8", "replace") if path else "",
        hop[2].decode("ascii") if hop else "",
        hop[1].decode("ascii", "replace") if hop else "",
        bool(_WITH.search(trace)),
        written(auth[0]) if auth else (),
        told,
    )
