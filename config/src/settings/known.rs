//! Every option there is: Traefik's, by its inventory, and Portolan's own (`options.tsv`).
//!
//! It knows how options are spelled, and how far Portolan goes in doing what they ask. What their values mean is the
//! business of whoever reads them.
//!
//! The columns of the table are
//! - the option; `*` stands for a name that the operator chooses, `[]` for an index;
//! - its kind: `bool` may stand without a value, a `list` may be written twice;
//! - what it is unless written, where that is known: durations in seconds;
//! - its [`State`].

use std::sync::LazyLock;

/// An option.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// As Traefik spells it, with `*` for names.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is unless written.
    pub default: &'static str,
    /// What becomes of it.
    pub state: State,
    /// Whether everything below it is part of the name it ends with.
    open: bool,
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false; alone it is true. Also a section that may be switched on as it is.
    Bool,
    /// Several values.
    List,
    /// One value.
    Value,
}

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Done as written.
    Done,
    /// Portolan does what Traefik does unless it is written, and nothing else yet.
    AsDefault,
    /// Portolan does nothing of the kind yet.
    Absent,
    /// There is nothing to do: Portolan is that way, or has nothing that it would change.
    Moot,
}

/// A known option with its names filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) known: &'static Known,
    /// Its path, spelled as Traefik does, names as written.
    pub(crate) path: Vec<String>,
}

static TABLE: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let rows = || include_str!("options.tsv").lines().filter(|row| !row.starts_with('#'));
    rows()
        .map(|row| {
            let mut columns = row.split('\t');
            let mut column = || columns.next().unwrap_or_default();
            let (path, kind, default, state) = (column(), column(), column(), column());
            let kind = match kind {
                "bool" => Kind::Bool,
                "list" => Kind::List,
                _ => Kind::Value,
            };
            let state = match state {
                "done" => State::Done,
                "default" => State::AsDefault,
                "moot" => State::Moot,
                _ => State::Absent,
            };
            let has_more = |row: &str| row.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
            let open = path.ends_with(".*") && !rows().any(has_more);
            Known { path, kind, default, state, open }
        })
        .collect()
});

/// All of them.
pub fn table() -> &'static [Known] {
    &TABLE
}

impl Known {
    fn segments(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('.')
    }
}

/// Whether there is such an option, names filled in.
pub fn is_option(path: &str) -> bool {
    find(&split(path)).is_some()
}

/// The option that these segments spell, whatever their case.
pub(crate) fn find(written: &[&str]) -> Option<Spot> {
    table().iter().find_map(|known| {
        let pattern: Vec<&'static str> = known.segments().collect();
        let mut path = Vec::new();
        fits(known, &pattern, written, &mut path).then_some(Spot { known, path })
    })
}

/// Whether there are options below these segments.
pub(crate) fn is_section(written: &[&str]) -> bool {
    table().iter().any(|known| begins(known, written))
}

fn fits(known: &Known, pattern: &[&str], written: &[&str], path: &mut Vec<String>) -> bool {
    let Some((first, rest)) = pattern.split_first() else {
        // One of a list.
        if let [index] = written
            && known.kind == Kind::List
            && is_index(index)
        {
            path.push((*index).to_owned());
            return true;
        }
        return written.is_empty();
    };
    let Some((word, further)) = written.split_first() else { return false };
    match *first {
        // What is below a free name at the end is part of it.
        "*" if known.open && rest.is_empty() => {
            path.push(written.join("."));
            return true;
        }
        "*" if !is_index(word) => path.push((*word).to_owned()),
        "[]" if is_index(word) => path.push((*word).to_owned()),
        name if name.eq_ignore_ascii_case(word) => path.push(name.to_owned()),
        _ => return false,
    }
    fits(known, rest, further, path)
}

fn begins(known: &Known, written: &[&str]) -> bool {
    let mut pattern = known.segments();
    written.iter().all(|word| pattern.next().is_some_and(|segment| stands_for(segment, word)))
        && pattern.next().is_some()
}

fn stands_for(segment: &str, word: &str) -> bool {
    match segment {
        "*" => !is_index(word),
        "[]" => is_index(word),
        name => name.eq_ignore_ascii_case(word),
    }
}

