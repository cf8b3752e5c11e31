//! The file: YAML or TOML with the options of Traefik's static configuration, and Portolan's own beside them.

use super::known::{self, join};
use super::nearest::hint;
use super::written::{Origin, Rank, Value, Written};
use crate::Fault;
use crate::document::{self, Format, Node};

/// What belongs into a file that `providers.file` names.
const DYNAMIC: [&str; 4] = ["http", "tcp", "udp", "tls"];

impl Written {
    /// Takes in the text of a file. `name` is what faults call it.
    pub fn take_file(&mut self, name: &str, text: &str, format: Format) {
        match Node::parse(text, format) {
            Ok(root) => Reading { file: name, written: self }.node(&mut Vec::new(), &root, root.line),
            Err(error) => {
                let origin = match error.line {
                    Some(line) => format!("{name}:{line}"),
                    None => name.to_owned(),
                };
                self.push_fault(Fault::new(origin, "the file", format!("can't be read: {}", error.message)));
            }
        }
    }
}

struct Reading<'a> {
    file: &'a str,
    written: &'a mut Written,
}

impl Reading<'_> {
    /// `line` is that of the key.
    fn node(&mut self, path: &mut Vec<String>, node: &Node, line: usize) {
        match &node.value {
            document::Value::Map(entries) => self.map(path, entries, line),
            document::Value::Null => self.null(path, line),
            document::Value::Text(text) => self.leaf(path, Value::Text(text.clone()), line),
            document::Value::List(items) => self.list(path, items, line),
        }
    }

    fn map(&mut self, path: &mut Vec<String>, entries: &[(String, usize, Node)], line: usize) {
        if entries.is_empty() && !path.is_empty() {
            // `ping: {}` switches on; `http: {}` asks for nothing.
            if find(path).is_some_and(|spot| spot.known.kind == known::Kind::Bool) {
                self.leaf(path, Value::Text("true".to_owned()), line);
            } else if !known::is_section(&words(path)) {
                self.unknown(path, line);
            }
            return;
        }
        for (key, line, child) in entries {
            if path.is_empty() && key.starts_with("x-") {
                // Where YAML's users keep what they refer to.
                continue;
            }
            if path.is_empty() && DYNAMIC.iter().any(|word| word.eq_ignore_ascii_case(key)) {
                let message = "this is dynamic configuration: it is read from the file that providers.file.filename names";
                self.written.push_warning(self.origin(*line).fault(key, message));
                continue;
            }
            path.push(key.clone());
            self.node(path, child, *line);
            path.pop();
        }
    }

    fn null(&mut self, path: &[String], line: usize) {
        let words = words(path);
        match find(path) {
            Some(spot) if spot.known.kind == known::Kind::Bool => {
                let message = "there is nothing behind it, which asks for nothing; write `{}` or `true` to switch it on";
                self.written.push_warning(self.origin(line).fault(&join(&spot.path), message));
            }
            Some(_) => {}
            None if known::is_section(&words) => {}
            None => self.unknown(path, line),
        }
    }

    fn list(&mut self, path: &mut Vec<String>, items: &[Node], line: usize) {
        let texts: Option<Vec<String>> = items
            .iter()
            .map(|item| match &item.value {
                document::Value::Text(text) => Some(text.clone()),
                _ => None,
            })
            .collect();
        if let Some(texts) = texts {
            return self.leaf(path, Value::List(texts), line);
        }
        for (index, item) in items.iter().enumerate() {
            path.push(format!("[{index}]"));
            self.node(path, item, item.line);
            path.pop();
        }
    }

    fn leaf(&mut self, path: &[String], value: Value, line: usize) {
        let origin = self.origin(line);
        let Some(spot) = find(path) else { return self.unknown(path, line) };
        if spot.known.kind != known::Kind::List && matches!(value, Value::List(_)) {
            let fault = origin.fault(&join(&spot.path), "a list can't be written here: expected one value");
            return self.written.push_fault(fault);
        }
        self.written.insert(spot, value, origin, Rank::File);
    }

    fn unknown(&mut self, path: &[String], line: usize) {
        let words = words(path);
        let message = if words.is_empty() {
            "expected names with values, such as `entryPoints:`".to_owned()
        } else if known::is_section(&words) {
            let below = known::children(&words).join(", ").replace('*', "names of your own");
            format!("it takes no value; below it there are {below}")
        } else {
            format!("there is no such option; {}", hint(&words, &[]))
        };
        let key = if path.is_empty() { "the file".to_owned() } else { join(path) };
        self.written.push_fault(self.origin(line).fault(&key, message));
    }

    fn origin(&self, line: usize) -> Origin {
        Origin::File { file: self.file.to_owned(), line }
    }
}

