//! From the tree of what was written to typed values, by way of serde.
//!
//! A serde `Deserializer` over [`Node`]s that goes by paerser's grammar: names in any letters, lists with commas,
//! structs that may stand alone (`tls=true`). What can't be read is noted with its place and left out, and reading goes
//! on, so that every fault is found at once. It knows nothing of what the options mean.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::nearest::hint;
use super::node::{Node, Place, Value};
use super::options;

/// Something that can't be read as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wrong {
    /// Where it stands.
    pub place: Place,
    /// The option with the names written: `http.routers.api.rule`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

/// An option that was written.
#[derive(Clone, Debug)]
pub(super) struct Used {
    /// As the list of options has it: `http.routers.<name>.tls`.
    pub(super) option: String,
    /// With the names written: `http.routers.api.tls`.
    pub(super) path: String,
    pub(super) place: Place,
}

/// What decoding an object gave.
pub(super) struct Decoded<T> {
    /// The object without what is wrong in it; `None` where nothing is left of it.
    pub(super) value: Option<T>,
    pub(super) wrong: Vec<Wrong>,
    pub(super) used: Vec<Used>,
}

/// Decodes the object `name`, of the kind that the list of options has under `kind` (`http.routers`).
pub(super) fn decode<T: DeserializeOwned>(node: &Node, kind: &'static str, name: &str) -> Decoded<T> {
    let root = Path { parent: None, step: Step::Kind(kind) };
    let path = Path { parent: Some(&root), step: Step::Name(name) };
    let notes = Notes::default();
    let mut wrong = Vec::new();
    let value = loop {
        notes.unknown.borrow_mut().clear();
        notes.used.borrow_mut().clear();
        let error = match T::deserialize(At { node, path: &path, notes: &notes }) {
            Ok(value) => break Some(value),
            Err(error) => error,
        };
        let found = error.found.unwrap_or_else(|| Found {
            node: std::ptr::from_ref(node),
            place: node.place.clone(),
            path: path.shown(),
        });
        if !error.quiet {
            wrong.push(Wrong { place: found.place, path: found.path, message: error.message });
        }
        // Without what is wrong, the rest may be read; each turn leaves out one more.
        if std::ptr::eq(found.node, node) || !notes.left_out.borrow_mut().insert(found.node) {
            break None;
        }
    };
    wrong.append(&mut notes.unknown.borrow_mut());
    Decoded { value, wrong, used: notes.used.into_inner() }
}

/// What is noted on the way.
#[derive(Default)]
struct Notes {
    unknown: RefCell<Vec<Wrong>>,
    used: RefCell<Vec<Used>>,
    left_out: RefCell<HashSet<*const Node>>,
}

/// The way from the root to a node.
#[derive(Clone, Copy)]
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Kind(&'static str),
    Name(&'a str),
    Field(&'static str),
    Index(usize),
}

impl Path<'_> {
    fn write(&self, option: bool, to: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(option, to);
        }
        match self.step {
            Step::Kind(kind) => to.push_str(kind),
            Step::Name(_) if option => to.push_str(".<name>"),
            Step::Name(name) | Step::Field(name) => {
                to.push('.');
                to.push_str(name);
            }
            Step::Index(_) if option => to.push_str("[n]"),
            Step::Index(index) => {
                to.push('[');
                to.push_str(&index.to_string());
                to.push(']');
            }
        }
    }

    fn shown(&self) -> String {
        let mut shown = String::new();
        self.write(false, &mut shown);
        shown
    }

    fn option(&self) -> String {
        let mut option = String::new();
        self.write(true, &mut option);
        option
    }

    /// The last name on the way.
    fn last(&self) -> &str {
        match self.step {
            Step::Kind(name) | Step::Name(name) | Step::Field(name) => name,
            Step::Index(_) => self.parent.map_or("", Path::last),
        }
    }
}

/// A node on the way through the tree.
#[derive(Clone, Copy)]
struct At<'a> {
    node: &'a Node,
    path: &'a Path<'a>,
    notes: &'a Notes,
}

impl<'a> At<'a> {
    fn note(&self) {
        self.notes.used.borrow_mut().push(Used {
            option: self.path.option(),
            path: self.path.shown(),
            place: self.node.place.clone(),
        });
    }

