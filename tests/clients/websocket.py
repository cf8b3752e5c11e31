"""A WebSocket server, and clients of it through a proxy: websocket.py SERVER-ADDRESS PROXY-ADDRESS PROXY-PORT HOST.

Says `done` when every message came back as it was sent.
"""

import asyncio
import os
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

SERVER, PROXY, PORT, HOST = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]


async def echo(socket):
    """Sends every message back, until one asks for an end of its own."""
    async for message in socket:
        if message == "end":
            await socket.close(4321, "as asked")
        await socket.send(message)


def client(**options):
    return connect(f"ws://{HOST}:{PORT}/chat?x=y", host=PROXY, port=PORT, max_size=None, **options)


async def messages():
    async with client(subprotocols=["other", "chat"]) as socket:
        assert socket.subprotocol == "chat", socket.subprotocol
        assert socket.protocol.extensions, "compression was not agreed on"
        for length in [0, 1, 125, 126, 65535, 65536, 3_000_000]:
            for message in ["é" * (length // 2), os.urandom(length)]:
                await socket.send(message)
                assert await socket.recv() == message, f"{length} bytes"
        await (await socket.ping(b"are you there"))
        # In pieces, which nothing may put together or hold back.
        await socket.send(["one ", "two ", "three"])
        assert await socket.recv() == "one two three"


async def uncompressed():
    async with client(compression=None, subprotocols=["chat"]) as socket:
        message = os.urandom(1_000_000)
        await socket.send(message)
        assert await socket.recv() == message


async def closing():
    async with client(subprotocols=["chat"]) as socket:
        await socket.send("end")
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4321, "as asked"), closed
        else:
            raise AssertionError("it was not closed")


async def many():
    async def one(number):
        async with client(subprotocols=["chat"]) as socket:
            for round in range(10):
                await socket.send(f"{number} {round}")
                assert await socket.recv() == f"{number} {round}"

    await asyncio.gather(*(one(number) for number in range(50)))


async def main():
    async with serve(echo, SERVER, 80, subprotocols=["chat"], max_size=None):
        async with asyncio.timeout(60):
            for test in (messages, uncompressed, closing, many):
                await test()
                print(test.__name__, flush=True)
    print("done", flush=True)


asyncio.run(main())
