//! The command line: every flag with its environment twin. Flags in Traefik's spelling stand beside these, and are taken
//! out before (`src/gather.rs`).

use clap::{Args, Parser, Subcommand, ValueEnum};

mod dns;
use dns::DnsOptions;

/// Ingress proxy, internal DNS and service discovery for containers
#[derive(Debug, Parser)]
#[command(
    name = "portolan",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  portolan demo    three replicas of a service on :8080 and :8000; needs no container engine
  portolan run     watch the Docker Engine
  portolan ps      what is known, and why it does or does not get traffic
  portolan explain http://shop.example/cart    who would take the request, and why nobody else
  portolan resolve web   what the name is answered with, and why
  portolan drain web-2   send it nothing new, until `portolan undrain web-2`
  portolan check   read settings and the labels of running containers, report every fault
  portolan check compose.yaml    the same with the labels of a Compose file
  portolan --providers.docker --entryPoints.web.address=:80    as Traefik is started; it means `run`

Exit codes: 0 done; 1 a fault, said in one line; 2 a second SIGTERM or SIGINT, which does not wait for anything."
)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch a container engine, serve its services, answer for their names
    Run(Box<RunOptions>),
    /// The same over three replicas of a service `whoami` within this process
    Demo(Box<DemoOptions>),
    /// Check settings, and the labels of Compose files or of running containers, without serving
    Check(Box<CheckOptions>),
    /// Show services, endpoints, their states and the reasons
    Ps(ReadOptions),
    /// Explain what a name is answered with: which containers are given, and why others are not
    Resolve(ResolveOptions),
    /// Explain who would take a request, and why nobody else: entry point, router, middlewares, service, endpoints
    Explain(Box<ExplainOptions>),
    /// Send nothing new to a container, task or node; what it has begun it finishes. Until `undrain`, or until it is gone
    Drain(DrainOptions),
    /// Take back what `drain` ordered
    Undrain(UndrainOptions),
    /// Ask a running Portolan whether it serves: exit 0 or 1, for Docker's HEALTHCHECK
    Healthcheck(AdminOptions),
    /// Show the version
    Version(OutputOptions),
}

/// What `run` takes.
#[derive(Args, Debug)]
pub struct RunOptions {
    /// Where to look for containers
    ///
    /// `auto` shows the demo where no engine answers; `docker` waits for the engine.
    #[arg(long, value_enum, env = "PORTOLAN_SOURCE", default_value_t = Source::Docker)]
    pub source: Source,
    /// Take over from a running Portolan with the same admin address, if there is one: with its sockets, so that no
    /// connection is refused
    #[arg(long, env = "PORTOLAN_TAKEOVER", value_parser = clap::builder::FalseyValueParser::new())]
    pub takeover: bool,
    #[command(flatten)]
    pub settings: SettingsOptions,
}

/// What `demo` takes.
#[derive(Args, Debug)]
pub struct DemoOptions {
    #[command(flatten)]
    pub settings: SettingsOptions,
}

/// What `check` takes.
#[derive(Args, Debug)]
pub struct CheckOptions {
    /// Compose files, whose labels are checked instead of those of running containers; later ones add to earlier ones
    #[arg(value_name = "FILE")]
    pub compose: Vec<std::path::PathBuf>,
    #[command(flatten)]
    pub settings: SettingsOptions,
    #[command(flatten)]
    pub output: OutputOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// The engine if one answers, else the demo
    Auto,
    /// The Docker Engine, also while it does not answer
    Docker,
    /// The replicas within this process
    Demo,
}

