//! The settings, read again while the process serves: what can follow them at once, and what can't.

use portolan_config::Settings;

use crate::gather;

/// Settings that were read again.
#[derive(Debug)]
pub struct Reread {
    /// What counts from now on: where something can't change, it is as it was.
    pub settings: Settings,
    /// What would be different after a restart, by the name of its option.
    pub at_restart: Vec<&'static str>,
}

/// Reads what is written again. Faults are said in lines; then nothing changes.
pub fn read(now: &Settings) -> Result<Reread, String> {
    let gathered = gather::gather(std::env::args_os()).map_err(|error| error.to_string())?;
    let wanted = gathered.settings().map_err(|faults| gather::lines(&faults))?;
    Ok(reread(now, wanted))
}

fn reread(now: &Settings, wanted: Settings) -> Reread {
    let differs = [
        ("admin", now.admin != wanted.admin),
        ("ping, metrics, api", now.internal != wanted.internal),
        ("stateDirectory", now.state_directory != wanted.state_directory),
        ("workers", now.workers != wanted.workers),
    ];
    let at_restart = differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
    let settings = Settings {
        entry_points: wanted.entry_points,
        accept_grace: wanted.accept_grace,
        drain_timeout: wanted.drain_timeout,
        takeover_timeout: wanted.takeover_timeout,
        dns: wanted.dns,
        docker: wanted.docker,
        swarm: wanted.swarm,
        file: wanted.file,
        servers_transport: wanted.servers_transport,
        tcp_servers_transport: wanted.tcp_servers_transport,
        data_path: wanted.data_path,
        access_log: wanted.access_log,
        log: wanted.log,
        ..now.clone()
    };
    Reread { settings, at_restart }
}

#[cfg(test)]
mod tests {
    use portolan_config::settings::Written;

    use super::*;

    #[test]
    fn what_can_not_follow_is_named_and_stays() {
        let settings = |flags: &[&str]| {
            let mut written = Written::default();
            let left = written.take_flags(flags.iter().map(|flag| (*flag).to_owned()), &[]);
            assert!(left.is_empty(), "{left:?}");
            Settings::resolve(&written, 2).unwrap()
        };
        let now = settings(&["--entryPoints.web.address=:80", "--workers=2"]);
        let wanted = settings(&["--entryPoints.web.address=:81", "--workers=3", "--drainTimeout=3s"]);
        let after = reread(&now, wanted.clone());
        assert_eq!(after.at_restart, ["workers"]);
        assert_eq!(after.settings.entry_points, wanted.entry_points);
        assert_eq!((after.settings.workers, after.settings.drain_timeout), (2, wanted.drain_timeout));
        assert!(reread(&now, now.clone()).at_restart.is_empty());
    }
}
