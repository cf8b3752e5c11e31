//! Where the requests of a route go: an upstream, or services of services, of which each request chooses one.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Cursor, Upstream};
use crate::balancer::{Asker, Rotation, hash};
use crate::sticky::Sticky;

/// A service, of whatever kind.
#[derive(Debug)]
pub(crate) enum Destination {
    /// Spread over targets.
    Upstream(Arc<Upstream>),
    /// Spread over services, by weight.
    Weighted(Weighted),
    /// Each client to the same one of several services.
    Hashed(Vec<Child>),
    /// The first, and the other while that can't serve.
    Failover(Arc<Self>, Arc<Self>),
}

/// Services, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Weighted {
    children: Vec<Child>,
    /// Those of them that take turns, by their places: those that can serve, or all, where none can. A share that skips
    /// others would go to whoever is next to them.
    takers: Vec<usize>,
    turns: Rotation,
    cursor: Arc<Cursor>,
    /// Where a client stays with its service, whose number in the cookie is its place among the children.
    sticky: Option<Sticky>,
}

/// A service within another; its weight is not 0.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) destination: Arc<Destination>,
    pub(crate) weight: u32,
    /// What hashes go by.
    pub(crate) key: u64,
}

/// What is known of a request that has to be sent somewhere.
pub(crate) struct Ask<'a> {
    /// Who sent it.
    pub(crate) client: IpAddr,
    /// The value of one of its cookies.
    pub(crate) cookie: &'a dyn Fn(&str) -> Option<&'a [u8]>,
}

impl Destination {
    /// Whether anything below can serve.
    pub(crate) fn can_serve(&self) -> bool {
        match self {
            Self::Upstream(upstream) => !upstream.available.is_empty(),
            Self::Weighted(Weighted { children, .. }) | Self::Hashed(children) => {
                children.iter().any(|child| child.destination.can_serve())
            }
            Self::Failover(first, other) => first.can_serve() || other.can_serve(),
        }
    }

    /// The upstream for a request; one that can't serve, where none can. `cookies` gets what the answer is to set.
    /// `None` where there is nothing at all.
    pub(crate) fn resolve(&self, ask: &Ask<'_>, cookies: &mut Vec<String>) -> Option<&Arc<Upstream>> {
        match self {
            Self::Upstream(upstream) => Some(upstream),
            Self::Weighted(weighted) => weighted.choose(ask, cookies)?.destination.resolve(ask, cookies),
            Self::Hashed(children) => {
                let drawn = Asker::at(ask.client).hash.unwrap_or_default();
                let pull = |child: &Child| hash::pull(drawn, child.key, child.weight);
                let strongest = |children: &mut dyn Iterator<Item = &'_ Child>| {
                    children.map(|child| (pull(child), child.key)).max_by(|a, b| a.0.total_cmp(&b.0))
                };
                let able = strongest(&mut children.iter().filter(|child| child.destination.can_serve()));
                let (_, key) = able.or_else(|| strongest(&mut children.iter()))?;
                let child = children.iter().find(|child| child.key == key)?;
                child.destination.resolve(ask, cookies)
            }
            Self::Failover(first, other) => {
                let next = if first.can_serve() || !other.can_serve() { first } else { other };
                next.resolve(ask, cookies)
            }
        }
    }
}

impl Weighted {
    /// Among these, which are as able to serve as they are now for as long as this lives.
    pub(crate) fn new(children: Vec<Child>, cursor: Arc<Cursor>, sticky: Option<Sticky>) -> Self {
        let all = 0..children.len();
        let able: Vec<usize> = all.clone().filter(|index| children[*index].destination.can_serve()).collect();
        let takers = if able.is_empty() { all.collect() } else { able };
        let weights: Vec<u32> = takers.iter().map(|index| children[*index].weight).collect();
        Self { turns: Rotation::new(&weights), children, takers, cursor, sticky }
    }

    fn choose(&self, ask: &Ask<'_>, cookies: &mut Vec<String>) -> Option<&Child> {
        let can_serve = |index: usize| self.children[index].destination.can_serve();
        let door = self.sticky.as_ref().and_then(|sticky| sticky.find((ask.cookie)(sticky.name())?));
        let stuck = door
            .and_then(|door| usize::try_from(door.number).ok())
            .filter(|index| *index < self.children.len() && can_serve(*index));
        let index = stuck.or_else(|| {
            let turn = self.turns.choose(self.cursor.next(), self.takers.len(), |_| true)?;
            self.takers.get(turn).copied()
        })?;
        if let Some(sticky) = &self.sticky
            && (stuck.is_none() || door.is_some_and(|door| door.outdated))
        {
            cookies.extend(sticky.set(index as u64));
        }
        self.children.get(index)
    }
}

