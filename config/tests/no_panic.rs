//! Whatever is written into labels, files, rules and templates, it is read or told to be wrong; nothing panics, and
//! nothing takes the stack.

use std::collections::BTreeMap;

use portolan_config::dynamic::http::RuleSyntax;
use portolan_config::dynamic::{Format, read_file};
use portolan_config::rule::{RequestView, TcpRule};
use portolan_config::template::Subject;
use portolan_config::{Constraints, Labels, Rule, Template};
use proptest::prelude::*;

proptest! {
    #[test]
    fn labels_are_read_or_at_fault(
        names in proptest::collection::vec(
            "(http|tcp|udp|tls)\\.(routers|services|middlewares|options)\\.[a-zA-Z0-9.\\[\\]@]{0,40}",
            0..6,
        ),
        values in proptest::collection::vec("\\PC{0,20}", 6),
        prefix in "traefik|portolan",
    ) {
        let labels: BTreeMap<String, String> = names
            .into_iter()
            .zip(values)
            .map(|(name, value)| (format!("{prefix}.{name}"), value))
            .collect();
        Labels::decode(&labels);
    }

    #[test]
    fn rules_are_read_or_at_fault(
        text in "(Host|Path|Query|HostRegexp|ClientIP|!|\\(|\\)|&&|\\|\\||`[a-z.*/0-9]{0,6}`|\"\\PC{0,6}\"|,| ){0,20}",
    ) {
        if let Ok(rule) = Rule::parse_as(&text, RuleSyntax::V3) {
            rule.matches(&RequestView::get("a.test", "/"));
            // What is shown can be read again.
            prop_assert!(Rule::parse(&rule.to_string()).is_ok(), "{text} is shown as {rule}");
        }
        let _ = Rule::parse_as(&text, RuleSyntax::V2);
        let _ = TcpRule::parse_as(&text, RuleSyntax::V3);
        let _ = Constraints::parse(&text);
    }

    #[test]
    fn templates_are_read_or_at_fault(
        text in "(\\{\\{|\\}\\}|-|if|else|end|with|\\.Name|\\.Labels|normalize|index|\"a\"|\\(|\\)|\\||\\$x|:=| |1){0,16}",
    ) {
        if let Ok(template) = Template::parse(&text) {
            let labels = BTreeMap::new();
            let _ = template.render(&Subject { name: "a", container_name: "b", labels: &labels });
        }
    }

    #[test]
    fn files_are_read_or_at_fault(
        text in "(http|routers|services|loadBalancer|servers|url|[:{}\\[\\],&*!|>-]| |\n|a|\"|'|=){0,40}",
    ) {
        for format in [Format::Yaml, Format::Toml] {
            let _ = read_file("a", format, &text);
        }
    }
}

#[test]
fn what_goes_deep_is_refused_and_takes_no_stack() {
    // As much as threads have that read files.
    let deep = || {
        let depth = 100_000;
        for open in ["[", "{a: "] {
            assert!(read_file("a", Format::Yaml, &open.repeat(depth)).is_err());
        }
        let indented = (0..2_000).map(|level| " ".repeat(level) + "a:\n").collect::<String>();
        assert!(read_file("a", Format::Yaml, &indented).is_err());
        assert!(read_file("a", Format::Toml, &format!("a = {}", "[".repeat(depth))).is_err());
        let _ = read_file("a", Format::Toml, &format!("{}b = 1", "a.".repeat(1_000)));
        assert!(Rule::parse(&"(".repeat(depth)).is_err());
        assert!(Rule::parse(&"!".repeat(depth)).is_err());
        assert!(Template::parse(&"{{ if .Name }}".repeat(depth)).is_err());
        assert!(Template::parse(&format!("{{{{ {} }}}}", "(".repeat(depth))).is_err());
        let label = format!("traefik.http.{}", "a.".repeat(depth));
        assert_eq!(Labels::decode(&BTreeMap::from([(label, String::new())])).faults.len(), 1);
    };
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(deep).expect("a thread");
    thread.join().expect("nothing panics");
}
