//! The cookies that an answer sets besides its own, so that its client stays where it is.

use std::cell::RefCell;

/// Values of `Set-Cookie`. Most answers have none, and next to nothing of this.
#[derive(Debug, Default)]
pub(crate) struct Cookies(RefCell<Option<Box<Set>>>);

#[derive(Debug, Default)]
struct Set {
    /// Of the services that were chosen among: known before the request is sent.
    services: Vec<String>,
    /// Of the endpoint that it was sent to last.
    endpoint: Option<String>,
}

impl Cookies {
    pub(in crate::http) fn of_services(services: Vec<String>) -> Self {
        let any = !services.is_empty();
        Self(RefCell::new(any.then(|| Box::new(Set { services, endpoint: None }))))
    }

    /// Adds those of a service that the request goes on to.
    pub(super) fn join(&self, other: Self) {
        let Some(more) = other.0.into_inner() else { return };
        self.0.borrow_mut().get_or_insert_default().services.extend(more.services);
    }

    /// The request is sent to an endpoint that this cookie stands for, unless the client knows.
    pub(super) fn is_sent_to(&self, endpoint: Option<String>) {
        let mut set = self.0.borrow_mut();
        if endpoint.is_some() || set.is_some() {
            set.get_or_insert_default().endpoint = endpoint;
        }
    }

    /// Each of them.
    pub(in crate::http) fn each(&self, mut set: impl FnMut(&str)) {
        let Some(cookies) = &*self.0.borrow() else { return };
        for cookie in cookies.services.iter().chain(&cookies.endpoint) {
            set(cookie);
        }
    }
}