#[cfg(test)]
mod tests {
    use portolan_config::dynamic::service::Cookie;

    use super::*;
    use crate::sticky::Place;

    fn upstream(name: &str, targets: usize) -> Arc<Destination> {
        Arc::new(Destination::Upstream(Arc::new(Upstream::made_up(name, targets))))
    }

    fn child(name: &str, targets: usize, weight: u32) -> Child {
        Child { destination: upstream(name, targets), weight, key: hash::of(name.as_bytes()) }
    }

    fn weighted(children: Vec<Child>, sticky: bool) -> Destination {
        let places = ["a", "b"].into_iter().zip(0..).map(|(text, number)| Place {
            number,
            text: text.to_owned(),
            also: Vec::new(),
        });
        let sticky = sticky.then(|| Sticky::new(&Cookie::default(), "w@test", places.collect()));
        Destination::Weighted(Weighted::new(children, Arc::default(), sticky))
    }

    /// Where a client at this address is sent that has this cookie, and what it is given.
    fn resolved(
        destination: &Destination,
        client: u8,
        cookie: Option<&'static str>,
    ) -> (String, Vec<String>) {
        let cookie = |_: &str| cookie.map(str::as_bytes);
        let ask = Ask { client: IpAddr::from([192, 0, 2, client]), cookie: &cookie };
        let mut cookies = Vec::new();
        let upstream = destination.resolve(&ask, &mut cookies).map_or("", |upstream| &upstream.name);
        (upstream.to_owned(), cookies)
    }

    fn shares(destination: &Destination, name: &str) -> usize {
        (0..200).filter(|client| resolved(destination, *client, None).0 == name).count()
    }

    #[test]
    fn weights_decide_among_services_that_can_serve() {
        assert_eq!(shares(&weighted(vec![child("a", 1, 3), child("b", 1, 1)], false), "a"), 150);
        assert_eq!(shares(&weighted(vec![child("a", 0, 3), child("b", 1, 1)], false), "b"), 200);
        let neither = weighted(vec![child("a", 0, 3), child("b", 0, 1)], false);
        assert!(!neither.can_serve());
        assert_eq!(shares(&neither, ""), 0, "somebody has to say why not");
        assert_eq!(resolved(&weighted(Vec::new(), false), 1, None).0, "");
    }

    #[test]
    fn a_client_stays_with_its_service_while_that_can_serve() {
        let destination = weighted(vec![child("a", 1, 1), child("b", 1, 1)], true);
        let (first, set) = resolved(&destination, 1, None);
        let value: &'static str =
            set[0].split_once('=').unwrap().1.split_once(';').unwrap().0.to_owned().leak();
        for client in 0..20 {
            assert_eq!(resolved(&destination, client, Some(value)), (first.clone(), Vec::new()));
        }
        let gone = weighted(vec![child("a", 0, 1), child("b", 1, 1)], true);
        let (other, set) = resolved(&gone, 1, Some(value));
        assert_eq!((other.as_str(), set.len()), ("b", 1), "the cookie is set anew");
        assert_eq!(resolved(&destination, 1, Some("strange")).1.len(), 1);
    }

    #[test]
    fn each_client_is_drawn_to_one_service_and_moves_only_if_that_can_not_serve() {
        let all = Destination::Hashed(vec![child("a", 1, 1), child("b", 1, 1), child("c", 1, 2)]);
        let without = Destination::Hashed(vec![child("a", 0, 1), child("b", 1, 1), child("c", 1, 2)]);
        let share = shares(&all, "c");
        assert!((70..130).contains(&share), "{share}");
        for client in 0..200 {
            let before = resolved(&all, client, None).0;
            let after = resolved(&without, client, None).0;
            assert!(after == before || before == "a", "{before} {after}");
            assert_ne!(after, "a");
        }
    }

    #[test]
    fn the_other_serves_while_the_first_can_not() {
        let failover = |a, b| Destination::Failover(upstream("a", a), upstream("b", b));
        for (a, b, expected) in [(1, 1, "a"), (0, 1, "b"), (1, 0, "a"), (0, 0, "a")] {
            assert_eq!(resolved(&failover(a, b), 1, None).0, expected, "{a} {b}");
        }
    }

    #[test]
    fn services_of_services_of_services_are_as_good_as_what_is_below() {
        let inner = Arc::new(Destination::Failover(upstream("a", 0), upstream("b", 1)));
        let nested = Child { destination: inner, weight: 1, key: 1 };
        let destination = weighted(vec![nested, child("c", 0, 9)], false);
        assert!(destination.can_serve());
        assert_eq!(shares(&destination, "b"), 200);
    }
}