fn is_index(word: &str) -> bool {
    word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).is_some_and(|number| {
        !number.is_empty() && number.len() <= 4 && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// The option that the words of a variable spell. A name may be more than one of them: `_` can't be told from the
/// sign between names. The fewest are taken that make an option.
pub(crate) fn find_variable(words: &[&str]) -> Option<Spot> {
    table().iter().find_map(|known| {
        let pattern: Vec<&'static str> = known.segments().collect();
        let mut path = Vec::new();
        fits_variable(known, &pattern, words, &mut path).then_some(Spot { known, path })
    })
}

fn fits_variable(known: &Known, pattern: &[&str], words: &[&str], path: &mut Vec<String>) -> bool {
    let index = |word: &str| Some(format!("[{word}]")).filter(|index| is_index(index));
    let Some((first, rest)) = pattern.split_first() else {
        if let [word] = words
            && known.kind == Kind::List
            && let Some(index) = index(word)
        {
            path.push(index);
            return true;
        }
        return words.is_empty();
    };
    let Some((word, further)) = words.split_first() else { return false };
    match *first {
        "*" => (1..=words.len()).any(|count| {
            let name = words[..count].join("_");
            if name.is_empty() || (count > 1 && rest.is_empty() && !known.open) {
                return false;
            }
            let kept = path.len();
            path.push(name);
            let fit = fits_variable(known, rest, &words[count..], path);
            if !fit {
                path.truncate(kept);
            }
            fit
        }),
        "[]" => index(word).is_some_and(|index| {
            path.push(index);
            fits_variable(known, rest, further, path)
        }),
        name if name.eq_ignore_ascii_case(word) => {
            path.push(name.to_owned());
            fits_variable(known, rest, further, path)
        }
        _ => false,
    }
}

/// The words that may follow these segments, each once, in the order of the table.
pub(crate) fn children(written: &[&str]) -> Vec<&'static str> {
    let mut found: Vec<&'static str> = Vec::new();
    for known in table().iter().filter(|known| begins(known, written)) {
        let next = known.segments().nth(written.len()).unwrap_or_default();
        if !found.contains(&next) {
            found.push(next);
        }
    }
    found
}

/// The options below these segments, as segments of the table.
pub(crate) fn below(written: &[&str]) -> impl Iterator<Item = Vec<&'static str>> {
    table().iter().filter(|known| begins(known, written)).map(|known| known.segments().collect())
}

/// A path in segments: `a.b[0].c` is `a`, `b`, `[0]`, `c`.
pub(crate) fn split(path: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    for part in path.split('.') {
        match part.find('[') {
            Some(at) if at > 0 && is_index(&part[at..]) => segments.extend([&part[..at], &part[at..]]),
            _ => segments.push(part),
        }
    }
    segments
}

/// Segments as a path.
pub(crate) fn join<S: AsRef<str>>(segments: &[S]) -> String {
    let mut path = String::new();
    for segment in segments.iter().map(AsRef::as_ref) {
        if !path.is_empty() && !is_index(segment) {
            path.push('.');
        }
        path.push_str(segment);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let rows = include_str!("options.tsv").lines().filter(|row| !row.starts_with('#'));
        let mut own = 0;
        for row in rows {
            let columns: Vec<&str> = row.split('\t').collect();
            assert_eq!(columns.len(), 4, "{row}");
            assert!(["bool", "list", "value"].contains(&columns[1]), "{row}");
            assert!(["done", "default", "absent", "moot"].contains(&columns[3]), "{row}");
            // A bare option is on; what is off unless written can be switched.
            assert!(!matches!(columns[2], "true" | "false") || columns[1] == "bool", "{row}");
            own += 1;
        }
        assert_eq!(own, table().len());
        let mut paths: Vec<String> = table().iter().map(|known| known.path.to_ascii_lowercase()).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), table().len(), "no option twice");
        assert!(table().len() >= 538, "{} rows", table().len());
    }

    #[test]
    fn options_are_found_whatever_their_case() {
        for (written, path) in [
            ("entrypoints.web.ADDRESS", Some("entryPoints.web.address")),
            ("entryPoints.Web.http.tls.domains[1].main", Some("entryPoints.Web.http.tls.domains[1].main")),
            (
                "entryPoints.web.forwardedHeaders.trustedIPs[0]",
                Some("entryPoints.web.forwardedHeaders.trustedIPs[0]"),
            ),
            ("accessLog.fields.headers.names.X-A.b", Some("accessLog.fields.headers.names.X-A.b")),
            ("providers.docker", Some("providers.docker")),
            ("entryPoints.web.adress", None),
            ("entryPoints", None),
            ("providers.docker.network[0]", None),
            ("entryPoints.[0].address", None),
        ] {
            assert_eq!(find(&split(written)).map(|spot| join(&spot.path)).as_deref(), path, "{written}");
        }
        assert!(is_section(&["entrypoints"]) && is_section(&["entryPoints", "web", "http"]));
        assert!(!is_section(&["ping", "entryPoint"]) && !is_section(&["pong"]));
    }

    #[test]
    fn variables_are_found_though_names_have_the_sign_that_separates() {
        for (variable, path) in [
            ("ENTRYPOINTS_WEB_ADDRESS", Some("entryPoints.web.address")),
            ("ENTRYPOINTS_MY_WEB_ADDRESS", Some("entryPoints.my_web.address")),
            ("ENTRYPOINTS_WEB_HTTP_TLS_DOMAINS_0_MAIN", Some("entryPoints.web.http.tls.domains[0].main")),
            ("ENTRYPOINTS_WEB_HTTP_MIDDLEWARES_1", Some("entryPoints.web.http.middlewares[1]")),
            ("ACCESSLOG", Some("accessLog")),
            ("ENTRYPOINTS_WEB_ADRESS", None),
            ("ENTRYPOINTS__ADDRESS", None),
        ] {
            let lower = variable.to_ascii_lowercase();
            let words: Vec<&str> = lower.split('_').collect();
            assert_eq!(find_variable(&words).map(|spot| join(&spot.path)).as_deref(), path, "{variable}");
        }
    }
}
