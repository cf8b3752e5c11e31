//! The chart of everything, kept from one snapshot to the next. It is made of parts that have nothing to do with each other
//! ([`super::ties`]), so that a change costs what it changes, however much else there is.
//!
//! It knows which source is in which part, and must not know what sources ask for.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use portolan_config::Fault;
use portolan_config::tls::Tls;

use super::known::Known;
use super::ties::{self, Tie};
use super::wish::Wishes;
use super::{Chart, Document, HasName, Policy, Sketch, draw_part, fault};
use crate::instance::InstanceId;
use crate::provider::ProviderName;
use crate::snapshot::LayerFour;

/// So many things that changed are put in their places one by one; of more, all are sorted.
const FEW: usize = 32;

/// Where a source is found. In this order they are drawn.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum At {
    /// The files of a provider.
    Document(ProviderName),
    /// What a provider observed of an instance.
    Sketch(ProviderName, InstanceId),
}

/// A source.
#[derive(Clone, Copy, Debug)]
pub enum Drawable<'a> {
    /// The files of a provider.
    Document(&'a Document),
    /// What a provider observed of an instance.
    Sketch(&'a Sketch),
}

/// The chart of everything.
#[derive(Debug, Default)]
pub struct Whole {
    chart: Chart,
    parts: HashMap<usize, Part>,
    next: usize,
    /// The part of each source.
    places: HashMap<At, usize>,
    /// The part that has a tie.
    holders: HashMap<Tie, usize>,
    known: Known,
    /// Sources that are others since the chart was drawn last.
    changed: BTreeSet<At>,
    faults: BTreeMap<fault::Key, Fault>,
}

#[derive(Debug, Default)]
struct Part {
    members: Vec<At>,
    ties: Box<[Tie]>,
    drawn: Chart,
    faults: Vec<fault::Key>,
    /// Whether what is said of it depends on names that others have.
    wants_names: bool,
}

impl<'a> Drawable<'a> {
    fn ties(self) -> &'a [Tie] {
        match self {
            Self::Document(document) => &document.ties,
            Self::Sketch(sketch) => &sketch.ties,
        }
    }

    fn wishes(self) -> &'a Wishes {
        match self {
            Self::Document(document) => &document.wishes,
            Self::Sketch(sketch) => &sketch.wishes,
        }
    }
}

impl Whole {
    /// A source is new there, or is gone from there.
    pub fn entered(&mut self, at: At, source: Drawable<'_>) {
        self.known.enter(source.wishes());
        self.changed.insert(at);
    }

    /// The same, of one that was there until now.
    pub fn left(&mut self, at: At, source: Drawable<'_>) {
        self.known.leave(source.wishes());
        self.changed.insert(at);
    }

    /// Draws everything anew next time.
    pub fn redraw(&mut self) {
        self.changed.extend(self.places.keys().cloned());
    }

    /// The chart as it was drawn last.
    pub fn chart(&self) -> &Chart {
        &self.chart
    }

