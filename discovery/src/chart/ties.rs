//! What ties one source of wishes to another: the names that it claims or leans on, and the ports that it asks for. Sources
//! without a common tie can be drawn one without the other, and the chart is the same.
//!
//! Ties are hashes. Two that are the same by chance only make a part larger than it had to be.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use portolan_config::Publish;
use portolan_config::dynamic::middleware::Middleware;

use super::wish::{TcpKind, Wishes};

/// A tie.
pub(super) type Tie = u64;

/// Certificates, stores and options are put together in their sources' order: whoever has any is in one part.
const TLS: &str = "\0tls";
/// Files are one source for faults.
const DOCUMENT: &str = "\0document";

/// What ties an instance of this service to others.
pub(super) fn of_instance(service: &str, publish: &[Publish], wishes: &Wishes) -> Box<[Tie]> {
    let mut ties = vec![tie(service)];
    let (name, provider) = service.rsplit_once('@').unwrap_or((service, ""));
    for publish in publish {
        ties.push(tie((publish.host_port, publish.protocol)));
        ties.push(tie(format!("{name}:{}/{}@{provider}", publish.target_port, publish.protocol).as_str()));
    }
    of_wishes(wishes, &mut ties);
    settled(ties)
}

/// What ties a provider's files to others.
pub(super) fn of_document(wishes: &Wishes) -> Box<[Tie]> {
    let mut ties = vec![tie(DOCUMENT)];
    of_wishes(wishes, &mut ties);
    settled(ties)
}

fn tie(what: impl Hash) -> Tie {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn settled(mut ties: Vec<Tie>) -> Box<[Tie]> {
    ties.sort_unstable();
    ties.dedup();
    ties.into()
}

fn of_wishes(wishes: &Wishes, ties: &mut Vec<Tie>) {
    if !(wishes.certificates.is_empty() && wishes.tls_options.is_empty() && wishes.stores.is_empty()) {
        ties.push(tie(TLS));
    }
    let mut name = |name: &str| {
        // What everybody may lean on and nobody claims.
        if !matches!(name, "" | "default" | "default@internal") {
            ties.push(tie(name));
        }
    };
    for wish in &wishes.routers {
        name(&wish.name);
        let Some(router) = &wish.value else { continue };
        name(&router.upstream);
        router.middlewares.iter().for_each(|middleware| name(middleware));
        name(router.tls.as_ref().and_then(|tls| tls.options.as_deref()).unwrap_or_default());
    }
    for wish in &wishes.services {
        name(&wish.name);
        let Some(service) = &wish.value else { continue };
        service.definition.middlewares.iter().for_each(|middleware| name(middleware));
        service.definition.kind.children().into_iter().for_each(|(_, child)| name(child));
        name(service.balancing.as_ref().map_or("", |balancing| &balancing.servers_transport));
    }
    for wish in &wishes.middlewares {
        name(&wish.name);
        match wish.value.as_deref() {
            Some(Middleware::Chain(chain)) => {
                chain.middlewares.iter().for_each(|middleware| name(middleware));
            }
            Some(Middleware::Errors(errors)) => name(&errors.service),
            _ => {}
        }
    }
    for wish in &wishes.tcp_routers {
        name(&wish.name);
        let Some(router) = &wish.value else { continue };
        name(&router.upstream);
        router.middlewares.iter().for_each(|middleware| name(middleware));
    }
    for wish in &wishes.tcp_services {
        name(&wish.name);
        match wish.value.as_ref().map(|service| &service.kind) {
            Some(TcpKind::Balanced(balancing)) => name(&balancing.servers_transport),
            Some(TcpKind::Weighted(weighted)) => weighted.services.iter().for_each(|child| name(&child.name)),
            None => {}
        }
    }
    for wish in &wishes.udp_routers {
        name(&wish.name);
        name(wish.value.as_ref().map_or("", |router| &router.upstream));
    }
    for wish in &wishes.udp_services {
        name(&wish.name);
        let weighted = wish.value.as_ref().and_then(|service| service.weighted.as_ref());
        weighted.into_iter().flat_map(|weighted| &weighted.services).for_each(|child| name(&child.name));
    }
    let others = [
        wishes.transports.iter().map(|wish| &wish.name).collect::<Vec<_>>(),
        wishes.tcp_middlewares.iter().map(|wish| &wish.name).collect(),
        wishes.tcp_transports.iter().map(|wish| &wish.name).collect(),
        wishes.tls_options.iter().map(|wish| &wish.name).collect(),
    ];
    others.into_iter().flatten().for_each(|other| name(other));
}

/// Puts things together that have a tie in common, directly or by way of others. Gives a number for each that is the same
/// for all of one part, in the order in which the first of each came.
pub(super) fn parts<'t>(of: impl Iterator<Item = &'t [Tie]>) -> Vec<usize> {
    let mut parents: Vec<usize> = Vec::new();
    let mut holders: BTreeMap<Tie, usize> = BTreeMap::new();
    for ties in of {
        let mut mine = parents.len();
        parents.push(mine);
        for tie in ties {
            let other = root(&mut parents, *holders.entry(*tie).or_insert(mine));
            // The first of a part stands for it.
            let (first, later) = (mine.min(other), mine.max(other));
            parents[later] = first;
            mine = first;
        }
    }
    (0..parents.len()).map(|index| root(&mut parents, index)).collect()
}

fn root(parents: &mut [usize], index: usize) -> usize {
    let mut top = index;
    while parents[top] != top {
        parents[top] = parents[parents[top]];
        top = parents[top];
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tied_by_way_of_others_is_one_part() {
        let ties: [&[Tie]; 6] = [&[1], &[2], &[3, 4], &[5, 1], &[2, 5], &[]];
        assert_eq!(parts(ties.into_iter()), [0, 0, 2, 0, 0, 5]);
    }
}
