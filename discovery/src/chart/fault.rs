//! Collects faults; ten replicas with the same bad label are one fault, not ten.

use std::collections::BTreeMap;

use portolan_config::Fault;

#[derive(Default)]
pub(super) struct Faults {
    /// By service, label and message: who wrote it.
    origins: BTreeMap<(String, String, String), Vec<String>>,
}

impl Faults {
    pub(super) fn add(&mut self, service: &str, origin: &str, label: &str, message: &str) {
        let key = (service.to_owned(), label.to_owned(), message.to_owned());
        let origins = self.origins.entry(key).or_default();
        if !origins.iter().any(|known| known == origin) {
            origins.push(origin.to_owned());
        }
    }

    pub(super) fn into_vec(self) -> Vec<Fault> {
        self.origins
            .into_iter()
            .map(|((_, label, message), mut origins)| {
                origins.sort();
                let origin = match origins.as_slice() {
                    [only] => only.clone(),
                    [first, rest @ ..] => format!("{first} and {} more", rest.len()),
                    [] => String::new(),
                };
                Fault::new(origin, label, message)
            })
            .collect()
    }
}
