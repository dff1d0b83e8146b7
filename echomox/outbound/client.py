"""An SMTP client: one session with one host, up to where messages are sent (`transaction`), and its end.

RFC 5321 (3.1, 4.5.3.2 timeouts), RFC 3207 (STARTTLS), RFC 4954 (AUTH), RFC 7504 (521, 556), RFC 9422 (LIMITS).
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from echomox.config.schema import Outbound
from echomox.errors import Reply
from echomox.outbound.login import LoginError, choose
from echomox.outbound.wire import PeerError, PeerReply, Wire
from echomox.tlspolicy.fetch import certificate_result, certificate_trouble


class Trouble(Exception):
    """The session is over, or was never there. stage: connect, greeting, ehlo, starttls, tls, login, mail, body, end.
    reply: what to say of it; a 5xx will not change by waiting. failure: of RFC 8460 4.3 when TLS failed, "" otherwise.
    partial: results of recipients that were final before. After stage "end" the message may have been accepted."""

    def __init__(self, stage: str, reply: Reply, failure: str = "") -> None:
        self.stage = stage
        self.reply = reply
        self.failure = failure
        self.partial: dict[int, Result] = {}
        self.local_ip = ""
        super().__init__(f"{stage}: {reply}")


@dataclass(frozen=True, slots=True)
class TlsPlan:
    """What TLS a session shall have. use: "never", "may" (when offered), "must" or "implicit" (from the first byte).
    name: for SNI and verification. check: looks at the chain the host presented (DER) and gives (failure of RFC 8460,
    why) or None; it is asked after the handshake, before anything else is sent."""

    use: str
    context: ssl.SSLContext | None = None
    name: str | None = None
    check: Callable[[list[bytes]], tuple[str, str] | None] | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """exposed: the password may go over a wire without TLS."""

    user: str
    password: str = field(repr=False)
    exposed: bool = False


@dataclass(slots=True)
class Capabilities:
    """What EHLO said. words: of each keyword, upper case."""

    words: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, reply: PeerReply) -> Capabilities:
        words: dict[str, tuple[str, ...]] = {}
        for line in reply.lines[1:]:
            keyword, *parameters = line.upper().replace("AUTH=", "AUTH ", 1).split() or [""]
            words[keyword] = (*words.get(keyword, ()), *parameters)
        return cls(words)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.words

    def number(self, keyword: str) -> int:
        """A number after a keyword, 0 for none."""
        value = next(iter(self.words.get(keyword, ())), "")
        return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0

    def limit(self, name: str) -> int:
        """RFC 9422: MAILMAX, RCPTMAX; 0 for none."""
        for word in self.words.get("LIMITS", ()):
            key, _, value = word.partition("=")
            if key == name and value.isascii() and value.isdigit() and len(value) < 9:
                return int(value)
        return 0


@dataclass(slots=True)
class Result:
    """Of one recipient. kind: "delivered", "retry" or "failed"."""

    kind: str
    reply: Reply


class Session:
    """`open`, then a `transaction.Transaction` for each message; `reset` before it is kept for another. Not for two
    tasks at once. clean: no transaction is open."""

    def __init__(self, wire: Wire, settings: Outbound, host: str, ip: str) -> None:
        self.wire = wire
        self.settings = settings
        self.host = host
        self.ip = ip
        self.capabilities = Capabilities({})
        self.helo = ""
        self.tls = ""
        self.policy = ""
        self.messages = 0
        self.clean = True
        self.began = 0.0

    # beginning

    async def open(self, own: str, plan: TlsPlan, login: Login | None = None) -> None:
        """own: our name. Raises Trouble."""
        self.began = asyncio.get_running_loop().time()
        if plan.use == "implicit":
            await self._handshake(plan)
        reply = await self.reply("greeting", self.settings.greeting_timeout)
        self.helo = (reply.lines[0].split() or [""])[0][:255]
        if reply.code != 220:
            raise self._refused("greeting", reply)
        await self._hello(own)
        if plan.use in ("may", "must"):
            if "STARTTLS" in self.capabilities:
                await self._starttls(plan)
                await self._hello(own)
            elif plan.use == "must":
                text = f"{self.host} does not offer STARTTLS, which is required"
                raise Trouble("starttls", Reply(451, "4.7.10", text), "starttls-not-supported")
        if login is not None:
            await self._login(login)

    async def _hello(self, own: str) -> None:
        reply = await self._ask("ehlo", f"EHLO {own}", self.settings.command_timeout)
        if reply.code == 250:
            self.capabilities = Capabilities.of(reply)
            return
        self.capabilities = Capabilities({})
        if reply.code in (421, 450, 451, 452) or self.tls:
            raise self._refused("ehlo", reply)
        reply = await self._ask("ehlo", f"HELO {own}", self.settings.command_timeout)
        if reply.code != 250:
            raise self._refused("ehlo", reply)

    async def _starttls(self, plan: TlsPlan) -> None:
        reply = await self._ask("starttls", "STARTTLS", self.settings.command_timeout)
        if reply.code != 220:
            text = f"{self.host} said to STARTTLS: {reply.code} {reply.text}"
            raise Trouble("starttls", Reply(451, "4.7.10", text), "starttls-not-supported")
        await self._handshake(plan)
        self.capabilities = Capabilities({})  # RFC 3207 4.2: what was said before is forgotten

    async def _handshake(self, plan: TlsPlan) -> None:
        assert plan.context is not None
        try:
            await self.wire.start_tls(plan.context, plan.name, self.settings.tls_timeout)
        except ssl.SSLError as error:
            self.wire.abort()
            text = f"TLS with {self.host}: {certificate_trouble(error)}"
            raise Trouble("tls", Reply(451, "4.7.5", text), certificate_result(error)) from None
        except (OSError, PeerError) as error:
            self.wire.abort()
            text = f"TLS with {self.host}: {error or 'the connection was lost'}"
            raise Trouble("tls", Reply(451, "4.7.5", text), "validation-failure") from None
        if plan.check is not None and (trouble := plan.check(self.wire.chain())):
            self.wire.abort()
            raise Trouble("tls", Reply(451, "4.7.5", f"TLS with {self.host}: {trouble[1]}"), trouble[0])
        self.tls = self.wire.ssl_object().version() or "TLS"

    async def _login(self, login: Login) -> None:
        chosen = choose(self.capabilities.words.get("AUTH", ()), bool(self.tls) or login.exposed)
        if chosen is None:
            raise Trouble("login", Reply(454, "4.7.0", f"{self.host} offers no login that can be used"))
        name, mechanism = chosen
        answers = mechanism(login.user, login.password, secrets.token_urlsafe(18))
        try:
            initial = next(answers)
            command = f"AUTH {name}" if initial is None else f"AUTH {name} {_base64(initial) or '='}"
            reply = await self._ask("login", command, self.settings.command_timeout)
            for _ in range(5):
                if reply.code != 334:
                    break
                challenge = base64.b64decode(reply.lines[0].encode("ascii", "replace"))
                reply = await self._ask("login", _base64(answers.send(challenge) or b""), self.settings.command_timeout)
        except (StopIteration, ValueError, LoginError) as error:
            self.wire.abort()
            raise Trouble("login", Reply(454, "4.7.0", f"login at {self.host}: {error or 'too many steps'}")) from None
        if reply.code != 235:
            # A wrong password is the administrator's to mend: mail waits for it.
            text = f"login at {self.host} refused: {reply.code} {reply.text}"
            raise Trouble("login", Reply(454, "4.7.0", text))

    # between messages

    def takes(self, own_limit: int) -> bool:
        """Whether another message may be sent over it."""
        limit = min(own_limit, self.capabilities.limit("MAILMAX") or own_limit)
        return self.wire.quiet and self.messages < limit

    async def reset(self) -> bool:
        """RSET where it is needed; whether the session can be used further."""
        if self.clean:
            return self.wire.quiet
        self.clean = True
        try:
            return (await self._ask("reset", "RSET", self.settings.command_timeout)).code == 250 and self.wire.quiet
        except Trouble:
            return False

    def quit(self) -> None:
        """QUIT, without waiting for its reply."""
        if not self.wire.lost:
            try:
                self.wire.write(b"QUIT\r\n")
            except PeerError:
                return
            self.wire.lost = "the session was ended"
            self.wire.transport.close()

    # lines

    async def _ask(self, stage: str, command: str, limit: float) -> PeerReply:
        try:
            self.wire.write(command.encode("utf-8", "replace") + b"\r\n")
        except PeerError as error:
            raise self.broken(stage, error) from None
        return await self.reply(stage, limit)

    async def reply(self, stage: str, limit: float) -> PeerReply:
        """Raises Trouble for 421, which may come at any time (RFC 5321 3.8)."""
        try:
            reply = await self.wire.reply(limit)
        except PeerError as error:
            raise self.broken(stage, error) from None
        if reply.code == 421:
            raise self._refused(stage, reply)
        return reply

    def broken(self, stage: str, error: object, partial: dict[int, Result] | None = None) -> Trouble:
        self.wire.abort()
        trouble = Trouble(stage, Reply(451, "4.4.2", f"{self.host}: {error}"))
        trouble.partial = partial or {}
        return trouble

    def _refused(self, stage: str, reply: PeerReply) -> Trouble:
        """RFC 7504: 521 and 556 mean that the host takes no mail at all; other 5xx of a greeting may change."""
        self.quit()
        given = heard(reply)
        if reply.code in (521, 556) or stage not in ("greeting", "ehlo") or given.code < 500:
            return Trouble(stage, given)
        enhanced = "4" + given.enhanced[1:] if given.enhanced else "4.7.0"
        return Trouble(stage, Reply(450, enhanced, f"{self.host} said: {given}"))


def heard(reply: PeerReply) -> Reply:
    """A peer's reply as we keep it."""
    return Reply(reply.code, reply.enhanced, reply.text or "(no text)")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
