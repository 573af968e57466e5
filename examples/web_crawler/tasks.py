"""The tasks of the crawler.

    celery -A tasks worker -Q network,crawler

A crawl goes level by level. Nobody knows beforehand how many levels there are: the task at the end
of one replaces itself by a chord that reads the next, until nothing new is found. ``fetch`` has a
rate limit, so that the site is not asked more often than it likes, by however many processes.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit
from urllib.robotparser import RobotFileParser

from celery import Celery, chain, chord
from celery.exceptions import Reject
from celery.utils.log import get_task_logger

app = Celery("web_crawler")
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_routes={"tasks.fetch": {"queue": "network"}, "tasks.*": {"queue": "crawler"}},
    worker_prefetch_multiplier=1,
)

AGENT = "umbellifer/1.0"
LARGEST = 100_000  # bytes
PATIENCE_S = 10
RATE = "20/s"

logger = get_task_logger(__name__)
# What is asked is on this machine: no proxy, and redirects are looked at, not followed.


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args, **_kwargs):
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)
_opener.addheaders = [("User-Agent", AGENT)]


class PageParser(HTMLParser):
    """Title, links and words of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.links: list[str] = []
        self.words: list[str] = []
        self._inside: str | None = None

    def handle_starttag(self, tag, attrs):
        self._inside = tag
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == "title":
            self.title += data
        elif self._inside == "p":
            self.words += data.replace(".", " ").split()


def links_of(url, links):
    """Absolute, without fragments, each once, in order; those of this site alone."""
    site = urlsplit(url)[:2]
    found = dict.fromkeys(urldefrag(urljoin(url, link)).url for link in links)
    return [link for link in found if urlsplit(link)[:2] == site]


@app.task(bind=True, rate_limit=RATE, max_retries=3)
def fetch(self, url):
    """Read a page; gives what is known of it, whatever the answer was."""
    try:
        with _opener.open(url, timeout=PATIENCE_S) as answer:
            body = answer.read(LARGEST + 1)
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (301, 302, 307, 308):
                return {"url": url, "status": error.code, "to": error.headers["Location"]}
            if error.code == 503:
                wait = int(error.headers.get("Retry-After", 1))
                logger.info("%s is busy; asking again in %s s", url, wait)
                raise self.retry(countdown=wait, exc=ConnectionError(f"{url} is busy")) from None
            return {"url": url, "status": error.code}
    if len(body) > LARGEST:
        return {"url": url, "status": 200, "problem": "too large"}
    return {"url": url, "status": 200, "html": body.decode()}


@app.task
def parse(answer):
    """What a page says, and where it leads."""
    page = {"url": answer["url"], "status": answer["status"], "links": [], "words": 0}
    if "to" in answer:
        page["links"] = links_of(answer["url"], [answer["to"]])
    elif "html" in answer:
        parser = PageParser()
        parser.feed(answer["html"])
        page |= {"title": parser.title, "words": len(parser.words)}
        page["links"] = links_of(answer["url"], parser.links)
    elif "problem" in answer:
        page["problem"] = answer["problem"]
    return page


@app.task(bind=True)
def next_level(self, pages, state):
    """Take in what a level found; then be replaced by the next, or end with the whole crawl."""
    known = {page["url"] for page in state["pages"]}
    state = {**state, "pages": state["pages"] + pages, "levels": [*state["levels"], len(pages)]}
    known |= {page["url"] for page in pages}
    wanted = dict.fromkeys(link for page in pages for link in page["links"])
    allowed = [url for url in wanted if may_read(state["robots"], url)]
    state["forbidden"] = sorted({*state["forbidden"], *wanted.keys() - set(allowed)})
    new = [url for url in allowed if url not in known]
    if not new or len(state["levels"]) > state["depth"]:
        return {**state, "left": sorted(new)}
    return self.replace(level(sorted(new), state))


def may_read(robots, url):
    """Whether the site lets robots read a page."""
    rules = RobotFileParser()
    rules.parse(robots.splitlines())
    return rules.can_fetch(AGENT, url)


def level(urls, state):
    """All pages of a level side by side, and then what follows from them."""
    return chord([chain(fetch.s(url), parse.s()) for url in urls], next_level.s(state))


@app.task(bind=True)
def begin(self, robots, url, depth):
    """The first level, once it is known what the site lets robots read."""
    rules = robots.get("html", "")
    if not may_read(rules, url):
        raise Reject(f"robots may not read {url}", requeue=False)
    state = {"depth": depth, "robots": rules, "pages": [], "levels": [], "forbidden": []}
    return self.replace(level([url], state))


@app.task
def report(crawl):
    """The crawl in short: by status, by size, and what links to what is not there."""
    pages = sorted(crawl["pages"], key=lambda page: page["url"])
    by_status = {}
    for page in pages:
        by_status.setdefault(str(page["status"]), []).append(page["url"])
    broken = {
        page["url"]: sorted(link for link in page["links"] if link in by_status.get("404", []))
        for page in pages
    }
    return {
        "levels": crawl["levels"],
        "statuses": {status: len(urls) for status, urls in sorted(by_status.items())},
        "broken": {url: links for url, links in broken.items() if links},
        "wordy": sorted(pages, key=lambda page: (-page["words"], page["url"]))[:5],
        "problems": {page["url"]: page["problem"] for page in pages if "problem" in page},
        "forbidden": crawl["forbidden"],
        "left": crawl["left"],
    }


def crawl(url, depth):
    """A whole crawl as one canvas."""
    robots = urljoin(url, "/robots.txt")
    return chain(fetch.s(robots), begin.s(url, depth), report.s())