    /// The parts of it, each once, that have these instances, or the files that named them.
    pub fn parts_of<'i>(
        &self,
        instances: impl Iterator<Item = &'i (ProviderName, InstanceId)>,
    ) -> Vec<&Chart> {
        let place = |(provider, id): &(ProviderName, InstanceId)| {
            let instance = self.places.get(&At::Sketch(provider.clone(), id.clone()));
            instance.or_else(|| self.places.get(&At::Document(provider.clone()))).copied()
        };
        let numbers: BTreeSet<usize> = instances.filter_map(place).collect();
        numbers.iter().filter_map(|number| self.parts.get(number)).map(|part| &part.drawn).collect()
    }

    /// Brings the chart up to date, where `find` gives the sources.
    pub fn draw<'a>(&mut self, find: impl Fn(&At) -> Option<Drawable<'a>>, policy: &Policy) {
        let names_changed = self.known.take_changed();
        if names_changed {
            let wanting = self.parts.values().filter(|part| part.wants_names);
            self.changed.extend(wanting.flat_map(|part| part.members.iter().take(1).cloned()));
        }
        if self.changed.is_empty() {
            return;
        }
        let mut gone = Vec::new();
        let loose = self.take_apart(&find, &mut gone);
        let sources: Vec<Drawable<'a>> = loose.iter().filter_map(&find).collect();
        let numbers = ties::parts(sources.iter().map(|source| source.ties()));
        let mut together: BTreeMap<usize, (Vec<At>, Vec<Drawable<'a>>)> = BTreeMap::new();
        for ((number, at), source) in numbers.into_iter().zip(loose).zip(sources) {
            let (members, sources) = together.entry(number).or_default();
            members.push(at);
            sources.push(source);
        }
        let mut new = Vec::new();
        for (members, sources) in together.into_values() {
            new.push(self.draw_anew(members, &sources, policy));
        }
        self.put_together(&gone, &new);
    }

    /// Takes those parts apart that a change may be about. Gives all sources that are in none now, in their order.
    fn take_apart<'a>(
        &mut self,
        find: &impl Fn(&At) -> Option<Drawable<'a>>,
        gone: &mut Vec<Part>,
    ) -> Vec<At> {
        let mut loose = BTreeSet::new();
        for at in std::mem::take(&mut self.changed) {
            let ties = find(&at).map_or(&[][..], Drawable::ties);
            let of_ties = ties.iter().filter_map(|tie| self.holders.get(tie));
            let touched: HashSet<usize> = of_ties.chain(self.places.get(&at)).copied().collect();
            for number in touched {
                let Some(part) = self.parts.remove(&number) else { continue };
                for tie in &part.ties {
                    self.holders.remove(tie);
                }
                for member in &part.members {
                    self.places.remove(member);
                    if find(member).is_some() {
                        loose.insert(member.clone());
                    }
                }
                gone.push(part);
            }
            if find(&at).is_some() {
                loose.insert(at);
            }
        }
        loose.into_iter().collect()
    }

    fn draw_anew(&mut self, members: Vec<At>, sources: &[Drawable<'_>], policy: &Policy) -> usize {
        let sketches = sources.iter().filter_map(|source| match source {
            Drawable::Sketch(sketch) => Some(*sketch),
            Drawable::Document(_) => None,
        });
        let documents = sources.iter().filter_map(|source| match source {
            Drawable::Document(document) => Some(*document),
            Drawable::Sketch(_) => None,
        });
        self.known.take_asked();
        let (drawn, faults) = draw_part(sketches, documents, policy, &self.known, &self.chart);
        let mut ties: Vec<Tie> = sources.iter().flat_map(|source| source.ties()).copied().collect();
        ties.sort_unstable();
        ties.dedup();
        let part = Part {
            ties: ties.into(),
            drawn,
            faults: faults.keys().cloned().collect(),
            wants_names: self.known.take_asked(),
            members,
        };
        let number = self.next;
        self.next += 1;
        self.holders.extend(part.ties.iter().map(|tie| (*tie, number)));
        self.places.extend(part.members.iter().map(|member| (member.clone(), number)));
        self.faults.extend(faults);
        self.parts.insert(number, part);
        number
    }

    /// Puts what was drawn anew in the place of what it was before.
    fn put_together(&mut self, gone: &[Part], new: &[usize]) {
        let new: Vec<&Part> = new.iter().filter_map(|number| self.parts.get(number)).collect();
        let (old, chart) = (|| gone.iter().map(|part| &part.drawn), &mut self.chart);
        let drawn = || new.iter().map(|part| &part.drawn);
        replace(
            &mut chart.services,
            old().map(|part| &part.services),
            drawn().map(|part| &part.services),
            by_name,
        );
        replace(
            &mut chart.routers,
            old().map(|part| &part.routers),
            drawn().map(|part| &part.routers),
            by_name,
        );
        replace(
            &mut chart.upstreams,
            old().map(|part| &part.upstreams),
            drawn().map(|part| &part.upstreams),
            by_name,
        );
        replace(
            &mut chart.composites,
            old().map(|part| &part.composites),
            drawn().map(|part| &part.composites),
            by_name,
        );
        replace(
            &mut chart.publications,
            old().map(|part| &part.publications),
            drawn().map(|part| &part.publications),
            |a, b| (&a.publish, &a.service).cmp(&(&b.publish, &b.service)),
        );
        replace_named(
            &mut chart.middlewares,
            old().map(|part| &*part.middlewares),
            drawn().map(|part| &*part.middlewares),
        );
        replace_named(
            &mut chart.middleware_origins,
            old().map(|part| &*part.middleware_origins),
            drawn().map(|part| &*part.middleware_origins),
        );
        let has_any = |part: &Chart| !is_empty(&part.layer_four);
        if old().any(has_any) || drawn().any(has_any) {
            let four = |part: &'_ Chart| part.layer_four.clone();
            let (old, new): (Vec<_>, Vec<_>) = (old().map(four).collect(), drawn().map(four).collect());
            layer_four(Arc::make_mut(&mut chart.layer_four), &old, &new);
        }
        // Whoever has any of it is in one part.
        let has_tls = |part: &&Chart| *part.tls != Tls::default();
        if let Some(part) = drawn().find(has_tls) {
            if part.tls != chart.tls {
                chart.tls = part.tls.clone();
            }
        } else if old().any(|part| has_tls(&part)) {
            chart.tls = Arc::default();
        }
        if gone.iter().chain(new.iter().copied()).any(|part| !part.faults.is_empty()) {
            let still: HashSet<&fault::Key> = new.iter().flat_map(|part| &part.faults).collect();
            for key in gone.iter().flat_map(|part| &part.faults).filter(|key| !still.contains(key)) {
                self.faults.remove(key);
            }
            chart.faults = self.faults.values().cloned().collect();
        }
    }
}

