//! `portolan.publish.datapath`, and `dataPath` of a TCP service: how bytes travel.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DataPath {
    /// Through Portolan: HTTP is followed request by request, endpoints that refuse are passed over.
    #[default]
    UserSpace,
    /// Through the kernel where the host can do it, else through Portolan.
    Auto,
    /// Through the kernel (nftables). Where the host can't do it, that is a fault, and it goes through Portolan.
    Nftables,
    /// Through Portolan as it begins, then through the kernel: a pair of TCP connections that is established (sockmap). Where
    /// the host can't do it, that is a fault, and it stays with Portolan.
    Sockmap,
    /// Through Portolan, and endpoints see the client's own address. Where the host can't do it, that is a fault, and they
    /// see Portolan's.
    Transparent,
}

impl DataPath {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::UserSpace, Self::Auto, Self::Nftables, Self::Sockmap, Self::Transparent];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserSpace => "userspace",
            Self::Auto => "auto",
            Self::Nftables => "nftables",
            Self::Sockmap => "sockmap",
            Self::Transparent => "transparent",
        }
    }
}

impl FromStr for DataPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|path| path.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            format!("`{text}` is not a data path: `userspace`, `auto`, `nftables`, `sockmap` and `transparent` are")
        })
    }
}

impl<'de> Deserialize<'de> for DataPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for DataPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for DataPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