    fn text(&self) -> Result<&'a str, Error> {
        match &self.node.value {
            Value::Text(text) if text.contains("{{") && self.node.place.label().is_none() => {
                Err(Error::new("Go templates in files are not carried out: write the value itself"))
            }
            Value::Text(text) => Ok(text),
            Value::Null => Ok(""),
            Value::List(_) => Err(Error::new("expected one value, not a list")),
            Value::Map(_) => {
                Err(Error::new(format!("expected a value: `{}` has no options", self.path.last())))
            }
        }
    }

    fn number<T: std::str::FromStr>(&self, expected: &str) -> Result<T, Error> {
        self.note();
        let text = self.text()?;
        text.trim().parse().map_err(|_| Error::new(format!("`{text}` is not {expected}")))
    }

    fn entries(&self) -> Result<&'a [(String, Node)], Error> {
        match &self.node.value {
            Value::Map(entries) => Ok(entries),
            Value::Null => Ok(&[]),
            Value::Text(_) => {
                Err(Error::new(format!("`{}` can't stand alone: it has options", self.path.last())))
            }
            Value::List(_) => {
                Err(Error::new(format!("`{}` is not a list: it has options", self.path.last())))
            }
        }
    }

    fn is_left_out(&self, node: &Node) -> bool {
        self.notes.left_out.borrow().contains(&std::ptr::from_ref(node))
    }

    fn unknown(&self, name: &str, node: &Node, known: &[&str]) {
        let message = format!("there is no option `{name}`: {}", hint(name, known));
        self.refuse(name, node, &message);
    }

    fn refuse(&self, name: &str, node: &Node, message: &str) {
        let mut places: Vec<&Place> = match node.place {
            Place::Label(_) => node.leaves(),
            Place::Line { .. } => vec![&node.place],
        };
        places.dedup();
        for place in places {
            self.notes.unknown.borrow_mut().push(Wrong {
                place: place.clone(),
                path: format!("{}.{name}", self.path.shown()),
                message: message.to_owned(),
            });
        }
    }
}

