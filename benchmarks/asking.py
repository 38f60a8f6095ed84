"""Clients of the edge's benchmark: asks on some connections at once, over and over, and checks what comes back.

    python -m benchmarks.asking PORT CONVERSATION_ID TIMES

Says `ready` when connected, begins with a line on stdin, says how often it asked.
"""

from __future__ import annotations

import socket
import sys

CONNECTIONS = 8
QUESTION = b"How much protein is there in a cup of cooked lentils, and is that enough for lunch?"


def _request(conversation_id: str) -> bytes:
    body = b'{"text":"%b"}' % QUESTION
    return (
        f"POST /v1/conversations/{conversation_id}/turns HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


def _ask(sockets: list[socket.socket], request: bytes, rounds: int) -> None:
    for _ in range(rounds):
        for one in sockets:
            one.sendall(request)
        for one in sockets:
            _check(one)


def _check(one: socket.socket) -> None:
    answer = b""
    while not answer.endswith(b"}"):
        piece = one.recv(65536)
        if not piece:
            break
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200") or b'"status":"completed"' not in answer:
        raise SystemExit(f"the edge answered {answer[:200]!r}")


def main(port: int, conversation_id: str, times: int) -> None:
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(CONNECTIONS)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    rounds = max(1, times // CONNECTIONS)
    _ask(sockets, _request(conversation_id), rounds)
    sys.stdout.write(f"{rounds * CONNECTIONS}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
