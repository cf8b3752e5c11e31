//! Collects faults; ten replicas with the same bad label are one fault, not ten.

use std::collections::BTreeMap;

use portolan_config::Fault;

/// What makes faults one: service, label and message.
pub(super) type Key = (String, String, String);

#[derive(Default)]
pub(super) struct Faults {
    /// Who wrote it.
    origins: BTreeMap<Key, Vec<String>>,
}

impl Faults {
    pub(super) fn add(&mut self, service: &str, origin: &str, label: &str, message: &str) {
        let key = (service.to_owned(), label.to_owned(), message.to_owned());
        let origins = self.origins.entry(key).or_default();
        if !origins.iter().any(|known| known == origin) {
            origins.push(origin.to_owned());
        }
    }

    pub(super) fn into_map(self) -> BTreeMap<Key, Fault> {
        self.origins
            .into_iter()
            .map(|(key, mut origins)| {
                origins.sort();
                let origin = match origins.as_slice() {
                    [only] => only.clone(),
                    [first, rest @ ..] => format!("{first} and {} more", rest.len()),
                    [] => String::new(),
                };
                let fault = Fault::new(origin, key.1.clone(), key.2.clone());
                (key, fault)
            })
            .collect()
    }
}
