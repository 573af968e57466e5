"""A small web site on this machine, so that the crawler needs no internet.

It is made of sections and articles that link to each other, with what the web has: links that lead
nowhere, redirects, pages that robots are asked not to read, a page that answers only at the second
time, one that is too large, and links to other sites. It remembers who asked for what, and when.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECTIONS = {
    "plants": ["celery", "parsley", "fennel", "dill"],
    "tools": ["spade", "rake", "hoe"],
    "seasons": ["spring", "summer", "autumn", "winter"],
}
LARGE = 200_000


def page(title: str, words: str, *links: str) -> str:
    """An HTML page."""
    anchors = "\n".join(f'<li><a href="{link}">{link}</a></li>' for link in links)
    return (
        f"<html><head><title>{title}</title></head>\n"
        f"<body><h1>{title}</h1><p>{words}</p><ul>{anchors}</ul></body></html>"
    )


def build() -> dict[str, str]:
    """All pages that answer with 200, by their paths."""
    pages = {
        "/": page(
            "Garden",
            "All that grows.",
            *(f"/{section}/" for section in SECTIONS),
            "/about",
            "/private/diary",
            "http://elsewhere.invalid/",
            "mailto:gardener@localhost",
        ),
        "/about": page("About", "Who digs here.", "/", "/old-about#top", "/lost"),
        "/private/diary": page("Diary", "Not for robots.", "/private/more"),
        "/large": page("Large", "x" * LARGE, "/hidden-behind-large"),
    }
    names = list(SECTIONS)
    for number, (section, articles) in enumerate(SECTIONS.items()):
        following = names[(number + 1) % len(names)]
        pages[f"/{section}/"] = page(
            section.title(),
            f"{len(articles)} articles.",
            *articles,  # relative links
            f"/{following}/",
            "/large",
        )
        for place, article in enumerate(articles):
            pages[f"/{section}/{article}"] = page(
                article.title(),
                " ".join([article] * (3 + place)) + ".",
                articles[(place + 1) % len(articles)],
                f"/{section}/",
                f"/{section}/{article}/details",
                f"../{following}/",
            )
            pages[f"/{section}/{article}/details"] = page(
                f"{article.title()} in detail",
                f"{article} and more {article}.",
                f"/{section}/{article}",
                f"/{section}/nothing-on-{article}",
                "/busy" if place == 0 else "/",
            )
    return pages


class Website:
    """The server, in a thread of its own."""

    def __init__(self) -> None:
        self.pages = build()
        self.asked: list[tuple[float, str]] = []
        self._lock = threading.Lock()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, body = site.answer(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing; ``asked`` is the log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        with self._lock:
            self.asked.append((time.monotonic(), path))
            times = sum(asked == path for _, asked in self.asked)
        if path == "/robots.txt":
            return 200, {"Content-Type": "text/plain"}, b"User-agent: *\nDisallow: /private/\n"
        if path == "/old-about":
            return 301, {"Location": "/about"}, b""
        if path == "/busy":
            if times == 1:
                return 503, {"Retry-After": "1"}, b"come again"
            return 200, {"Content-Type": "text/html"}, page("Busy", "Now.", "/").encode()
        if path in self.pages:
            return 200, {"Content-Type": "text/html"}, self.pages[path].encode()
        return 404, {}, b"nothing here"

    def counts(self) -> Counter[str]:
        """How often each path was asked for."""
        return Counter(path for _, path in self.asked)

    def seconds(self) -> float:
        """From the first request to the last."""
        times = [when for when, _ in self.asked]
        return max(times) - min(times)

    def __enter__(self) -> Website:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
