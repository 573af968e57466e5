"""``bind=True``: callers don't see ``self``, however it is annotated."""

from typing import Any, assert_type, reveal_type

from umbel import Celery, Task

app = Celery("typing")


@app.task(bind=True, max_retries=3, autoretry_for=(OSError,))
def fetch(self: Task, url: str, tries: int = 3) -> list[str]:
    assert_type(self.request.retries, int)
    self.update_state(state="PROGRESS", meta={"url": url})
    if tries:
        raise self.retry(countdown=1, exc=OSError())
    return [url]


@app.task(bind=True)
def loose(self, url: str) -> str:  # type: ignore[no-untyped-def]
    return url


@app.task(bind=True)
def alone(self: Any) -> int:
    return 1


@app.task(bind=False)
def unbound(url: str) -> str:
    return url


reveal_type(fetch)  # R: Task[[url: str, tries: int = ...], list[str]]
assert_type(fetch.delay("http://x").get(), list[str])
assert_type(fetch("http://x", 3), list[str])
assert_type(fetch.apply_async(("http://x", 2)).get(), list[str])
assert_type(loose.delay("x").get(), str)
assert_type(alone.delay().get(), int)
assert_type(alone.apply_async().get(), int)
assert_type(unbound.delay("x").get(), str)

fetch.delay(1)  # E
fetch.delay("http://x", "3")  # E
fetch.delay(fetch, "http://x")  # E
fetch.apply_async((1,))  # E
alone.delay(1)  # E
unbound.delay()  # E


def needs_self() -> None:
    return None


app.task(bind=True)(needs_self)  # E
