"""The handlers of charging sessions: the page, the monthly report, and the API.

They read the store, which another thread writes, so they belong to a renderer of their own: no
scrape waits for them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from goe_exporter.errors import UsageError
from goe_exporter.sessions.ledger import Period
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.rows import BYTE_ORDER_MARK
from goe_exporter.sessions.selection import books_of
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.web import pages, session_api, session_page
from goe_exporter.web.content import SessionLog
from goe_exporter.web.locale import Locale
from goe_exporter.web.middleware import NO_STORE, policy
from goe_exporter.web.paths import Paths
from goe_exporter.web.report import contents
from goe_exporter.web.representation import reader_locale
from goe_exporter.web.session_page import SessionsPage
from goe_exporter.web.session_selection import PATH, selected

READ_SECONDS = 3.0
"""Time limit for reading the store; less than the writer waits."""

MAX_REPORTED = 5_000
"""Sessions in a report."""

Answer = Callable[[Records, session_api.Query, SessionSettings, Mapping[str, str]], Response]


@dataclass(frozen=True)
class SessionHandlers:
    """One method per route."""

    log: SessionLog
    paths: Paths
    frame_ancestors: Sequence[str]

    def routes(self) -> Mapping[str, Callable[[Request], Response]]:
        """Return the handlers by path."""
        return {
            f"/{PATH}": self.page,
            f"/{PATH}/report": self.report,
            "/api/v1/sessions": self.json,
            "/api/v1/sessions.csv": self.csv,
        }

    def page(self, request: Request) -> Response:
        """Return the latest sessions, and sums by month and card."""
        locale, settings = reader_locale(request.headers), self.log.settings()
        chosen = selected(request.query_params)
        today = datetime.fromtimestamp(self.log.wall(), settings.time_zone).date()
        try:
            with Records(settings.path, READ_SECONDS) as records:
                found = session_page.find(records, chosen, settings, self.log.cards(), today)
        except UsageError as error:
            return self._failed(locale, 503, str(error))
        except LookupError:
            return self._failed(locale, 404, locale.text("sessions.no_such_session"))
        body = pages.sessions(SessionsPage(found, locale), locale, self.paths.metrics_link)
        return _html(body, locale)

    def report(self, request: Request) -> Response:
        """Return the report of a month, which is a page of its own."""
        locale, settings = reader_locale(request.headers), self.log.settings()
        chosen = selected(request.query_params)
        if chosen.month is None:
            return self._failed(locale, 400, locale.text("sessions.no_month"), root="../")
        period = Period.month(chosen.month, settings.time_zone)
        try:
            with Records(settings.path, READ_SECONDS) as records:
                serials = [each.serial for each in books_of(records, chosen.chargers)]
                if not serials:  # None would select all.
                    return self._not_recorded(locale)
                some = serials if chosen.charger else ()
                if records.count(period.since, period.until, serials=some) > MAX_REPORTED:
                    return self._failed(locale, 400, locale.text("sessions.too_many"), root="../")
                found = contents(
                    records, period, serials, chosen.cards,
                    self.log.cards(), settings, self.log.wall(),
                )  # fmt: skip
        except UsageError as error:
            return self._failed(locale, 503, str(error), root="../")
        if not found.accounts:
            return self._not_recorded(locale)
        body = pages.report(found, locale)
        style = body.partition("<style>")[2].partition("</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        response = _html(body, locale)
        response.headers["Content-Security-Policy"] = policy(
            self.frame_ancestors, style=f"'sha256-{digest}'"
        )
        return response

    def json(self, request: Request) -> Response:
        """Return a part of the sessions as JSON."""
        return self._asked(request, lambda *asked: JSONResponse(session_api.as_json(*asked)))

    def csv(self, request: Request) -> Response:
        """Return the sessions of a period as CSV, to be saved as a file."""

        def answer(
            records: Records,
            query: session_api.Query,
            settings: SessionSettings,
            cards: Mapping[str, str],
        ) -> Response:
            text = session_api.as_csv(records, query, settings, cards)
            return Response(
                (BYTE_ORDER_MARK if query.german else "") + text,
                media_type="text/csv",
                headers={"Content-Disposition": 'attachment; filename="sessions.csv"'},
            )

        return self._asked(request, answer)

    def _asked(self, request: Request, answer: Answer) -> Response:
        settings = self.log.settings()
        try:
            query = session_api.parsed(request.query_params)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        try:
            with Records(settings.path, READ_SECONDS) as records:
                return answer(records, query, settings, self.log.cards())
        except UsageError as error:
            return JSONResponse({"error": str(error)}, 503)
        except LookupError:
            rule = f"before: no session has the id {query.before!r:.80}"
            return JSONResponse({"error": rule}, 400)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)

    def _not_recorded(self, locale: Locale) -> Response:
        return self._failed(locale, 404, locale.text("sessions.not_recorded"), root="../")

    def _failed(self, locale: Locale, status: int, reason: str, root: str = "") -> Response:
        body = pages.no_sessions(reason, locale, root, self.paths.metrics_link)
        return _html(body, locale, status)


def _html(body: str, locale: Locale, status: int = 200) -> Response:
    headers = {
        "Cache-Control": NO_STORE,
        "Content-Language": locale.tag,
        "Vary": "Accept-Language",
    }
    return HTMLResponse(body, status, headers)
