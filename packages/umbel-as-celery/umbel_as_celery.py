"""Makes ``import celery`` mean umbel, from the start of the interpreter, and is the celery command.

A .pth file calls ``register`` in every Python that starts in this environment, so this module
imports nothing but ``sys`` until somebody imports celery. Where the real Celery is installed it
comes first: the finder then answers for nothing.
"""

import sys

ROOTS = ("celery", "kombu", "billiard")


class Doorkeeper:
    """Waits for the first import of a name in ``ROOTS``, and decides then whose it is."""

    decided = False

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if cls.decided or name.partition(".")[0] not in ROOTS:
            return None
        cls.decided = True
        free = [root for root in ROOTS if not is_installed(root)]
        if "celery" not in free:
            return None
        from umbel.compat import install_as_celery

        install_as_celery(roots=free)
        # umbel's finder stands before this one, so this search has passed it by already.
        return sys.meta_path[0].find_spec(name, path, target)


def is_installed(root):
    """Whether a real package of this name can be imported; a mere directory is none."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec(root)
    return spec is not None and spec.origin is not None


def register():
    """Wait for imports of celery. Called by the .pth file; twice is harmless."""
    if Doorkeeper not in sys.meta_path:
        sys.meta_path.insert(0, Doorkeeper)


def main():
    """The ``celery`` command."""
    if is_installed("celery"):
        print(
            "umbel-as-celery: the real Celery is installed here and runs this command;"
            " umbel's own command is `umbel`",
            file=sys.stderr,
        )
        from celery.__main__ import main as celery_main

        sys.exit(celery_main())
    from umbel.cli.main import main as umbel_main

    register()
    umbel_main(program="celery")
