//! The flags of the name server, but for the address, the zone and the time to live, each with its environment twin.

use clap::Args;

/// How names are answered, as written. What it means, `portolan_config` says.
#[derive(Args, Debug)]
#[allow(clippy::struct_field_names)] // they are named as the flags are
pub struct DnsOptions {
    /// Threads that answer datagrams, each with a socket of its own [default: one for each core]
    #[arg(long, value_name = "NUMBER", env = "PORTOLAN_DNS_WORKERS")]
    pub dns_workers: Option<String>,
    /// Where other names are looked up: name servers (over TLS as tls://ADDRESS#NAME), or a file that names them; for
    /// names below one as NAME=SERVER; `off` for nowhere [default: /etc/resolv.conf]
    #[arg(long, value_name = "[NAME=]SERVER", env = "PORTOLAN_DNS_FORWARD", value_delimiter = ',')]
    pub dns_forward: Vec<String>,
    /// Answers from there that are kept [default: 10000]
    #[arg(long, value_name = "NUMBER", env = "PORTOLAN_DNS_CACHE")]
    pub dns_cache: Option<String>,
    /// A file of further records, in the form of a zone file
    #[arg(long, value_name = "FILE", env = "PORTOLAN_DNS_RECORDS")]
    pub dns_records: Option<String>,
    /// The addresses that the hosts of routers have, such as this host's; without any they have none
    #[arg(long, value_name = "IP", env = "PORTOLAN_DNS_ROUTER_HOSTS", value_delimiter = ',')]
    pub dns_router_hosts: Vec<String>,
    /// Whether a container sees only names and addresses on its own networks [default: true]
    #[arg(
        long, value_name = "BOOL", env = "PORTOLAN_DNS_VIEWS",
        num_args = 0..=1, default_missing_value = "true", require_equals = true
    )]
    pub dns_views: Option<String>,
    /// Networks, by name, whose addresses are in no answer
    #[arg(long, value_name = "NETWORK", env = "PORTOLAN_DNS_HIDDEN_NETWORKS", value_delimiter = ',')]
    pub dns_hidden_networks: Vec<String>,
    /// Answers a second that one network is sent by UDP, by each worker; 0 is any number [default: 0]
    #[arg(long, value_name = "NUMBER", env = "PORTOLAN_DNS_RATE_LIMIT")]
    pub dns_rate_limit: Option<String>,
    /// Where names are answered over TLS, with a certificate and its key [default: nowhere]
    #[arg(long, value_name = "[IP]:PORT", env = "PORTOLAN_DNS_TLS_ADDRESS")]
    pub dns_tls_address: Option<String>,
    /// Where names are answered over HTTPS, at /dns-query, with the same certificate [default: nowhere]
    #[arg(long, value_name = "[IP]:PORT", env = "PORTOLAN_DNS_HTTPS_ADDRESS")]
    pub dns_https_address: Option<String>,
    /// The certificate for both, and those that vouch for it: a PEM file
    #[arg(long, value_name = "FILE", env = "PORTOLAN_DNS_TLS_CERTIFICATE")]
    pub dns_tls_certificate: Option<String>,
    /// Its key: a PEM file
    #[arg(long, value_name = "FILE", env = "PORTOLAN_DNS_TLS_KEY")]
    pub dns_tls_key: Option<String>,
    /// Networks whose reverse names are a zone each, such as 172.18.0.0/16 [default: none]
    #[arg(long, value_name = "NETWORK", env = "PORTOLAN_DNS_REVERSE_ZONES", value_delimiter = ',')]
    pub dns_reverse_zones: Vec<String>,
    /// Who may have all names of a zone at once (AXFR, IXFR): addresses and networks [default: nobody]
    #[arg(long, value_name = "NETWORK", env = "PORTOLAN_DNS_TRANSFER_TO", value_delimiter = ',')]
    pub dns_transfer_to: Vec<String>,
    /// Name servers that are told when a zone changes (NOTIFY) [default: none]
    #[arg(long, value_name = "IP[:PORT]", env = "PORTOLAN_DNS_NOTIFY", value_delimiter = ',')]
    pub dns_notify: Vec<String>,
    /// Where queries are logged: `stdout`, a file, or `off` [default: off]
    #[arg(long, value_name = "TARGET", env = "PORTOLAN_DNS_LOG")]
    pub dns_log: Option<String>,
    /// One of so many is logged [default: 1]
    #[arg(long, value_name = "NUMBER", env = "PORTOLAN_DNS_LOG_SAMPLE")]
    pub dns_log_sample: Option<String>,
    /// Those with such an answer are: success, denial, error [default: all three]
    #[arg(long, value_name = "CLASS", env = "PORTOLAN_DNS_LOG_CLASS", value_delimiter = ',')]
    pub dns_log_class: Vec<String>,
}
