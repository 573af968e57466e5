"""Put up a small site on this machine, crawl it, and say what was found.

celery -A tasks worker -Q network,crawler &
python main.py
"""

from __future__ import annotations

import tasks
from website import Website

PATIENCE_S = 90


def short(url, site):
    return url.removeprefix(site.url)


def show(report, site):
    print(f"levels: {report['levels']}, {sum(report['levels'])} pages in all")
    print(f"statuses: {report['statuses']}")
    print("pages with links that lead nowhere:")
    for url, links in report["broken"].items():
        print(f"  {short(url, site)} -> {', '.join(short(link, site) for link in links)}")
    print("most words:")
    for page in report["wordy"]:
        print(f"  {page['words']:>3} {page['title']} ({short(page['url'], site)})")
    for url, problem in report["problems"].items():
        print(f"problem: {short(url, site)} is {problem}")
    print(f"not for robots: {[short(url, site) for url in report['forbidden']]}")
    print(f"left for a deeper crawl: {[short(url, site) for url in report['left']]}")


def crawl_all(site):
    """Until nothing new is found."""
    result = tasks.crawl(f"{site.url}/", depth=20).apply_async()
    report = result.get(timeout=PATIENCE_S)
    show(report, site)
    return report["levels"]


def crawl_the_surface(site):
    """Two levels, and what would have come next."""
    result = tasks.crawl(f"{site.url}/", depth=1).apply_async()
    found = result.get(timeout=PATIENCE_S)
    print(f"two levels: {found['levels']}, left: {[short(url, site) for url in found['left']]}")


def say_how_it_was_asked(site, levels):
    """What the site itself saw: politeness is the rate limit's work."""
    counts = site.counts()
    robots_kept = not any(path.startswith("/private") for path in counts)
    twice = sorted(path for path, times in counts.items() if times > 1)
    # Within a level each page but the first waits for its turn.
    turns = sum(number - 1 for number in levels)
    seconds = turns / int(tasks.RATE.partition("/")[0])
    print(f"asked for {len(counts)} addresses, {sum(counts.values())} times")
    print(f"asked for more than once: {twice}")
    print(f"robots.txt was kept to: {robots_kept}")
    print(f"took the {seconds:.2f} s that {tasks.RATE} means: {site.seconds() > 0.95 * seconds}")


def main():
    with Website() as site:
        levels = crawl_all(site)
        say_how_it_was_asked(site, levels)
    with Website() as site:
        crawl_the_surface(site)


if __name__ == "__main__":
    main()
