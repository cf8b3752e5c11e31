//! Records that nobody observed: our own name's, and those that the operator wrote down, which may be others later.

use std::sync::Arc;

use super::{Claim, Compiler, OURS, PORTS, Rank, What};
use crate::fixed::Fixed;
use crate::key::Key;
use crate::names::is_below;
use crate::zone::NAME_SERVER;

impl Compiler {
    /// From the next snapshot on, these are the records that the operator wrote down, and the ones before are not. The
    /// serial grows, also where that snapshot is the one before.
    pub fn replace_records(&mut self, fixed: &Fixed) {
        for (key, elsewhere) in std::mem::take(&mut self.written) {
            let book = if elsewhere { &mut self.elsewhere } else { &mut self.names };
            book.withdraw(&key, OURS, PORTS..=PORTS);
        }
        self.names.withdraw(&NAME_SERVER.into(), OURS, PORTS..=PORTS);
        self.wildcards = [false; 2];
        self.serial_base = self.serial_base.wrapping_add(1);
        self.take_records(fixed);
    }

    /// What the operator wrote stands beside what containers have, type by type.
    pub(super) fn take_records(&mut self, fixed: &Fixed) {
        let what = What::Node(Arc::clone(&self.name_server));
        let ours = Claim { rank: Rank::Ours, at: 0, asker: Arc::clone(&self.ours), what };
        self.names.claim(&NAME_SERVER.into(), ours);
        for (name, set) in &fixed.sets {
            let below = self.apex.origin().len();
            let suffix = is_below(name, self.apex.origin()).then(|| name.len() - below);
            let (book, key) = match suffix {
                Some(suffix) => (&mut self.names, Key::from(&name[..suffix])),
                None => (&mut self.elsewhere, Key::from(&name[..name.len() - 1])),
            };
            self.wildcards[usize::from(suffix.is_none())] |= key.starts_with(b"\x01*");
            let what = What::Beside(Arc::clone(set));
            book.claim(&key, Claim { rank: PORTS, at: 0, asker: Arc::clone(&self.ours), what });
            self.written.push((key, suffix.is_none()));
        }
    }
}
