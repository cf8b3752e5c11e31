//! A container as a test describes it.

use super::image::NGINX;

/// What to run with [`super::Engine::run`]: nginx answering with its host name, unless said otherwise.
#[derive(Clone, Debug)]
pub struct Container {
    name: String,
    image: String,
    options: Vec<String>,
    command: Vec<String>,
}

impl Container {
    /// A container called `name`.
    pub fn new(name: &str) -> Self {
        let options = vec![format!("--name={name}"), format!("--hostname={name}")];
        Self { name: name.to_owned(), image: NGINX.to_owned(), options, command: Vec::new() }
    }

    /// Runs another image than [`NGINX`].
    #[must_use]
    pub fn image(mut self, image: &str) -> Self {
        image.clone_into(&mut self.image);
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(self, key: &str, value: &str) -> Self {
        self.option(&format!("--label={key}={value}"))
    }

    /// Joins a network instead of the default bridge.
    #[must_use]
    pub fn network(mut self, network: &str) -> Self {
        if network.starts_with("container:") {
            // It shares the other's host name too, and the engine refuses a second one.
            self.options.retain(|option| !option.starts_with("--hostname="));
        }
        self.option(&format!("--network={network}"))
    }

    /// Adds a name on the network.
    #[must_use]
    pub fn alias(self, alias: &str) -> Self {
        self.option(&format!("--network-alias={alias}"))
    }

    /// Makes the container healthy while `command` succeeds, asked five times a second; one failure makes it unhealthy.
    ///
    /// `test -f /healthy` lets a test decide, by `engine.exec("web", &["touch", "/healthy"])`.
    #[must_use]
    pub fn health(self, command: &str) -> Self {
        self.option(&format!("--health-cmd={command}"))
            .option("--health-interval=200ms")
            .option("--health-timeout=2s")
            .option("--health-retries=1")
    }

    /// Adds any other option of `docker run`, as one word: `--stop-timeout=3`.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// Runs another command than the image's.
    #[must_use]
    pub fn command(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Runs a shell script instead of the image's command. It is the first process, so it must handle its stop signal.
    #[must_use]
    pub fn script(self, script: &str) -> Self {
        self.command(&["sh", "-c", script])
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments of `docker`.
    pub(super) fn arguments(&self) -> Vec<&str> {
        let mut arguments = vec!["run", "--detach"];
        arguments.extend(self.options.iter().map(String::as_str));
        arguments.push(&self.image);
        arguments.extend(self.command.iter().map(String::as_str));
        arguments
    }
}
