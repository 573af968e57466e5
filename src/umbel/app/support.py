"""What umbel makes of something that Celery documents: a setting, an option, an attribute.

The words of every table that ``docs/moving-from-celery.md`` shows. What is said of a name in a
table is seen by a test of that name.
"""

from __future__ import annotations

WORKS = "works"  # as Celery documents it
DIFFERS = "differs"  # has an effect, but not quite Celery's: the note says which
ACCEPTED = (
    "accepted"  # tunes what umbel does not have; who sets it is told so, where there is a log
)
LATER = "later"  # belongs to a part that is not built yet, and is refused where it is used
REFUSED = "refused"  # belongs to something that umbel does not have, and is refused or named