fn words(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

fn find(path: &[String]) -> Option<known::Spot> {
    known::find(&words(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str, format: Format) -> (Vec<String>, Vec<String>, Vec<String>) {
        let mut written = Written::default();
        written.take_file("traefik.yml", text, format);
        let options = written.entries().map(|entry| match &entry.value {
            Value::Text(text) => format!("{}={text}", join(&entry.path)),
            Value::List(items) => format!("{}={items:?}", join(&entry.path)),
        });
        let shown = |faults: &[Fault]| faults.iter().map(ToString::to_string).collect();
        (options.collect(), shown(written.faults()), shown(written.warnings()))
    }

    #[test]
    fn both_formats_say_the_same() {
        let yaml = "\
entryPoints:
  web:
    address: ':80'
    http:
      tls:
        domains:
          - main: a.example
            sans: [b.example, c.example]
    forwardedHeaders:
      trustedIPs: [10.0.0.0/8]
ping: {}
accessLog: true
providers:
  Docker:
    exposedByDefault: false
x-anything: {a: b}
";
        let toml = "\
[entryPoints.web]
address = ':80'
[[entryPoints.web.http.tls.domains]]
main = 'a.example'
sans = ['b.example', 'c.example']
[entryPoints.web.forwardedHeaders]
trustedIPs = ['10.0.0.0/8']
[ping]
[accessLog]
[providers.Docker]
exposedByDefault = false
";
        let options = [
            "accessLog=true",
            "entryPoints.web.address=:80",
            "entryPoints.web.forwardedHeaders.trustedIPs=[\"10.0.0.0/8\"]",
            "entryPoints.web.http.tls.domains[0].main=a.example",
            "entryPoints.web.http.tls.domains[0].sans=[\"b.example\", \"c.example\"]",
            "ping=true",
            "providers.docker.exposedByDefault=false",
        ];
        for (text, format) in [(yaml, Format::Yaml), (toml, Format::Toml)] {
            let (found, faults, warnings) = taken(text, format);
            assert_eq!(found, options);
            assert_eq!((faults.len(), warnings.len()), (0, 0), "{faults:?} {warnings:?}");
        }
    }

    #[test]
    fn every_fault_has_its_line() {
        let (_, faults, warnings) = taken(
            "\
entryPoints:
  web:
    adress: ':80'
log: debug
providers:
  docker:
    network: [a, b]
  file: somewhere
ping:
http:
  routers: {}
accessLogs: {}
",
            Format::Yaml,
        );
        assert_eq!(
            faults,
            [
                "traefik.yml:3: entryPoints.web.adress: there is no such option; did you mean `entryPoints.web.address`?",
                "traefik.yml:7: providers.docker.network: a list can't be written here: expected one value",
                "traefik.yml:8: providers.file: it takes no value; below it there are debugLogGeneratedTemplate, \
                 directory, filename, watch",
                "traefik.yml:12: accessLogs: there is no such option; did you mean `accessLog`?",
            ]
        );
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("traefik.yml:9: ping: there is nothing behind it"));
        assert!(warnings[1].starts_with("traefik.yml:10: http: this is dynamic configuration"));
        let (_, faults, _) = taken("a: [1\n", Format::Yaml);
        assert!(faults[0].starts_with("traefik.yml:") && faults[0].contains("can't be read"), "{faults:?}");
        let (_, faults, _) = taken("just a text\n", Format::Yaml);
        assert!(faults[0].contains("expected names with values"), "{faults:?}");
    }
}
