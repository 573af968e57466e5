"""Dispatchers send and receivers hear, on every engine."""

import time

import pytest

from umbel.model.errors import NotBuiltYet


def test_an_event_of_ones_own_is_heard_with_its_fields(make_app, listen):
    monitor = listen(make_app())
    before = time.time()

    with make_app().events.default_dispatcher() as dispatcher:
        dispatcher.send("my-event", foo=3, bar=["x"])

    (event,) = monitor.wait_for(1)
    assert (event["type"], event["foo"], event["bar"]) == ("my-event", 3, ["x"])
    assert event["hostname"].startswith("gen")
    assert event["clock"] == 1
    assert event["local_received"] >= event["timestamp"] >= before - 1


def test_only_the_keys_that_were_asked_for_are_heard(make_app, listen):
    monitor = listen(make_app(), routing_key="worker.#")

    with make_app().events.Dispatcher(make_app().connection(), hostname="w@host") as dispatcher:
        dispatcher.send("task-custom", uuid="a")
        dispatcher.send("worker-heartbeat", freq=2.0)

    (event,) = monitor.wait_for(1)
    assert (event["type"], event["hostname"]) == ("worker-heartbeat", "w@host")


def test_buffered_groups_travel_as_lists(make_app, listen):
    monitor = listen(make_app())
    app = make_app()

    with app.events.Dispatcher(app.connection(), buffer_group=["task"], buffer_limit=3) as sender:
        for number in range(4):
            sender.send("task-thing", uuid=str(number))
        monitor.wait_for(3)
        assert len(monitor.events) == 3

    assert [event["uuid"] for event in monitor.wait_for(4)] == ["0", "1", "2", "3"]


def test_groups_limit_what_is_sent_and_disabling_ends_it(make_app, listen):
    monitor = listen(make_app())
    app = make_app()
    told = []

    with app.events.Dispatcher(app.connection(), groups=["worker"]) as sender:
        sender.on_disabled.add(lambda: told.append("off"))
        sender.send("task-thing", uuid="a")
        sender.send("worker-thing")
        sender.disable()
        sender.send("worker-other")

    assert [event["type"] for event in monitor.wait_for(1)] == ["worker-thing"]
    assert told == ["off"]


def test_handlers_are_found_by_type_and_the_star_takes_the_rest(make_app):
    app = make_app()
    seen = []
    receiver = app.events.Receiver(
        app.connection(),
        handlers={"a-b": lambda event: seen.append("named"), "*": lambda event: seen.append("*")},
    )

    for kind in ("a-b", "c-d"):
        receiver.process(kind, {"type": kind})

    assert seen == ["named", "*"]


def test_a_capture_that_hears_nothing_ends_with_a_timeout(make_app):
    app = make_app()
    with app.connection() as connection:
        receiver = app.events.Receiver(connection)
        started = time.monotonic()

        with pytest.raises(TimeoutError):
            receiver.capture(limit=None, timeout=0.2, wakeup=False)

    assert time.monotonic() - started >= 0.2


def test_a_capture_ends_after_its_limit(make_app):
    app = make_app()
    heard = []
    receiver = app.events.Receiver(app.connection(), handlers={"*": heard.append})
    receiver.listen()
    with make_app().events.default_dispatcher() as dispatcher:
        for _ in range(3):
            dispatcher.send("my-event")

    receiver.capture(limit=2, timeout=20, wakeup=False)

    assert len(heard) == 2


def test_hearing_moves_the_clock_beyond_what_was_heard(make_app):
    app = make_app()
    receiver = app.events.Receiver(app.connection())

    receiver.event_from_message({"type": "worker-heartbeat", "clock": 40})
    _, sent = receiver.event_from_message({"type": "task-sent", "clock": 9000})
    _, bare = receiver.event_from_message({"type": "my-event"})

    assert app.clock.value > 40
    assert sent["clock"] == 40
    assert bare["clock"] > 40


def test_times_are_told_in_our_zone(make_app, monkeypatch):
    app = make_app()
    receiver = app.events.Receiver(app.connection())
    body = {"type": "my-event", "clock": 1, "utcoffset": 2, "timestamp": 10_000.0}

    _, event = receiver.event_from_message(dict(body))
    _, as_sent = receiver.event_from_message(dict(body), localize=False)

    assert event["timestamp"] == 10_000.0 - (2 - _here()) * 3600
    assert as_sent["timestamp"] == 10_000.0


def _here():
    from umbel.events.emitter import utcoffset

    return utcoffset()


def test_what_can_not_be_read_is_passed_over(make_app, listen, caplog):
    from umbel.ports.bus import Notice

    monitor = listen(make_app())
    app = make_app()
    app.connection().bus.say([Notice("celeryev", "my.event", b"nonsense")])

    with app.events.default_dispatcher() as dispatcher:
        dispatcher.send("my-event")

    assert [event["type"] for event in monitor.wait_for(1)] == ["my-event"]
    assert "can't be read" in caplog.text


def test_sent_tasks_are_told_of_where_it_is_asked_for(make_app, listen):
    monitor = listen(make_app())
    app = make_app(task_send_sent_event=True, task_ignore_result=True)

    @app.task(name="tasks.add")
    def add(x, y):
        return x + y

    add.delay(2, y=3)
    add.apply_async((4, 5), queue="other", task_id="the-id", countdown=30)
    app.send_task("nowhere.task")

    first, second, third = monitor.wait_for(3)
    assert first["type"] == "task-sent"
    assert (first["name"], first["args"], first["kwargs"]) == ("tasks.add", "(2,)", "{'y': 3}")
    assert (first["queue"], first["exchange"], first["routing_key"]) == ("celery", "", "celery")
    assert (first["uuid"], first["retries"]) == (first["root_id"], 0)
    assert (second["uuid"], second["queue"]) == ("the-id", "other")
    assert second["eta"] is not None
    assert third["name"] == "nowhere.task"


def test_another_exchange_and_serializer_are_kept_to(make_app, listen):
    settings = {"event_exchange": "our-events", "event_serializer": "yaml"}
    monitor = listen(make_app(**settings))

    with make_app().events.default_dispatcher() as dispatcher:
        dispatcher.send("not-heard")
    with make_app(**settings).events.default_dispatcher() as dispatcher:
        dispatcher.send("my-event", when=1)

    assert [event["type"] for event in monitor.wait_for(1)] == ["my-event"]


def test_a_connection_has_no_channels_and_says_so(make_app, url):
    with make_app().connection() as connection:
        assert connection.connected
        assert connection.as_uri().partition(":")[0] == url.partition(":")[0]
        assert connection.ensure_connection(max_retries=1) is connection
        with pytest.raises(NotBuiltYet, match="channel"):
            connection.channel()


def test_a_connection_may_be_to_another_broker(make_app, listen, tmp_path):
    elsewhere = f"sqlite:///{tmp_path}/other.db"
    app = make_app()
    with app.connection(elsewhere) as connection:
        receiver = app.events.Receiver(connection)
        receiver.listen()
        with app.events.Dispatcher(connection) as dispatcher:
            dispatcher.send("my-event")

        receiver.capture(limit=1, timeout=20, wakeup=False)
