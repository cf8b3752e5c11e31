//! What a client sees: answers of the entry point, and of the name server.

use super::dns::{self, RecordType, ResponseCode};
use super::http::{self, Response};
use super::portolan::{ENTRY_POINT, NAME_SERVER};
use super::wait::{PATIENCE, eventually};

/// The zone, unless a flag says otherwise.
const ZONE: &str = "portolan.internal";

/// Waits until the entry point answers for a host with this status, and returns the answer.
#[track_caller]
pub fn await_http(host: &str, status: u16) -> Response {
    eventually(PATIENCE, &format!("{status} for {host}"), || match http::get(ENTRY_POINT, host, "/") {
        Ok(answer) if answer.status == status => Ok(answer),
        Ok(other) => Err(format!("{}: {}", other.status, other.text())),
        Err(error) => Err(error.to_string()),
    })
}

/// Asks for `name` of the zone: the code, and the data of the answers, sorted.
#[track_caller]
pub fn resolve(name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
    let answer = match dns::query(NAME_SERVER, &format!("{name}.{ZONE}."), kind) {
        Ok(answer) => answer,
        Err(error) => panic!("no answer for {name}: {error}"),
    };
    (answer.metadata.response_code, dns::answers(&answer))
}

/// Waits until `name` of the zone has exactly these IPv4 addresses, in any order. None: it exists without any.
#[track_caller]
pub fn await_addresses(name: &str, expected: &[&str]) {
    let mut expected: Vec<&str> = expected.to_vec();
    expected.sort_unstable();
    eventually(PATIENCE, &format!("{name} to have {expected:?}"), || match resolve(name, RecordType::A) {
        (ResponseCode::NoError, found) if found == expected => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// Waits until `name` of the zone does not exist.
#[track_caller]
pub fn await_no_name(name: &str) {
    eventually(PATIENCE, &format!("{name} to be unknown"), || match resolve(name, RecordType::A) {
        (ResponseCode::NXDomain, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
