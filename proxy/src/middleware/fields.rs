//! The fields of a head, to be edited: all text in one piece, and where in it each name and value is.

use crate::http::write_field;
use crate::worker::Buffer;

/// Fields in their order. Names and values hold no line ends: they were read strictly, or checked when they were compiled.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldList {
    text: Vec<u8>,
    fields: Vec<Place>,
}

/// Where a field is in the text: its name, and its value right behind that.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    name: usize,
    value: usize,
}

impl FieldList {
    /// Room for so many fields of so many bytes.
    pub(crate) fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), fields: Vec::with_capacity(fields) }
    }

    /// Adds a field at the end.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        self.fields.push(Place { start: self.text.len(), name: name.len(), value: value.len() });
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(value);
    }

    /// Puts a field in the place of all of its name.
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    /// Takes all fields of a name out.
    pub(crate) fn remove(&mut self, name: &str) {
        self.retain(|found| !found.eq_ignore_ascii_case(name));
    }

    /// Takes all fields out that a server may take for this one: many make `_` of `-`.
    pub(crate) fn remove_alike(&mut self, name: &str) {
        self.retain(|found| !crate::http::is_alias(found, name));
    }

    /// Puts a field in the place of all that a server may take for it.
    pub(crate) fn claim(&mut self, name: &str, value: &[u8]) {
        self.remove_alike(name);
        self.add(name, value);
    }

    /// Keeps the fields whose names are accepted.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        let text = &self.text;
        self.fields.retain(|place| keep(name(text, *place)));
    }

    /// The first value of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first value of a name that is text; empty where there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
    }

    /// All values of a name.
    pub(crate) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f [u8]> {
        self.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All fields.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|place| {
            let from = place.start + place.name;
            (name(&self.text, *place), &self.text[from..from + place.value])
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Writes them as lines.
    pub(crate) fn write(&self, out: &mut Buffer) {
        for (name, value) in self.iter() {
            write_field(name, value, out);
        }
    }
}

fn name(text: &[u8], place: Place) -> &str {
    std::str::from_utf8(&text[place.start..place.start + place.name]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(list: &FieldList) -> Vec<String> {
        list.iter().map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value))).collect()
    }

    #[test]
    fn fields_are_edited_by_name_in_whatever_case() {
        let mut list = FieldList::default();
        for (name, value) in [("A", "1"), ("b", "2"), ("a", "3"), ("X-User", "x"), ("x_user", "y")] {
            list.add(name, value.as_bytes());
        }
        assert_eq!(list.all("a").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!((list.get("B"), list.get("c"), list.text("A")), (Some(&b"2"[..]), None, "1"));
        list.set("A", b"4");
        assert_eq!(shown(&list), ["b=2", "X-User=x", "x_user=y", "A=4"]);
        list.claim("x-user", b"z");
        list.remove("B");
        assert_eq!(shown(&list), ["A=4", "x-user=z"]);
        assert_eq!(list.len(), 2);
    }
}
