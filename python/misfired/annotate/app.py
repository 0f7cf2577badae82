"""The pages over HTTP: links, forms, and what guards them. Imported only where Starlette is installed."""

import contextlib
import hashlib
import hmac
import warnings
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from misfired.annotate import pages
from misfired.annotate.options import LOCAL, ServeOptions
from misfired.annotate.record import Record
from misfired.annotate.session import Question, Session
from misfired.annotate.study import ANSWERS, Study
from misfired.annotate.texts import CONSENT, INSTRUCTIONS
from misfired.errors import MisfiredWarning

#: What is no address has no host.
_NOWHERE = (None, None)
_PORTS = {"http": 80, "https": 443}

#: A form is a few short fields.
_MOST_BYTES = 10_000

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    # A page elsewhere must not learn the link; a form here must still name its origin.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}

_Next = Callable[[Request], Awaitable[Response]]


class Pages:
    """The application: one session for each link.

    Requests are handled one at a time, and each answer is on the disk before the reply goes out.
    """

    def __init__(self, study: Study, options: ServeOptions) -> None:
        self._options = options
        secret, words = study.secret(), study.links()
        texts = {name.removesuffix(".md"): study.text(name) for name in (CONSENT, INSTRUCTIONS)}
        allowed, orders = study.allowed(), study.orders()
        known = {
            item: Question(item, text, allowed[item])
            for item, text in study.items().select("item", "text").iter_rows()
        }
        self._sessions = {
            word: Session(
                Record(study.path / ANSWERS / f"{annotator}.jsonl").check(
                    orders[annotator], allowed
                ),
                [known[item] for item in orders[annotator]],
                texts,
                f"/a/{word}",
                hmac.new(secret, word.encode(), hashlib.sha256).hexdigest(),
            )
            for word, annotator in words.items()
        }

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            Route("/", self._start),
            Route("/{name:str}", self._static),
            Route("/a/{word:str}", self._home),
            Route("/a/{word:str}/{name:path}", self._get),
            Route("/a/{word:str}/{name:path}", self._post, methods=["POST"]),
        ]
        handlers = {OSError: _not_saved, 404: _unknown, 405: _unknown}
        guard = Middleware(BaseHTTPMiddleware, dispatch=self._guard)
        return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers)  # type: ignore[arg-type]

    async def _guard(self, request: Request, call_next: _Next) -> Response:
        if not self._host_known(request.headers.get("host", "")):
            response: Response = _message(
                400, "This address is not served here", "Please use the link as you got it."
            )
        else:
            response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    def _host_known(self, host: str) -> bool:
        """True if a request names an address of this server, not one that was made to point to it."""
        own = self._options
        if own.is_everywhere and own.url is None:
            return True
        named = {own.host.lower(), *(LOCAL if own.is_local else ())}
        return _place(f"//{host}")[0] in named | ({_place(own.url)[0]} if own.url else set())

    async def _start(self, request: Request) -> Response:  # noqa: ARG002
        return _message(200, "Reading study", "Please open the link that you were given.")

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        kinds = {"style.css": "text/css", "keys.js": "text/javascript"}
        if name not in kinds:
            return _unknown(request)
        return Response(pages.static_text(name), media_type=kinds[name])

    async def _home(self, request: Request) -> Response:
        session = self._session(request)
        return _unknown(request) if session is None else _go(session, session.stage)

    async def _get(self, request: Request) -> Response:
        session, name = self._session(request), request.path_params["name"]
        if session is None:
            return _unknown(request)
        page = session.page(name)
        if page is None:
            return _go(session, session.stage)
        if request.method == "GET":
            session.shown(name)
        return HTMLResponse(page)

    async def _post(self, request: Request) -> Response:
        session = self._session(request)
        if session is None:
            return _unknown(request)
        form = await _form(request)
        if form is None or not self._same_site(request) or not session.signed(form):
            why = "Your answer was not saved: it did not come from a page of this study. Please use your link again."
            return _message(403, "Please try again", why)
        return _go(session, session.take(request.path_params["name"], form))

    def _same_site(self, request: Request) -> bool:
        """True if a form comes from a page of this server, as far as the browser says."""
        origin = request.headers.get("origin")
        # A proxy may put its own name for the server into Host.
        named = {_place(f"//{request.headers.get('host', '')}"), _place(self._options.url or "")}
        if origin is not None and _place(origin) not in named - {_NOWHERE}:
            return False
        return request.headers.get("sec-fetch-site", "same-origin") == "same-origin"

    def _session(self, request: Request) -> Session | None:
        return self._sessions.get(request.path_params["word"])


def _place(address: str) -> tuple[str | None, int | None]:
    """Return host and port of an address as browsers name them: without the port of the scheme."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return _NOWHERE
    return parts.hostname, None if port == _PORTS.get(parts.scheme) else port


async def _form(request: Request) -> dict[str, str] | None:
    """Return the fields of a form; None if it is none, far too long, or was not sent to its end."""
    content = b""
    with contextlib.suppress(ClientDisconnect):
        async for chunk in request.stream():
            content += chunk
            if len(content) > _MOST_BYTES:
                return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return None
    try:
        return dict(
            parse_qsl(content.decode(), keep_blank_values=True, errors="strict", max_num_fields=10)
        )
    except ValueError:
        return None


def _go(session: Session, name: str) -> Response:
    # 303: the browser asks for the page, and its Reload button sends no form again.
    return RedirectResponse(f"{session.home}/{name}", status_code=303)


def _message(status: int, title: str, text: str) -> Response:
    return HTMLResponse(pages.text_page(title, f"# {title}\n\n{text}"), status_code=status)


def _unknown(request: Request, error: Exception | None = None) -> Response:  # noqa: ARG001
    return _message(
        404,
        "This page does not exist",
        "Please check the link that you were given, letter by letter.",
    )


def _not_saved(request: Request, error: OSError) -> Response:
    what = "an answer was not saved" if request.method == "POST" else "a question was not shown"
    told = f"{what}: {error.filename or 'answers'}: {error.strerror or error}"
    warnings.warn(told, MisfiredWarning, stacklevel=1)
    lost = "Your last answer could not be saved. " if request.method == "POST" else ""
    why = f"{lost}Please tell the people who run the study, and try again later."
    return _message(500, "Something is wrong here", why)
