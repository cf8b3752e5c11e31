//! Picks samples from the Prometheus text format.

use std::collections::BTreeMap;

/// The sum of the samples whose name is the selector's and whose labels include the selector's.
#[track_caller]
pub(super) fn sum(exposition: &str, selector: &str) -> f64 {
    let wanted = parse(selector).unwrap_or_else(|| panic!("not a metric selector: {selector}"));
    exposition
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let series = parse(series)?;
            let matches = series.0 == wanted.0
                && wanted.1.iter().all(|(label, value)| series.1.get(label) == Some(value));
            matches.then(|| value.parse::<f64>().unwrap_or_else(|_| panic!("not a sample: {line}")))
        })
        .sum()
}

/// A name and its labels, from `name` or `name{label="value",…}`. Values in these tests hold no quotation mark.
fn parse(series: &str) -> Option<(&str, BTreeMap<&str, &str>)> {
    let Some((name, rest)) = series.split_once('{') else { return Some((series, BTreeMap::new())) };
    let mut labels = BTreeMap::new();
    let mut rest = rest.strip_suffix('}')?;
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        labels.insert(label.trim_start_matches(',').trim(), value);
        rest = after;
    }
    Some((name, labels))
}

#[test]
fn labels_of_the_selector_may_be_fewer_than_those_of_the_sample() {
    let text = "# TYPE hits counter\nhits{code=\"200\",host=\"a\"} 3\nhits{code=\"404\",host=\"a\"} 1\nup 1\nhits_sum 9\n";
    for (selector, expected) in [
        ("up", 1.0),
        ("hits", 4.0),
        ("hits{code=\"200\"}", 3.0),
        ("hits{host=\"a\",code=\"404\"}", 1.0),
        ("none", 0.0),
    ] {
        assert!((sum(text, selector) - expected).abs() < f64::EPSILON, "{selector}");
    }
}
