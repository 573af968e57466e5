"""The floor: the least that a crash-safe queue on Redis does, in Python, with nothing around it.

    python bench/others/with_bare.py        the worker: two children

Messages are Celery's envelope. A child claims up to 64 into a list of its own by Lua, runs them,
and settles the batch (results stored and announced, the list emptied) in the same call that claims
the next; idle it waits by BLMOVE into that list. So nothing is lost with a child, which is all that
it shares with a task queue: no leases, retries, limits, signals or logs.
"""

import os
import signal
import socket
import uuid
from urllib.parse import urlsplit

import hiredis
import msgspec

URL = urlsplit(os.environ["BENCH_BROKER"])
IS_KEPT = os.environ["BENCH_RESULTS"] == "yes"
BATCH = 64
CYCLE = b"""
local mine, n = KEYS[2], tonumber(ARGV[1])
for i = 2, #ARGV, 2 do
  redis.call('SET', 'bare:' .. ARGV[i], ARGV[i + 1], 'EX', 86400)
  redis.call('PUBLISH', 'bare:' .. ARGV[i], ARGV[i + 1])
end
redis.call('DEL', mine)
local raws = redis.call('RPOP', KEYS[1], n)
if raws then redis.call('LPUSH', mine, unpack(raws)) end
return raws or {}
"""
HEAD = (
    b'{"body":"W1tdLCB7fSwgeyJjYWxsYmFja3MiOm51bGwsImVycmJhY2tzIjpudWxsLCJjaGFpbiI6bnVsbCwiY2hvcmQi'
    b'Om51bGx9XQ==","content-encoding":"utf-8","content-type":"application/json","headers":{"lang":'
    b'"py","task":"noop","shadow":null,"eta":null,"expires":null,"group":null,"group_index":null,'
    b'"retries":0,"timelimit":[null,null],"parent_id":null,"argsrepr":"()","kwargsrepr":"{}","origin"'
    b':"gen1@bench","ignore_result":false,"replaced_task_nesting":0,"stamped_headers":null,"stamps":'
    b'{},"args":'
)
TAIL = (
    b',"properties":{"correlation_id":"%s","reply_to":"c10b9089-d3f9-381d-9e02-756bec491357",'
    b'"delivery_mode":2,"delivery_info":{"exchange":"","routing_key":"celery"},"priority":0,'
    b'"body_encoding":"base64","delivery_tag":"%s"}}'
)


class Headers(msgspec.Struct):
    id: str
    args: list[int]


class Envelope(msgspec.Struct):
    headers: Headers


def message(x: int = 0, y: int = 0) -> tuple[bytes, bytes]:
    """A new id, and the envelope."""
    name = str(uuid.UUID(bytes=os.urandom(16), version=4)).encode()
    return name, HEAD + b'[%d,%d],"id":"%s"}' % (x, y, name) + TAIL % (name, name)


class Line:
    """One connection: a socket and hiredis."""

    def __init__(self) -> None:
        self.socket = socket.create_connection((URL.hostname, URL.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = hiredis.Reader()

    def ask(self, *commands: tuple) -> list:
        """Send commands in one write; their answers, what was announced among them left out."""
        self.socket.sendall(b"".join(map(hiredis.pack_command, commands)))
        answers = []
        while len(answers) < len(commands):
            answer = self.next()
            if not isinstance(answer, hiredis.PushNotification):
                answers.append(answer)
        return answers

    def next(self):
        answer = self.reader.gets()
        while answer is False:
            self.reader.feed(self.socket.recv(65536))
            answer = self.reader.gets()
        if isinstance(answer, hiredis.ReplyError):
            raise answer
        return answer


def serve(number: int) -> None:
    """A child."""
    line, decode = Line(), msgspec.json.Decoder(Envelope).decode
    script = line.ask((b"SCRIPT", b"LOAD", CYCLE))[0]
    mine = b"bare:mine:%d" % number
    done: list = []
    while True:
        (raws,) = line.ask((b"EVALSHA", script, b"2", b"bare", mine, b"%d" % BATCH, *done))
        if not raws:
            (raw,) = line.ask((b"BLMOVE", b"bare", mine, b"RIGHT", b"LEFT", b"5"))
            raws = [raw] if raw else []
        done = []
        for raw in raws:
            headers = decode(raw).headers
            value = headers.args[0] + headers.args[1]
            if IS_KEPT:
                done += (headers.id, b'{"status":"SUCCESS","result":%d}' % value)


class Side:
    async def open(self):
        self.line = Line()
        self.line.ask((b"HELLO", b"3"))

    async def queue(self, number):
        for first in range(0, number, 500):
            raws = [message()[1] for _ in range(min(500, number - first))]
            self.line.ask((b"LPUSH", b"bare", *raws))

    async def send(self):
        self.line.ask((b"LPUSH", b"bare", message()[1]))

    async def call(self, x, y):
        name, raw = message(x, y)
        channel, line = b"bare:" + name, self.line
        line.socket.sendall(
            hiredis.pack_command((b"SUBSCRIBE", channel))
            + hiredis.pack_command((b"LPUSH", b"bare", raw))
        )
        announced = line.next()
        while not isinstance(announced, hiredis.PushNotification) or announced[0] != b"message":
            announced = line.next()
        line.socket.sendall(hiredis.pack_command((b"UNSUBSCRIBE", channel)))
        return msgspec.json.decode(announced[2])["result"]

    async def group(self, number):
        line, numbers = self.line, {}
        line.socket.sendall(hiredis.pack_command((b"PSUBSCRIBE", b"bare:*")))
        for first in range(0, number, 500):
            sent = [(i, *message(i, i)) for i in range(first, min(number, first + 500))]
            numbers |= {b"bare:" + name: i for i, name, _ in sent}
            raws = [raw for _, _, raw in sent]
            line.socket.sendall(hiredis.pack_command((b"LPUSH", b"bare", *raws)))
        values = {}
        while len(values) < number:
            heard = line.next()
            if isinstance(heard, hiredis.PushNotification) and heard[0] == b"pmessage":
                values[numbers[heard[2]]] = msgspec.json.decode(heard[3])["result"]
        return [values[i] for i in range(number)]


def main() -> None:
    """Two children; ends with SIGTERM."""
    children = []
    for number in range(2):
        pid = os.fork()
        if pid == 0:
            serve(number)
        children.append(pid)

    def end(*_):
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.pause()


if __name__ == "__main__":
    main()
