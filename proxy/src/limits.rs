//! Every limit and deadline of the data plane: its name, its unit in the type or the name, and why it is what it is.
//!
//! They start from what the trusted proxies use at the edge: nginx cuts headers at 60 s and idle connections at 75 s,
//! HAProxy's guides say 10 s for headers; 32 KiB and 100 fields are enough for every browser and token seen.

use std::time::Duration;

/// Where there is no limit: longer than anything runs, and short enough to be added to any time.
pub(crate) const UNLIMITED: Duration = Duration::from_secs(u32::MAX as u64);

/// From the first byte of a request head to its end; then 408. A slow *body* is not meant: see [`BODY_IDLE`].
pub const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Health checks that ask at the same time; the others wait for their turn, so that ten thousand endpoints cost no more
/// sockets than this.
pub const CHECKS_AT_ONCE: usize = 256;

/// Requests of a replica until the share of its failures says anything.
pub const OUTLIER_REQUESTS_MIN: u32 = 20;

/// A replica that fails again and again is out for twice as long each time, up to this.
pub const EJECTION_MAX: Duration = Duration::from_secs(300);

/// The shortest interval of a health check, and of its deadline: none asks more often, whatever is written.
pub const CHECK_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// From the first byte of a TLS handshake with a client to its end; then the connection is closed.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a PROXY header with all that it says besides.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 * 1024;

/// How long whoever is trusted to send a PROXY header may take for it. One who has said nothing by then sends none.
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a client's first message by TLS that are read to learn what it asks for. With every extension and the keys of
/// tomorrow, browsers send two thousand.
pub const CLIENT_HELLO_BYTES_MAX: usize = 16 * 1024;

/// From the first bytes of a published connection that look like the beginning of HTTP to the end of that head; then
/// they are passed on as something else. Another protocol may wait for an answer to them.
pub const RECOGNITION_TIMEOUT: Duration = Duration::from_secs(1);

/// A client that still sends though it was answered and will not be listened to: closing at once would reset the
/// connection, and the reset can overtake the answer (RFC 9112 §9.6).
pub const LINGER: Duration = Duration::from_secs(1);

/// A client that was connected when draining began, and whose first request may be on its way.
pub const DRAIN_FIRST_REQUEST: Duration = Duration::from_secs(1);

/// A client connection that waits for its next request, or has not sent its first.
pub const CLIENT_IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// A client connection that has waited this long for its next request keeps hardly any memory. Short, as many wait, and
/// come in rushes; but not so short that one that is in use would be put away and taken out again, for some microseconds
/// each time.
pub const PARK_AFTER: Duration = Duration::from_millis(50);

/// Buffers and parked connections, let go of by one worker, that make a rush. Once it is over, the memory that it took goes
/// back to the kernel.
pub const RUSH: usize = 256;

/// Looks, one a second, at which a rush may go on before memory goes back in its midst.
pub const RUSH_TICKS_MAX: u32 = 10;

/// Establishing a connection to an endpoint; then the next endpoint is tried, and 504 when none is left.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The same where another endpoint may be had instead: then that one is tried. A machine that is there answers within a round
/// trip; what is tried for longer was lost on the way, or nobody is there.
pub const CONNECT_PATIENCE: Duration = Duration::from_millis(500);

/// A request of which the endpoint's machine has not acknowledged every byte by then, though the kernel sent it again: where
/// doing it twice is as good as once, it goes to another endpoint.
pub const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(1);

/// How long others are preferred to an endpoint that could not be reached; then one request finds out whether it can.
pub const UNREACHED_PAUSE: Duration = Duration::from_secs(2);

/// From the last byte of the request that moved to the head of the answer; then 504. Generous, for those who poll
/// long.
pub const RESPONSE_HEAD_TIMEOUT: Duration = Duration::from_secs(300);

/// From when an answer is waited for until its client is watched: one that breaks its connection off is not waited for.
/// Most answers come sooner, and watching costs.
pub const CLIENT_WATCHED_AFTER: Duration = Duration::from_secs(1);

/// A body, either way, of which not one byte moves. One that trickles is never cut off.
pub const BODY_IDLE: Duration = Duration::from_secs(60);

/// A connection to an endpoint that waits in the pool. Below the 75 s (nginx) and 60 s (Apache, Node's load balancer
/// guides) after which servers close them, so that it is we who close.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// An HTTP/2 connection to an endpoint whose PING is not answered, where a serversTransport asks for PINGs.
pub const PONG_TIMEOUT: Duration = Duration::from_secs(15);

/// Waiting connections for each endpoint, for each worker.
pub const POOL_PER_TARGET_MAX: usize = 256;

