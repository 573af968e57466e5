"""The plain parser gives what hiredis gives, however the bytes are cut."""

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.engines.redis import resp

REPLIES = [
    b"+OK\r\n",
    b"-ERR what\r\n",
    b":12\r\n",
    b":-7\r\n",
    b"$5\r\nhe\r\no\r\n",
    b"$0\r\n\r\n",
    b"$-1\r\n",
    b"_\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*3\r\n:1\r\n$1\r\na\r\n*1\r\n_\r\n",
    b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n+c\r\n",
    b"~2\r\n+a\r\n+b\r\n",
    b",1.5\r\n",
    b"#t\r\n",
    b"(12345678901234567890\r\n",
    b"=7\r\ntxt:abc\r\n",
    b">3\r\n+message\r\n+channel\r\n$2\r\nhi\r\n",
    b"*2\r\n-ERR inside\r\n+OK\r\n",
]


def plain(reply):
    """A reply with errors and pushes made comparable."""
    if isinstance(reply, Exception):
        return ("error", str(reply))
    if isinstance(reply, hiredis.PushNotification | resp.PlainPush):
        return ("push", [plain(one) for one in reply])
    if isinstance(reply, set):
        return sorted(reply)
    if isinstance(reply, list):
        return [plain(one) for one in reply]
    if isinstance(reply, dict):
        return {key: plain(value) for key, value in reply.items()}
    return reply


def read_all(reader, pieces):
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (reply := reader.gets()) is not resp.INCOMPLETE:
            found.append(plain(reply))
    return found


@given(st.lists(st.sampled_from(REPLIES), max_size=6), st.integers(1, 9))
def test_both_readers_give_the_same(replies, size):
    stream = b"".join(replies)
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]

    ours = read_all(resp.PlainReader(), pieces)

    assert ours == read_all(hiredis.Reader(notEnoughData=resp.INCOMPLETE), pieces)
    assert len(ours) == len(replies)


@given(
    st.lists(
        st.one_of(st.binary(), st.text(), st.integers(), st.floats(allow_nan=False)), min_size=1
    )
)
def test_both_packers_give_the_same(command):
    assert resp.plain_pack(command) == hiredis.pack_command(tuple(command))


def test_what_is_no_resp_is_said_so():
    reader = resp.PlainReader()
    reader.feed(b"HTTP/1.1 400 Bad Request\r\n")

    with pytest.raises(resp.ProtocolError, match="is this Redis"):
        reader.gets()
