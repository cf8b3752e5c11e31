//! Who gets a name: of several sources that ask for something under one name, the first keeps it, and those that want
//! it otherwise are told so.

use std::collections::HashMap;

use super::fault::Faults;
use super::wish::Wish;

/// Whoever asks: what groups its faults, and whether it still matters.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    /// The service whose replicas share their faults; empty for files.
    pub(super) service: &'a str,
    /// One that has stopped gives way without a word.
    pub(super) stopped: bool,
}

/// What is known of a name.
pub(super) enum Found<'a, T> {
    /// The thing.
    There(&'a std::sync::Arc<T>),
    /// It is left out, for a fault that was told.
    LeftOut,
    /// Nobody asks for it.
    Nowhere,
}

/// Things by qualified name, each as its first source has it.
pub(super) struct Claims<'a, T> {
    claims: HashMap<&'a str, (&'a Wish<T>, Asker<'a>)>,
}

impl<T> Default for Claims<'_, T> {
    fn default() -> Self {
        Self { claims: HashMap::new() }
    }
}

impl<'a, T> Claims<'a, T> {
    /// Enters a wish. Returns whether it is the one that is kept, or says the same.
    pub(super) fn enter(
        &mut self,
        wish: &'a Wish<T>,
        asker: Asker<'a>,
        same: impl Fn(&T, &T) -> bool,
        faults: &mut Faults,
    ) -> bool {
        let Some((kept, _)) = self.claims.get(wish.name.as_str()) else {
            self.claims.insert(&wish.name, (wish, asker));
            return true;
        };
        match (&kept.value, &wish.value) {
            // What was left out for a fault gives way to what has none.
            (None, Some(_)) => {
                self.claims.insert(&wish.name, (wish, asker));
                true
            }
            (_, None) => false,
            (Some(first), Some(second)) if std::sync::Arc::ptr_eq(first, second) || same(first, second) => {
                true
            }
            (Some(_), Some(_)) => {
                if !asker.stopped {
                    let message = format!("{} says otherwise under the same name, and keeps it", kept.origin);
                    faults.add(asker.service, &wish.origin, &wish.key, &message);
                }
                false
            }
        }
    }

    /// The thing of that name.
    pub(super) fn get(&self, name: &str) -> Found<'a, T> {
        match self.claims.get(name) {
            None => Found::Nowhere,
            Some((wish, _)) => wish.value.as_ref().map_or(Found::LeftOut, Found::There),
        }
    }

    /// Everything, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a Wish<T>, Asker<'a>)> {
        self.claims.values().copied()
    }
}
