//! The command line in Traefik's spelling: `--entryPoints.web.address=:80`, `--providers.docker`, `--log.level DEBUG`,
//! whatever the case, with one or two dashes.
//!
//! It takes those flags out of the arguments and leaves the program's own where they are. What they mean is not known
//! here.

use super::known::{self, Kind};
use super::nearest::hint;
use super::written::{Origin, Rank, Value, Written};
use super::{own, read};
use crate::Fault;

/// A flag of the program's own, which is left to it.
#[derive(Clone, Debug)]
pub struct OwnFlag {
    /// Without the dashes.
    pub name: String,
    /// Whether the next argument is its value, where none is behind `=`.
    pub takes_next: bool,
}

impl Written {
    /// Takes the flags in Traefik's spelling out of `arguments`, and gives what is left. Flags that neither Traefik nor
    /// `own` knows are faults, and are taken out too.
    pub fn take_flags(
        &mut self,
        arguments: impl IntoIterator<Item = String>,
        own: &[OwnFlag],
    ) -> Vec<String> {
        let mut left = Vec::new();
        let mut arguments = arguments.into_iter().peekable();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                left.push(argument);
                left.extend(arguments);
                break;
            }
            let (dashes, rest) = match argument.strip_prefix("--") {
                Some(rest) => (2, rest),
                None => (1, argument.strip_prefix('-').unwrap_or_default()),
            };
            let (name, value) = match rest.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (rest, None),
            };
            if dashes == 2
                && let Some(flag) = own.iter().find(|flag| flag.name == name)
            {
                let next = flag.takes_next && value.is_none();
                left.push(argument);
                left.extend(next.then(|| arguments.next()).flatten());
                continue;
            }
            let spot = known::find(&known::split(name));
            // A single dash is for short flags, unless there is no doubt.
            if name.is_empty() || (dashes == 1 && (spot.is_none() || name.len() == 1)) {
                left.push(argument);
                continue;
            }
            let typed = format!("{}{name}", &"--"[..dashes]);
            let is_value = |next: &String| !next.starts_with('-');
            let Some(spot) = spot else {
                let _ = value.is_none().then(|| arguments.next_if(is_value));
                self.push_fault(unknown(typed, name, own));
                continue;
            };
            let value = match (value, spot.known.kind) {
                (Some(value), _) => Some(value),
                (None, Kind::Bool) => {
                    let next = arguments.next_if(|next| read::boolean(next).is_some());
                    Some(next.unwrap_or_else(|| "true".to_owned()))
                }
                // A value may begin with a dash; another option is none.
                (None, _) => arguments.next_if(|next| is_value(next) || !next.starts_with("--")),
            };
            match value {
                Some(value) => self.insert(spot, Value::Text(value), Origin::Flag(typed), Rank::Flag),
                None => self.push_fault(Fault::new("flag", typed, "expected a value behind it")),
            }
        }
        left
    }

    /// Takes in what the program's own flag `--name` says; `name` is one of those that settings have.
    pub fn own_flag(&mut self, name: &str, value: &str) {
        own::insert(self, name, value, &Origin::Flag(format!("--{name}")), Rank::Flag);
    }
}

fn unknown(typed: String, name: &str, own: &[OwnFlag]) -> Fault {
    let segments = known::split(name);
    if !known::is_section(&segments) {
        let further: Vec<&str> = own.iter().map(|flag| flag.name.as_str()).collect();
        return Fault::new("flag", typed, format!("there is no such option; {}", hint(&segments, &further)));
    }
    let below = known::children(&segments).join(", ").replace('*', "names of your own");
    Fault::new("flag", typed, format!("it takes no value; below it there are {below}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::known::join;

    fn taken(arguments: &[&str]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let own = [
            OwnFlag { name: "dns-address".into(), takes_next: true },
            OwnFlag { name: "exposed-by-default".into(), takes_next: false },
        ];
        let mut written = Written::default();
        let left = written.take_flags(arguments.iter().map(|argument| (*argument).to_owned()), &own);
        let options = written.entries().map(|entry| {
            let Value::Text(value) = &entry.value else { panic!("flags give texts") };
            format!("{}={value}", join(&entry.path))
        });
        let faults = written.faults().iter().map(ToString::to_string).collect();
        (options.collect(), left, faults)
    }

    #[test]
    fn both_spellings_stand_beside_each_other() {
        let (options, left, faults) = taken(&[
            "--providers.docker",
            "--dns-address",
            "off",
            "--entryPoints.web.Address=:80",
            "--accesslog=true",
            "-o",
            "json",
            "--exposed-by-default",
            "--LOG.level",
            "DEBUG",
            "-ping.entrypoint=web",
            "--api.insecure",
            "false",
            "--entrypoints.web.forwardedheaders.trustedips=10.0.0.1",
            "--entrypoints.web.forwardedheaders.trustedips=10.0.0.2",
        ]);
        assert_eq!(
            options,
            [
                "accessLog=true",
                "api.insecure=false",
                "entryPoints.web.address=:80",
                "entryPoints.web.forwardedHeaders.trustedIPs=10.0.0.1,10.0.0.2",
                "log.level=DEBUG",
                "ping.entryPoint=web",
                "providers.docker=true",
            ]
        );
        assert_eq!(left, ["--dns-address", "off", "-o", "json", "--exposed-by-default"]);
        assert_eq!(faults, [""; 0]);
    }

    #[test]
    fn what_is_behind_a_flag_is_its_value_only_where_it_can_be() {
        let (options, left, faults) =
            taken(&["--ping", "--accesslog.format", "json", "--metrics.prometheus", "extra", "--log.level"]);
        assert_eq!(options, ["accessLog.format=json", "metrics.prometheus=true", "ping=true"]);
        assert_eq!(left, ["extra"]);
        assert_eq!(faults, ["flag: --log.level: expected a value behind it"]);
        assert_eq!(taken(&["--ping", "--", "--api"]).1, ["--", "--api"]);
    }

    #[test]
    fn an_unknown_flag_is_a_fault_with_the_nearest_name() {
        let (options, left, faults) = taken(&[
            "--entrypoint.web.address=:80",
            "--providers.docker.exposeByDefault",
            "true",
            "--dns-adress=off",
            "--entrypoints=web",
        ]);
        assert_eq!((options.len(), left.len()), (0, 0), "{options:?} {left:?}");
        assert_eq!(
            faults,
            [
                "flag: --entrypoint.web.address: there is no such option; did you mean `entryPoints.web.address`?",
                "flag: --providers.docker.exposeByDefault: there is no such option; did you mean \
                 `providers.docker.exposedByDefault`?",
                "flag: --dns-adress: there is no such option; did you mean `--dns-address`?",
                "flag: --entrypoints: it takes no value; below it there are names of your own",
            ]
        );
    }
}
