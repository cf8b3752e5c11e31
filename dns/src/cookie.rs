//! DNS cookies (RFC 7873), server cookies as RFC 9018 §4 has them, so that servers that share a secret understand each
//! other's. A client with a good one has shown that answers reach it: its address is not forged.
//!
//! It reads no clock: it is told the time, in seconds.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

/// How long a server cookie is good, and how far its clock may be ahead, in seconds (RFC 9018 §4.3).
const LIFETIME: u32 = 3600;
const AHEAD: u32 = 300;
/// Bytes of a client's cookie, and of ours.
const CLIENT: usize = 8;
const SERVER: usize = 16;

/// What a client sent: its own cookie, and perhaps one it got from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientCookie {
    client: [u8; CLIENT],
    /// One of ours, if it is so long; those of other servers are longer or shorter.
    server: Option<[u8; SERVER]>,
}

impl ClientCookie {
    /// Reads the option; `None` where it has a length that none may have (RFC 7873 §4).
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let (client, server) = data.split_first_chunk()?;
        if !matches!(server.len(), 0 | 8..=32) {
            return None;
        }
        Some(Self { client: *client, server: server.try_into().ok() })
    }
}

/// Makes and knows server cookies.
#[derive(Clone, Debug)]
pub struct Cookies {
    secret: [u8; 16],
}

impl Cookies {
    /// Cookies of a secret that nobody else is to know.
    pub fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// The option's data for the answer to a client at `ip`, and whether the client had shown a good one.
    pub(crate) fn answer(&self, cookie: ClientCookie, ip: IpAddr, now: u32) -> ([u8; CLIENT + SERVER], bool) {
        let good = cookie.server.is_some_and(|server| self.is_good(cookie.client, server, ip, now));
        let mut data = [0; CLIENT + SERVER];
        data[..CLIENT].copy_from_slice(&cookie.client);
        data[CLIENT..].copy_from_slice(&self.make(cookie.client, ip, now));
        (data, good)
    }

    fn is_good(&self, client: [u8; CLIENT], server: [u8; SERVER], ip: IpAddr, now: u32) -> bool {
        let made = u32::from_be_bytes([server[4], server[5], server[6], server[7]]);
        let age = now.wrapping_sub(made) as i32; // serial arithmetic (RFC 9018 §4.3)
        (-(AHEAD as i32)..=LIFETIME as i32).contains(&age) && self.make(client, ip, made) == server
    }

    fn make(&self, client: [u8; CLIENT], ip: IpAddr, now: u32) -> [u8; SERVER] {
        let mut cookie = [0; SERVER];
        cookie[0] = 1; // the version
        cookie[4..8].copy_from_slice(&now.to_be_bytes());
        let mut hash = SipHasher24::new_with_key(&self.secret);
        hash.write(&client);
        hash.write(&cookie[..8]);
        match ip {
            IpAddr::V4(ip) => hash.write(&ip.octets()),
            IpAddr::V6(ip) => hash.write(&ip.octets()),
        }
        cookie[8..].copy_from_slice(&hash.finish().to_le_bytes());
        cookie
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9018, appendix A.1: a new server cookie.
    #[test]
    fn it_makes_the_cookie_of_the_standard() {
        let secret = 0xe5e9_73e5_a6b2_a43f_48e7_dc84_9e37_bfcf_u128.to_be_bytes();
        let cookies = Cookies::new(secret);
        let ip = "198.51.100.100".parse().unwrap();
        let cookie = ClientCookie::read(&0x2464_c4ab_cf10_c957_u64.to_be_bytes()).unwrap();
        let (data, good) = cookies.answer(cookie, ip, 1_559_731_985);
        assert_eq!(data[8..], 0x0100_0000_5cf7_9f11_1f81_30c3_eee2_9480_u128.to_be_bytes());
        assert!(!good);
    }

    #[test]
    fn a_cookie_is_good_for_its_client_and_its_time() {
        let cookies = Cookies::new([7; 16]);
        let ip: IpAddr = "10.0.0.1".parse().unwrap();
        let (data, _) = cookies.answer(ClientCookie::read(&[1; 8]).unwrap(), ip, 1000);
        let back = ClientCookie::read(&data).unwrap();
        for (ip, now, good) in [
            ("10.0.0.1", 1000, true),
            ("10.0.0.1", 1000 + LIFETIME, true),
            ("10.0.0.1", 1001 + LIFETIME, false),
            ("10.0.0.1", 700, true),
            ("10.0.0.1", 699, false),
            ("10.0.0.2", 1000, false),
            ("fd00::1", 1000, false),
        ] {
            assert_eq!(cookies.answer(back, ip.parse().unwrap(), now).1, good, "{ip} {now}");
        }
        assert!(!Cookies::new([8; 16]).answer(back, ip, 1000).1, "another secret");
    }

    #[test]
    fn lengths_that_none_may_have_are_refused() {
        for (length, fine) in
            [(0, false), (7, false), (8, true), (9, false), (15, false), (16, true), (40, true), (41, false)]
        {
            assert_eq!(ClientCookie::read(&vec![0; length]).is_some(), fine, "{length}");
        }
    }
}
