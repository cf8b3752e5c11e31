//! Where the requests of a route go: an upstream, or services of services, of which each request chooses one.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Cursor, Errors, Upstream, Way};
use crate::balancer::{Asker, Rotation, hash};
use crate::middleware::Chain;
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
    /// The first, and the other while that can't serve, or after answers like these.
    Failover(Arc<Self>, Arc<Self>, Option<Arc<Errors>>),
    /// One that answers, and others that get copies.
    Mirrored(Arc<Self>, Mirrors),
    /// One within another that has middlewares of its own.
    Through(Arc<Chain>, Arc<Self>),
}

/// Who gets copies of requests.
#[derive(Debug)]
pub(crate) struct Mirrors {
    each: Vec<Reflection>,
    /// Requests so far.
    total: AtomicU64,
    /// Bytes of a body that is copied; `None` where copies have none.
    body_bytes_max: Option<u64>,
}

/// A service that gets copies of a share of the requests.
#[derive(Debug)]
struct Reflection {
    destination: Arc<Destination>,
    percent: u64,
    /// How many it got.
    taken: AtomicU64,
}

/// A copy that a request is to have.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Who gets it.
    pub(crate) upstream: Arc<Upstream>,
    /// Bytes of a body that is copied; a request with a longer one is not copied. `None` is that copies have no body.
    pub(crate) body_bytes_max: Option<u64>,
}

impl Mirrors {
    /// Those of these shares. Below zero, bodies of any length are copied.
    pub(crate) fn new(
        each: impl Iterator<Item = (Arc<Destination>, u8)>,
        with_body: bool,
        body_max: i64,
    ) -> Self {
        let reflection = |(destination, percent): (Arc<Destination>, u8)| Reflection {
            destination,
            percent: u64::from(percent.min(100)),
            taken: AtomicU64::new(0),
        };
        let body_bytes_max = with_body.then(|| u64::try_from(body_max).unwrap_or(u64::MAX));
        Self { each: each.map(reflection).collect(), total: AtomicU64::new(0), body_bytes_max }
    }

    /// Adds the copies of the next request to those it has.
    fn draw(&self, ask: &Ask<'_>) {
        let total = self.total.fetch_add(1, Relaxed) + 1;
        for mirror in &self.each {
            let taken = mirror.taken.load(Relaxed);
            if taken * 100 >= total * mirror.percent {
                continue;
            }
            mirror.taken.fetch_add(1, Relaxed);
            // Copies set no cookies, and have no copies of their own.
            let aside = Ask::new(ask.client, ask.cookie);
            if let Some(upstream) = mirror.destination.resolve(&aside, &mut Vec::new()) {
                let (upstream, body_bytes_max) = (upstream.clone(), self.body_bytes_max);
                ask.mirrors.borrow_mut().push(Mirror { upstream, body_bytes_max });
            }
        }
    }
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
    /// The copies that it is to have.
    pub(crate) mirrors: RefCell<Vec<Mirror>>,
    /// What it meets on its way.
    pub(crate) way: RefCell<Way>,
}

impl<'a> Ask<'a> {
    /// Of this client, who has these cookies.
    pub(crate) fn new(client: IpAddr, cookie: &'a dyn Fn(&str) -> Option<&'a [u8]>) -> Self {
        Self { client, cookie, mirrors: RefCell::default(), way: RefCell::default() }
    }
}

impl Destination {
    /// Whether anything below can serve.
    pub(crate) fn can_serve(&self) -> bool {
        match self {
            Self::Upstream(upstream) => !upstream.available.is_empty(),
            Self::Weighted(Weighted { children, .. }) | Self::Hashed(children) => {
                children.iter().any(|child| child.destination.can_serve())
            }
            Self::Failover(first, other, _) => first.can_serve() || other.can_serve(),
            Self::Mirrored(within, _) | Self::Through(_, within) => within.can_serve(),
        }
    }

    /// Whether anything below has middlewares of its own.
    pub(crate) fn has_middlewares(&self) -> bool {
        match self {
            Self::Upstream(_) => false,
            Self::Weighted(Weighted { children, .. }) | Self::Hashed(children) => {
                children.iter().any(|child| child.destination.has_middlewares())
            }
            Self::Failover(first, other, _) => first.has_middlewares() || other.has_middlewares(),
            Self::Mirrored(main, _) => main.has_middlewares(),
            Self::Through(..) => true,
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
            Self::Failover(first, other, errors) => {
                if !first.can_serve() && other.can_serve() {
                    return other.resolve(ask, cookies);
                }
                if let Some(errors) = errors {
                    ask.way.borrow_mut().may_turn(errors, other);
                }
                first.resolve(ask, cookies)
            }
            Self::Through(chain, within) => {
                ask.way.borrow_mut().chains.push(chain.clone());
                within.resolve(ask, cookies)
            }
            Self::Mirrored(main, mirrors) => {
                mirrors.draw(ask);
                main.resolve(ask, cookies)
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
        let ask = Ask::new(IpAddr::from([192, 0, 2, client]), &cookie);
        let mut cookies = Vec::new();
        let upstream = destination.resolve(&ask, &mut cookies).map_or("", |upstream| &upstream.name);
        (upstream.to_owned(), cookies)
    }

    fn shares(destination: &Destination, name: &str) -> usize {
        (0..200).filter(|client| resolved(destination, *client, None).0 == name).count()
    }

    #[test]
    fn copies_are_drawn_evenly_by_their_share() {
        let shares = [("all", 100), ("some", 25), ("none", 0)];
        let each = shares.into_iter().map(|(name, percent)| (upstream(name, 1), percent));
        let mirrored = Destination::Mirrored(upstream("main", 1), Mirrors::new(each, true, -1));
        let ask = Ask::new(IpAddr::from([192, 0, 2, 1]), &|_| None);
        for _ in 0..8 {
            let main = mirrored.resolve(&ask, &mut Vec::new());
            assert_eq!(main.map(|upstream| upstream.name.as_str()), Some("main"));
        }
        let drawn = ask.mirrors.take();
        let count = |name: &str| drawn.iter().filter(|mirror| mirror.upstream.name == name).count();
        assert_eq!((count("all"), count("some"), count("none")), (8, 2, 0));
        assert!(drawn.iter().all(|mirror| mirror.body_bytes_max == Some(u64::MAX)));
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
        let failover = |a, b| Destination::Failover(upstream("a", a), upstream("b", b), None);
        for (a, b, expected) in [(1, 1, "a"), (0, 1, "b"), (1, 0, "a"), (0, 0, "a")] {
            assert_eq!(resolved(&failover(a, b), 1, None).0, expected, "{a} {b}");
        }
    }

    #[test]
    fn services_of_services_of_services_are_as_good_as_what_is_below() {
        let inner = Arc::new(Destination::Failover(upstream("a", 0), upstream("b", 1), None));
        let nested = Child { destination: inner, weight: 1, key: 1 };
        let destination = weighted(vec![nested, child("c", 0, 9)], false);
        assert!(destination.can_serve());
        assert_eq!(shares(&destination, "b"), 200);
    }
}
