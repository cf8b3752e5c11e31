//! What `portolan check` found, for people and for programs.

use portolan_config::Fault;
use portolan_discovery::Snapshot;
use serde_json::{Value, json};

use super::compose;
use crate::banner::count;

/// What was found.
pub(super) struct Report {
    /// What the settings were read from.
    pub(super) sources: String,
    /// What is wrong with them.
    pub(super) settings: Vec<Fault>,
    /// What of them asks for nothing, or for what Portolan can't do.
    pub(super) warnings: Vec<Fault>,
    /// What the engine runs, unless it does not answer or was not asked.
    pub(super) engine: Option<Result<(String, Snapshot), String>>,
    /// What Compose files say, if any were named.
    pub(super) compose: Option<compose::Read>,
    /// What is wrong with that.
    pub(super) labels: Vec<Fault>,
}

impl Report {
    /// Whether nothing is wrong.
    pub(super) fn is_fine(&self) -> bool {
        self.settings.is_empty() && self.labels.is_empty()
    }

    pub(super) fn as_json(&self) -> Value {
        let shown = |faults: &mut dyn Iterator<Item = &Fault>| {
            faults
                .map(|fault| json!({ "origin": fault.origin, "label": fault.key, "message": fault.message }))
                .collect::<Vec<_>>()
        };
        let checked = self.engine.as_ref().and_then(|engine| engine.as_ref().ok());
        json!({
            "composeFiles": self.compose.as_ref().map(|read| &read.files),
            "labels": self.compose.as_ref().map(compose::Read::labels),
            "engine": checked.map(|(engine, _)| engine),
            "notChecked": self.engine.as_ref().and_then(|engine| engine.as_ref().err()),
            "services": self.compose.as_ref().map(compose::Read::services)
                .or(checked.map(|(_, snapshot)| snapshot.services.len())),
            "routers": checked.map(|(_, snapshot)| snapshot.routers.len()),
            "publications": checked.map(|(_, snapshot)| snapshot.publications.len()),
            "warnings": shown(&mut self.warnings.iter()),
            "faults": shown(&mut self.settings.iter().chain(&self.labels)),
        })
    }

    pub(super) fn as_lines(&self) -> String {
        let sources = &self.sources;
        let mut lines = vec![match self.settings.len() {
            0 => format!("{sources}: fine"),
            faults => format!("{sources}: {}", count(faults, "fault")),
        }];
        if let Some(read) = &self.compose {
            lines.push(format!(
                "{}: {}, {}, {}",
                read.files.join(", "),
                count(read.services(), "service"),
                count(read.labels(), "label"),
                count(self.labels.len(), "fault")
            ));
        }
        lines.extend(match &self.engine {
            Some(Ok((engine, snapshot))) => Some(format!(
                "{engine}: {}, {}, {}, {}",
                count(snapshot.services.len(), "service"),
                count(snapshot.routers.len(), "router"),
                count(snapshot.publications.len(), "published port"),
                count(self.labels.len(), "fault")
            )),
            Some(Err(error)) => Some(format!("labels: not checked, as no container engine answers: {error}")),
            None if self.compose.is_some() => None,
            None if self.settings.is_empty() => {
                Some("labels: not checked, as these settings ask for no container engine".to_owned())
            }
            None => Some("labels: not checked, as the settings are at fault".to_owned()),
        });
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.extend(self.settings.iter().chain(&self.labels).map(|fault| format!("fault: {fault}")));
        lines.join("\n") + "\n"
    }
}
