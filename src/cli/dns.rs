//! The flags of the name server, but for the address, the zone and the time to live, each with its environment twin.

use clap::Args;
use portolan_config::settings::dns::Written;

/// How names are answered, as written.
#[derive(Args, Debug)]
pub struct DnsOptions {
    /// Threads that answer datagrams, each with a socket of its own [default: one for each core]
    #[arg(long, value_name = "NUMBER", env = "PORTOLAN_DNS_WORKERS")]
    pub dns_workers: Option<usize>,
}

impl DnsOptions {
    /// For `portolan_config`, which knows no command line.
    pub fn written(&self) -> Written {
        Written { workers: self.dns_workers }
    }
}
