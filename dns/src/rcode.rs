//! The response codes this server gives: a closed set, so that metrics stay bounded.

/// How a query was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rcode {
    /// The name exists; with or without records of the type asked for.
    NoError,
    /// The client's fault: the query can't be read.
    FormErr,
    /// Ours: the sources have not given their first complete list yet, so absence means nothing.
    ServFail,
    /// No such name, and nothing below it.
    NxDomain,
    /// An operation other than QUERY.
    NotImp,
    /// Not our zone, or not the Internet class, or a transfer.
    Refused,
    /// An EDNS version other than 0.
    BadVers,
}

impl Rcode {
    /// Every code, in the order of [`Rcode::index`].
    pub const ALL: [Self; 7] = [
        Self::NoError,
        Self::FormErr,
        Self::ServFail,
        Self::NxDomain,
        Self::NotImp,
        Self::Refused,
        Self::BadVers,
    ];

    /// The name, as metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoError => "noerror",
            Self::FormErr => "formerr",
            Self::ServFail => "servfail",
            Self::NxDomain => "nxdomain",
            Self::NotImp => "notimp",
            Self::Refused => "refused",
            Self::BadVers => "badvers",
        }
    }

    /// The code's place in [`Rcode::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The number on the wire: four bits in the header, and eight more in OPT (RFC 6891 §6.1.3).
    pub fn number(self) -> u16 {
        match self {
            Self::NoError => 0,
            Self::FormErr => 1,
            Self::ServFail => 2,
            Self::NxDomain => 3,
            Self::NotImp => 4,
            Self::Refused => 5,
            Self::BadVers => 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_at_its_index() {
        for (index, code) in Rcode::ALL.into_iter().enumerate() {
            assert_eq!(code.index(), index, "{}", code.as_str());
        }
    }
}
