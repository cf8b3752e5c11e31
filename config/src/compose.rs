//! A Compose file: its services with their labels, each with the line where it stands.
//!
//! Only what Portolan would see of the containers is read: labels, ports, names. What Compose itself makes of the rest is
//! not judged. Nothing here reads a file or a variable: `${VAR}` stays as it is written.

use crate::Protocol;
use crate::document::{Format, Node, Unreadable, Value};

/// What a Compose file says of its services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compose {
    /// The project's name, where the file has one.
    pub project: Option<String>,
    /// The services, in the order written.
    pub services: Vec<Service>,
    /// What can't be read as Compose would read it.
    pub wrong: Vec<Wrong>,
    /// What Compose reads elsewhere, and nobody here: labels may stand there that are not judged.
    pub elsewhere: Vec<Wrong>,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The line of its name.
    pub line: usize,
    /// `labels`: those of its containers.
    pub labels: Vec<Label>,
    /// `deploy.labels`: those of the service in a Swarm.
    pub deploy_labels: Vec<Label>,
    /// The ports that it says its containers listen on; the image may say more.
    pub ports: Vec<(u16, Protocol)>,
    /// `environment`: the variables that have a value here.
    pub environment: Vec<(String, String)>,
    /// `networks`: the networks by the names that they have in the file; none is the default one.
    pub networks: Vec<String>,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The line it is on.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// Its value, `$$` read as `$`.
    pub value: String,
}

/// Something that is not as Compose has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The line.
    pub line: usize,
    /// The service, unless it is of the file as a whole.
    pub service: Option<String>,
    /// The key: `labels`, `deploy.labels`, `services`.
    pub key: &'static str,
    /// What is wrong with it, and what was expected.
    pub message: String,
}

/// Reads the text of a Compose file. An error is of a text that is no YAML; all else that is wrong is told in
/// [`Compose::wrong`].
pub fn read(text: &str) -> Result<Compose, Unreadable> {
    let root = Node::parse(text, Format::Yaml)?;
    let mut compose = Compose { project: root_text(&root, "name"), ..Compose::default() };
    if let Some(written) = get(&root, "include") {
        let message = "included files are not read here: name them beside this one".to_owned();
        compose.elsewhere.push(Wrong { line: written.line, service: None, key: "include", message });
    }
    let services = get(&root, "services");
    let Some(Value::Map(services)) = services.map(|services| &services.value) else {
        let message = "a Compose file has its services here, by name".to_owned();
        let line = services.map_or(1, |services| services.line);
        compose.wrong.push(Wrong { line, service: None, key: "services", message });
        return Ok(compose);
    };
    for (name, line, node) in services {
        let mut service = Service { name: name.clone(), line: *line, ..Service::default() };
        let mut wrong = Vec::new();
        if let Some(written) = get(node, "labels") {
            service.labels = labels(written, "labels", &mut wrong);
        }
        if let Some(written) = get(node, "deploy").and_then(|deploy| get(deploy, "labels")) {
            service.deploy_labels = labels(written, "deploy.labels", &mut wrong);
        }
        for key in ["expose", "ports"] {
            if let Some(Value::List(items)) = get(node, key).map(|list| &list.value) {
                service.ports.extend(items.iter().filter_map(port));
            }
        }
        for (key, message) in ELSEWHERE {
            if let Some(written) = get(node, key) {
                let (service, message) = (Some(name.clone()), message.to_owned());
                compose.elsewhere.push(Wrong { line: written.line, service, key, message });
            }
        }
        service.environment = pairs(get(node, "environment"));
        service.networks = keys(get(node, "networks"));
        service.ports.sort_unstable();
        service.ports.dedup();
        compose.wrong.extend(wrong.into_iter().map(|wrong| Wrong { service: Some(name.clone()), ..wrong }));
        compose.services.push(service);
    }
    Ok(compose)
}

/// What a service may say that is not followed, and what to do about it.
const ELSEWHERE: [(&str, &str); 3] = [
    ("extends", "the service that it extends is not read here: what labels that has, is not judged"),
    (
        "env_file",
        "its variables are not read here: `VIRTUAL_HOST` and its like have to stand in `environment`",
    ),
    ("label_file", "its labels are not read here"),
];

