//! The access log as meant.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::read::Reader;

/// The access log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLog {
    /// The file it is appended to; `None` is standard output.
    pub file: Option<PathBuf>,
    /// How a line is written.
    pub format: AccessLogFormat,
    /// Which requests have a line.
    pub filters: Filters,
    /// What of a request is in it, as JSON.
    pub fields: Fields,
    /// `bufferingSize`: lines that may wait together; a worker's own number unless written.
    pub buffered_lines: Option<usize>,
}

/// How a line of the access log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// The Common Log Format, with what Traefik adds to it.
    #[default]
    Common,
    /// The combined format of Apache and nginx.
    Combined,
    /// An object a line, with Traefik's field names.
    Json,
}

/// `accessLog.filters`: a request has a line if one of them takes it, or if there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// `statusCodes`: the first and the last of each range.
    pub statuses: Vec<(u16, u16)>,
    /// `retryAttempts`: it was tried again at least once.
    pub retried: bool,
    /// `minDuration`: it took at least as long.
    pub min_duration: Option<Duration>,
}

/// `accessLog.fields`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// `defaultMode`, for fields that are not named.
    pub default_mode: FieldMode,
    /// `names`, as Traefik spells them.
    pub names: BTreeMap<String, FieldMode>,
    /// `headers.defaultMode`
    pub headers_default_mode: FieldMode,
    /// `headers.names`, in lower case.
    pub headers: BTreeMap<String, FieldMode>,
    /// `queryParameters.defaultMode`
    pub query_mode: FieldMode,
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldMode {
    /// It is written.
    Keep,
    /// It is left out.
    Drop,
    /// That it was there is written, not what it was.
    Redact,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            default_mode: FieldMode::Keep,
            names: BTreeMap::new(),
            headers_default_mode: FieldMode::Drop,
            headers: BTreeMap::new(),
            query_mode: FieldMode::Keep,
        }
    }
}

const FORMATS: [(&str, AccessLogFormat); 4] = [
    ("common", AccessLogFormat::Common),
    ("combined", AccessLogFormat::Combined),
    ("json", AccessLogFormat::Json),
    // Traefik's name for the common format with referrer and user agent, and nothing of its own.
    ("genericCLF", AccessLogFormat::Combined),
];
const KEEP_OR_DROP: [(&str, FieldMode); 2] = [("keep", FieldMode::Keep), ("drop", FieldMode::Drop)];
const MODES: [(&str, FieldMode); 3] =
    [("keep", FieldMode::Keep), ("drop", FieldMode::Drop), ("redact", FieldMode::Redact)];

pub(super) fn read(reader: &mut Reader<'_>) -> Option<AccessLog> {
    // A format that is none is a fault also where the log is off.
    let format = reader.choice("accessLog.format", &FORMATS).unwrap_or_default();
    reader.section("accessLog")?.then(|| AccessLog {
        file: reader.text("accessLog.filePath").map(PathBuf::from),
        format,
        filters: Filters {
            statuses: reader.parsed_list("accessLog.filters.statusCodes", statuses).unwrap_or_default(),
            retried: reader.flag("accessLog.filters.retryAttempts", false),
            min_duration: reader.duration("accessLog.filters.minDuration").filter(|least| !least.is_zero()),
        },
        fields: fields(reader),
        buffered_lines: reader
            .number("accessLog.bufferingSize", "a number of lines")
            .filter(|lines| *lines > 0),
    })
}

fn fields(reader: &mut Reader<'_>) -> Fields {
    let otherwise = Fields::default();
    let mut modes = |base: &str, choices: &[(&str, FieldMode)]| {
        let names = reader.names(base);
        let modes = names.into_iter().filter_map(|name| {
            let mode = reader.choice(&format!("{base}.{name}"), choices)?;
            Some((name, mode))
        });
        modes.collect::<BTreeMap<_, _>>()
    };
    let names = modes("accessLog.fields.names", &KEEP_OR_DROP);
    let headers = modes("accessLog.fields.headers.names", &MODES);
    let headers = headers.into_iter().map(|(name, mode)| (name.to_ascii_lowercase(), mode)).collect();
    Fields {
        default_mode: reader
            .choice("accessLog.fields.defaultMode", &KEEP_OR_DROP)
            .unwrap_or(otherwise.default_mode),
        names,
        headers_default_mode: reader
            .choice("accessLog.fields.headers.defaultMode", &MODES)
            .unwrap_or(otherwise.headers_default_mode),
        headers,
        query_mode: reader
            .choice("accessLog.fields.queryParameters.defaultMode", &KEEP_OR_DROP)
            .unwrap_or(otherwise.query_mode),
    }
}

/// `404`, or `500-599`.
fn statuses(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |code: &str| code.trim().parse().ok().filter(|code| (100..1000).contains(code));
    match (code(first), code(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(format!("`{text}` is neither a status nor a range: write `404` or `500-599`")),
    }
}
