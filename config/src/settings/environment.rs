//! Variables: `TRAEFIK_ENTRYPOINTS_WEB_ADDRESS=:80`, the same under `PORTOLAN_`, and those of Portolan's own flags.
//!
//! A variable whose first word is that of no option is somebody else's: orchestrators set `TRAEFIK_PORT_80_TCP` and the
//! like for a service of that name.

use super::known;
use super::nearest::{hint, nearest};
use super::own;
use super::written::{Origin, Rank, Value, Written};

/// Those that name the file, which whoever reads it has to know before.
pub const FILE_VARIABLES: [&str; 3] = ["PORTOLAN_CONFIG_FILE", "PORTOLAN_CONFIGFILE", "TRAEFIK_CONFIGFILE"];

impl Written {
    /// Takes in the variables that are options; the others are left alone, and so are those in `elsewhere`, which the
    /// command line reads by itself.
    pub fn take_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        elsewhere: &[String],
    ) {
        // Sorted, so that faults do not depend on the system's order.
        let mut variables: Vec<(String, String)> = variables.into_iter().collect();
        variables.sort_unstable();
        for (name, value) in variables {
            let (rank, rest) = match (name.strip_prefix("PORTOLAN_"), name.strip_prefix("TRAEFIK_")) {
                (Some(rest), _) => (Rank::PortolanVariable, rest),
                (None, Some(rest)) => (Rank::TraefikVariable, rest),
                (None, None) => continue,
            };
            let origin = Origin::Variable(name.clone());
            if let Some(flag) = own::by_variable(&name) {
                // The list of entry points has commas, as no single address has.
                if flag == own::ENTRY_POINT.flag {
                    for one in value.split(',') {
                        own::insert(self, flag, one, &origin, rank);
                    }
                } else {
                    own::insert(self, flag, &value, &origin, rank);
                }
                continue;
            }
            if elsewhere.contains(&name) || FILE_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let lower = rest.to_ascii_lowercase();
            let words: Vec<&str> = lower.split('_').collect();
            if let Some(spot) = known::find_variable(&words) {
                self.insert(spot, Value::Text(value), origin, rank);
                continue;
            }
            let roots = || known::children(&[]);
            let first = words[0];
            if !roots().iter().any(|root| root.eq_ignore_ascii_case(first)) {
                match nearest(first, roots()).filter(|root| first.len() > 3 && root.len() > 3) {
                    // A slip, if the rest fits what was probably meant.
                    Some(root)
                        if known::find_variable(&[&[&*root.to_ascii_lowercase()], &words[1..]].concat())
                            .is_some() => {}
                    _ => continue,
                }
            }
            let message = format!("there is no such option; {}", hint(&words, &[]));
            self.push_fault(origin.fault(rest, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::known::join;

    fn taken(variables: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let mut written = Written::default();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        written
            .take_environment(variables, &["PORTOLAN_SOURCE".to_owned(), "PORTOLAN_CONFIG_FILE".to_owned()]);
        let options = written.entries().map(|entry| {
            let Value::Text(value) = &entry.value else { panic!("variables give texts") };
            format!("{}={value}", join(&entry.path))
        });
        (options.collect(), written.faults().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn options_are_read_under_both_prefixes_and_portolans_counts_more() {
        let (options, faults) = taken(&[
            ("TRAEFIK_ENTRYPOINTS_WEB_ADDRESS", ":80"),
            ("TRAEFIK_PROVIDERS_DOCKER", "true"),
            ("TRAEFIK_LOG_LEVEL", "DEBUG"),
            ("PORTOLAN_LOG_LEVEL", "warn"),
            ("PORTOLAN_ENTRY_POINTS", "a=:81,b=:82"),
            ("PORTOLAN_ACCESS_LOG", "off"),
            ("PORTOLAN_DNS_ADDRESS", "off"),
            ("PORTOLAN_SOURCE", "demo"),
            ("PORTOLAN_CONFIG_FILE", "read elsewhere"),
            ("TRAEFIK_CONFIGFILE", "x.yml"),
            ("PATH", "/bin"),
        ]);
        assert_eq!(
            options,
            [
                "accessLog=false",
                "dns.address=off",
                "entryPoints.a.address=:81",
                "entryPoints.b.address=:82",
                "entryPoints.web.address=:80",
                "log.level=warn",
                "providers.docker=true",
            ]
        );
        assert_eq!(faults, [""; 0]);
    }

    #[test]
    fn what_others_set_is_left_alone_and_slips_are_not() {
        let (options, faults) = taken(&[
            ("TRAEFIK_PORT", "tcp://10.0.0.1:80"),
            ("TRAEFIK_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("TRAEFIK_SERVICE_HOST", "10.0.0.1"),
            ("TRAEFIK_VERSION", "3.7"),
            ("PORTOLAN_PORT", "80"),
            ("TRAEFIK_ENTRYPOINT_WEB_ADDRESS", ":80"),
            ("TRAEFIK_ENTRYPOINTS_WEB_ADRESS", ":80"),
            ("TRAEFIK_LOG_LEVLE", "debug"),
        ]);
        assert_eq!(options, [""; 0]);
        assert_eq!(
            faults,
            [
                "environment: TRAEFIK_ENTRYPOINTS_WEB_ADRESS: there is no such option; did you mean `entryPoints.web.address`?",
                "environment: TRAEFIK_ENTRYPOINT_WEB_ADDRESS: there is no such option; did you mean `entryPoints.web.address`?",
                "environment: TRAEFIK_LOG_LEVLE: there is no such option; did you mean `log.level`?",
            ]
        );
    }
}
