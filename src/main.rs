//! Portolan: ingress proxy, internal DNS and service discovery for containers, in one process.
//!
//! The crates do the work; what is here starts them, joins them and speaks to people: the command line, the admin
//! server, logs and signals.

// A binary has no outside: `pub` says what a module is for, and nothing more.
#![allow(unreachable_pub)]

use std::process::ExitCode;

use clap::error::ErrorKind;

mod admin;
mod banner;
mod cli;
mod command;
mod follow;
mod gather;
mod handover;
mod life;
mod limits;
mod logging;
mod manager;
mod name_server;
mod reload;
mod run;
mod signals;
mod sources;
mod state;
mod steer;

use cli::{Command, Source};

fn main() -> ExitCode {
    let gathered = match gather::gather(std::env::args_os()) {
        Ok(gathered) => gathered,
        Err(error)
            if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            eprintln!("portolan: {}", cli::one_line(&error));
            return ExitCode::FAILURE;
        }
        Err(help) => {
            let _ = help.print();
            return if help.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let done = match &gathered.cli.command {
        Command::Run(options) => run::run(&gathered, options.source, options.takeover),
        Command::Demo(_) => run::run(&gathered, Source::Demo, false),
        Command::Check(options) => command::check::check(&gathered, options),
        Command::Ps(options) => command::ps::ps(&gathered, options),
        Command::Resolve(options) => command::resolve::resolve(&gathered, options),
        Command::Drain(options) => command::drain::drain(&gathered, options),
        Command::Undrain(options) => command::drain::undrain(&gathered, options),
        Command::Explain(options) => command::explain::explain(&gathered, options),
        Command::Healthcheck(_) => command::healthcheck::healthcheck(&gathered),
        Command::Version(options) => command::version::version(options),
    };
    match done {
        Ok(code) => code,
        Err(message) => {
            eprintln!("portolan: {message}");
            ExitCode::FAILURE
        }
    }
}
