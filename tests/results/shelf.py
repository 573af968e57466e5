"""An archive in memory, to whose records tests write; waiting reads what a test has prepared."""

from types import SimpleNamespace

from umbel.model import states
from umbel.model.errors import TimeoutError
from umbel.model.record import Record


class Shelf:
    """``arrivals`` are the records that come in while somebody waits, in this order."""

    def __init__(self):
        self.kept = {}
        self.arrivals = []
        self.waits = []
        self.reads = []
        self.groups = {}
        self.revoked = []
        self.forgotten = []

    def put(self, task_id, result=None, status=states.SUCCESS, **rest):
        self.kept[task_id] = Record(task_id, status, result, **rest)
        return self.kept[task_id]

    def later(self, task_id, result=None, status=states.SUCCESS, **rest):
        self.arrivals.append(Record(task_id, status, result, **rest))

    def records(self, task_ids):
        self.reads.append(list(task_ids))
        return [self.kept.get(i) or Record(i, states.PENDING) for i in task_ids]

    def get_task_meta(self, task_id):
        record = self.records([task_id])[0]
        return {"status": record.status, "result": record.result}

    def wait_for(self, task_ids, timeout_s, on_interval=None, on_message=None):
        self.waits.append((list(task_ids), timeout_s))
        if on_interval is not None:
            on_interval()
        wanted = set(task_ids)
        for record in [*self.kept.values(), *self.arrivals]:
            if record.task_id not in wanted:
                self.kept[record.task_id] = record
                continue
            if on_message is not None:
                on_message({"task_id": record.task_id, "status": record.status})
            if record.status in states.READY_STATES:
                wanted.discard(record.task_id)
                self.kept[record.task_id] = record
                yield record
        if wanted:
            raise TimeoutError(f"no result within {timeout_s} s")

    def forget(self, task_ids):
        self.forgotten.append(list(task_ids))
        for task_id in task_ids:
            self.kept.pop(task_id, None)

    def save_group(self, group_id, result):
        self.groups[group_id] = result

    def restore_group(self, group_id):
        return self.groups.get(group_id)

    def delete_group(self, group_id):
        self.groups.pop(group_id, None)

    def revoke(self, task_ids, *, terminate=False, signal=None, wait=False, timeout=None):
        self.revoked.append((list(task_ids), terminate, signal, wait, timeout))

    def revoke_by_stamped_headers(
        self, headers, *, terminate=False, signal=None, wait=False, timeout=None
    ):
        self.revoked.append((headers, terminate, signal, wait, timeout))


def app_with(shelf):
    """An app, as results see it."""
    return SimpleNamespace(archive=shelf, conf=SimpleNamespace(), tasks={})
