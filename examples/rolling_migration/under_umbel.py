"""Run a program of Celery's world on umbel, although the real Celery is installed beside it.

    python under_umbel.py producer.py ARGUMENTS
    python under_umbel.py -m celery ARGUMENTS

Where a team moves for real, an environment with ``umbel-as-celery`` and without Celery does this,
and nobody types anything new. Here one environment has to play both.
"""

from __future__ import annotations

import runpy
import sys

import umbel

if __name__ == "__main__":
    umbel.install_as_celery()
    del sys.argv[0]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