/// The settings, as written. What they mean, and whether they mean anything, `portolan_config` says.
#[derive(Args, Debug)]
pub struct SettingsOptions {
    /// A file with settings, as Traefik's static configuration is written [default: the first that is there of
    /// portolan.toml, .yaml, .yml and traefik.toml, .yaml, .yml in the usual places]
    #[arg(long, value_name = "PATH", env = "PORTOLAN_CONFIG_FILE")]
    pub config_file: Option<String>,
    /// Where HTTP is taken, by name; repeat it for several [default: web=:8000]
    #[arg(
        long = "entry-point",
        value_name = "NAME=[IP]:PORT",
        env = "PORTOLAN_ENTRY_POINTS",
        value_delimiter = ','
    )]
    pub entry_points: Vec<String>,
    /// Where metrics, health and the API are served [default: 127.0.0.1:9080]
    #[arg(long, value_name = "[IP]:PORT", env = "PORTOLAN_ADMIN_ADDRESS")]
    pub admin_address: Option<String>,
    /// Where names are answered, by UDP and TCP; `off` for nowhere [default: 127.0.0.1:1053]
    #[arg(long, value_name = "[IP]:PORT", env = "PORTOLAN_DNS_ADDRESS")]
    pub dns_address: Option<String>,
    /// The zone that services have their names in, several with commas [default: portolan.internal]
    #[arg(long, value_name = "DOMAIN", env = "PORTOLAN_DNS_ZONE")]
    pub dns_zone: Option<String>,
    /// How long an answer may be kept [default: 2s]
    #[arg(long, value_name = "DURATION", env = "PORTOLAN_DNS_TTL")]
    pub dns_ttl: Option<String>,
    #[command(flatten)]
    pub dns: DnsOptions,
    /// Where the engine answers, such as unix:///run/docker.sock [default: DOCKER_HOST, else its usual socket]
    #[arg(long, value_name = "URL", env = "PORTOLAN_DOCKER_HOST")]
    pub docker_host: Option<String>,
    /// The network whose addresses are used, where a container is on several and no label says
    #[arg(long, value_name = "NETWORK", env = "PORTOLAN_DOCKER_NETWORK")]
    pub docker_network: Option<String>,
    /// Whether a container without `traefik.enable` is reachable by HTTP [default: true]
    #[arg(
        long, value_name = "BOOL", env = "PORTOLAN_EXPOSED_BY_DEFAULT",
        num_args = 0..=1, default_missing_value = "true", require_equals = true
    )]
    pub exposed_by_default: Option<String>,
    /// A file of Traefik's dynamic configuration (.yaml, .yml, .toml), or a directory of such files; watched
    #[arg(long, value_name = "PATH", env = "PORTOLAN_FILE")]
    pub file: Option<std::path::PathBuf>,
    /// How long connections may go on after the first SIGTERM [default: 10s]
    #[arg(long, value_name = "DURATION", env = "PORTOLAN_DRAIN_TIMEOUT")]
    pub drain_timeout: Option<String>,
    /// How long connections may go on after another process has taken over [default: 1h]
    #[arg(long, value_name = "DURATION", env = "PORTOLAN_TAKEOVER_TIMEOUT")]
    pub takeover_timeout: Option<String>,
    /// Where what is known is kept, so that a restart serves it while the engine is away [default: nowhere]
    #[arg(long, value_name = "DIRECTORY", env = "PORTOLAN_STATE_DIR")]
    pub state_dir: Option<String>,
    /// Where requests to entry points are logged: `stdout`, a file, or `off` [default: off]
    #[arg(long, value_name = "TARGET", env = "PORTOLAN_ACCESS_LOG")]
    pub access_log: Option<String>,
    /// How a line is written: common, combined or json, with Traefik's field names [default: common]
    #[arg(long, value_name = "FORMAT", env = "PORTOLAN_ACCESS_LOG_FORMAT")]
    pub access_log_format: Option<String>,
    /// How the bytes of published ports travel where no label says: userspace, auto, nftables, sockmap or transparent [default: userspace]
    #[arg(long, value_name = "PATH", env = "PORTOLAN_DATA_PATH")]
    pub data_path: Option<String>,
    /// Threads that serve traffic [default: one for each core]
    #[arg(long, value_name = "NUMBER", env = "PORTOLAN_WORKERS")]
    pub workers: Option<String>,
    /// How much is logged: error, warn, info, debug, trace, or a filter such as `info,portolan_dns=debug`
    /// [default: info]
    #[arg(long, value_name = "LEVEL", env = "PORTOLAN_LOG_LEVEL")]
    pub log_level: Option<String>,
    /// How it is written: text, json, or auto, which is text on a terminal and JSON elsewhere [default: auto]
    #[arg(long, value_name = "FORMAT", env = "PORTOLAN_LOG_FORMAT")]
    pub log_format: Option<String>,
}

/// Where a running Portolan is asked.
#[derive(Args, Debug)]
pub struct AdminOptions {
    /// The file with the settings of the running Portolan, if it was given one
    #[arg(long, value_name = "PATH", env = "PORTOLAN_CONFIG_FILE")]
    pub config_file: Option<String>,
    /// The admin address of the running Portolan [default: 127.0.0.1:9080]
    #[arg(long, value_name = "[IP]:PORT", env = "PORTOLAN_ADMIN_ADDRESS")]
    pub admin_address: Option<String>,
}

/// What a verb that reads takes.
#[derive(Args, Debug)]
pub struct ReadOptions {
    #[command(flatten)]
    pub admin: AdminOptions,
    #[command(flatten)]
    pub output: OutputOptions,
}

/// What `resolve` takes.
#[derive(Args, Debug)]
pub struct ResolveOptions {
    /// The name: under the zone, unless it ends with a dot
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The type of the records
    #[arg(value_name = "TYPE", default_value = "A")]
    pub record_type: String,
    /// As this container is answered, by name or short id, not as this host
    #[arg(long, value_name = "CONTAINER", env = "PORTOLAN_FROM")]
    pub from: Option<String>,
    #[command(flatten)]
    pub admin: AdminOptions,
    #[command(flatten)]
    pub output: OutputOptions,
}

