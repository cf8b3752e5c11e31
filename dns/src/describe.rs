//! What is known of a name, as the strings of a TXT record: `key=value`, as RFC 6763 §6 has them.

use std::fmt::Write;

use portolan_discovery::{Endpoint, Service};

use crate::records::About;

/// The longest string (RFC 1035 §3.3).
const STRING_MAX: usize = 255;

/// The strings, each after its length; `None` where nothing is known.
pub(crate) fn strings(about: &About) -> Option<Vec<u8>> {
    let mut strings = Vec::new();
    match about {
        About::Nothing => return None,
        About::Service(service) | About::All(service) => of_service(&mut strings, service),
        About::Container(endpoint) => of_container(&mut strings, endpoint),
        About::Alias(endpoints) => match endpoints.as_slice() {
            [endpoint] => of_container(&mut strings, endpoint),
            endpoints => push(&mut strings, format_args!("replicas={}", endpoints.len())),
        },
    }
    Some(strings)
}

fn of_service(strings: &mut Vec<u8>, service: &Service) {
    let ready = service.endpoints.iter().filter(|endpoint| endpoint.is_available()).count();
    push(strings, format_args!("service={}", service.name));
    push(strings, format_args!("ready={ready}"));
    push(strings, format_args!("replicas={}", service.endpoints.len()));
}

fn of_container(strings: &mut Vec<u8>, endpoint: &Endpoint) {
    push(strings, format_args!("container={}", endpoint.instance.name));
    push(strings, format_args!("service={}@{}", endpoint.instance.service.name(), endpoint.key.provider));
    push(strings, format_args!("state={}", endpoint.state));
    push(strings, format_args!("reason={}", endpoint.reason));
}

fn push(strings: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let mut string = String::new();
    let _ = string.write_fmt(text);
    let bytes = &string.as_bytes()[..string.len().min(STRING_MAX)];
    strings.push(bytes.len() as u8);
    strings.extend_from_slice(bytes);
}
