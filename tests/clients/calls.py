"""A gRPC server, and calls of it through a proxy: calls.py SERVER-ADDRESS PROXY-ADDRESS PROXY-PORT HOST.

Says `done` when every call came to the outcome that it must have.
"""

import sys
import threading
import time
from concurrent import futures

import grpc

SERVER, PROXY, PORT, HOST = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4]

cancelled = threading.Event()


def once(request, context):
    """Says it again, with what the caller said of itself."""
    said = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-head", "first"),))
    context.set_trailing_metadata((("x-trailer", said.get("x-ask", "")), ("x-raw-bin", b"\0\xff\r\n")))
    return request


def fail(request, context):
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "nö: 100 %")


def slow(request, context):
    context.add_callback(cancelled.set)
    cancelled.wait(20)
    return request


def count(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def half(request, context):
    yield b"one"
    context.abort(grpc.StatusCode.DATA_LOSS, "no more")


def gather(requests, context):
    return b",".join(requests)


def echo(requests, context):
    yield from requests


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler("test.Calls", {
            "Once": grpc.unary_unary_rpc_method_handler(once),
            "Fail": grpc.unary_unary_rpc_method_handler(fail),
            "Slow": grpc.unary_unary_rpc_method_handler(slow),
            "Count": grpc.unary_stream_rpc_method_handler(count),
            "Half": grpc.unary_stream_rpc_method_handler(half),
            "Gather": grpc.stream_unary_rpc_method_handler(gather),
            "Echo": grpc.stream_stream_rpc_method_handler(echo),
        }),
    ))
    assert server.add_insecure_port(f"{SERVER}:80"), "the port is free"
    server.start()
    return server


def outcome(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def unary(channel):
    ask = channel.unary_unary("/test.Calls/Once")
    for length in [0, 1, 16_384, 100_000, 3_000_000]:
        message = bytes(length)
        answer, call = ask.with_call(message, metadata=(("x-ask", "ü".encode().hex()),))
        assert answer == message, f"{length} bytes"
        assert ("x-head", "first") in tuple(map(tuple, call.initial_metadata()))
        trailers = dict(call.trailing_metadata())
        assert trailers["x-trailer"] == "c3bc" and trailers["x-raw-bin"] == b"\0\xff\r\n", trailers
    asked = [ask.future(b"%d" % number) for number in range(300)]
    assert [one.result() for one in asked] == [b"%d" % number for number in range(300)]


def errors(channel):
    found = outcome(lambda: channel.unary_unary("/test.Calls/Fail")(b""))
    assert found == (grpc.StatusCode.PERMISSION_DENIED, "nö: 100 %"), found
    code, _ = outcome(lambda: channel.unary_unary("/test.Calls/None")(b""))
    assert code == grpc.StatusCode.UNIMPLEMENTED, code
    answers = channel.unary_stream("/test.Calls/Half")(b"")
    assert next(answers) == b"one"
    found = outcome(lambda: next(answers))
    assert found == (grpc.StatusCode.DATA_LOSS, "no more"), found


def streams(channel):
    assert [int(number) for number in channel.unary_stream("/test.Calls/Count")(b"1000")] == list(range(1000))
    pieces = [b"x" * 1000 for _ in range(1000)]
    assert channel.stream_unary("/test.Calls/Gather")(iter(pieces)) == b",".join(pieces)
    # Each message is answered before the next is sent: nothing may hold one back.
    turn = threading.Semaphore(1)

    def in_turn():
        for number in range(100):
            assert turn.acquire(timeout=20)
            yield b"%d" % number

    heard = 0
    for answer in channel.stream_stream("/test.Calls/Echo")(in_turn()):
        assert answer == b"%d" % heard
        heard += 1
        turn.release()
    assert heard == 100


def deadline(channel):
    cancelled.clear()
    begun = time.monotonic()
    code, _ = outcome(lambda: channel.unary_unary("/test.Calls/Slow")(b"", timeout=0.5))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED, code
    assert time.monotonic() - begun < 10
    assert cancelled.wait(20), "the server was not told"


def cancellation(channel):
    cancelled.clear()
    call = channel.unary_unary("/test.Calls/Slow").future(b"")
    answers = channel.stream_stream("/test.Calls/Echo")(iter([b"one"]))
    assert next(answers) == b"one"
    call.cancel()
    assert cancelled.wait(20), "the server was not told"
    # The connection goes on.
    assert channel.unary_unary("/test.Calls/Once")(b"still") == b"still"


server = serve()
options = [("grpc.default_authority", HOST), ("grpc.max_receive_message_length", -1)]
with grpc.insecure_channel(f"{PROXY}:{PORT}", options=options) as channel:
    for part in [unary, errors, streams, deadline, cancellation]:
        part(channel)
        print(part.__name__, flush=True)
    server.stop(None)
print("done")
