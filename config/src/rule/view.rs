//! What rules are asked about: a request or a connection, borrowed from whoever holds it.

use std::net::IpAddr;

/// A request as rules see it.
#[derive(Clone, Copy)]
pub struct RequestView<'a> {
    /// The host, lower case, without port or trailing dot.
    pub host: &'a str,
    /// The path, decoded as far as routing goes.
    pub path: &'a str,
    /// The method.
    pub method: &'a str,
    /// The query as sent, without its question mark.
    pub query: &'a str,
    /// The header fields.
    pub fields: &'a dyn Fields,
    /// The address at the other end of the connection.
    pub client: IpAddr,
}

/// Header fields, however they are held.
pub trait Fields {
    /// Whether a field of this name (in any letters) has a value that `accept` takes.
    fn any(&self, name: &str, accept: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// A request without header fields.
#[derive(Clone, Copy, Debug)]
pub struct NoFields;

impl Fields for NoFields {
    fn any(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

impl Fields for [(&str, &str)] {
    fn any(&self, name: &str, accept: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.iter().any(|(known, value)| known.eq_ignore_ascii_case(name) && accept(value.as_bytes()))
    }
}

impl<const N: usize> Fields for [(&str, &str); N] {
    fn any(&self, name: &str, accept: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.as_slice().any(name, accept)
    }
}

impl<'a> RequestView<'a> {
    /// A plain `GET` for `path` of `host`, from nowhere.
    pub fn get(host: &'a str, path: &'a str) -> Self {
        let client = IpAddr::from([0, 0, 0, 0]);
        Self { host, path, method: "GET", query: "", fields: &NoFields, client }
    }
}

/// A connection as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionView<'a> {
    /// The name asked for by TLS, lower case, without trailing dot; empty where none was.
    pub server_name: &'a str,
    /// The protocols offered by TLS.
    pub alpn: &'a [&'a [u8]],
    /// The address at the other end.
    pub client: IpAddr,
}
