"""A producer loads no more than it needs; msgspec comes with a worker's first message."""

from __future__ import annotations

import subprocess
import sys

import pytest

ROOMS = "protocol, records, serializers, envelope, errors, preview, compression, json_forms"
HEAVY = "msgspec yaml msgpack pickle uuid decimal inspect dataclasses asyncio lzma bz2 zlib"


def loaded_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{program}"],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def producer() -> set[str]:
    return loaded_after(
        f"from umbel.wire import {ROOMS}\n"
        "from umbel.model.call import Call\n"
        "from umbel.model.record import Record\n"
        "terms = protocol.Terms(queue='q', routing_key='q')\n"
        "protocol.Template('t', terms).compose(Call('t', (1, 'a'), {}, 'i'), 'tag')\n"
        "protocol.compose(Call('t', (1, 'a'), {}, 'i'), terms, 'tag')\n"
        "data = records.encode_record(Record('i', 'SUCCESS', 1, children=[]))\n"
        "records.decode_record(data)\n"
    )


@pytest.mark.parametrize("name", HEAVY.split())
def test_a_producer_does_not_load(name: str, producer: set[str]) -> None:
    assert name not in producer


def test_a_worker_reads_with_msgspec() -> None:
    loaded = loaded_after(
        "from umbel.wire import protocol\n"
        "from umbel.model.call import Call\n"
        "terms = protocol.Terms(queue='q', routing_key='q')\n"
        "message = protocol.compose(Call('t', (1, 'a'), {}, 'i'), terms, 'tag')\n"
        "protocol.read(message.raw, {'application/json'})\n"
    )

    assert "msgspec" in loaded
