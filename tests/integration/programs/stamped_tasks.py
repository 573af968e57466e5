"""Tasks that say how they are stamped."""

from umbel import Celery, group

app = Celery("stamped_tasks")


@app.task(bind=True)
def seen(self, *_before):
    """Its stamps, by name."""
    return dict(self.request.stamps or {})


@app.task(bind=True)
def replaced(self, *_before):
    return self.replace(group(seen.s(), seen.s()))


@app.task(bind=True, max_retries=1)
def again(self, *_before):
    if not self.request.retries:
        raise self.retry(countdown=0)
    return dict(self.request.stamps or {})


@app.task
def number(n):
    return n
