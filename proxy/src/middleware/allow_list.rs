//! `ipAllowList`, and its old name `ipWhiteList`: who may ask.

use std::net::IpAddr;

use portolan_config::dynamic::middleware::IpAllowList;
use portolan_config::dynamic::value::IpRange;

use super::answer::phrase;
use super::source::Strategy;
use super::{Draft, OwnAnswer};
use crate::http::Reason;

/// Lets those on a list through.
#[derive(Debug)]
pub(crate) struct AllowList {
    ranges: Vec<IpRange>,
    strategy: Strategy,
    status: u16,
}

impl AllowList {
    pub(super) fn compile(written: &IpAllowList) -> Result<Self, String> {
        if phrase(written.reject_status_code).is_empty() || written.reject_status_code < 200 {
            return Err(format!(
                "`rejectStatusCode`: {} is no status of an answer",
                written.reject_status_code
            ));
        }
        Ok(Self {
            ranges: written.source_range.clone(),
            strategy: Strategy::of(written.ip_strategy.as_ref())?,
            status: written.reject_status_code,
        })
    }

    pub(super) fn request(&self, draft: &Draft) -> Result<(), Box<OwnAnswer>> {
        // What is no address is on no list.
        let address = self.strategy.find(draft).parse::<IpAddr>();
        if address.is_ok_and(|address| self.ranges.iter().any(|range| range.contains(address))) {
            return Ok(());
        }
        let mut answer = OwnAnswer::new(self.status);
        answer.body = phrase(self.status).into();
        answer.reason = Some(Reason::NotAllowed);
        Err(answer.into())
    }
}
