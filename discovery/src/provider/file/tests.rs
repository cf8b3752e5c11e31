//! Files, as an operator changes them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use portolan_config::settings::FileSource;

use super::*;

const ROUTES: &str = "http:\n  services:\n    web:\n      loadBalancer:\n        servers:\n          - url: http://10.0.0.1:8080\n";

struct Told {
    directory: tempfile::TempDir,
    updates: mpsc::Receiver<Update>,
}

impl Told {
    fn watching(files: &[(&str, &str)], place: impl FnOnce(PathBuf) -> FileSource) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (sender, updates) = mpsc::channel(16);
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let source = FileProvider { source: place(directory.path().to_owned()), watch: true };
        tokio::spawn(File::new(source, metrics).run(sender));
        Self { directory, updates }
    }

    async fn next(&mut self) -> Configured {
        let update = tokio::time::timeout(Duration::from_secs(10), self.updates.recv()).await;
        match update.expect("an update within 10 s").expect("the provider runs").change {
            Change::Configured(configured) => *configured,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for a word that satisfies `wanted`; there may be others before.
    async fn until(&mut self, wanted: impl Fn(&Configured) -> bool) -> Configured {
        loop {
            let configured = self.next().await;
            if wanted(&configured) {
                return configured;
            }
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).unwrap();
    }
}

#[tokio::test]
async fn a_directory_is_read_and_followed() {
    let mut told = Told::watching(
        &[
            ("a.yml", ROUTES),
            ("below/b.toml", "[tcp.services.db.loadBalancer]\nservers = [{ address = \"10.0.0.2:5432\" }]\n"),
            ("notes.txt", "no: ["),
        ],
        FileSource::Directory,
    );
    let first = told.next().await;
    assert!(first.faults.is_empty(), "{first:?}");
    assert_eq!(first.dynamic.services.len(), 1);
    assert_eq!(first.dynamic.tcp_services.len(), 1);
    // As editors save: a new file in the place of the old one.
    told.write("a.tmp", &ROUTES.replace("web", "api"));
    fs::rename(told.directory.path().join("a.tmp"), told.directory.path().join("a.yml")).unwrap();
    told.until(|configured| configured.dynamic.services.contains_key("api")).await;
    fs::remove_file(told.directory.path().join("a.yml")).unwrap();
    told.until(|configured| configured.dynamic.services.is_empty()).await;
}

#[tokio::test]
async fn a_broken_file_keeps_its_last_good_word_and_says_where_it_is_broken() {
    let mut told = Told::watching(&[("a.yml", ROUTES)], |path| FileSource::File(path.join("a.yml")));
    assert!(told.next().await.faults.is_empty());
    told.write("a.yml", &format!("{ROUTES}  routers: [\n"));
    let broken = told.until(|configured| !configured.faults.is_empty()).await;
    assert!(broken.dynamic.services.contains_key("web"), "{broken:?}");
    let shown = broken.faults[0].to_string();
    assert!(shown.contains("a.yml:") && shown.contains("can't be read"), "{shown}");
    told.write("a.yml", &ROUTES.replace("web", "mended"));
    let mended = told.until(|configured| configured.faults.is_empty()).await;
    assert!(mended.dynamic.services.contains_key("mended"), "{mended:?}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_waited_for() {
    let mut told = Told::watching(&[], |path| FileSource::File(path.join("later.toml")));
    let first = told.next().await;
    assert!(first.faults[0].to_string().contains("can't be read"), "{first:?}");
    told.write("later.toml", "[http.services.web.loadBalancer]\nservers = [{ url = \"http://10.0.0.1\" }]\n");
    told.until(|configured| configured.faults.is_empty() && configured.dynamic.services.len() == 1).await;
}

#[tokio::test]
async fn names_of_servers_are_looked_up() {
    let text = ROUTES.replace("10.0.0.1", "localhost") + "          - url: http://nobody.invalid\n";
    let mut told = Told::watching(&[("a.yml", &text)], |path| FileSource::File(path.join("a.yml")));
    let configured = told.next().await;
    let localhost = configured.addresses["localhost"].clone().unwrap();
    assert!(localhost.iter().all(std::net::IpAddr::is_loopback), "{localhost:?}");
    assert!(configured.addresses["nobody.invalid"].clone().unwrap_err().contains("nobody.invalid"));
}
