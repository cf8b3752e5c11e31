//! Why Portolan answered or closed itself, instead of an endpoint.

use std::fmt;

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
    /// The client asks for what no proxy of this kind does: CONNECT, unknown transfer codings.
    NotImplemented,
    /// The client went away, or stopped reading or sending.
    ClientGone,
    /// No router takes the request.
    NoRoute,
    /// The service has no endpoint that may be given work.
    NoEndpoint,
    /// No endpoint accepted a connection.
    ConnectRefused,
    /// No endpoint answered to a connection in time.
    ConnectTimeout,
    /// The endpoint broke the connection off before it had answered.
    EndpointReset,
    /// The endpoint answered what can't be read.
    BadResponse,
    /// The endpoint did not begin to answer in time.
    ResponseTimeout,
    /// The endpoint broke off within its answer.
    ResponseTruncated,
}

impl Reason {
    /// The word in metrics and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::HeadTimeout => "head_timeout",
            Self::HeadTooLarge => "head_too_large",
            Self::NotImplemented => "not_implemented",
            Self::ClientGone => "client_gone",
            Self::NoRoute => "no_route",
            Self::NoEndpoint => "no_endpoint",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::EndpointReset => "endpoint_reset",
            Self::BadResponse => "bad_response",
            Self::ResponseTimeout => "response_timeout",
            Self::ResponseTruncated => "response_truncated",
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
            Self::BadRequest => (400, "Bad Request"),
            Self::HeadTimeout => (408, "Request Timeout"),
            Self::HeadTooLarge => (431, "Request Header Fields Too Large"),
            Self::NotImplemented => (501, "Not Implemented"),
            // nginx's number, and Traefik's; it is never sent.
            Self::ClientGone => (499, "Client Closed Request"),
            Self::NoRoute => (404, "Not Found"),
            Self::NoEndpoint => (503, "Service Unavailable"),
            Self::ConnectRefused | Self::EndpointReset | Self::BadResponse | Self::ResponseTruncated => {
                (502, "Bad Gateway")
            }
            Self::ConnectTimeout | Self::ResponseTimeout => (504, "Gateway Timeout"),
        }
    }

    /// The first line of the answer's body; 404 and 503 as Traefik's users know them.
    pub(crate) fn explanation(self) -> &'static str {
        match self {
            Self::BadRequest => "bad request",
            Self::HeadTimeout => "the request head took too long",
            Self::HeadTooLarge => "the request head is too large",
            Self::NotImplemented => "not implemented",
            Self::ClientGone => "client closed request",
            Self::NoRoute => "404 page not found",
            Self::NoEndpoint => "no available server",
            Self::ConnectRefused => "no server accepted a connection",
            Self::ConnectTimeout => "no server accepted a connection in time",
            Self::EndpointReset => "the server broke the connection off",
            Self::BadResponse => "the server's answer can't be read",
            Self::ResponseTimeout => "the server did not answer in time",
            Self::ResponseTruncated => "the server broke its answer off",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
