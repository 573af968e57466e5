"""``umbel dead``, and the same from Python, on an app whose broker holds some."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from umbel import Celery
from umbel.cli.commands import root
from umbel.model.call import Call
from umbel.model.settlement import Fate, Settlement
from umbel.ports import current


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An app with three dead letters: an unknown task, a poisonous one, and bytes."""
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CELERY_CONFIG_MODULE", "UMBEL_DB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "morgue.py").write_text("from umbel import Celery\napp = Celery('morgue')\n")
    import morgue

    app: Celery = morgue.app
    app.send_task("shop.buy", (1,), {"password": "hidden", "x": 2}, task_id="t1")
    app.send_task("mail.send", ("hello",), task_id="t2", queue="mails")
    with app:
        pair = app.open_pair()
        broker: Any = pair.broker
        message = app.publisher.compose(Call(task="mail.send", args=(), kwargs={}, id="t3"))
        broker.publish([message._replace(raw=b"\xff no envelope", id="t3", task="?")])
        broker.enlist("w.0.1", 60)
        for queue, cause in (("celery", "unknown task"), ("mails", "WorkerLost: died 5 times")):
            (held, *rest) = broker.cycle("w.0.1", (), [queue], 5)[1]
            broker.cycle(
                "w.0.1",
                [
                    Settlement(held.token, Fate.DEAD, cause=cause),
                    *[Settlement(one.token, Fate.DEAD, cause="no envelope") for one in rest],
                ],
                [],
                0,
            )
        broker.close()
        yield app
    del sys.modules["morgue"]
    current.set_current_app(None)
    current.set_default_app(None)


def umbel(*words: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(root, ["-A", "morgue", "dead", *words], input=answer)


def test_python_reads_what_can_be_read(app: Celery) -> None:
    found = {letter.id: letter for letter in app.dead.list()}

    known = found["t1"]
    assert (known.task, known.queue, known.cause) == ("shop.buy", "celery", "unknown task")
    assert known.args == "(1,)"
    assert known.kwargs == "{'password': '********', 'x': 2}"
    assert found["t3"].raw == b"\xff no envelope"
    assert found["t3"].args is None


def test_python_filters_by_what_it_is_given(app: Celery) -> None:
    dead = app.dead

    assert dead.count() == 3
    assert [letter.id for letter in dead.list(task="mail.*", cause="workerlost")] == ["t2"]
    assert dead.count(queue=["mails", "celery"], newer_than=timedelta(minutes=1)) == 3
    assert dead.count(older_than=60) == 0
    assert dead.replay([]) == 0
    assert dead.purge(id="t1") == 1
    assert {letter.id for letter in dead.list()} == {"t2", "t3"}


def test_python_names_a_number_that_is_not_there(app: Celery) -> None:
    with pytest.raises(LookupError, match="there is no dead letter 99"):
        app.dead.show(99)


def test_list_has_a_line_for_each(app: Celery) -> None:
    listed = umbel("list")
    some = umbel("list", "-t", "shop.*", "--newer-than", "1h")
    none = umbel("list", "--older-than", "1h")

    assert listed.exit_code == 0, listed.output
    assert len(listed.stdout.splitlines()) == 3
    (line,) = some.stdout.splitlines()
    assert line.endswith("celery  shop.buy[t1]  unknown task")
    assert none.stdout == ""


def test_list_says_how_many_it_leaves_out(app: Celery) -> None:
    listed = umbel("list", "--limit", "2")

    assert len(listed.stdout.splitlines()) == 2
    assert "and 1 more" in listed.stderr


def test_list_and_show_speak_json(app: Celery) -> None:
    (letter,) = json.loads(umbel("list", "--id", "t1", "--json").stdout)
    shown = json.loads(umbel("show", str(letter["number"]), "--json").stdout)

    assert shown == letter
    assert (shown["task"], shown["deliveries"]) == ("shop.buy", 0)
    assert json.loads(shown["raw"])["headers"]["id"] == "t1"


def test_show_of_no_letter_says_so(app: Celery) -> None:
    shown = umbel("show", "99")

    assert shown.exit_code == 1
    assert "there is no dead letter 99" in shown.output


def test_replay_says_how_many_and_asks(app: Celery) -> None:
    declined = umbel("replay", "--queue", "mails", answer="n\n")
    accepted = umbel("replay", "--queue", "mails", answer="y\n")

    assert "1 dead letter will be put back and run again. Go on?" in declined.output
    assert declined.exit_code == 1
    assert accepted.stdout == "Put back 1 dead letter.\n"
    broker: Any = app.open_pair().broker
    assert broker.depth("mails").ready == 1
    broker.close()


def test_purge_by_force_asks_nothing(app: Celery) -> None:
    number = app.dead.list(id="t1")[0].number

    purged = umbel("purge", "-f", str(number))
    again = umbel("purge", "-f", str(number))
    everything = json.loads(umbel("purge", "-f", "--all", "--json").stdout)

    assert purged.stdout == "Deleted 1 dead letter.\n"
    assert again.stdout == "Deleted 0 dead letters.\n"
    assert everything == {"found": 2, "changed": 2}


@pytest.mark.parametrize("verb", ["replay", "purge"])
def test_nothing_said_is_not_everything(app: Celery, verb: str) -> None:
    refused = umbel(verb, "-f")

    assert refused.exit_code == 2
    assert "which ones?" in refused.output
    assert app.dead.count() == 3


def test_an_age_that_is_none_is_refused(app: Celery) -> None:
    refused = umbel("list", "--older-than", "soon")

    assert "'soon' is no age; wanted e.g. 90s, 15m, 12h, 3d or 2w" in refused.output
