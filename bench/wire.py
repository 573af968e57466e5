"""What a message and a record cost in CPU: the figures that the fast paths of the wire stand on.

python bench/wire.py
"""

from __future__ import annotations

import timeit

from umbel.model.call import Call
from umbel.model.record import Record
from umbel.wire import envelope, json_forms, protocol, records
from umbel.wire.preview import preview

ID, TAG = "5e8a8d26-b650-48c4-a15f-ad78a8b5938e", "2d7aa440-1668-4093-a2a8-6d9b919689e0"
TERMS = protocol.Terms(
    queue="celery",
    routing_key="celery",
    ignore_result=False,
    reply_to="c10b9089-d3f9-381d-9e02-756bec491357",
    origin="gen12345@host.example",
)
TEMPLATE = protocol.Template("shop.tasks.add", TERMS)
CALL = Call("shop.tasks.add", (2, 3), {}, ID)
KEYED = Call("shop.tasks.add", ("order-17",), {"currency": "EUR", "amount": 12}, ID)
RAW = TEMPLATE.compose(CALL, TAG).raw
ACCEPT = frozenset({"application/json"})
RECORD = Record(ID, "SUCCESS", 5, None, [], "2026-11-23T06:31:42.853118+00:00")
MEMBER = RECORD._replace(group_id=TAG)
FAILURE = RECORD._replace(status="FAILURE", result=ValueError("boom", 42), traceback="Traceback\n")
STORED = records.encode_record(RECORD)

CASES = {
    "Template.compose, two numbers": lambda: TEMPLATE.compose(CALL, TAG),
    "Template.compose, text and two keywords": lambda: TEMPLATE.compose(KEYED, TAG),
    "compose, two numbers": lambda: protocol.compose(CALL, TERMS, TAG),
    "preview of two numbers": lambda: preview((2, 3)),
    "read": lambda: protocol.read(RAW, ACCEPT),
    "of which envelope.decode": lambda: envelope.decode(RAW),
    "of which its JSON": lambda: json_forms.loads(RAW),
    "encode_record, a success": lambda: records.encode_record(RECORD),
    "encode_record, a member's success": lambda: records.encode_record(MEMBER),
    "encode_record, a failure": lambda: records.encode_record(FAILURE),
    "encode_part": lambda: records.encode_part(ID, "SUCCESS", 5),
    "decode_record, msgspec": lambda: records.decode_record(STORED),
}


def main() -> None:
    json_forms.read_with_msgspec()
    for name, case in CASES.items():
        best = min(timeit.repeat(case, number=20_000, repeat=7)) / 20_000
        print(f"{name:42} {best * 1e6:6.2f} us")


if __name__ == "__main__":
    main()
