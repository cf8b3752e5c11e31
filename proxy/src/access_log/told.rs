//! The fields of an answer that are in its line: as the endpoint gave them, and as the client got them.

use std::cell::RefCell;
use std::sync::Arc;

use super::selection::Selection;

/// Fields by name, as they are shown.
pub(super) type Shown = Vec<(String, String)>;

/// Those of one answer. Kept only where the log has any of them.
#[derive(Debug)]
pub(crate) struct Told {
    selection: Arc<Selection>,
    origin: RefCell<Shown>,
    downstream: RefCell<Shown>,
}

impl Told {
    pub(super) fn new(selection: &Arc<Selection>) -> Self {
        let (origin, downstream) = Default::default();
        Self { selection: selection.clone(), origin, downstream }
    }

    /// An endpoint has answered with these.
    pub(crate) fn came<'f>(&self, fields: impl Iterator<Item = (&'f str, &'f [u8])>) {
        self.origin.replace(self.selection.answered(fields));
    }

    /// The client is answered with these.
    pub(crate) fn leaves<'f>(&self, fields: impl Iterator<Item = (&'f str, &'f [u8])>) {
        self.downstream.replace(self.selection.answered(fields));
    }

    /// Calls `each` with those of the endpoint.
    pub(super) fn each_of_origin(&self, mut each: impl FnMut(&str, &str)) {
        self.origin.borrow().iter().for_each(|(name, value)| each(name, value));
    }

    /// Calls `each` with those of the client.
    pub(super) fn each_downstream(&self, mut each: impl FnMut(&str, &str)) {
        self.downstream.borrow().iter().for_each(|(name, value)| each(name, value));
    }
}

#[cfg(test)]
mod tests {
    use portolan_config::settings::{AccessLogFormat, FieldMode, Fields};

    use super::*;

    #[test]
    fn fields_of_an_answer_are_kept_as_those_of_a_request() {
        let keep = Fields {
            headers_default_mode: FieldMode::Keep,
            headers: [("set-cookie".to_owned(), FieldMode::Redact), ("date".to_owned(), FieldMode::Drop)]
                .into(),
            ..Fields::default()
        };
        let selection = Arc::new(Selection::new(&keep, AccessLogFormat::Json));
        assert!(selection.has_answers());
        let told = Told::new(&selection);
        let fields =
            [("content-type", "a"), ("X-One", "1"), ("x-one", "2"), ("Set-Cookie", "s"), ("date", "d")];
        told.came(fields.iter().map(|(name, value)| (*name, value.as_bytes())));
        let mut kept = Vec::new();
        told.each_of_origin(|name, value| kept.push(format!("{name}: {value}")));
        assert_eq!(kept, ["Content-Type: a", "Set-Cookie: REDACTED", "X-One: 1,2"]);
        told.each_downstream(|name, _| panic!("{name}: nothing has left"));
        assert!(!Selection::new(&Fields::default(), AccessLogFormat::Json).has_answers());
        assert!(!Selection::new(&keep, AccessLogFormat::Common).has_answers());
    }
}
