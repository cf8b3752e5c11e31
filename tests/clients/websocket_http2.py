"""A WebSocket server, and clients of it over HTTP/2 (RFC 8441) through a proxy:
websocket_http2.py SERVER-ADDRESS PROXY-ADDRESS PROXY-PORT HOST [tls].

The server is the one of `websockets`, which speaks HTTP/1.1. The client is `h2` and `wsproto`. Says `done` when every
message came back as it was sent.
"""

import os
import socket
import ssl
import sys
import threading

import h2.config
import h2.connection
import h2.events
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage

SERVER, PROXY, PORT, HOST = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
TLS = sys.argv[5:] == ["tls"]
PATIENCE = 20


def echo(connection):
    """Sends every message back, until one asks for an end of its own."""
    try:
        for message in connection:
            if message == "end":
                connection.close(4321, "as asked")
            connection.send(message)
    except ConnectionClosed:
        pass


class Http2:
    """A connection, and the WebSockets on it by stream."""

    def __init__(self):
        self.socket = socket.create_connection((PROXY, PORT), timeout=PATIENCE)
        if TLS:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket, server_hostname=HOST)
            assert self.socket.selected_alpn_protocol() == "h2"
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        self.status, self.fields, self.sockets, self.ended = {}, {}, {}, set()
        self.settled = False
        self.flush()
        while not self.settled:
            self.read()

    def flush(self):
        self.socket.sendall(self.http.data_to_send())

    def read(self):
        """Takes in what comes next; room for it is given back at once."""
        received = self.socket.recv(65536)
        assert received, "the connection ended"
        for event in self.http.receive_data(received):
            match event:
                case h2.events.RemoteSettingsChanged():
                    setting = event.changed_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)
                    assert setting and setting.new_value == 1, "no CONNECT for other protocols"
                    self.settled = True
                case h2.events.ResponseReceived():
                    fields = dict(event.headers)
                    self.status[event.stream_id] = fields[":status"]
                    self.fields[event.stream_id] = fields
                case h2.events.DataReceived():
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    # The end of a stream may come with none.
                    if event.data:
                        self.sockets[event.stream_id].receive_data(event.data)
                case h2.events.StreamEnded() | h2.events.StreamReset():
                    self.ended.add(event.stream_id)
                case h2.events.ConnectionTerminated():
                    raise AssertionError(f"GOAWAY {event.error_code}")
        self.flush()

    def open(self, path="/chat"):
        """A WebSocket on a stream of its own."""
        stream = self.http.get_next_available_stream_id()
        self.http.send_headers(
            stream,
            [
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "https" if TLS else "http"),
                (":authority", HOST),
                (":path", path),
                ("sec-websocket-version", "13"),
                ("sec-websocket-protocol", "other, chat"),
            ],
        )
        self.flush()
        self.sockets[stream] = Connection(ConnectionType.CLIENT)
        while stream not in self.status:
            self.read()
        assert self.status[stream] == "200", self.status[stream]
        assert self.fields[stream]["sec-websocket-protocol"] == "chat", self.fields[stream]
        return stream

    def send(self, stream, event):
        left = memoryview(self.sockets[stream].send(event))
        while left:
            room = min(self.http.local_flow_control_window(stream), self.http.max_outbound_frame_size)
            if not room:
                self.read()
                continue
            self.http.send_data(stream, bytes(left[:room]))
            self.flush()
            left = left[room:]

    def next(self, stream):
        """The next message, put together, or another event."""
        pieces = []
        while True:
            for event in self.sockets[stream].events():
                if not isinstance(event, Message):
                    return event
                pieces.append(event.data)
                if event.message_finished:
                    return ("" if isinstance(event, TextMessage) else b"").join(pieces)
            assert stream not in self.ended, "the stream ended"
            self.read()


def messages():
    client = Http2()
    stream = client.open("/chat?x=y")
    for length in [0, 1, 125, 126, 65535, 65536, 1_000_000]:
        for message, event in [("é" * (length // 2), TextMessage), (os.urandom(length), BytesMessage)]:
            client.send(stream, event(data=message))
            assert client.next(stream) == message, f"{length} bytes"
    client.send(stream, Ping(b"are you there"))
    assert isinstance(client.next(stream), Pong)


def side_by_side():
    client = Http2()
    streams = [client.open() for _ in range(20)]
    for round in range(10):
        for stream in streams:
            client.send(stream, TextMessage(data=f"{stream} {round}"))
        for stream in reversed(streams):
            assert client.next(stream) == f"{stream} {round}"


def closing():
    client = Http2()
    stream, other = client.open(), client.open()
    client.send(stream, TextMessage(data="end"))
    closed = client.next(stream)
    assert isinstance(closed, CloseConnection) and (closed.code, closed.reason) == (4321, "as asked"), closed
    client.send(stream, closed.response())
    while stream not in client.ended:
        client.read()
    # The others go on.
    client.send(other, TextMessage(data="still"))
    assert client.next(other) == "still"


with serve(echo, SERVER, 80, subprotocols=["chat"], max_size=None) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for test in (messages, side_by_side, closing):
        test()
        print(test.__name__, flush=True)
    server.shutdown()
print("done", flush=True)
os._exit(0)
