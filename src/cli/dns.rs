//! The flags of the name server, but for the address, the zone and the time to live, each with its environment twin.

use clap::Args;
use portolan_config::settings::dns::Written;

/// How names are answered, as written.
#[derive(Args, Debug)]
#[allow(clippy::struct_field_names)] // they are named as the flags are
pub struct DnsOptions {
    /// Threads that answer datagrams, each with a socket of its own [default: one for each core]
    #[arg(long, value_name = "NUMBER", env = "PORTOLAN_DNS_WORKERS")]
    pub dns_workers: Option<usize>,
    /// Where other names are looked up: name servers, or a file that names them; for names below one as NAME=SERVER;
    /// `off` for nowhere [default: /etc/resolv.conf]
    #[arg(long, value_name = "[NAME=]SERVER", env = "PORTOLAN_DNS_FORWARD", value_delimiter = ',')]
    pub dns_forward: Vec<String>,
    /// Answers from there that are kept [default: 10000]
    #[arg(long, value_name = "NUMBER", env = "PORTOLAN_DNS_CACHE")]
    pub dns_cache: Option<usize>,
    /// A file of further records, in the form of a zone file
    #[arg(long, value_name = "FILE", env = "PORTOLAN_DNS_RECORDS")]
    pub dns_records: Option<String>,
    /// Whether a container sees only names and addresses on its own networks [default: true]
    #[arg(
        long, value_name = "BOOL", env = "PORTOLAN_DNS_VIEWS",
        num_args = 0..=1, default_missing_value = "true", require_equals = true
    )]
    pub dns_views: Option<bool>,
    /// Answers a second that one network is sent by UDP, by each worker; 0 is any number [default: 0]
    #[arg(long, value_name = "NUMBER", env = "PORTOLAN_DNS_RATE_LIMIT")]
    pub dns_rate_limit: Option<u32>,
    /// Where names are answered over TLS, with a certificate and its key [default: nowhere]
    #[arg(long, value_name = "[IP]:PORT", env = "PORTOLAN_DNS_TLS_ADDRESS")]
    pub dns_tls_address: Option<String>,
    /// The certificate for that, and those that vouch for it: a PEM file
    #[arg(long, value_name = "FILE", env = "PORTOLAN_DNS_TLS_CERTIFICATE")]
    pub dns_tls_certificate: Option<String>,
    /// Its key: a PEM file
    #[arg(long, value_name = "FILE", env = "PORTOLAN_DNS_TLS_KEY")]
    pub dns_tls_key: Option<String>,
}

impl DnsOptions {
    /// For `portolan_config`, which knows no command line.
    pub fn written(&self) -> Written {
        Written {
            workers: self.dns_workers,
            forward: self.dns_forward.clone(),
            cache: self.dns_cache,
            records: self.dns_records.clone(),
            views: self.dns_views,
            rate_limit: self.dns_rate_limit,
            tls_address: self.dns_tls_address.clone(),
            tls_certificate: self.dns_tls_certificate.clone(),
            tls_key: self.dns_tls_key.clone(),
        }
    }
}
