//! Why Portolan answered or closed itself, instead of an endpoint.

use std::fmt;

use crate::limits::RETRY_AFTER;

/// Every refusal and failure of the data plane. It gives the status, the metric's label and the log's word; the name
/// says whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// The client sent what can't be read in exactly one way.
    BadRequest,
    /// The client did not finish the head of its request in time.
    HeadTimeout,
    /// The client's head is larger than the limit.
    HeadTooLarge,
    /// The client's request line is longer than the limit.
    LineTooLong,
    /// The client's body is larger than the entry point takes.
    BodyTooLarge,
    /// The client did not finish its request in the time that the entry point gives.
    RequestTimeout,
    /// Nothing of a body moved for too long, because the client neither sent nor read.
    BodyIdle,
    /// The client sent no further request for too long.
    ClientIdle,
    /// Nothing moved through a tunnel for too long.
    TunnelIdle,
    /// The entry point has as many connections as it takes.
    ConnectionLimit,
    /// The client has as many connections as one may have.
    ClientConnectionLimit,
    /// The client asks for what no proxy of this kind does: CONNECT, unknown transfer codings.
    NotImplemented,
    /// The client went away, or stopped reading or sending.
    ClientGone,
    /// The client's TLS handshake failed.
    TlsHandshake,
    /// The client did not finish its TLS handshake in time.
    TlsTimeout,
    /// Whoever is trusted to say who the client is did not say it as the PROXY protocol has it.
    ProxyHeader,
    /// The client spoke in the clear where TLS is spoken.
    NeedsTls,
    /// The request is for a host whose options of TLS are not those that the connection was taken by.
    Misdirected,
    /// The client's HTTP/2 breaks the rules of the protocol.
    BadFrame,
    /// The client floods its HTTP/2 connection with frames that move no request on.
    FrameFlood,
    /// The client takes more requests back than it lets be answered.
    ResetFlood,
    /// The requests of the client's HTTP/2 connection hold as much memory as they may.
    ConnectionMemory,
    /// The client has not shown who it is.
    Unauthorized,
    /// The server that was asked about the client does not let it through.
    AuthRefused,
    /// The server that is to be asked about the client did not answer.
    AuthFailed,
    /// More passwords wait to be checked than may.
    AuthBusy,
    /// The client's address is not on the list of a middleware.
    NotAllowed,
    /// The client asked for a host that a middleware does not allow.
    BadHost,
    /// The client encoded a character in its path that a middleware does not take.
    EncodedCharacter,
    /// The client asks more often than a middleware lets it.
    RateLimited,
    /// As many requests are in flight as a middleware lets through.
    InFlightLimit,
    /// No router takes the request.
    NoRoute,
    /// No router takes the request, but a source has not said yet what there is.
    NotReady,
    /// The service has no endpoint that may be given work.
    NoEndpoint,
    /// The service has as many requests as it may have.
    ServiceLimit,
    /// Every endpoint has as many requests or connections as it may have.
    EndpointLimit,
    /// As many requests wait for a place as may.
    PendingLimit,
    /// No place came free for as long as a request may wait for one.
    PendingTimeout,
    /// No endpoint accepted a connection.
    ConnectRefused,
    /// No endpoint answered to a connection in time.
    ConnectTimeout,
    /// No TLS handshake with an endpoint came to its end.
    EndpointTls,
    /// The endpoint broke the connection off before it had answered.
    EndpointReset,
    /// The endpoint answered what can't be read.
    BadResponse,
    /// The endpoint did not begin to answer in time.
    ResponseTimeout,
    /// The endpoint broke off within its answer.
    ResponseTruncated,
    /// The answer was not finished in the time that the entry point gives.
    AnswerTimeout,
    /// The endpoint's answer is larger than a middleware lets it be.
    AnswerTooLarge,
    /// A circuit breaker is open: whoever fails is not asked.
    CircuitOpen,
}

