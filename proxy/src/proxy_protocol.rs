//! The PROXY protocol, versions 1 and 2: who the client is, told to us by whoever stands before us, and by us to endpoints
//! (HAProxy's `proxy-protocol.txt`).
//!
//! Sans-I/O: bytes in, meaning out, and the other way round. Whose word is taken is not known here.

use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use portolan_config::dynamic::tcp::ProxyVersion;

use crate::limits::PROXY_HEADER_BYTES_MAX;

/// How a line of version 1 begins, and the longest there can be, with its end (§2.1).
const V1_BEGINS: &[u8] = b"PROXY ";
const V1_BYTES_MAX: usize = 107;

/// How version 2 begins (§2.2), what follows it, and all of that.
const V2_BEGINS: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = V2_BEGINS.len() + 4;

/// Version 2, and what is said: nothing of a client (it is the proxy itself that asks), or who it is.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// Families of addresses with their transport.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// What may be said besides (§2.2.4).
const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const CLIENT_SPEAKS_TLS: u8 = 0x01;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is not clear yet.
    NotYet,
    /// Not a header.
    Nothing,
    /// A header of this length, and what it says, if anything.
    Header { length: usize, told: Option<Told> },
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) client: SocketAddr,
    /// What the client connected to.
    pub(crate) to: SocketAddr,
}

/// A header that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no PROXY header is written so")
    }
}

/// Says what the first bytes of a connection are.
pub(crate) fn read(bytes: &[u8]) -> Result<Found, Malformed> {
    let begins = |with: &[u8]| {
        let begun = bytes.len().min(with.len());
        bytes[..begun] == with[..begun]
    };
    if begins(V1_BEGINS) {
        return if bytes.len() < V1_BEGINS.len() { Ok(Found::NotYet) } else { read_v1(bytes) };
    }
    if begins(&V2_BEGINS) {
        return read_v2(bytes);
    }
    Ok(Found::Nothing)
}

fn read_v1(bytes: &[u8]) -> Result<Found, Malformed> {
    let within = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if bytes.len() < V1_BYTES_MAX { Ok(Found::NotYet) } else { Err(Malformed) };
    };
    let line = within[V1_BEGINS.len()..end].strip_suffix(b"\r").ok_or(Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let length = end + 1;
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    let told = match family {
        // Whatever follows is passed over.
        "UNKNOWN" => None,
        "TCP4" => Some(addresses::<Ipv4Addr>(rest)?),
        "TCP6" => Some(addresses::<Ipv6Addr>(rest)?),
        _ => return Err(Malformed),
    };
    Ok(Found::Header { length, told })
}

/// Two addresses, two ports; the first of each is the client's.
fn addresses<A: FromStr + Into<IpAddr>>(text: &str) -> Result<Told, Malformed> {
    let mut parts = text.split(' ');
    let mut next = || parts.next().ok_or(Malformed);
    let (source, destination) = (next()?, next()?);
    let (port, its_port) = (next()?, next()?);
    if parts.next().is_some() {
        return Err(Malformed);
    }
    let address = |text: &str| A::from_str(text).map_err(|_| Malformed);
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits).ok_or(Malformed)
    };
    let whole = |ip: &str, port: &str| Ok(SocketAddr::new(address(ip)?.into(), number(port)?));
    Ok(Told { client: whole(source, port)?, to: whole(destination, its_port)? })
}

fn read_v2(bytes: &[u8]) -> Result<Found, Malformed> {
    let Some(fixed) = bytes.first_chunk::<V2_FIXED>() else { return Ok(Found::NotYet) };
    let [.., command, family, high, low] = *fixed;
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, LOCAL | PROXY) || length > PROXY_HEADER_BYTES_MAX {
        return Err(Malformed);
    }
    let Some(block) = bytes.get(V2_FIXED..length) else { return Ok(Found::NotYet) };
    let told = match (command, family) {
        (PROXY, TCP4) => {
            let block = block.first_chunk::<12>().ok_or(Malformed)?;
            let address = |at: usize| block[at..].first_chunk::<4>().copied().ok_or(Malformed);
            Some(with_ports(address(0)?.into(), address(4)?.into(), address(8)?))
        }
        (PROXY, TCP6) => {
            let block = block.first_chunk::<36>().ok_or(Malformed)?;
            let address = |at: usize| block[at..].first_chunk::<16>().copied().ok_or(Malformed);
            let ports = [block[32], block[33], block[34], block[35]];
            Some(with_ports(address(0)?.into(), address(16)?.into(), ports))
        }
        // Of another family nothing is to be had, and the connection is its own (§2.2).
        _ => None,
    };
    Ok(Found::Header { length, told })
}

