//! A small blocking HTTP/1.1 client that shows every byte: no redirects, no retries, no pool behind the test's back.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use super::wait::PATIENCE;

/// An answer, with its body decoded from chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields in order, names as they were written.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header field of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks for a path on a connection of its own.
pub fn get(address: impl ToSocketAddrs, host: &str, path: &str) -> io::Result<Response> {
    let mut connection = Connection::open(address)?;
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))?;
    connection.read()
}

/// A connection that stays open between requests. Every read and write fails after ten seconds of silence.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    pub fn open(address: impl ToSocketAddrs) -> io::Result<Self> {
        let address = address.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no address"))?;
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Asks for a path and reads the answer.
    pub fn get(&mut self, host: &str, path: &str) -> io::Result<Response> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))?;
        self.read()
    }

    /// Reads the next answer, also an interim one (1xx).
    pub fn read(&mut self) -> io::Result<Response> {
        let mut response = self.read_head()?;
        response.body = self.read_body(&response)?;
        Ok(response)
    }

    /// Reads an answer that has no body, whatever its header says: to a HEAD request, or to CONNECT and an upgrade.
    pub fn read_head(&mut self) -> io::Result<Response> {
        let status_line = self.line()?;
        let status =
            status_line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| invalid(format!("not a status line: {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Response { status, headers, body: Vec::new() });
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| invalid(format!("not a field: {line:?}")))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// Reads exactly this many bytes.
    pub fn read_bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads until the other side closes. A reset is an error.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether the other side closes the connection, cleanly or not, before it says another byte.
    pub fn is_closed_by_peer(&mut self) -> io::Result<bool> {
        match self.stream.fill_buf() {
            Ok(bytes) => Ok(bytes.is_empty()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The socket, to close a half of it or to change its timeouts.
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    fn read_body(&mut self, head: &Response) -> io::Result<Vec<u8>> {
        if head.status < 200 || matches!(head.status, 204 | 304) {
            return Ok(Vec::new());
        }
        // RFC 9112, section 6.3: chunks count before a length, and without either the body ends with the connection.
        if head.header("transfer-encoding").is_some_and(|codings| codings.ends_with("chunked")) {
            return self.read_chunks();
        }
        let Some(length) = head.header("content-length") else { return self.read_to_end() };
        self.read_bytes(length.parse().map_err(|_| invalid(format!("not a length: {length:?}")))?)
    }

    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16)
                .map_err(|_| invalid(format!("not a chunk size: {line:?}")))?;
            body.extend(self.read_bytes(size)?);
            // The end of a chunk; after the last one, trailer fields until an empty line.
            while !self.line()?.is_empty() {}
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let ended = line.strip_suffix("\r\n").map(str::to_owned);
        ended.ok_or_else(|| {
            io::Error::new(ErrorKind::UnexpectedEof, format!("the connection ended after {line:?}"))
        })
    }
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}
