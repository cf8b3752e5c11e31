//! What the registry knows, as bytes for a process to come: what each source said last, and when that was last true.
//!
//! ```text
//! portolan-state 1                  the version of what follows
//! 6c62272e07bb0142 20480            its checksum (SipHash-1-3 of no key, in hexadecimal) and its length in bytes
//! {"boot":…,"sources":[…],"orders":[…]}      JSON
//! ```
//!
//! It knows no file and no clock. Documents are not in it, as their files are there to be read, nor are verdicts: whoever
//! checks asks at once.

use std::hash::Hasher;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::instance::Instance;
use crate::order::Standing;
use crate::provider::ProviderName;

/// The version that this program writes, and the only one that it reads.
const VERSION: u32 = 1;
const MAGIC: &str = "portolan-state";
/// Bytes of a state that is read, at most: a hundred thousand containers have some hundred MiB.
pub const BYTES_MAX: u64 = 1 << 30;

/// What sources said last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Which start of the machine it is of, as the kernel calls it; addresses of containers do not outlive that.
    pub boot: String,
    /// The sources that have said anything.
    pub sources: Vec<KeptSource>,
    /// What operators ordered. That holds whatever was started anew meanwhile.
    pub orders: Vec<Standing>,
}

/// What one source said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSource {
    /// Its name.
    pub provider: ProviderName,
    /// When that was last known to be true: as long as the source answers, what it said last is.
    pub as_of: SystemTime,
    /// What it told of.
    pub instances: Vec<Arc<Instance>>,
}

/// Why bytes are no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeptError {
    /// Another version of this program wrote it.
    #[error("it is of version {0}, and this program reads version {VERSION}")]
    Version(u32),
    /// It is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

#[derive(Serialize)]
struct Write<'a> {
    boot: &'a str,
    sources: Vec<WriteSource<'a>>,
    orders: &'a [Standing],
}

#[derive(Serialize)]
struct WriteSource<'a> {
    provider: &'a str,
    #[serde(with = "nanoseconds")]
    as_of: SystemTime,
    instances: Vec<&'a Instance>,
}

#[derive(Deserialize)]
struct Read {
    boot: String,
    sources: Vec<ReadSource>,
    /// Earlier versions kept none.
    #[serde(default)]
    orders: Vec<Standing>,
}

#[derive(Deserialize)]
struct ReadSource {
    provider: String,
    #[serde(with = "nanoseconds")]
    as_of: SystemTime,
    instances: Vec<Instance>,
}

impl Kept {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let sources = self
            .sources
            .iter()
            .map(|source| WriteSource {
                provider: &source.provider.0,
                as_of: source.as_of,
                instances: source.instances.iter().map(|instance| &**instance).collect(),
            })
            .collect();
        let written = Write { boot: &self.boot, sources, orders: &self.orders };
        let body = serde_json::to_vec(&written).expect("texts and numbers can be written");
        let mut bytes = format!("{MAGIC} {VERSION}\n{:016x} {}\n", checksum(&body), body.len()).into_bytes();
        bytes.extend(body);
        bytes
    }

    /// From bytes.
    ///
    /// # Errors
    ///
    /// When they are of another version, or are not what was written.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeptError> {
        let damaged = |why: &str| KeptError::Damaged(why.to_owned());
        let (first, rest) = line(bytes).ok_or_else(|| damaged("it has no first line"))?;
        let version = first.strip_prefix(MAGIC).and_then(|version| version.trim().parse().ok());
        let version: u32 = version.ok_or_else(|| damaged("it does not begin as one"))?;
        if version != VERSION {
            return Err(KeptError::Version(version));
        }
        let (second, body) = line(rest).ok_or_else(|| damaged("it has no checksum"))?;
        let (sum, length) = second.split_once(' ').ok_or_else(|| damaged("it has no checksum"))?;
        if length.parse() != Ok(body.len()) {
            return Err(KeptError::Damaged(format!("it has {} bytes instead of {length}", body.len())));
        }
        if u64::from_str_radix(sum, 16) != Ok(checksum(body)) {
            return Err(damaged("its checksum is another"));
        }
        let read: Read =
            serde_json::from_slice(body).map_err(|error| KeptError::Damaged(error.to_string()))?;
        let sources = read.sources.into_iter().map(|source| KeptSource {
            provider: ProviderName::new(&source.provider),
            as_of: source.as_of,
            instances: source.instances.into_iter().map(Arc::new).collect(),
        });
        Ok(Self { boot: read.boot, sources: sources.collect(), orders: read.orders })
    }

    /// Whether it tells of this source.
    pub fn has(&self, provider: &str) -> bool {
        self.sources.iter().any(|source| &*source.provider.0 == provider)
    }
}

fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    /// No line of ours is longer.
    const LINE_MAX: usize = 64;
    let end = bytes.iter().take(LINE_MAX).position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

fn checksum(body: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(body);
    hasher.finish()
}

/// Moments as nanoseconds since the epoch; what was before is the epoch.
pub(crate) mod nanoseconds {
    use serde::{Deserializer, Serializer};

    use super::{Deserialize, Duration, SystemTime, UNIX_EPOCH};

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        serializer.serialize_u64(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        Ok(UNIX_EPOCH + Duration::from_nanos(u64::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use portolan_config::Protocol;

    use super::*;
    use crate::instance::{Binding, InstanceId, NetworkAddress, Node, Port, ServiceKey, State};
    use crate::order::Subject;

    fn kept() -> Kept {
        let port = Port { number: 80, protocol: Protocol::Udp };
        let instance = |number: u64, service, state| {
            Arc::new(Instance {
                id: InstanceId::new(&format!("id-{number}")),
                name: format!("näme-{number}"),
                service,
                labels: BTreeMap::from([("traefik.enable".to_owned(), "\"true\"\n".to_owned())]),
                networks: vec![NetworkAddress {
                    network: "n".to_owned(),
                    endpoint_id: "e".to_owned(),
                    ipv4: Some([10, 0, 0, 1].into()),
                    ipv6: Some("fd00::1".parse().unwrap()),
                    aliases: vec!["a".to_owned()],
                    reached: true,
                }],
                ports: vec![port.clone()],
                bindings: vec![Binding {
                    port: port.clone(),
                    ip: Some([127, 0, 0, 1].into()),
                    host_port: 8080,
                }],
                node: Some(Node { name: "n1".to_owned(), here: number == 1 }),
                virtual_host: BTreeMap::new(),
                state,
                reason: "running".to_owned(),
                since: UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789),
                created: UNIX_EPOCH,
            })
        };
        let compose = ServiceKey::Compose { project: "shop".to_owned(), service: "web".to_owned() };
        let provider = || ProviderName::new("docker");
        let order = |subject, why: &str| Standing {
            subject,
            since: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            why: why.to_owned(),
        };
        Kept {
            boot: "b".to_owned(),
            orders: vec![
                order(Subject::Instance(provider(), InstanceId::new("id-1")), "new \"disk\""),
                order(Subject::Node("n1".to_owned()), ""),
            ],
            sources: vec![KeptSource {
                provider: ProviderName::new("docker"),
                as_of: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
                instances: vec![
                    instance(1, compose, State::Ready),
                    instance(2, ServiceKey::Container("c".to_owned()), State::Draining),
                ],
            }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Kept::decode(&kept().encode()), Ok(kept()));
        assert_eq!(Kept::decode(&Kept::default().encode()), Ok(Kept::default()));
        assert!(kept().has("docker") && !kept().has("swarm"));
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read() {
        let body = r#"{"boot":"b","sources":[]}"#;
        let sum = checksum(body.as_bytes());
        let bytes = format!("{MAGIC} {VERSION}\n{sum:016x} {}\n{body}", body.len());
        assert_eq!(Kept::decode(bytes.as_bytes()), Ok(Kept { boot: "b".to_owned(), ..Kept::default() }));
        let node: Node = serde_json::from_str("\"n1\"").unwrap();
        assert_eq!(node, Node { name: "n1".to_owned(), here: false });
    }

    #[test]
    fn whatever_is_wrong_with_one_byte_is_found() {
        let bytes = kept().encode();
        for place in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[place] ^= 1;
            assert!(Kept::decode(&wrong).is_err(), "byte {place} of {}", bytes.len());
            assert!(Kept::decode(&bytes[..place]).is_err(), "{place} of {} bytes", bytes.len());
        }
        let longer = [&bytes[..], b" "].concat();
        assert!(matches!(Kept::decode(&longer), Err(KeptError::Damaged(_))));
    }

    #[test]
    fn another_version_is_called_so() {
        let other = String::from_utf8(kept().encode()).unwrap().replacen("state 1\n", "state 2\n", 1);
        let error = Kept::decode(other.as_bytes()).unwrap_err();
        assert_eq!(error, KeptError::Version(2));
        assert_eq!(error.to_string(), "it is of version 2, and this program reads version 1");
    }
}