fn with_ports(client: IpAddr, to: IpAddr, [a, b, c, d]: [u8; 4]) -> Told {
    let port = |high, low| u16::from_be_bytes([high, low]);
    Told { client: SocketAddr::new(client, port(a, b)), to: SocketAddr::new(to, port(c, d)) }
}

/// What an endpoint is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Introduction {
    pub(crate) client: SocketAddr,
    /// What the client connected to.
    pub(crate) to: SocketAddr,
    /// The name that it asked for by TLS; empty where it did not.
    pub(crate) server_name: String,
    /// The protocol that was agreed on.
    pub(crate) alpn: Vec<u8>,
    /// The version of its TLS, where that ended at us: `1.3`.
    pub(crate) tls: Option<&'static str>,
}

impl Introduction {
    /// The header.
    pub(crate) fn header(&self, version: ProxyVersion) -> Vec<u8> {
        match version {
            ProxyVersion::V1 => self.v1(),
            ProxyVersion::V2 => self.v2(),
        }
    }

    /// Both addresses in one family.
    fn addresses(&self) -> (IpAddr, IpAddr) {
        match (self.client.ip().to_canonical(), self.to.ip().to_canonical()) {
            (IpAddr::V4(client), IpAddr::V6(to)) => (client.to_ipv6_mapped().into(), to.into()),
            (IpAddr::V6(client), IpAddr::V4(to)) => (client.into(), to.to_ipv6_mapped().into()),
            same => same,
        }
    }

    fn v1(&self) -> Vec<u8> {
        let (client, to) = self.addresses();
        let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
        format!("PROXY {family} {client} {to} {} {}\r\n", self.client.port(), self.to.port()).into_bytes()
    }

    fn v2(&self) -> Vec<u8> {
        let (client, to) = self.addresses();
        let mut block = Vec::with_capacity(128);
        for address in [client, to] {
            match address {
                IpAddr::V4(address) => block.extend(address.octets()),
                IpAddr::V6(address) => block.extend(address.octets()),
            }
        }
        block.extend(self.client.port().to_be_bytes());
        block.extend(self.to.port().to_be_bytes());
        further(ALPN, &self.alpn, &mut block);
        further(AUTHORITY, self.server_name.as_bytes(), &mut block);
        if let Some(version) = self.tls {
            // That its certificate was looked at is not said: 1 is "not verified".
            let mut tls = vec![CLIENT_SPEAKS_TLS, 0, 0, 0, 1];
            further(SSL_VERSION, format!("TLSv{version}").as_bytes(), &mut tls);
            further(SSL, &tls, &mut block);
        }
        let mut header = V2_BEGINS.to_vec();
        header.extend([PROXY, if client.is_ipv4() { TCP4 } else { TCP6 }]);
        header.extend((block.len() as u16).to_be_bytes());
        // Writing to memory does not fail.
        let _ = header.write_all(&block);
        header
    }
}

