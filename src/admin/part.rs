//! The parts of the admin server that routers lead to as services: which paths there are below the prefix of each, and what
//! they are at the admin address. Whoever is let in there sees, and changes nothing.

/// A part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `api@internal`
    Api,
    /// `ping@internal`
    Ping,
    /// `prometheus@internal`
    Metrics,
}

impl Part {
    const ALL: [Self; 3] = [Self::Api, Self::Ping, Self::Metrics];

    /// The service's name.
    pub fn service(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Ping => "ping",
            Self::Metrics => "prometheus",
        }
    }

    /// What is before the paths of requests to it.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Api => "/internal/api",
            Self::Ping => "/internal/ping",
            Self::Metrics => "/internal/prometheus",
        }
    }

    /// The part that a path is for, and what is left of the path.
    pub fn of(path: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|part| {
            let rest = path.strip_prefix(part.prefix())?;
            rest.starts_with('/').then_some((part, rest))
        })
    }

    /// The path at the admin address; none where there is nothing. As in Traefik, ping and the metrics answer to any.
    pub fn leads_to(self, path: &str) -> Option<&str> {
        match self {
            Self::Api => Some(path).filter(|path| is_of_the_api(path)),
            Self::Ping => Some("/ping"),
            Self::Metrics => Some("/metrics"),
        }
    }
}

/// Whether this is of the API that only shows.
pub fn is_of_the_api(path: &str) -> bool {
    path.starts_with("/api/") && !path.starts_with("/api/demo/") && !super::drain::PATHS.contains(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_shows_what_is_its_own_and_nothing_else() {
        for (path, expected) in [
            ("/internal/api/api/rawdata", Some("/api/rawdata")),
            ("/internal/api/api/http/routers", Some("/api/http/routers")),
            ("/internal/api/api/drain", None),
            ("/internal/api/api/demo/replicas/1/stop", None),
            ("/internal/api/metrics", None),
            ("/internal/api/internal/ping/", None),
            ("/internal/ping/", Some("/ping")),
            ("/internal/ping/whatever", Some("/ping")),
            ("/internal/prometheus/metrics", Some("/metrics")),
            ("/internal/prometheus", None),
            ("/internal/apis/api/rawdata", None),
            ("/api/rawdata", None),
        ] {
            let found = Part::of(path).and_then(|(part, rest)| part.leads_to(rest));
            assert_eq!(found, expected, "{path}");
        }
    }
}
