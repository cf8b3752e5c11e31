//! What was probably meant by a name that is not known.

/// The known name that is nearest to `written`, if one is near enough to be meant.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_ascii_lowercase();
    let limit = 1 + written.len() / 4;
    known
        .into_iter()
        .map(|name| (distance(&written, &name.to_ascii_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// How to go on after "there is no option `x`": the nearest name, or all of them where they are few.
pub(crate) fn hint(written: &str, known: &[&str]) -> String {
    match nearest(written, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "nothing is known here".to_owned(),
        None if known.len() <= 12 => format!("known are {}", known.join(", ")),
        None => format!("known are {} and {} more", known[..8].join(", "), known.len() - 8),
    }
}

/// Optimal string alignment: insertions, deletions, replacements, and neighbours that changed places count one each.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            rows[i][j] = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                rows[i][j] = rows[i][j].min(rows[i - 2][j - 2] + 1);
            }
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_anything_else_is_not() {
        let known = ["rule", "service", "entryPoints", "middlewares"];
        for (written, meant) in [
            ("rul", Some("rule")),
            ("rlue", Some("rule")),
            ("entrypoint", Some("entryPoints")),
            ("middleware", Some("middlewares")),
            ("certresolver", None),
        ] {
            assert_eq!(nearest(written, known), meant, "{written}");
        }
        assert_eq!(hint("sevrice", &known), "did you mean `service`?");
        assert_eq!(hint("tls", &["a", "b"]), "known are a, b");
    }
}
