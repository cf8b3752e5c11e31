//! With every name given out: the records that point to one. SRV records point to hosts, and addresses lead back to names.
//!
//! It knows who has which name. It must not give any out.

use std::net::IpAddr;
use std::sync::Arc;

use portolan_config::Fault;
use portolan_discovery::{Service, State};

use super::{Asker, Claim, Compiler, Manner, Member, NAMES_LABEL, PORTS, REVERSE, Rank, What, name_source};
use crate::names;
use crate::records::Host;
use crate::zone::member;

impl Compiler {
    /// With every name given out: who is pointed to by which.
    pub(super) fn ask_last(&mut self, by: u32, manner: Manner) {
        let mut member = std::mem::take(&mut self.members[by as usize]);
        for key in std::mem::take(&mut member.asked_ports) {
            self.names.withdraw(&key, by, PORTS..=PORTS);
        }
        for key in std::mem::take(&mut member.asked_reverse) {
            self.elsewhere.withdraw(&key, by, REVERSE);
        }
        member.faults[2].clear();
        if let Some(asker) = member.asker.clone()
            && let Some(service) = &asker.service
        {
            self.judge_tasks(by, &mut member, service);
            let hosts: Vec<Option<Arc<Host>>> =
                (0..service.endpoints.len()).map(|at| self.host(by, &member, service, at)).collect();
            self.ask_ports(&mut member, service, &asker, &hosts, manner);
            self.ask_reverse(&mut member, service, &asker, &hosts, manner);
        }
        member.asked_ports.shrink_to_fit();
        member.asked_reverse.shrink_to_fit();
        self.members[by as usize] = member;
    }

    /// Tells of the names below its own, and of those elsewhere, that it did not get.
    fn judge_tasks(&self, by: u32, member: &mut Member, service: &Service) {
        for key in &member.asked_elsewhere {
            let holder = self.elsewhere.holder(key).filter(|claim| claim.by() != by);
            let Some(owner) = holder.and_then(|claim| claim.asker.service.as_ref()) else { continue };
            let name = names::shown(key);
            let message =
                format!("`{name}.` is a name of `{}` already, which has the elder instance", owner.name);
            let origin = format!("service {}", service.name);
            member.faults[2].push(Fault::new(origin, NAMES_LABEL, message));
        }
        let held = member.asked.iter().filter(|asked| asked.held);
        for (name, label) in
            held.flat_map(|asked| [&b"\x05tasks"[..], b"\x03all"].map(|label| (&asked.key, label)))
        {
            let reason = match names::below(label, name, self.room) {
                Ok(key) if self.names.holder(&key).is_none_or(|claim| claim.by() == by) => continue,
                Ok(_) => "a service is called so".to_owned(),
                // Said once: what has no room for `all` has none for `tasks`.
                Err(_) if label == b"\x03all" => continue,
                Err(error) => error.to_string(),
            };
            let label = String::from_utf8_lossy(&label[1..]);
            member.faults[2].push(Fault::new(
                format!("service {}", service.name),
                name_source(&service.key),
                format!("it gets no name under `{label}`: {reason}"),
            ));
        }
    }

    /// The container by a name that means it and nothing else: its own, else its id.
    fn host(&self, by: u32, member: &Member, service: &Service, at: usize) -> Option<Arc<Host>> {
        let instance = &service.endpoints[at].instance;
        let node = member.containers.get(at)?;
        let is_this = |claim: &Claim| claim.by() == by && claim.at as usize == at;
        for (name, rank) in [(&*instance.name, Rank::Container), (instance.id.short(), Rank::Id)] {
            let Ok(key) = names::key(name, self.room) else { continue };
            match self.names.holder(&key) {
                Some(claim) if claim.rank == rank && is_this(claim) => {
                    return Some(Arc::new(Host { name: key, node: Arc::clone(node) }));
                }
                // Taken by its own service, with no other replica: then that name means this container just as well.
                Some(claim)
                    if claim.rank == Rank::Service && claim.by() == by && service.endpoints.len() == 1 =>
                {
                    return Some(Arc::new(Host { name: key, node: Arc::clone(&member.node) }));
                }
                _ => {}
            }
        }
        None
    }

    /// `_NAME._proto` and `_NUMBER._proto` below every name of the service.
    fn ask_ports(
        &mut self,
        member: &mut Member,
        service: &Service,
        asker: &Arc<Asker>,
        hosts: &[Option<Arc<Host>>],
        manner: Manner,
    ) {
        let (sets, faulty) = manner.ports(service, hosts, self.apex.origin());
        let at = member::eldest(service);
        let origin = format!("service {}", service.name);
        for (labels, set) in sets {
            // Without a place the name exists all the same.
            let what = set.map_or_else(
                || What::Node(Arc::clone(&self.apex.nothing)),
                |set| What::Beside(Arc::new(set)),
            );
            for asked in member.asked.iter().filter(|asked| asked.held) {
                match names::below(&labels, &asked.key, self.room) {
                    Ok(key) => {
                        let (asker, what) = (Arc::clone(asker), what.clone());
                        self.names.claim(&key, Claim { rank: PORTS, at, asker, what });
                        member.asked_ports.push(key);
                    }
                    Err(error) => {
                        let message = format!("a port gets no SRV record: {error}");
                        member.faults[2].push(Fault::new(&*origin, "port", message));
                    }
                }
            }
        }
        for name in faulty {
            let message =
                format!("`{name}` can't be a port's name in DNS: use 1 to 62 letters, digits, `-` and `_`");
            member.faults[2].push(Fault::new(&*origin, "port", message));
        }
    }

    /// Its addresses lead back to its name, as long as it has them: also while it can't be given new work.
    fn ask_reverse(
        &mut self,
        member: &mut Member,
        service: &Service,
        asker: &Arc<Asker>,
        hosts: &[Option<Arc<Host>>],
        manner: Manner,
    ) {
        for (at, (endpoint, host)) in (0..).zip(service.endpoints.iter().zip(hosts)) {
            let Some(host) = host.as_ref().filter(|_| endpoint.state != State::Stopped) else { continue };
            let node = manner.reverse(endpoint, &host.name, self.apex.origin());
            let ips: Vec<IpAddr> = member::every_address(endpoint);
            for key in ips.into_iter().map(names::reverse_key) {
                let (asker, what) = (Arc::clone(asker), What::Node(Arc::clone(&node)));
                self.elsewhere.claim(&key, Claim { rank: Rank::Alias, at, asker, what });
                member.asked_reverse.push(key);
            }
        }
    }
}
