//! The functions of templates, in the order of arguments that Go and sprig have.

use super::{Subject, Value};
use crate::dynamic::value::Pattern;

type Run = fn(&[Value], &Subject<'_>) -> Result<Value, String>;

/// A function.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) run: Run,
}

const fn function(name: &'static str, least: usize, most: usize, run: Run) -> Function {
    Function { name, least, most, run }
}

const MANY: usize = 32;

/// All of them.
pub(super) const FUNCTIONS: &[Function] = &[
    function("normalize", 1, 1, |a, _| text(normalize(&a[0].shown()))),
    function("index", 2, 2, index),
    function("trimPrefix", 2, 2, |a, _| {
        let (prefix, from) = (a[0].shown(), a[1].shown());
        text(from.strip_prefix(&prefix).unwrap_or(&from))
    }),
    function("trimSuffix", 2, 2, |a, _| {
        let (suffix, from) = (a[0].shown(), a[1].shown());
        text(from.strip_suffix(&suffix).unwrap_or(&from))
    }),
    function("trim", 1, 1, |a, _| text(a[0].shown().trim())),
    function("trimAll", 2, 2, |a, _| {
        let set = a[0].shown();
        text(a[1].shown().trim_matches(|letter| set.contains(letter)))
    }),
    function("replace", 3, 3, |a, _| text(a[2].shown().replace(&a[0].shown(), &a[1].shown()))),
    function("lower", 1, 1, |a, _| text(a[0].shown().to_lowercase())),
    function("upper", 1, 1, |a, _| text(a[0].shown().to_uppercase())),
    function("printf", 1, MANY, |a, _| printf(a).map(Value::Text)),
    function("print", 0, MANY, |a, _| text(a.iter().map(Value::shown).collect::<String>())),
    function("quote", 1, 1, |a, _| text(format!("{:?}", a[0].shown()))),
    function("trunc", 2, 2, |a, _| {
        let length = usize::try_from(number(&a[0])?).map_err(|_| "expected a number above 0".to_owned())?;
        text(a[1].shown().chars().take(length).collect::<String>())
    }),
    function("len", 1, 1, |a, subject| {
        Ok(Value::Number(match &a[0] {
            Value::List(list) => list.len() as i64,
            Value::Labels => subject.labels.len() as i64,
            other => other.shown().len() as i64,
        }))
    }),
    function("contains", 2, 2, |a, _| truth(a[1].shown().contains(&a[0].shown()))),
    function("hasPrefix", 2, 2, |a, _| truth(a[1].shown().starts_with(&a[0].shown()))),
    function("hasSuffix", 2, 2, |a, _| truth(a[1].shown().ends_with(&a[0].shown()))),
    function("hasKey", 2, 2, |a, subject| match a[0] {
        Value::Labels => truth(subject.labels.contains_key(&a[1].shown())),
        _ => Err("expected .Labels".to_owned()),
    }),
    function("splitList", 2, 2, |a, _| {
        Ok(Value::List(a[1].shown().split(&a[0].shown()).map(str::to_owned).collect()))
    }),
    function("join", 2, 2, |a, _| match &a[1] {
        Value::List(list) => text(list.join(&a[0].shown())),
        other => text(other.shown()),
    }),
    function("first", 1, 1, |a, _| end(&a[0], <[String]>::first)),
    function("last", 1, 1, |a, _| end(&a[0], <[String]>::last)),
    function("default", 2, 2, |a, subject| Ok(a[usize::from(a[1].is_true(subject))].clone())),
    function("coalesce", 1, MANY, |a, subject| {
        Ok(a.iter().find(|value| value.is_true(subject)).cloned().unwrap_or(Value::Nothing))
    }),
    function("ternary", 3, 3, |a, subject| Ok(a[usize::from(!a[2].is_true(subject))].clone())),
    function("regexMatch", 2, 2, |a, _| truth(Pattern::parse(&a[0].shown())?.is_match(&a[1].shown()))),
    function("regexReplaceAll", 3, 3, |a, _| {
        let pattern = Pattern::parse(&a[0].shown())?;
        text(pattern.regex().replace_all(&a[1].shown(), a[2].shown().as_str()))
    }),
    function("eq", 2, MANY, |a, _| truth(a[1..].iter().any(|other| *other == a[0]))),
    function("ne", 2, 2, |a, _| truth(a[0] != a[1])),
    function("not", 1, 1, |a, subject| truth(!a[0].is_true(subject))),
    function("and", 1, MANY, |a, subject| {
        Ok(a.iter().find(|value| !value.is_true(subject)).unwrap_or(&a[a.len() - 1]).clone())
    }),
    function("or", 1, MANY, |a, subject| {
        Ok(a.iter().find(|value| value.is_true(subject)).unwrap_or(&a[a.len() - 1]).clone())
    }),
];

/// Every run of characters that are neither letter nor digit becomes one `-`, none at the ends: Traefik's `normalize`.
pub(crate) fn normalize(name: &str) -> String {
    name.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

#[allow(clippy::unnecessary_wraps)] // as every function gives it
fn text(text: impl Into<String>) -> Result<Value, String> {
    Ok(Value::Text(text.into()))
}

#[allow(clippy::unnecessary_wraps)] // as every function gives it
fn truth(truth: bool) -> Result<Value, String> {
    Ok(Value::Truth(truth))
}

fn number(value: &Value) -> Result<i64, String> {
    match value {
        Value::Number(number) => Ok(*number),
        other => Err(format!("expected a number, not `{}`", other.shown())),
    }
}

fn end(value: &Value, which: fn(&[String]) -> Option<&String>) -> Result<Value, String> {
    match value {
        Value::List(list) => Ok(which(list).map_or(Value::Nothing, |item| Value::Text(item.clone()))),
        _ => Err("expected a list".to_owned()),
    }
}

fn index(arguments: &[Value], subject: &Subject<'_>) -> Result<Value, String> {
    match &arguments[0] {
        // A label that is not there is an empty text, as in Go.
        Value::Labels => text(subject.labels.get(&arguments[1].shown()).cloned().unwrap_or_default()),
        Value::List(list) => {
            let at = usize::try_from(number(&arguments[1])?).ok();
            at.and_then(|at| list.get(at))
                .map(|item| Value::Text(item.clone()))
                .ok_or_else(|| format!("there is no item {}", arguments[1].shown()))
        }
        _ => Err("expected .Labels or a list".to_owned()),
    }
}

/// `%s`, `%v`, `%d`, `%q` and `%%`.
fn printf(arguments: &[Value]) -> Result<String, String> {
    let format = arguments[0].shown();
    let mut values = arguments[1..].iter();
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let verb = letters.next();
        if verb == Some('%') {
            out.push('%');
            continue;
        }
        let value = values.next().ok_or("more verbs than values")?;
        match verb {
            Some('s' | 'v' | 'd') => out.push_str(&value.shown()),
            Some('q') => out.extend(["\"", &value.shown().escape_debug().to_string(), "\""]),
            other => {
                let other = other.map_or(String::new(), |letter| letter.to_string());
                return Err(format!("`%{other}` is not known: %s, %v, %d and %q are"));
            }
        }
    }
    Ok(out)
}
