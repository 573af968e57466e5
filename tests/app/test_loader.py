"""``app.loader``: what libraries ask of Celery's loader."""

from __future__ import annotations

import sys

from umbel import Celery


def test_the_loader_imports_what_a_worker_would(tmp_path, monkeypatch):
    (tmp_path / "loaded_tasks.py").write_text("WAS_LOADED = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    app = Celery("loading", set_as_current=False, include=["loaded_tasks"])

    app.loader.import_default_modules()

    assert sys.modules.pop("loaded_tasks").WAS_LOADED
    assert app.loader.app is app
    assert app.loader.conf is app.conf


def test_fixups_are_called_with_the_app():
    seen = []

    app = Celery("fixed", set_as_current=False, fixups=[seen.append])

    assert seen == [app]