fn by_name<T: HasName>(a: &T, b: &T) -> Ordering {
    a.name().cmp(b.name())
}

fn is_empty(four: &LayerFour) -> bool {
    four.tcp_routers.is_empty()
        && four.tcp_upstreams.is_empty()
        && four.tcp_middlewares.is_empty()
        && four.udp_routers.is_empty()
        && four.udp_upstreams.is_empty()
}

/// Takes some things out of a sorted list, and puts others in.
fn replace<'p, T: 'p>(
    all: &mut Vec<Arc<T>>,
    gone: impl Iterator<Item = &'p Vec<Arc<T>>>,
    new: impl Iterator<Item = &'p Vec<Arc<T>>>,
    order: impl Fn(&T, &T) -> Ordering,
) {
    let gone: Vec<&Arc<T>> = gone.flatten().collect();
    let new: Vec<&Arc<T>> = new.flatten().collect();
    if gone.len() + new.len() > FEW {
        let gone: HashSet<*const T> = gone.into_iter().map(Arc::as_ptr).collect();
        all.retain(|thing| !gone.contains(&Arc::as_ptr(thing)));
        all.extend(new.into_iter().cloned());
        all.sort_by(|a, b| order(a, b));
        return;
    }
    for thing in gone {
        if let Ok(at) = all.binary_search_by(|other| order(other, thing)) {
            all.remove(at);
        }
    }
    for thing in new {
        let at = all.partition_point(|other| order(other, thing).is_lt());
        all.insert(at, thing.clone());
    }
}

/// The same of things by name. What says the same as before is left as it was.
fn replace_named<'p, T: Clone + PartialEq + 'p>(
    all: &mut Arc<BTreeMap<String, T>>,
    gone: impl Iterator<Item = &'p BTreeMap<String, T>>,
    new: impl Iterator<Item = &'p BTreeMap<String, T>>,
) {
    let new: BTreeMap<&String, &T> = new.flatten().collect();
    let gone: Vec<&String> = gone.flat_map(BTreeMap::keys).filter(|name| !new.contains_key(name)).collect();
    let differs = |(name, thing): &(&String, &T)| all.get(*name) != Some(*thing);
    let new: Vec<(&String, &T)> = new.into_iter().filter(differs).collect();
    if gone.is_empty() && new.is_empty() {
        return;
    }
    let all = Arc::make_mut(all);
    for name in gone {
        all.remove(name);
    }
    all.extend(new.into_iter().map(|(name, thing)| (name.clone(), thing.clone())));
}

fn layer_four(all: &mut LayerFour, gone: &[Arc<LayerFour>], new: &[Arc<LayerFour>]) {
    fn within<T>(
        all: &mut BTreeMap<String, Arc<T>>,
        gone: &[Arc<LayerFour>],
        new: &[Arc<LayerFour>],
        of: impl Fn(&LayerFour) -> &BTreeMap<String, Arc<T>>,
    ) {
        for name in gone.iter().flat_map(|part| of(part).keys()) {
            all.remove(name);
        }
        let new = new.iter().flat_map(|part| of(part));
        all.extend(new.map(|(name, thing)| (name.clone(), thing.clone())));
    }
    within(&mut all.tcp_upstreams, gone, new, |part| &part.tcp_upstreams);
    within(&mut all.tcp_middlewares, gone, new, |part| &part.tcp_middlewares);
    within(&mut all.udp_upstreams, gone, new, |part| &part.udp_upstreams);
    replace(
        &mut all.tcp_routers,
        gone.iter().map(|part| &part.tcp_routers),
        new.iter().map(|part| &part.tcp_routers),
        |a, b| a.name.cmp(&b.name),
    );
    replace(
        &mut all.udp_routers,
        gone.iter().map(|part| &part.udp_routers),
        new.iter().map(|part| &part.udp_routers),
        |a, b| a.name.cmp(&b.name),
    );
}

#[cfg(test)]
mod tests;