/// What `drain` takes.
#[derive(Args, Debug)]
pub struct DrainOptions {
    /// A container or task by its name, id or address, a server that a file names, or a node (`node/NAME`)
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// Why, for whoever looks at `ps`
    #[arg(long, value_name = "TEXT", env = "PORTOLAN_REASON")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub admin: AdminOptions,
    #[command(flatten)]
    pub output: OutputOptions,
}

/// What `undrain` takes.
#[derive(Args, Debug)]
pub struct UndrainOptions {
    /// As it was written for `drain`
    #[arg(value_name = "TARGET")]
    pub target: String,
    #[command(flatten)]
    pub admin: AdminOptions,
    #[command(flatten)]
    pub output: OutputOptions,
}

/// What `explain` takes.
#[derive(Args, Debug)]
pub struct ExplainOptions {
    /// The URL, such as `http://shop.example/cart`, after a method, which is GET unless written
    #[arg(value_name = "[METHOD] URL", required = true, num_args = 1..=2)]
    pub request: Vec<String>,
    /// A header field of the request, as curl takes it; repeat it for several
    #[arg(
        short = 'H',
        long = "header",
        value_name = "NAME: VALUE",
        env = "PORTOLAN_HEADERS",
        hide_env = true
    )]
    pub headers: Vec<String>,
    /// The client's address [default: 127.0.0.1]
    #[arg(long, value_name = "IP", env = "PORTOLAN_CLIENT")]
    pub client: Option<std::net::IpAddr>,
    /// The entry point that it comes to, where the URL's port does not say
    #[arg(long, value_name = "ENTRY POINT", env = "PORTOLAN_ON")]
    pub on: Option<String>,
    /// Explain by these settings, what files say and what the engine runs, without asking a running Portolan
    #[arg(long, env = "PORTOLAN_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    pub offline: bool,
    #[command(flatten)]
    pub settings: SettingsOptions,
    #[command(flatten)]
    pub output: OutputOptions,
}

/// How a verb that reads shows what it read.
#[derive(Args, Debug)]
pub struct OutputOptions {
    /// As a table for people, or as JSON for programs
    #[arg(short, long, value_enum, env = "PORTOLAN_OUTPUT", default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
}

/// What is wrong with the command line, in one line, with what was probably meant.
pub fn one_line(error: &clap::Error) -> String {
    let shown = error.to_string();
    let mut lines = shown.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    let tip = lines.find_map(|line| line.strip_prefix("tip: "));
    let first = first.strip_prefix("error: ").unwrap_or(first);
    // What is missing comes on lines of its own, up to an empty one.
    let missing: Vec<_> = if first.ends_with(':') {
        shown.lines().skip(1).map(str::trim).take_while(|line| !line.is_empty()).collect()
    } else {
        Vec::new()
    };
    let first = [first].into_iter().chain(missing).collect::<Vec<_>>().join(" ");
    tip.map_or_else(|| format!("{first}; see --help"), |tip| format!("{first} ({tip}); see --help"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_twin_named_after_it() {
        let mut seen = std::collections::BTreeSet::new();
        for command in Cli::command().get_subcommands() {
            for flag in
                command.get_arguments().filter(|flag| flag.get_id() != "help" && !flag.is_positional())
            {
                let name = flag.get_long().expect("every flag has a long form");
                let twin = flag.get_env().and_then(|twin| twin.to_str()).unwrap_or_default();
                let expected = format!("PORTOLAN_{}", name.to_uppercase().replace('-', "_"));
                // The one that repeats is a list in the environment.
                assert!(twin == expected || twin == format!("{expected}S"), "--{name} has `{twin}`");
                seen.insert(name.to_owned());
            }
        }
        assert_eq!(seen.len(), 46, "{seen:?}");
    }

    #[test]
    fn a_wrong_flag_is_told_in_one_line() {
        for (arguments, expected) in [
            (&["portolan", "run", "--dns-adress", "x"][..], "unexpected argument '--dns-adress' found"),
            (&["portolan", "run", "--source", "many"], "invalid value 'many' for '--source <SOURCE>'"),
            (&["portolan", "walk"], "unrecognized subcommand 'walk'"),
            (
                &["portolan", "drain"],
                "the following required arguments were not provided: <TARGET>; see --help",
            ),
        ] {
            let line = one_line(&Cli::try_parse_from(arguments).expect_err("it is wrong"));
            assert!(line.starts_with(expected) && !line.contains('\n'), "{line}");
        }
        let line = one_line(
            &Cli::try_parse_from(["portolan", "run", "--dns-adress", "x"]).expect_err("it is wrong"),
        );
        assert!(line.contains("exists: '--dns-address'"), "{line}");
    }
}