/// `NAME=value` of a list, or the entries of a map. What has no value is had from elsewhere.
fn pairs(node: Option<&Node>) -> Vec<(String, String)> {
    let text = |node: &Node| match &node.value {
        Value::Text(text) => Some(text.replace("$$", "$")),
        _ => None,
    };
    match node.map(|node| &node.value) {
        Some(Value::Map(entries)) => {
            entries.iter().filter_map(|(name, _, value)| Some((name.clone(), text(value)?))).collect()
        }
        Some(Value::List(items)) => items
            .iter()
            .filter_map(|item| {
                text(item)?.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The names in a list, or of a map.
fn keys(node: Option<&Node>) -> Vec<String> {
    match node.map(|node| &node.value) {
        Some(Value::Map(entries)) => entries.iter().map(|(name, _, _)| name.clone()).collect(),
        Some(Value::List(items)) => items
            .iter()
            .filter_map(|item| match &item.value {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn get<'a>(node: &'a Node, wanted: &str) -> Option<&'a Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _, _)| key == wanted).map(|(_, _, value)| value)
}

/// A name that has a variable in it is not known here.
fn root_text(root: &Node, key: &str) -> Option<String> {
    match &get(root, key)?.value {
        Value::Text(text) if !text.is_empty() && !text.contains('$') => Some(text.clone()),
        _ => None,
    }
}

fn labels(node: &Node, key: &'static str, wrong: &mut Vec<Wrong>) -> Vec<Label> {
    let mut told = |line, message: &str| {
        wrong.push(Wrong { line, service: None, key, message: message.to_owned() });
    };
    match &node.value {
        Value::Null => Vec::new(),
        Value::Text(_) => {
            told(node.line, "this is a text; labels are a list of `name=value`, or a map");
            Vec::new()
        }
        Value::Map(entries) => {
            let mut found = Vec::new();
            for (name, line, value) in entries {
                match &value.value {
                    Value::Null => found.push(label(*line, name, "")),
                    Value::Text(text) => found.push(label(*line, name, text)),
                    Value::List(_) | Value::Map(_) => {
                        told(*line, &format!("`{name}` has more below it; the value of a label is one text"));
                    }
                }
            }
            found
        }
        Value::List(items) => {
            let mut found = Vec::new();
            for item in items {
                match &item.value {
                    Value::Text(text) => {
                        let (name, value) = text.split_once('=').unwrap_or((text, ""));
                        found.push(label(item.line, name, value));
                    }
                    Value::Null => told(item.line, "this label is empty"),
                    Value::List(_) | Value::Map(_) => {
                        told(item.line, "in a list a label is `name=value`, one text; with `:` it is a map");
                    }
                }
            }
            found
        }
    }
}

fn label(line: usize, name: &str, value: &str) -> Label {
    Label { line, name: name.replace("$$", "$"), value: value.replace("$$", "$") }
}

/// The container's port in `8080:80`, `127.0.0.1:8080:80/udp`, `80`, or `target: 80`; of a range the first.
fn port(node: &Node) -> Option<(u16, Protocol)> {
    let (number, protocol) = match &node.value {
        Value::Text(text) => {
            let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
            (ports.rsplit(':').next()?, protocol)
        }
        Value::Map(_) => {
            let text = |key| match &get(node, key)?.value {
                Value::Text(text) => Some(text.as_str()),
                _ => None,
            };
            (text("target")?, text("protocol").unwrap_or("tcp"))
        }
        Value::Null | Value::List(_) => return None,
    };
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some((number.split('-').next()?.trim().parse().ok()?, protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(labels: &[Label]) -> Vec<String> {
        labels.iter().map(|label| format!("{}:{}={}", label.line, label.name, label.value)).collect()
    }

    #[test]
    fn labels_are_read_in_every_form_with_their_lines() {
        let text = "\
name: shop
x-common: &common
  traefik.enable: true
services:
  web:
    labels:
      <<: *common
      a.port: 8080
      a.rule: Host(`${HOST:-x}`)
      empty:
    deploy:
      labels:
        - users=a:$$apr1$$b=c
        - alone
    expose: [80, '53/udp']
    ports: ['127.0.0.1:8080:81', {target: 82}, '${PORT}:${PORT}', 90-99]
  bare:
";
        let compose = read(text).expect("it is YAML");
        assert_eq!(compose.project.as_deref(), Some("shop"));
        assert_eq!(compose.wrong, []);
        let [web, bare] = compose.services.as_slice() else { panic!("{compose:#?}") };
        assert_eq!((web.name.as_str(), web.line, bare.line), ("web", 5, 17));
        let mut labels = shown(&web.labels);
        labels.sort();
        assert_eq!(
            labels,
            ["10:empty=", "3:traefik.enable=true", "8:a.port=8080", "9:a.rule=Host(`${HOST:-x}`)"]
        );
        assert_eq!(shown(&web.deploy_labels), ["13:users=a:$apr1$b=c", "14:alone="]);
        let tcp = |number| (number, Protocol::Tcp);
        let mut expected = [tcp(80), (53, Protocol::Udp), tcp(81), tcp(82), tcp(90)];
        expected.sort_unstable();
        assert_eq!(web.ports, expected);
    }

    #[test]
    fn what_is_no_label_is_told_and_the_others_are_read() {
        let text = "services:\n  a:\n    labels: x=y\n  b:\n    labels:\n      - c: d\n      - e=f\n      -\n  \
                    g:\n    labels:\n      h: [i]\n";
        let compose = read(text).expect("it is YAML");
        let wrong: Vec<_> =
            compose.wrong.iter().map(|wrong| (wrong.line, wrong.service.as_deref().unwrap_or(""))).collect();
        assert_eq!(wrong, [(3, "a"), (6, "b"), (8, "b"), (11, "g")]);
        assert_eq!(shown(&compose.services[1].labels), ["7:e=f"]);
        for text in ["", "http: {}\n", "services: []\n", "[]"] {
            assert_eq!(read(text).expect("it is YAML").wrong.len(), 1, "{text}");
        }
        assert!(read("services: [").is_err());
    }
}