/// Something said besides, unless it is nothing.
fn further(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    if value.is_empty() {
        return;
    }
    // A name has 255 bytes at most, as has a protocol.
    out.push(kind);
    out.extend((value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `told` is the client and what it connected to, or nothing.
    fn header(length: usize, told: &str) -> Found {
        let told = told.split_once(' ');
        let told = told.map(|(client, to)| Told { client: client.parse().unwrap(), to: to.parse().unwrap() });
        Found::Header { length, told }
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = (block.len() as u16).to_be_bytes();
        [&V2_BEGINS[..], &[command, family], &length, block].concat()
    }

    #[test]
    fn the_line_of_version_1_is_read_in_exactly_one_way() {
        for (line, told) in [
            ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", "192.0.2.7:56324 198.51.100.1:443"),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", "[2001:db8::7]:1 [2001:db8::1]:2"),
            ("PROXY UNKNOWN\r\n", ""),
            ("PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n", ""),
        ] {
            assert_eq!(read(format!("{line}GET /").as_bytes()), Ok(header(line.len(), told)), "{line}");
            for end in 0..line.len() {
                assert_eq!(read(&line.as_bytes()[..end]), Ok(Found::NotYet), "{line} {end}");
            }
        }
        for line in [
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 1\r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +6324 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(read(line.as_bytes()), Err(Malformed), "{line}");
        }
        assert_eq!(read(format!("PROXY UNKNOWN {}", "x".repeat(V1_BYTES_MAX)).as_bytes()), Err(Malformed));
    }

    #[test]
    fn what_is_no_header_is_noticed_as_soon_as_it_can_be() {
        for (bytes, found) in [
            (&b"PRO"[..], Found::NotYet),
            (b"PROPFIND / HTTP/1.1", Found::Nothing),
            (b"PRI * HTTP/2.0", Found::Nothing),
            (b"\r\n\r\n", Found::NotYet),
            (b"\r\nGET /", Found::Nothing),
            (b"\x16\x03\x01", Found::Nothing),
            (b"", Found::NotYet),
        ] {
            assert_eq!(read(bytes), Ok(found), "{bytes:?}");
        }
    }

    #[test]
    fn version_2_is_read_whatever_else_it_says() {
        let four = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 1, 0xbb];
        let whole = v2(PROXY, TCP4, &four);
        let told = "192.0.2.7:56324 198.51.100.1:443";
        assert_eq!(read(&whole), Ok(header(28, told)));
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), Ok(Found::NotYet), "{end}");
        }
        let more = [&four[..], &[0xee, 0, 1, 7]].concat();
        assert_eq!(read(&v2(PROXY, TCP4, &more)), Ok(header(32, told)));
        assert_eq!(read(&v2(LOCAL, TCP4, &four)), Ok(header(28, "")));
        assert_eq!(read(&v2(LOCAL, 0, &[])), Ok(header(16, "")));
        assert_eq!(read(&v2(PROXY, 0x31, &[0; 216])), Ok(header(232, "")));
        for wrong in [
            v2(PROXY, TCP4, &four[..11]),
            v2(PROXY, TCP6, &[0; 35]),
            v2(0x22, TCP4, &four),
            v2(0x11, TCP4, &four),
        ] {
            assert_eq!(read(&wrong), Err(Malformed));
        }
        assert_eq!(read(&v2(PROXY, TCP4, &[0; PROXY_HEADER_BYTES_MAX])), Err(Malformed));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (client, to, written) in [
            ("192.0.2.7:1", "198.51.100.1:2", "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n"),
            ("[::ffff:192.0.2.7]:1", "[::ffff:198.51.100.1]:2", "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n"),
            ("192.0.2.7:1", "[2001:db8::1]:2", "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2\r\n"),
            ("[2001:db8::7]:1", "[2001:db8::1]:2", "PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n"),
        ] {
            let introduction = Introduction {
                client: client.parse().unwrap(),
                to: to.parse().unwrap(),
                server_name: "db.test".to_owned(),
                alpn: b"postgresql".to_vec(),
                tls: Some("1.3"),
            };
            let one = introduction.header(ProxyVersion::V1);
            assert_eq!(String::from_utf8(one.clone()).unwrap(), written);
            for header in [one, introduction.header(ProxyVersion::V2)] {
                let Ok(Found::Header { length, told: Some(told) }) = read(&header) else {
                    panic!("{header:?}")
                };
                assert_eq!((length, told.client.port(), told.to.port()), (header.len(), 1, 2));
                assert_eq!(told.client.ip().to_canonical(), introduction.client.ip().to_canonical());
                assert_eq!(told.to.ip().to_canonical(), introduction.to.ip().to_canonical());
            }
            let two = introduction.header(ProxyVersion::V2);
            let further = two.len() - 2 * if written.contains("TCP4") { 6 } else { 18 } - V2_FIXED;
            assert_eq!(
                &two[two.len() - further..],
                b"\x01\0\x0apostgresql\x02\0\x07db.test\x20\0\x0f\x01\0\0\0\x01\x21\0\x07TLSv1.3"
            );
        }
    }
}
