//! From a head to its route: what every version of HTTP does the same way, and whoever explains a request.
//!
//! It knows heads, entry points and tables, and nothing of connections or of what becomes of a request.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use portolan_config::rule::RequestView;
use portolan_config::settings;

use super::cleaning::{Cleaned, Cleaning};
use super::head::{Refused, RequestHead};
use super::peer::Peer;
use super::{Reason, request};
use crate::middleware::Draft;
use crate::table::{Choice, Route, Table, path_at, routing_host, rule_path};
use crate::worker::Buffers;

/// A head as its entry point lets it in, with what it is routed by.
pub(crate) struct Arrived<'h> {
    /// The head, cleaned.
    pub(crate) head: RequestHead<'h, 'h>,
    /// The host: lower case, without port.
    pub(crate) host: Cow<'h, str>,
    /// The path as it is sent on.
    pub(crate) path: Cow<'h, str>,
}

/// Why there is no way for a request.
#[derive(Debug)]
pub(crate) struct Unrouted<'t> {
    pub(crate) reason: Reason,
    /// The route that it would have, were it not for that.
    pub(crate) route: Option<&'t Arc<Route>>,
}

impl<'h> Arrived<'h> {
    /// Lets a head in, or refuses it. `cleaned` is room for what is cleaned of it.
    pub(crate) fn of<'b: 'h>(
        head: &RequestHead<'h, 'b>,
        cleaning: Option<&Cleaning>,
        sanitizes: bool,
        cleaned: &'h mut Cleaned<'b>,
    ) -> Result<Self, Refused> {
        let head: RequestHead<'h, 'h> = match cleaning {
            None => RequestHead { fields: head.fields, ..*head },
            Some(cleaning) => cleaning.clean(head, cleaned)?,
        };
        let (host, path) = (routing_host(head.authority), path_at(sanitizes, request::path(head.target)));
        Ok(Self { head, host, path })
    }

    /// The path as rules read it.
    pub(crate) fn ruled(&self) -> Cow<'_, str> {
        rule_path(&self.path)
    }

    /// The request as rules see it.
    pub(crate) fn view<'a>(&'a self, ruled: &'a str, peer: &Peer) -> RequestView<'a> {
        request::view(&self.head, &self.host, ruled, peer)
    }

    /// The request as middlewares edit it.
    pub(crate) fn draft(&self, peer: &Peer) -> Draft {
        let mut out = Rc::new(Buffers::default()).take();
        request::write(&self.head, &self.path, true, peer, "", &mut out);
        Draft::of(&self.head, out.filled(), peer)
    }

    /// Its route at this entry point. `may_ask` says whether its connection may ask for this host, by the options of TLS
    /// that hosts have.
    pub(crate) fn route<'t>(
        &self,
        table: &'t Table,
        at: &settings::EntryPoint,
        peer: &Peer,
        may_ask: impl FnOnce(&str, &Choice) -> bool,
    ) -> Result<&'t Arc<Route>, Unrouted<'t>> {
        let secure = peer.is_secure();
        let entry = table.entry_points.get(&at.name);
        let found = entry.and_then(|entry| {
            let route = entry.routes(secure).find(&self.view(&self.ruled(), peer))?;
            Some((entry, route))
        });
        match found {
            None => {
                let needs_tls = !secure && at.tls.is_some();
                let reason = if needs_tls { Reason::NeedsTls } else { table.no_route() };
                Err(Unrouted { reason, route: None })
            }
            Some((entry, route)) if secure && !may_ask(&self.host, &entry.options) => {
                Err(Unrouted { reason: Reason::Misdirected, route: Some(route) })
            }
            Some((_, route)) => Ok(route),
        }
    }
}
