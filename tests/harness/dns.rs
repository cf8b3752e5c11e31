//! DNS questions over UDP and TCP, answered by the whole message, so that a test can look at every section.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::Name;

pub use hickory_proto::op::ResponseCode;
pub use hickory_proto::rr::{RData, RecordType};

use super::wait::PATIENCE;

/// Asks over UDP, once: a lost answer is an error.
pub fn query(server: &str, name: &str, kind: RecordType) -> io::Result<Message> {
    exchange_udp(server, &question(name, kind))
}

/// Asks over TCP.
pub fn query_tcp(server: &str, name: &str, kind: RecordType) -> io::Result<Message> {
    exchange_tcp(server, &question(name, kind))
}

/// The data of the answers, sorted: addresses as they are written, names with their dot.
pub fn answers(message: &Message) -> Vec<String> {
    let mut data: Vec<String> = message.answers.iter().map(|record| record.data.to_string()).collect();
    data.sort();
    data
}

/// A question with recursion desired, as a stub resolver asks it. A test may change it before sending it.
pub fn question(name: &str, kind: RecordType) -> Message {
    let name = Name::from_ascii(name).unwrap_or_else(|error| panic!("not a domain name: {name}: {error}"));
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    message
}

/// Sends a message over UDP and reads the answer to it.
pub fn exchange_udp(server: &str, message: &Message) -> io::Result<Message> {
    let server = address(server);
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(server)?;
    socket.send(&encode(message))?;
    let mut buffer = vec![0; 65_535];
    let length = socket.recv(&mut buffer)?;
    decode(&buffer[..length], message)
}

/// Sends a message over TCP and reads the answer to it.
pub fn exchange_tcp(server: &str, message: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect_timeout(&address(server), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let bytes = encode(message);
    let length = u16::try_from(bytes.len()).expect("a question is shorter than 64 KiB");
    stream.write_all(&[&length.to_be_bytes(), bytes.as_slice()].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut buffer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut buffer)?;
    decode(&buffer, message)
}

fn address(server: &str) -> SocketAddr {
    server.parse().unwrap_or_else(|_| panic!("not an address and a port: {server}"))
}

fn encode(message: &Message) -> Vec<u8> {
    message.to_vec().expect("a question can be written")
}

fn decode(bytes: &[u8], question: &Message) -> io::Result<Message> {
    let answer =
        Message::from_vec(bytes).map_err(|error| io::Error::other(format!("not a DNS message: {error}")))?;
    if answer.metadata.id == question.metadata.id {
        Ok(answer)
    } else {
        Err(io::Error::other("the answer to another question"))
    }
}
