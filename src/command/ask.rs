//! Asks a running Portolan, by its admin address.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use portolan_config::ListenAddress;
use serde_json::Value;

use crate::gather::{self, Gathered};

/// For the whole question and each part of the answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const ANSWER_MAX: u64 = 256 * 1024 * 1024;

/// The status and the body of `GET path`. Errors say what to do.
pub fn get(gathered: &Gathered, path: &str) -> Result<(u16, String), String> {
    exchange(gathered, "GET", path)
}

/// The same of `POST path`, for what changes something.
pub fn post(gathered: &Gathered, path: &str) -> Result<(u16, String), String> {
    exchange(gathered, "POST", path)
}

/// What was answered, and the same understood. A refusal is told in the words that came with it.
pub fn understood((status, body): (u16, String)) -> Result<(String, Value), String> {
    if status != 200 {
        return Err(body.trim_end().to_owned());
    }
    let answer = serde_json::from_str(&body).map_err(|error| format!("the answer can't be read: {error}"))?;
    Ok((body, answer))
}

fn exchange(gathered: &Gathered, method: &str, path: &str) -> Result<(u16, String), String> {
    let address = admin_address(gathered)?;
    let ip = address.ip.filter(|ip| !ip.is_unspecified()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let address = SocketAddr::new(ip, address.port);
    let answer = ask(address, method, path).map_err(|error| {
        format!("no Portolan answers at {address} ({error}): is it running? Say where with --admin-address")
    })?;
    parse(&answer).ok_or_else(|| format!("what answers at {address} is no Portolan"))
}

/// Where it is to be asked: what is written says so, also if the rest of the settings is at fault.
fn admin_address(gathered: &Gathered) -> Result<ListenAddress, String> {
    match gathered.settings() {
        Ok(settings) => Ok(settings.admin),
        // Who asks is to know of a slip on this command line, not of one in the settings of the other.
        Err(faults) if gathered.written.faults().iter().any(|fault| fault.origin == "flag") => {
            Err(gather::lines(&faults))
        }
        Err(faults) => gathered.written.admin_address().map_err(|_| gather::lines(&faults)),
    }
}

/// HTTP/1.0: the answer ends with the connection, and comes in one piece.
fn ask(address: SocketAddr, method: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