impl<'de> de::Deserializer<'de> for At<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Text(_) => self.deserialize_str(visitor),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note();
        let text = self.text()?;
        let read =
            boolean(text).ok_or_else(|| Error::new(format!("`{text}` is neither `true` nor `false`")))?;
        visitor.visit_bool(read)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_i64(self.number("a whole number")?)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_i32(self.number("a whole number")?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(self.number("a whole number that is not negative")?)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u32(self.number("a whole number that is not negative")?)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u16(self.number("a whole number from 0 to 65535")?)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u8(self.number("a whole number from 0 to 255")?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note();
        visitor.visit_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut split = Vec::new();
        let (items, owner): (Vec<&Node>, _) = match &self.node.value {
            Value::Null => (Vec::new(), None),
            Value::List(items) => {
                self.note();
                (items.iter().collect(), None)
            }
            Value::Text(_) => {
                self.note();
                let pieces = self.text()?.split(',').map(str::trim).filter(|piece| !piece.is_empty());
                split.extend(pieces.map(|piece| Node::text(self.node.place.clone(), piece)));
                (split.iter().collect(), Some(self.node))
            }
            Value::Map(entries) => {
                let mut items = Vec::new();
                for (name, node) in entries {
                    let index = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                    let index: usize = index.and_then(|index| index.parse().ok()).ok_or_else(|| {
                        let list = self.path.last();
                        Error::new(format!("`{list}` is a list: write `{list}[0]`, `{list}[1]`"))
                    })?;
                    items.push((index, node));
                }
                items.sort_by_key(|(index, _)| *index);
                (items.into_iter().map(|(_, node)| node).collect(), None)
            }
        };
        visitor.visit_seq(Items { at: self, left: items.into_iter().enumerate(), owner })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let entries = self.entries()?.iter().map(|(name, node)| (Step::Name(name), node)).collect();
        visitor.visit_map(Entries::new(self, entries))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.note();
        if let Value::Text(text) = &self.node.value
            && options::may_stand_alone(name)
        {
            return match text.as_str() {
                "" => visitor.visit_map(Entries::new(self, Vec::new())),
                text => match boolean(text) {
                    Some(true) => visitor.visit_map(Entries::new(self, Vec::new())),
                    Some(false) => Err(Error { quiet: true, ..Error::new("switched off") }),
                    None => {
                        let last = self.path.last();
                        Err(Error::new(format!("`{text}`: write `{last}=true`, or an option of `{last}`")))
                    }
                },
            };
        }
        if matches!(self.node.value, Value::Text(_)) {
            let known = hint("", fields);
            let last = self.path.last();
            return Err(Error::new(format!("`{last}` can't stand alone: it has options; {known}")));
        }
        let mut known = Vec::new();
        let mut skipped = false;
        for (name, node) in self.entries()? {
            match fields.iter().find(|field| field.eq_ignore_ascii_case(name)) {
                None => self.unknown(name, node, fields),
                Some(_) if self.is_left_out(node) => skipped = true,
                Some(field) => {
                    if node.place.is_traefiks() {
                        let path = Path { parent: Some(self.path), step: Step::Field(field) };
                        if options::is_for_files(&path.option()) {
                            let own = format!("portolan.{}", path.shown());
                            let message =
                                format!("Traefik does not read this from labels; Portolan does, as `{own}`");
                            self.refuse(field, node, &message);
                            continue;
                        }
                    }
                    if !matches!(node.value, Value::Null) {
                        known.push((Step::Field(field), node));
                    }
                }
            }
        }
        let result = visitor.visit_map(Entries::new(self, known));
        // What is missing only because it could not be read was told already.
        result.map_err(|error| if skipped && error.missing { Error { quiet: true, ..error } } else { error })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Map(entries) => {
                let mut known = Vec::new();
                let mut unreadable = false;
                for (name, node) in entries {
                    match variants.iter().find(|variant| variant.eq_ignore_ascii_case(name)) {
                        None => self.unknown(name, node, variants),
                        Some(_) if self.is_left_out(node) => unreadable = true,
                        Some(variant) => known.push((*variant, node)),
                    }
                }
                match known.as_slice() {
                    [(variant, node)] => visitor.visit_enum(Variant { at: self, name: variant, node }),
                    [] if unreadable || !self.notes.unknown.borrow().is_empty() => {
                        Err(Error { quiet: true, ..Error::new("nothing is left of it") })
                    }
                    [] => Err(Error::new(format!("says nothing: {}", hint("", variants)))),
                    several => {
                        let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
                        Err(Error::new(format!("is {} at once: write one each", names.join(" and "))))
                    }
                }
            }
            _ => {
                self.note();
                let text = self.text()?;
                let variant = variants.iter().find(|variant| variant.eq_ignore_ascii_case(text));
                let variant = variant.ok_or_else(|| {
                    Error::new(format!("`{text}` is not known here: {}", hint(text, variants)))
                })?;
                visitor.visit_enum(Variant { at: self, name: variant, node: self.node })
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

/// The entries of a map or the fields of a struct.
struct Entries<'a> {
    at: At<'a>,
    left: std::vec::IntoIter<(Step<'a>, &'a Node)>,
    next: Option<(Step<'a>, &'a Node)>,
}

impl<'a> Entries<'a> {
    fn new(at: At<'a>, entries: Vec<(Step<'a>, &'a Node)>) -> Self {
        Self { at, left: entries.into_iter(), next: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let at = self.at;
        self.next = self.left.find(|(_, node)| !at.is_left_out(node));
        let Some((Step::Name(name) | Step::Field(name), _)) = self.next else { return Ok(None) };
        seed.deserialize(de::value::StrDeserializer::<Error>::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let (step, node) = self.next.expect("a value is asked for after its key");
        let path = Path { parent: Some(self.at.path), step };
        seed.deserialize(At { node, path: &path, notes: self.at.notes })
            .map_err(|error| error.at(node, &path))
    }
}

/// The items of a list.
struct Items<'a, I> {
    at: At<'a>,
    left: I,
    /// The one text that they were split from.
    owner: Option<&'a Node>,
}

impl<'de, 'a, I: Iterator<Item = (usize, &'a Node)>> SeqAccess<'de> for Items<'_, I> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let at = self.at;
        let Some((index, node)) = self.left.find(|(_, node)| !at.is_left_out(node)) else { return Ok(None) };
        let path = Path { parent: Some(self.at.path), step: Step::Index(index) };
        // Single values were noted with their list.
        let quiet = Notes::default();
        let notes = if matches!(node.value, Value::Text(_)) { &quiet } else { self.at.notes };
        seed.deserialize(At { node, path: &path, notes }).map(Some).map_err(|error| {
            error.at(self.owner.unwrap_or(node), if self.owner.is_some() { self.at.path } else { &path })
        })
    }
}

/// One of a closed set: a word, or a name with what belongs to it.
struct Variant<'a> {
    at: At<'a>,
    name: &'static str,
    node: &'a Node,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let name = seed.deserialize(de::value::StrDeserializer::<Error>::new(self.name))?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        let path = Path { parent: Some(self.at.path), step: Step::Field(self.name) };
        let at = At { node: self.node, path: &path, notes: self.at.notes };
        seed.deserialize(at).map_err(|error| error.at(self.node, &path))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(Error::new("expected options"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(Error::new("expected options"))
    }
}

/// Reads a boolean as Go's `ParseBool` does, which Traefik uses.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Why a value can't be read.
#[derive(Debug)]
pub(super) struct Error {
    message: String,
    found: Option<Found>,
    /// Not to be told: it was told already, or nothing is wrong.
    quiet: bool,
    /// Something needed was not written.
    missing: bool,
}

#[derive(Debug)]
struct Found {
    node: *const Node,
    place: Place,
    path: String,
}

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), found: None, quiet: false, missing: false }
    }

    /// Says where, unless that is known more closely.
    fn at(mut self, node: &Node, path: &Path<'_>) -> Self {
        if self.found.is_none() {
            let found =
                Found { node: std::ptr::from_ref(node), place: node.place.clone(), path: path.shown() };
            self.found = Some(found);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: true, ..Self::new(format!("needs `{field}`")) }
    }
}
