//! The zone that is answered from at present, and for a while those before it: who has one of them need only be told
//! what is different.

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use portolan_config::settings::Dns;
use tokio::sync::watch;

use super::Zone;

/// Zones that are remembered, where somebody may ask for what is different. They share what they have in common.
const KEPT: usize = 64;

/// The zone that is answered from at present: a query loads it once.
pub type SharedZone = Arc<Versions>;

/// One zone after the other.
pub struct Versions {
    current: ArcSwap<Zone>,
    /// The newest last.
    past: ArcSwap<Vec<Arc<Zone>>>,
    kept: usize,
    serial: watch::Sender<u32>,
}

impl fmt::Debug for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versions").field("serial", &self.load().serial()).finish_non_exhaustive()
    }
}

impl Versions {
    /// A zone that gives SERVFAIL until the first complete one is stored.
    pub(super) fn new(settings: &Dns) -> Self {
        Self {
            current: ArcSwap::from_pointee(Zone::not_synced(settings)),
            past: ArcSwap::default(),
            kept: if settings.options.transfer_to.is_empty() { 0 } else { KEPT },
            serial: watch::Sender::new(0),
        }
    }

    /// The zone of this moment.
    pub fn load(&self) -> Guard<Arc<Zone>> {
        self.current.load()
    }

    /// The same, to be kept for longer.
    pub fn load_full(&self) -> Arc<Zone> {
        self.current.load_full()
    }

    /// Puts a zone in the place of the one before. There is one who does.
    pub fn store(&self, zone: Arc<Zone>) {
        let serial = if zone.is_synced() { zone.serial() } else { 0 };
        let before = self.current.swap(zone);
        if self.kept > 0 && before.is_synced() && before.serial() != serial {
            let mut past = Vec::clone(&self.past.load());
            if past.len() >= self.kept {
                past.remove(0);
            }
            past.push(before);
            self.past.store(Arc::new(past));
        }
        self.serial.send_if_modified(|told| std::mem::replace(told, serial) != serial);
    }

    /// The zone that had this serial, if it is remembered.
    pub(crate) fn past(&self, serial: u32) -> Option<Arc<Zone>> {
        self.past.load().iter().rev().find(|zone| zone.serial() == serial).cloned()
    }

    /// Tells of each new serial; 0 is before the first complete zone.
    pub(crate) fn serials(&self) -> watch::Receiver<u32> {
        self.serial.subscribe()
    }
}