impl Reason {
    /// The word in metrics and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::HeadTimeout => "head_timeout",
            Self::HeadTooLarge => "head_too_large",
            Self::LineTooLong => "line_too_long",
            Self::BodyTooLarge => "body_too_large",
            Self::RequestTimeout => "request_timeout",
            Self::BodyIdle => "body_idle",
            Self::ClientIdle => "client_idle",
            Self::TunnelIdle => "tunnel_idle",
            Self::ConnectionLimit => "connection_limit",
            Self::ClientConnectionLimit => "client_connection_limit",
            Self::NotImplemented => "not_implemented",
            Self::ClientGone => "client_gone",
            Self::TlsHandshake => "tls_handshake",
            Self::TlsTimeout => "tls_timeout",
            Self::ProxyHeader => "bad_proxy_header",
            Self::NeedsTls => "needs_tls",
            Self::Misdirected => "misdirected",
            Self::BadFrame => "bad_frame",
            Self::FrameFlood => "frame_flood",
            Self::ResetFlood => "reset_flood",
            Self::ConnectionMemory => "connection_memory",
            Self::Unauthorized => "unauthorized",
            Self::AuthRefused => "auth_refused",
            Self::AuthFailed => "auth_failed",
            Self::AuthBusy => "auth_busy",
            Self::NotAllowed => "not_allowed",
            Self::BadHost => "bad_host",
            Self::EncodedCharacter => "encoded_character",
            Self::RateLimited => "rate_limited",
            Self::InFlightLimit => "in_flight_limit",
            Self::NoRoute => "no_route",
            Self::NotReady => "not_ready",
            Self::NoEndpoint => "no_endpoint",
            Self::ServiceLimit => "service_limit",
            Self::EndpointLimit => "endpoint_limit",
            Self::PendingLimit => "pending_limit",
            Self::PendingTimeout => "pending_timeout",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::EndpointTls => "endpoint_tls",
            Self::EndpointReset => "endpoint_reset",
            Self::BadResponse => "bad_response",
            Self::ResponseTimeout => "response_timeout",
            Self::ResponseTruncated => "response_truncated",
            Self::AnswerTimeout => "answer_timeout",
            Self::AnswerTooLarge => "answer_too_large",
            Self::CircuitOpen => "circuit_open",
        }
    }

    /// Whether it was the client's doing, so that no endpoint is to be blamed for it.
    pub(crate) fn is_clients(self) -> bool {
        self.status().0 < 500
    }

    /// The status and its phrase. 4xx is the client's doing, 503 that nothing healthy is there, 502 and 504 the
    /// endpoint's.
    pub(crate) fn status(self) -> (u16, &'static str) {
        match self {
            Self::BadRequest | Self::NeedsTls | Self::ProxyHeader => (400, "Bad Request"),
            Self::HeadTimeout
            | Self::RequestTimeout
            | Self::BodyIdle
            | Self::ClientIdle
            | Self::TunnelIdle => (408, "Request Timeout"),
            Self::BodyTooLarge => (413, "Content Too Large"),
            Self::LineTooLong => (414, "URI Too Long"),
            Self::Misdirected => (421, "Misdirected Request"),
            Self::HeadTooLarge => (431, "Request Header Fields Too Large"),
            Self::NotImplemented => (501, "Not Implemented"),
            // nginx's number, and Traefik's; it is never sent.
            Self::ClientGone | Self::TlsHandshake | Self::TlsTimeout => (499, "Client Closed Request"),
            // Neither is this: the connection is closed without a word.
            Self::ConnectionLimit | Self::ClientConnectionLimit => (429, "Too Many Requests"),
            // These end the connection; only a request that came with the flood can be told.
            Self::BadFrame => (400, "Bad Request"),
            Self::FrameFlood | Self::ResetFlood | Self::ConnectionMemory => (429, "Too Many Requests"),
            Self::EncodedCharacter => (400, "Bad Request"),
            Self::Unauthorized | Self::AuthRefused => (401, "Unauthorized"),
            Self::AuthFailed => (500, "Internal Server Error"),
            Self::AuthBusy => (503, "Service Unavailable"),
            Self::NotAllowed => (403, "Forbidden"),
            Self::RateLimited | Self::InFlightLimit => (429, "Too Many Requests"),
            Self::BadHost => (500, "Internal Server Error"),
            Self::NoRoute => (404, "Not Found"),
            Self::AnswerTooLarge => (500, "Internal Server Error"),
            Self::NotReady
            | Self::NoEndpoint
            | Self::ServiceLimit
            | Self::EndpointLimit
            | Self::PendingLimit
            | Self::PendingTimeout
            | Self::CircuitOpen => (503, "Service Unavailable"),
            Self::ConnectRefused
            | Self::EndpointTls
            | Self::EndpointReset
            | Self::BadResponse
            | Self::ResponseTruncated => (502, "Bad Gateway"),
            Self::ConnectTimeout | Self::ResponseTimeout | Self::AnswerTimeout => (504, "Gateway Timeout"),
        }
    }

    /// Whether there was no place for the request: it was not looked at by anybody, and may come again soon.
    pub(crate) fn is_overload(self) -> bool {
        matches!(self, Self::ServiceLimit | Self::EndpointLimit | Self::PendingLimit | Self::PendingTimeout)
    }

    /// Seconds after which the client may come again, where it is told so.
    pub(crate) fn retry_after(self) -> Option<u64> {
        self.is_overload().then_some(RETRY_AFTER.as_secs())
    }

    /// The first line of the answer's body; 404 and 503 as Traefik's users know them.
    pub(crate) fn explanation(self) -> &'static str {
        match self {
            Self::BadRequest => "bad request",
            Self::HeadTimeout => "the request head took too long",
            Self::HeadTooLarge => "the request head is too large",
            Self::LineTooLong => "the request line is too long",
            Self::BodyTooLarge => "the request body is too large",
            Self::RequestTimeout => "the request took too long",
            Self::BodyIdle => "the request stood still for too long",
            Self::ClientIdle | Self::TunnelIdle => "nothing came for too long",
            Self::ConnectionLimit | Self::ClientConnectionLimit => "too many connections",
            Self::NotImplemented => "not implemented",
            Self::ClientGone => "client closed request",
            Self::TlsHandshake => "the TLS handshake failed",
            Self::TlsTimeout => "the TLS handshake took too long",
            Self::ProxyHeader => "bad request",
            Self::NeedsTls => "client sent an HTTP request to an HTTPS server",
            Self::Misdirected => "this connection was made for another host",
            Self::BadFrame => "bad request",
            Self::FrameFlood | Self::ResetFlood | Self::ConnectionMemory => "too many requests",
            Self::Unauthorized => "not authorized",
            Self::AuthRefused => "not let through",
            Self::AuthFailed => "nobody could be asked",
            Self::AuthBusy => "too many passwords to be checked",
            Self::NotAllowed => "not on the list",
            Self::BadHost => "bad host",
            Self::EncodedCharacter => "bad request",
            Self::RateLimited | Self::InFlightLimit => "too many requests",
            Self::NoRoute => "404 page not found",
            Self::NotReady => "what runs is not known yet",
            Self::NoEndpoint => "no available server",
            Self::ServiceLimit => "the service has all it takes",
            Self::EndpointLimit => "every server has all it takes",
            Self::PendingLimit => "too many requests wait",
            Self::PendingTimeout => "no server had time",
            Self::ConnectRefused => "no server accepted a connection",
            Self::ConnectTimeout => "no server accepted a connection in time",
            Self::EndpointTls => "the TLS handshake with the server failed",
            Self::EndpointReset => "the server broke the connection off",
            Self::BadResponse => "the server's answer can't be read",
            Self::ResponseTimeout => "the server did not answer in time",
            Self::ResponseTruncated => "the server broke its answer off",
            Self::AnswerTimeout => "the answer took too long",
            Self::AnswerTooLarge => "the server's answer is too large",
            Self::CircuitOpen => "the server fails, and is not asked for a while",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
