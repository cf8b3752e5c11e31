//! The key of a name: short ones in place. A zone has a hundred thousand, and making each apart took longer than all else.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// The longest key that needs no memory of its own.
const SHORT: usize = 30;

/// A name relative to the zone, in lower-case wire form (each label after its length) without the root: `web.shop` is
/// `\x03web\x04shop`, and the zone's apex is empty.
#[derive(Clone)]
pub(crate) enum Key {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

impl Key {
    /// The key of the name that `labels` make below `parent`.
    pub(crate) fn join(labels: &[u8], parent: &[u8]) -> Self {
        let length = labels.len() + parent.len();
        if length > SHORT {
            return Self::Long([labels, parent].concat().into());
        }
        let mut bytes = [0; SHORT];
        bytes[..labels.len()].copy_from_slice(labels);
        bytes[labels.len()..length].copy_from_slice(parent);
        Self::Short(length as u8, bytes)
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self::join(bytes, &[])
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }
}

// Equal, ordered and hashed as its bytes are, so that a table of keys can be asked with bytes.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_ones_are_the_bytes_they_were_made_of() {
        assert_eq!(size_of::<Key>(), 32);
        for length in [0, 1, 29, 30, 31, 200] {
            let bytes: Vec<u8> = (0..length).collect();
            for cut in [0, bytes.len() / 2, bytes.len()] {
                let key = Key::join(&bytes[..cut], &bytes[cut..]);
                assert_eq!(*key, *bytes);
                assert_eq!(foldhash::HashSet::from_iter([key]).get(&*bytes), Some(&Key::from(&*bytes)));
            }
        }
    }
}