/// Bytes of a message head, request line included; then 431 (requests) or 502 (answers).
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a request line; then 414. RFC 9112 §3 asks for 8,000 at least.
pub const REQUEST_LINE_BYTES_MAX: usize = 16 * 1024;

/// Fields of a message head; then 431 or 502.
pub const HEAD_FIELDS_MAX: usize = 100;

/// Bytes of one chunk-size line with its extensions, and of the whole trailer section.
pub const CHUNK_LINE_BYTES_MAX: usize = 512;

/// Bytes of a trailer section.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Fields of a trailer section, where one side speaks HTTP/2.
pub const TRAILER_FIELDS_MAX: usize = 32;

/// Bytes read at a time.
pub const BUFFER_BYTES: usize = 16 * 1024;

/// Buffers that a worker keeps for later.
pub const BUFFERS_KEPT: usize = 256;

/// Places to serve a request in that a worker keeps for later; each takes some KiB.
pub const SEATS_KEPT: usize = 256;

/// Bytes read at a time of a body, once a read has filled a whole buffer: fewer, larger reads cost less.
pub const BULK_BYTES: usize = 64 * 1024;

/// Such buffers that a worker keeps for later.
pub const BULK_KEPT: usize = 64;

/// Room in a pipe through which the kernel moves much of a body. Systems give a process without privileges sixteen
/// thousand pages of pipes in all (`fs.pipe-user-pages-soft`).
pub const PIPE_BYTES: usize = 256 * 1024;

/// Such pipes in use, for each worker; beyond, bytes are copied.
pub const PIPES_MAX: usize = 64;

/// What has to be left of a body for a pipe to be worth it.
pub const SPLICE_BYTES_MIN: u64 = 64 * 1024;

/// Bytes of one body that are gathered before they are passed on, where a middleware asks for it; what is longer is passed
/// on as it comes. Larger bodies would be kept on disk elsewhere, which a worker must not wait for.
pub const GATHERED_BYTES_MAX: u64 = 8192 * 1024;

/// Bytes of an altered answer that are sent in one piece, where as many are at hand.
pub const ALTERED_BYTES: usize = 16 * 1024;

/// An altered answer that nothing more comes of for so long: what there is of it is let out, though it would be smaller
/// together with what follows. As long as Traefik waits to flush.
pub const ALTERED_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of an answer that nobody is to see which are read off, so that its connection can be used again; one that is
/// longer costs its connection.
pub const WITHHELD_BYTES_MAX: u64 = 64 * 1024;

/// How long that may take.
pub const WITHHELD_TIME: Duration = Duration::from_millis(100);

/// Answers that each worker compresses at a time; further ones are sent as they are. One takes up to a mebibyte.
pub const ENCODERS_MAX: usize = 512;

/// Copies of requests (`mirroring`) that are on their way at a time, for each worker; further ones are not sent.
pub const MIRRORS_MAX: usize = 256;

/// How long a copy and its answer may take; then its connection is closed.
pub const MIRROR_TIME: Duration = Duration::from_secs(60);

/// Endpoints tried for one request or connection.
pub const ATTEMPTS_MAX: usize = 4;

/// A request that waits for a place at its service looks for one at least that often: endpoints may have come meanwhile.
pub const PENDING_RECHECK: Duration = Duration::from_millis(250);

/// What a client is told that was turned away because there was no place (`Retry-After`, RFC 9110 §10.2.3).
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Requests of an upstream that may be sent again, of a hundred: enough for a replica that stops, too few to bury those
/// that are left.
pub const RETRY_BUDGET_PERCENT: usize = 20;

/// Those that may be in any case, within [`RETRY_BUDGET_WINDOW`].
pub const RETRY_BUDGET_FLOOR: usize = 100;

/// How long requests count for the budget of those that are sent again.
pub const RETRY_BUDGET_WINDOW: Duration = Duration::from_secs(10);

/// Passwords that wait to be checked, of all middlewares together; then requests with further ones are answered 503.
/// Those that were right once are known again without a check.
pub const PASSWORDS_WAITING_MAX: usize = 64;

/// A password that waits to be checked; then 503.
pub const PASSWORD_TIMEOUT: Duration = Duration::from_secs(10);

/// A challenge of `digestAuth`; then the client is given a new one, and need not ask its user again.
pub const DIGEST_CHALLENGE_LIFE: Duration = Duration::from_secs(300);

/// The whole of a question to an authentication server (`forwardAuth`) and its answer; then 500.
pub const AUTH_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of its answer's body where `maxResponseBodySize` says nothing; then 401.
pub const AUTH_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Connections to authentication servers that wait for the next question, for each worker.
pub const AUTH_IDLE_MAX: usize = 64;

