//! Gathers what is written: the command line in both spellings, the environment, the file.
//!
//! It reads files and variables and hands their text on. What they mean is said by `portolan_config`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use portolan_config::document::{DOCUMENT_BYTES_MAX, Format};
use portolan_config::settings::own::{ENTRY_POINT, OWN};
use portolan_config::settings::{FILE_VARIABLES, OwnFlag, Written};
use portolan_config::{Fault, Settings};

use crate::cli::Cli;

/// Verbs that take settings, from flags of either spelling.
const WITH_SETTINGS: [&str; 9] =
    ["run", "demo", "check", "ps", "resolve", "explain", "drain", "undrain", "healthcheck"];
/// Where a file is looked for unless one is named: in a directory of the program's own, then in the others.
const EXTENSIONS: [&str; 3] = ["toml", "yaml", "yml"];

/// What somebody wrote, before it is known whether it means anything.
pub struct Gathered {
    /// The verb with its own flags.
    pub cli: Cli,
    /// The settings.
    pub written: Written,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

/// Gathers it. An error is one of the command line that leaves nothing to go on with, or a call for help.
pub fn gather(arguments: impl IntoIterator<Item = OsString>) -> Result<Gathered, clap::Error> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut written = Written::default();
    let verb = verb(&mut arguments);
    if let Some(verb) = &verb {
        let own = own_flags(verb);
        // What is no UTF-8 is nobody's flag, and clap says so.
        let rest: Result<Vec<String>, _> =
            arguments[2..].iter().map(|argument| argument.clone().into_string()).collect();
        if let Ok(rest) = rest {
            let rest = rest.into_iter().map(own_spelling);
            let left = written.take_flags(rest, &own);
            arguments.truncate(2);
            arguments.extend(left.into_iter().map(OsString::from));
        }
    }
    let matches = Cli::command().try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let mut file = None;
    if let (Some(_), Some((verb, matches))) = (verb, matches.subcommand()) {
        take_own_flags(&mut written, matches);
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            // A name or a value that is no UTF-8 is not one of ours.
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        written.take_environment(variables, &twins());
        file = find_file(verb, matches);
        if let Some(file) = &file {
            take_file(&mut written, file);
        }
    }
    Ok(Gathered { cli, written, file })
}

impl Gathered {
    /// The settings as meant, or every fault in them.
    pub fn settings(&self) -> Result<Settings, Vec<Fault>> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Settings::resolve(&self.written, cores)
    }
}

/// Faults of the settings, a line each.
pub fn lines(faults: &[Fault]) -> String {
    let line = |fault: &Fault| match fault.origin.as_str() {
        // The name of the flag or variable says where it was.
        "flag" | "environment" => format!("{}: {}", fault.key, fault.message),
        _ => fault.to_string(),
    };
    faults.iter().map(line).collect::<Vec<_>>().join("\nportolan: ")
}

/// The verb, if it is one that takes settings. Flags without a verb mean `run`, as Traefik has none.
fn verb(arguments: &mut Vec<OsString>) -> Option<String> {
    let first = arguments.get(1)?.to_str()?;
    if first.starts_with('-') && !["-h", "--help", "-V", "--version", "--"].contains(&first) {
        arguments.insert(1, "run".into());
    }
    let verb = arguments[1].to_str()?;
    WITH_SETTINGS.contains(&verb).then(|| verb.to_owned())
}

/// The flags that clap knows for a verb.
fn own_flags(verb: &str) -> Vec<OwnFlag> {
    let mut command = Cli::command();
    command.build();
    let arguments = command.find_subcommand(verb).into_iter().flat_map(Command::get_arguments);
    arguments
        .filter_map(|argument| {
            let takes_next = argument.get_action().takes_values() && !argument.is_require_equals_set();
            Some(OwnFlag { name: argument.get_long()?.to_owned(), takes_next })
        })
        .collect()
}

/// The variables that clap reads.
fn twins() -> Vec<String> {
    let command = Cli::command();
    let arguments = command.get_subcommands().flat_map(Command::get_arguments);
    arguments.filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned)).collect()
}

/// `--configFile`, in whatever case, is Traefik's name for `--config-file`.
fn own_spelling(argument: String) -> String {
    let name = argument.trim_start_matches('-').split('=').next().unwrap_or_default();
    if argument.starts_with('-') && name.eq_ignore_ascii_case("configfile") {
        let value = argument.split_once('=').map_or_else(String::new, |(_, value)| format!("={value}"));
        return format!("--config-file{value}");
    }
    argument
}

/// Those of clap's flags that are settings and were typed; variables are read apart.
fn take_own_flags(written: &mut Written, matches: &ArgMatches) {
    for own in OWN.iter().chain([&ENTRY_POINT]) {
        let mut id = own.flag.replace('-', "_");
        if own.flag == ENTRY_POINT.flag {
            id.push('s');
        }
        if matches.try_contains_id(&id).is_err()
            || matches.value_source(&id) != Some(ValueSource::CommandLine)
        {
            continue;
        }
        for value in matches.get_raw(&id).into_iter().flatten() {
            written.own_flag(own.flag, &value.to_string_lossy());
        }
    }
}

/// The file that is named, or the first there is in the usual places. The demo looks only at one that is named.
fn find_file(verb: &str, matches: &ArgMatches) -> Option<PathBuf> {
    let flag = || matches.try_get_one::<String>("config_file").ok().flatten().cloned();
    let variable = || {
        FILE_VARIABLES.into_iter().find_map(|name| std::env::var(name).ok().filter(|path| !path.is_empty()))
    };
    if let Some(named) = flag().filter(|path| !path.is_empty()).or_else(variable) {
        return Some(PathBuf::from(named));
    }
    if verb == "demo" {
        return None;
    }
    let from = |variable: &str| std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    let places = |program: &str| {
        let home = from("HOME").map(|home| home.join(".config"));
        let system = Some(Path::new("/etc").join(program));
        [system, from("XDG_CONFIG_HOME"), home, Some(PathBuf::from("."))]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
    };
    ["portolan", "traefik"].into_iter().find_map(|program| {
        let files = places(program)
            .into_iter()
            .flat_map(|place| EXTENSIONS.map(|extension| place.join(format!("{program}.{extension}"))));
        files.into_iter().find(|file| file.is_file())
    })
}

fn take_file(written: &mut Written, path: &Path) {
    let name = path.display().to_string();
    let mut fault = |message: String| {
        written.own_fault(Fault::new("flag", format!("--config-file {name}"), message));
    };
    let Some(format) = Format::of(&name) else {
        return fault("expected a file that ends with .yml, .yaml or .toml".to_owned());
    };
    match text(path) {
        Ok(text) => written.take_file(&name, &text, format),
        Err(error) => fault(format!("the file can't be read: {error}")),
    }
}

/// The text of a file. No more is read than can be taken in; a device has no end.
pub fn text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    std::io::Read::read_to_string(&mut std::io::Read::take(file, DOCUMENT_BYTES_MAX as u64 + 1), &mut text)?;
    Ok(text)
}
