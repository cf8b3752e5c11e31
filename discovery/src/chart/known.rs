//! The names that sources ask for things under, by kind: what somebody may have meant who leans on a name that nobody has.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::wish::{Wish, Wishes};

/// Kinds of things that are leaned on by name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Service,
    Middleware,
    Transport,
    TlsOptions,
    TcpService,
    TcpMiddleware,
    TcpTransport,
    UdpService,
}

/// How many kinds there are.
const KINDS: usize = 8;

/// How many sources ask for each name.
#[derive(Debug, Default)]
pub(super) struct Known {
    names: [BTreeMap<String, usize>; KINDS],
    /// Whether a name is new, or gone.
    changed: bool,
    /// Whether anybody asked for names.
    asked: Cell<bool>,
}

impl Known {
    /// A source is there.
    pub(super) fn enter(&mut self, wishes: &Wishes) {
        each(wishes, |kind, name| {
            let count = self.names[kind as usize].entry(name.to_owned()).or_default();
            self.changed |= *count == 0;
            *count += 1;
        });
    }

    /// A source is there no more.
    pub(super) fn leave(&mut self, wishes: &Wishes) {
        each(wishes, |kind, name| {
            let names = &mut self.names[kind as usize];
            if let Some(count) = names.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    names.remove(name);
                    self.changed = true;
                }
            }
        });
    }

    /// All names of this kind.
    pub(super) fn names(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.asked.set(true);
        self.names[kind as usize].keys().map(String::as_str)
    }

    /// Whether there is any name at all.
    #[cfg(test)]
    pub(super) fn has_any(&self) -> bool {
        self.names.iter().any(|names| !names.is_empty())
    }

    /// Whether names came or went since this was asked last.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether names were asked for since this was asked last.
    pub(super) fn take_asked(&self) -> bool {
        self.asked.take()
    }
}

fn each(wishes: &Wishes, mut tell: impl FnMut(Kind, &str)) {
    fn all<T>(wishes: &[Wish<T>], kind: Kind, tell: &mut impl FnMut(Kind, &str)) {
        for wish in wishes {
            tell(kind, &wish.name);
        }
    }
    all(&wishes.services, Kind::Service, &mut tell);
    all(&wishes.middlewares, Kind::Middleware, &mut tell);
    all(&wishes.transports, Kind::Transport, &mut tell);
    all(&wishes.tls_options, Kind::TlsOptions, &mut tell);
    all(&wishes.tcp_services, Kind::TcpService, &mut tell);
    all(&wishes.tcp_middlewares, Kind::TcpMiddleware, &mut tell);
    all(&wishes.tcp_transports, Kind::TcpTransport, &mut tell);
    all(&wishes.udp_services, Kind::UdpService, &mut tell);
}
