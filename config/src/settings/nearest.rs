//! What was probably meant by something that is not known.

use super::known::{below, children, find, is_section, join};
pub(super) use crate::dynamic::nearest;

/// How to go on from an option that is not known: the nearest one, or what there is at that place. `further` are words
/// (flags of the program's own) that may also have been meant, where the first segment is not known.
pub(crate) fn hint(written: &[&str], further: &[&str]) -> String {
    if (1..written.len()).any(|depth| find(&written[..depth]).is_some() && !is_section(&written[..depth])) {
        return "it takes no further names".to_owned();
    }
    let depth = (0..written.len()).rev().find(|depth| is_section(&written[..*depth])).unwrap_or(0);
    let section = &written[..depth];
    let near = children(section).into_iter().filter(|word| !matches!(*word, "*" | "[]"));
    if let Some(word) = nearest(written[depth], near) {
        let mut meant = section.to_vec();
        meant.push(word);
        let whole = [&meant[..], &written[depth + 1..]].concat();
        return format!("did you mean `{}`?", spelled(if find(&whole).is_some() { &whole } else { &meant }));
    }
    if depth == 0
        && let Some(word) = nearest(written[0], further.iter().copied())
    {
        return format!("did you mean `--{word}`?");
    }
    // Right, but elsewhere: `entryPoints.web.tls` for `entryPoints.web.http.tls`.
    if let Some(last) = written.last()
        && let Some(option) = below(section)
            .filter(|option| depth > 0 && option.last().is_some_and(|word| word.eq_ignore_ascii_case(last)))
            .min_by_key(Vec::len)
    {
        let named = option.iter().enumerate().map(|(index, word)| match *word {
            "*" => written.get(index).filter(|_| index < depth).copied().unwrap_or("NAME"),
            word => word,
        });
        return format!("did you mean `{}`?", join(&named.collect::<Vec<_>>()));
    }
    if depth == 0 {
        return "neither Portolan nor Traefik has one that is near".to_owned();
    }
    let there: Vec<&str> =
        children(section).into_iter().filter(|word| !matches!(*word, "*" | "[]")).collect();
    format!("there are {}", there.join(", "))
}

/// Segments as the table spells them, where it knows them.
fn spelled(written: &[&str]) -> String {
    let words: Vec<String> = (0..written.len())
        .map(|index| {
            let known = children(&written[..index]);
            let word = known.into_iter().find(|known| known.eq_ignore_ascii_case(written[index]));
            word.unwrap_or(written[index]).to_owned()
        })
        .collect();
    join(&words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::known::split;

    #[test]
    fn what_was_meant_is_said() {
        for (written, expected) in [
            ("entrypoint.web.address", "did you mean `entryPoints.web.address`?"),
            ("entryPoints.web.adress", "did you mean `entryPoints.web.address`?"),
            ("entryPoints.web.tls", "did you mean `entryPoints.web.http.tls`?"),
            (
                "entryPoints.web.http.redirections.to",
                "did you mean `entryPoints.web.http.redirections.entryPoint.to`?",
            ),
            ("providers.doker.endpoint", "did you mean `providers.docker.endpoint`?"),
            ("providers.docker.exposedbydefualt", "did you mean `providers.docker.exposedByDefault`?"),
            ("acceslog.format", "did you mean `accessLog.format`?"),
            ("dns-adress", "did you mean `--dns-address`?"),
            ("zzzzzz", "neither Portolan nor Traefik has one that is near"),
            ("core.zzz", "there are defaultRuleSyntax"),
            ("ping.entryPoint.x", "it takes no further names"),
        ] {
            assert_eq!(hint(&split(written), &["dns-address"]), expected, "{written}");
        }
    }
}