/// How often the name of an authentication server is looked up.
pub const NAME_LOOKUP_EVERY: Duration = Duration::from_secs(10);

/// How often it is looked whether a name was found that is looked up for the first time.
pub const NAME_POLL: Duration = Duration::from_millis(20);

/// Bytes that the kernel may have taken of one side of a pair it carries, and the other side's socket not yet (sockmap). What
/// exceeds it goes through user space.
pub const SOCKMAP_AHEAD: u64 = 256 * 1024;

/// Pairs of connections that the kernel carries, for each worker. Further ones go through user space.
pub const SOCKMAP_PAIRS_MAX: u32 = 16_384;

/// A tunnel (WebSocket and other upgrades) through which nothing moves either way, as long-lived kernels need it.
pub const TUNNEL_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// A TCP connection through which nothing moves, to a client or to an endpoint, until the kernel asks whether the other side
/// is there, and then between two such questions; the connection is broken off after as many without an answer as the
/// system has (`net.ipv4.tcp_keepalive_probes`, nine). Where nothing ends an idle connection, this ends a dead one, and
/// it keeps those alive that firewalls forget after some minutes.
pub const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A UDP session through which nothing moves either way.
pub const UDP_SESSION_IDLE: Duration = Duration::from_secs(30);

/// UDP sessions for each port or entry point, for each worker; the one idle longest gives way. Each has a socket, which
/// systems give some twenty-eight thousand of (`net.ipv4.ip_local_port_range`).
pub const UDP_SESSIONS_MAX: usize = 16_384;

/// For answers that are on their way when a UDP client is given another endpoint.
pub const UDP_LINGER: Duration = Duration::from_secs(1);

/// Bytes of datagrams that wait for a worker, for each socket; as far as the system allows it (`net.core.rmem_max`).
pub const UDP_QUEUE_BYTES: usize = 4096 * 1024;

/// Lines of the access log that wait in a worker, however few they are.
pub const LINES_WAIT: Duration = Duration::from_millis(100);

/// Connections that wait to be accepted, for each socket.
pub const ACCEPT_QUEUE: i32 = 1024;

/// Wait after accepting failed for want of file descriptors or memory.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Streams of one HTTP/2 connection at a time; then further ones are refused (RFC 9113 §5.1.2).
pub const HTTP2_STREAMS_MAX: u32 = 100;

/// Bytes of one request's body that a client may send ahead of what was passed on.
pub const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;

/// The same for all requests of a connection.
pub const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Bytes read of an answer at a time while its client's connection lets another one wait.
pub const HTTP2_TIGHT_READ_BYTES: usize = 4 * 1024;

/// Bytes that the requests of a connection may hold: heads, and what was read of answers and not taken by the client. Then
/// further requests are refused. What 100 requests come to that each have the largest head, and wait with an answer.
pub const HTTP2_CONNECTION_BYTES_MAX: usize = 4096 * 1024;

/// Bytes of one answer that wait in a connection for the client's socket.
pub const HTTP2_SEND_BUFFER: usize = 32 * 1024;

/// Streams of one HTTP/2 connection to an endpoint at a time, where it takes more; then there is one more connection. What
/// one connection may hold of answers that clients are slow to take follows from it.
pub const HTTP2_ENDPOINT_STREAMS_MAX: usize = 100;

/// What a client may spend on frames that move no request on, at a price of 1 each and 10 for an empty one; then the
/// connection is closed. Envoy lets 1,000 wait.
pub const HTTP2_CONTROL_BUDGET: u32 = 1000;

/// What of it comes back with each second: a client that sends a PING now and then may do so for ever.
pub const HTTP2_CONTROL_REFUND: u32 = 10;

/// Requests that a client may have taken back before they were answered, where it let that many be answered before;
/// then the connection is closed.
pub const HTTP2_CREDIT_MAX: u32 = 100;

/// A client that waited so long for an answer gave up in earnest: that costs it no credit.
pub const HTTP2_PATIENCE: Duration = Duration::from_secs(1);

/// A request whose body was announced and has not begun, beyond what the connection has credit for; then it is sent on
/// without: its client may wait for the endpoint to speak first.
pub const HTTP2_BODY_BEGIN: Duration = Duration::from_secs(5);

/// Streams that the stack was made to reset by frames out of order, or refused; then the connection is closed. As many
/// as a client may have opened before it knew how many it may.
pub const HTTP2_ERROR_RESETS_MAX: usize = 100;

/// Bytes that are read and dropped of a client that was told to go.
pub const HTTP2_LINGER_BYTES: usize = 1024 * 1024;
