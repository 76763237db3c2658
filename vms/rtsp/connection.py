"""Requests and answers over one byte stream: sequence numbers, time limits, authentication, a server's own requests.

Owns the matching of answers to requests and the translation of how a stream ends. Does not own sessions, tracks or
what methods are for. Invariants: every request ends within its time limit; nothing said here to people or logs holds
the password, not even when a server echoes it.
"""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import quote

from vms.camera_url import CameraUrl
from vms.errors import MalformedError, SourceError
from vms.model import GapReason
from vms.rtsp.auth import ClientAuth
from vms.rtsp.message import Headers, Message, Request, Response, printable
from vms.rtsp.transport import Opener, RtspWire
from vms.sentences import say, sentence_of

MAX_TRIES = 3  # of one request: without credentials, with them, and once more with a renewed nonce
CLOSE_SECONDS = 1.0
_ANSWERED = {404: "answered_no_stream", 453: "answered_full", 454: "answered_no_session", 503: "answered_full"}


class RtspConnection:
    """One connection to one camera. Made by `connect`; `ended` is set when it is over and `failure` says how."""

    def __init__(self, url: CameraUrl, username: str, password: str, user_agent: str) -> None:
        self.url = url
        self.name = f"{url.host}:{url.effective_port}"
        self.wire = RtspWire(self)
        self.ended = asyncio.Event()
        self.failure: BaseException | None = None
        self.unknown_answers = 0
        self._user_agent = user_agent
        self._auth = ClientAuth(username, password)
        self._auth_worked = False
        basic = base64.b64encode(f"{username}:{password}".encode()).decode() if password else ""
        secrets = (password, quote(password, safe=""), url.password, quote(url.password, safe=""), basic)
        self._secrets = [secret for secret in secrets if secret]
        self._pending: dict[int, asyncio.Future[Response | None]] = {}
        self._cseq = 0

    @classmethod
    async def connect(
        cls,
        url: CameraUrl,
        *,
        username: str,
        password: str,
        pin: str,
        opener: Opener,
        user_agent: str,
        timeout: float,  # noqa: ASYNC109 - the opener's contract
    ) -> RtspConnection:
        """Connect within `timeout` seconds or raise SourceError."""
        connection = cls(url, username, password, user_agent)
        try:
            await opener(url, connection.wire, pin=pin, timeout=timeout)
        except SourceError:
            await connection.close()
            raise
        return connection

    async def request(self, method: str, uri: str, *pairs: tuple[str, str], seconds: float) -> Response:
        """Send a request and give its final answer, whatever its status; authenticates when asked to.

        SourceError when no answer comes within `seconds` (each of at most three tries), or the connection ends.
        """
        for tried in range(1, MAX_TRIES + 1):
            authorisation = self._auth.header(method, uri)
            response = await self._exchange(method, uri, pairs, authorisation, seconds)
            if response.status != 401:
                self._auth_worked = self._auth_worked or authorisation is not None
                return response
            if tried == MAX_TRIES or not self._auth.user or not self._answerable(response, authorisation):
                return response
        raise AssertionError("unreachable")

    def _answerable(self, response: Response, authorisation: str | None) -> bool:
        """Whether another try may help: a wrong password is not repeated, for cameras lock users out."""
        again = self._auth.accept(response.headers)
        stale = any("stale" in v.lower() and "true" in v.lower() for v in response.headers.get_all("WWW-Authenticate"))
        return again and (authorisation is None or self._auth_worked or stale)

    async def _exchange(
        self, method: str, uri: str, pairs: tuple[tuple[str, str], ...], authorisation: str | None, seconds: float
    ) -> Response:
        self._cseq += 1
        cseq = self._cseq
        headers = Headers.of(
            ("CSeq", str(cseq)),
            ("User-Agent", self._user_agent),
            ("Authorization", authorisation) if authorisation else None,
            *pairs,
        )
        try:
            data = Request(method, uri, headers).encode()
        except ValueError as error:
            said = say("request_unwritable", camera=self.name, method=method).noted(self.scrub(str(error)))
            raise SourceError(GapReason.REFUSED, said) from error
        future: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()
        self._pending[cseq] = future
        try:
            async with asyncio.timeout(seconds):
                self._raise_if_ended(method)
                if not self.wire.write(data):
                    said = say("reads_nothing", camera=self.name).noted(method)
                    raise SourceError(GapReason.UNREACHABLE, said)
                response = await future
        except TimeoutError as error:
            said = say("answer_timeout", camera=self.name, method=method, seconds=seconds)
            raise SourceError(GapReason.UNREACHABLE, said) from error
        finally:
            self._pending.pop(cseq, None)
        if response is None:
            self._raise_if_ended(method)
            raise SourceError(GapReason.UNREACHABLE, say("hung_up", camera=self.name).noted(method))
        return response

    def _raise_if_ended(self, method: str) -> None:
        failure = self.failure if self.wire.ended else None
        if isinstance(failure, SourceError):
            said = sentence_of(failure)
            during = f"{failure} ({method})" if said is None else said.noted(method)
            raise SourceError(failure.reason, during) from failure
        if failure is not None:
            raise failure

    def refusal(self, method: str, response: Response) -> SourceError:
        """The error that an answer other than 2xx means."""
        status = response.status
        if status == 401:
            if not self._auth.user:
                code = "login_wanted"
            elif not self._auth.challenged:
                code = "login_unknown"
            else:
                code = "login_wrong"
            return SourceError(GapReason.UNAUTHORISED, say(code, camera=self.name).noted(f"{method}: 401"))
        phrase = self.scrub(f"{status} {response.reason}".strip())
        if status == 403:
            said = say("stream_forbidden", camera=self.name, method=method).noted(phrase)
            return SourceError(GapReason.UNAUTHORISED, said)
        code = _ANSWERED.get(status, "answered")
        said = say(code, camera=self.name, method=method, status=status).noted(phrase)
        return SourceError(GapReason.REFUSED, said)

    def scrub(self, text: str) -> str:
        """Text from the server made safe for people and logs: one line, without our password."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return printable(text, 80)

    def fail(self, error: BaseException) -> None:
        """End the connection with `error`, unless it ended before."""
        self.wire.abort(error)

    def farewell(self, error: SourceError) -> None:
        """The session is over, for `error`; the connection stands, so that TEARDOWN can be sent."""
        if self.failure is None:
            self.failure = error
        self.ended.set()

    async def close(self) -> None:
        """Close at once; returns when the stream is gone. Idempotent."""
        self.wire.abort(SourceError(GapReason.UNREACHABLE, f"{self.name}: connection closed by us"))
        await self.wire.wait_closed(CLOSE_SECONDS)

    def on_message(self, message: Message) -> None:
        """WireOwner: an answer goes to whoever waits for it; a request of the server is answered here."""
        if isinstance(message, Request):
            self._serve(message)
            return
        if message.status < 200:
            return
        cseq = message.cseq
        if cseq is None and "CSeq" not in message.headers and len(self._pending) == 1:
            cseq = next(iter(self._pending))  # some leave it out
        future = self._pending.get(cseq) if cseq is not None else None
        if future is None or future.done():
            self.unknown_answers += 1
        else:
            future.set_result(message)

    def _serve(self, request: Request) -> None:
        if request.method in ("TEARDOWN", "REDIRECT"):
            said = say("session_ended", camera=self.name).noted(request.method)
            self.fail(SourceError(GapReason.UNREACHABLE, said))
            return
        known = request.method in ("OPTIONS", "GET_PARAMETER", "SET_PARAMETER")
        self.wire.write(Response.to(request, 200 if known else 501).encode())

    def on_wire_end(self, error: BaseException | None) -> None:
        """WireOwner: say why in our own words and wake everybody who waits."""
        if self.failure is None:
            self.failure = self._translate(error)
        self.ended.set()
        for future in self._pending.values():
            if not future.done():
                future.set_result(None)

    def _translate(self, error: BaseException | None) -> BaseException:
        if error is None:
            return SourceError(GapReason.UNREACHABLE, say("hung_up", camera=self.name))
        if isinstance(error, MalformedError):
            problem = self.scrub(f"{error.where}: {error.problem}")
            return SourceError(GapReason.REFUSED, say("not_rtsp", camera=self.name).noted(problem))
        if isinstance(error, OSError):
            what = printable(error.strerror or type(error).__name__, 60)
            return SourceError(GapReason.UNREACHABLE, say("connection_lost", camera=self.name).noted(what))
        return error
