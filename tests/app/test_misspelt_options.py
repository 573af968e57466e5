"""An option that looks misspelt is named, with what was probably meant; one's own are kept."""

from __future__ import annotations

import pytest

from umbel import Celery


@pytest.fixture
def shop() -> Celery:
    app = Celery("shop", broker="memory://", backend="memory://")
    app.task(name="shop.work")(lambda: None)
    return app


def test_an_argument_of_the_app() -> None:
    with pytest.raises(TypeError, match="no option 'brokr'; did you mean 'broker'"):
        Celery("shop", brokr="redis://localhost")

    own = Celery("shop", broker_url="memory://", warehouse="north")

    assert own.conf.broker_url == "memory://"
    assert own.conf.warehouse == "north"


@pytest.mark.parametrize(
    ("said", "meant"), [("igonre_result", "ignore_result"), ("max_retry", "max_retries")]
)
def test_an_option_of_a_task(shop: Celery, said: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"no option '{said}'; did you mean '{meant}'"):
        shop.task(**{"name": "shop.other", said: True})(lambda: None).name  # noqa: B018

    own = shop.task(name="shop.own", warehouse="north", pydantic=False)(lambda: None)

    assert own.warehouse == "north"


def test_an_option_of_the_tasks_base_is_known(shop: Celery) -> None:
    class Metered(shop.Task):  # type: ignore[misc,name-defined]  # a base made by the app
        abstract = True
        rate_limits = ()

    task = shop.task(name="shop.metered", base=Metered, rate_limits=(1, 2))(lambda: None)

    assert task.rate_limits == (1, 2)


def test_a_word_of_a_retry_policy(shop: Celery) -> None:
    with pytest.raises(TypeError, match="no option 'max_retry'; did you mean 'max_retries'"):
        shop.tasks["shop.work"].apply_async(retry_policy={"max_retry": 3})


@pytest.mark.parametrize("option", ["time_limit", "soft_time_limit"])
def test_a_limit_that_is_no_number_is_refused_where_the_call_is_made(
    shop: Celery, option: str
) -> None:
    with pytest.raises(TypeError, match=f"{option}='soon' is no number of seconds"):
        shop.tasks["shop.work"].apply_async(**{option: "soon"})
