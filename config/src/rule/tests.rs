//! What rules say, how they are shown, and what is said of those that are wrong.

use std::net::IpAddr;

use super::*;

fn parse(text: &str) -> Rule {
    Rule::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Whether `rule` takes a request written as `METHOD host/path?query`.
fn takes(rule: &Rule, request: &str) -> bool {
    let (method, url) = request.split_once(' ').unwrap_or(("GET", request));
    let (rest, query) = url.split_once('?').unwrap_or((url, ""));
    let at = rest.find('/').expect("a path");
    let fields = [("X-Name", "one"), ("x-name", "two"), ("Content-Type", "text/html; charset=utf-8")];
    rule.matches(&RequestView {
        host: &rest[..at],
        path: &rest[at..],
        method,
        query,
        fields: &fields,
        client: IpAddr::from([10, 1, 2, 3]),
    })
}

#[test]
fn and_binds_tighter_than_or() {
    let rule = parse("Host(`a`) || Host(`b`) && PathPrefix(`/x`)");
    let both = Expression::And(vec![Rule::host("b"), Expression::Is(Matcher::PathPrefix("/x".to_owned()))]);
    assert_eq!(rule, Expression::Or(vec![Rule::host("a"), both]));
}

#[test]
fn requests_are_taken_as_traefik_takes_them() {
    for (text, request, taken) in [
        ("Host(`a.test`)", "a.test/", true),
        ("Host(`A.test.`)", "a.test/", true),
        ("host(\"a.test\")", "a.test/", true),
        ("Host(`*.test`)", "a.test/", true),
        ("Host(`*.test`)", "b.a.test/", false),
        ("Host(`*.test`)", "test/", false),
        ("Host(`*`)", "anything/", true),
        ("HostRegexp(`^[a-z]+\\.test$`)", "abc.test/", true),
        ("HostRegexp(`^[a-z]+\\.test$`)", "a1.test/", false),
        ("HostRegexp(`test`)", "a.test.org/", true),
        ("Hostregexp(`^.+$`)", "x/", true),
        ("Path(`/a`)", "x/a", true),
        ("Path(`/a`)", "x/a/", false),
        ("PathPrefix(`/products`)", "x/products-for-sale", true),
        ("PathRegexp(`\\.(jpe?g|png)$`)", "x/a/b.jpg", true),
        ("PathRegexp(`\\.(jpe?g|png)$`)", "x/a/b.gif", false),
        ("PATHPREFIX(`/a`) && !Path(`/a/b`)", "x/a/b", false),
        ("!(Host(`a`) || Host(`b`)) && Pathprefix(`/`)", "c/", true),
        (" ( Host(`a`)&&PathPrefix(`/`) ) ", "a/", true),
        ("Host(`a`)\n  || Host(`b`)", "b/", true),
        ("Method(`post`)", "POST x/", true),
        ("Method(`POST`)", "GET x/", false),
        ("Header(`x-NAME`, `two`)", "x/", true),
        ("Header(`X-Name`, `thr`)", "x/", false),
        ("Header(`X-Other`, `one`)", "x/", false),
        ("HeaderRegexp(`Content-Type`, `^text/`)", "x/", true),
        ("HeaderRegexp(`X-Name`, `^o`)", "x/", true),
        ("HeaderRegexp(`X-Name`, `^x`)", "x/", false),
        ("Query(`k`, `v`)", "x/?a=b&k=v", true),
        ("Query(`k`, `v`)", "x/?k=w", false),
        ("Query(`k`, `a b&`)", "x/?k=a+b%26", true),
        ("Query(`k`)", "x/?k=", true),
        ("Query(`k`)", "x/?k", true),
        ("Query(`k`)", "x/?k=v", false),
        ("Query(`k`, `v`)", "x/?k=v;a=b", false),
        ("QueryRegexp(`k`, `^v+$`)", "x/?k=vvv", true),
        ("QueryRegexp(`k`, `^a b$`)", "x/?k=a%20b", true),
        ("QueryRegexp(`k`, `^v$`)", "x/?k=%zz", false),
        ("QueryRegexp(`k`)", "x/?k", true),
        ("ClientIP(`10.0.0.0/8`)", "x/", true),
        ("ClientIP(`10.1.2.3`)", "x/", true),
        ("clientip(`10.1.2.4`)", "x/", false),
        ("Path(\"/a\\\"b\\x41\")", "x/a\"bA", true),
        ("Path(`/a\\n`)", "x/a\\n", true),
    ] {
        assert_eq!(takes(&parse(text), request), taken, "{text} for {request}");
    }
}

#[test]
fn rules_of_traefik_2_are_read_where_they_are_asked_for() {
    for (text, request, taken) in [
        ("Host(`a.test`, `b.test`)", "b.test/", true),
        ("HostHeader(`a.test`)", "a.test/", true),
        ("HostRegexp(`{sub:[a-z]+}.Test`)", "abc.test/", true),
        ("HostRegexp(`{sub:[a-z]{3}}.test`)", "ab.test/", false),
        ("HostRegexp(`{any:.+}`)", "anything.at.all/", true),
        ("HostRegexp(`{one}.test`)", "a.b.test/", false),
        ("Path(`/users/{id:[0-9]+}`)", "x/users/12", true),
        ("Path(`/users/{id}`)", "x/users/12/x", false),
        ("PathPrefix(`/users/{id}`, `/other`)", "x/users/12/x", true),
        ("Method(`GET`, `POST`)", "POST x/", true),
        ("Headers(`X-Name`, `one`)", "x/", true),
        ("HeadersRegexp(`X-Name`, `^t`)", "x/", true),
        ("Query(`a=b`, `c=d`)", "x/?c=d", true),
        ("ClientIP(`10.0.0.0/8`, `::1`)", "x/", true),
    ] {
        let rule = Rule::parse_as(text, RuleSyntax::V2).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(takes(&rule, request), taken, "{text} for {request}");
    }
    assert!(Rule::parse_as("Header(`a`, `b`)", RuleSyntax::V2).is_err());
    assert!(Rule::parse_as("HostRegexp(`{a`)", RuleSyntax::V2).is_err());
}

#[test]
fn connections_are_taken_by_what_their_first_bytes_say() {
    let taken = |text: &str, server_name: &str| {
        let rule = TcpRule::parse_as(text, RuleSyntax::V3).unwrap_or_else(|error| panic!("{text}: {error}"));
        let client = IpAddr::from([10, 1, 2, 3]);
        rule.matches(&ConnectionView { server_name, alpn: &[b"h2", b"postgresql"], client })
    };
    for (text, server_name, expected) in [
        ("HostSNI(`db.test`)", "db.test", true),
        ("HostSNI(`DB.test`)", "other.test", false),
        ("HostSNI(`*.test`)", "db.test", true),
        ("HostSNI(`*`)", "", true),
        ("HostSNIRegexp(`^db[0-9]\\.test$`)", "db1.test", true),
        ("HostSNI(`db.test`) && !ALPN(`h2`)", "db.test", false),
        ("ALPN(`postgresql`) || HostSNI(`x`)", "", true),
        ("ClientIP(`10.0.0.0/8`)", "", true),
        ("hostsni(`db.test`) && clientip(`11.0.0.0/8`)", "db.test", false),
    ] {
        assert_eq!(taken(text, server_name), expected, "{text} for {server_name}");
    }
    let v2 = TcpRule::parse_as("HostSNI(`a.test`, `b.test`)", RuleSyntax::V2).unwrap();
    let client = IpAddr::from([0, 0, 0, 0]);
    assert!(v2.matches(&ConnectionView { server_name: "b.test", alpn: &[], client }));
    let catch_all = TcpRule::parse_as("HostSNI(`*`)", RuleSyntax::V3).unwrap();
    assert!(catch_all.is_catch_all() && !catch_all.needs_tls());
    assert!(TcpRule::parse_as("ClientIP(`::1`) && ALPN(`h2`)", RuleSyntax::V3).unwrap().needs_tls());
    let acme = TcpRule::parse_as("ALPN(`acme-tls/1`)", RuleSyntax::V3).unwrap_err().to_string();
    assert!(acme.contains("not for routers"), "{acme}");
    let http = TcpRule::parse_as("Host(`a`)", RuleSyntax::V3).unwrap_err().to_string();
    assert!(http.contains("known are HostSNI"), "{http}");
}

#[test]
fn a_rule_is_shown_as_it_could_be_written() {
    for text in [
        "Host(`a`) || Host(`b`) && PathPrefix(`/x`)",
        "(Host(`a`) || Host(`*.b`)) && !Path(`/x`)",
        "!(Host(`*`) && PathPrefix(`/`))",
        "Header(`a`, `b`) && Query(`k`) && Query(`k`, `v`) && ClientIP(`10.0.0.0/8`)",
        "Path(\"/`\\\"\\\\\")",
        "HostRegexp(`^a$`) || PathRegexp(`x`) || HeaderRegexp(`a`, `b`) || QueryRegexp(`a`, `b`)",
    ] {
        let rule = parse(text);
        assert_eq!(rule.to_string(), text);
        assert_eq!(Rule::parse(&rule.to_string()), Ok(rule));
    }
}

#[test]
fn a_fault_says_where_and_what_was_expected() {
    for (text, expected) in [
        ("", "the rule ends where a matcher was expected"),
        ("Host(`a`", "the rule ends where `)` was expected (at character 9)"),
        ("Host(a)", "expected a value in backticks or double quotes (at character 6)"),
        ("Host('a')", "expected a value in backticks or double quotes (at character 6)"),
        ("Host(`a", "is never closed"),
        ("Host(`a`,`b`)", "Host takes one value: write Host(`a`) || Host(`b`)"),
        ("Host(``)", "Host needs a value"),
        ("Host()", "Host needs a value"),
        ("Hots(`a`)", "`Hots` is not a matcher known here: did you mean `Host`?"),
        ("Headers(`a`, `b`)", "did you mean `Header`?"),
        ("Header(`a`)", "Header takes two values"),
        ("Query(`a`, `b`, `c`)", "Query takes one or two values"),
        ("Path(`a`)", "a path starts with `/`"),
        ("PathRegexp(`(`)", "`(` is not a regular expression: unclosed group"),
        ("ClientIP(`10.0.0.0/99`)", "not a range of addresses"),
        ("Host(`é`)", "punycode"),
        ("Host(`a*`)", "a `*` stands alone"),
        ("Host(\"\\q\")", "`\\q` is not an escape"),
        ("Host(`a`) Host(`b`)", "unexpected `H`: expected `&&`"),
    ] {
        let error = Rule::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let deep = format!("{}Host(`a`){}", "(".repeat(100), ")".repeat(100));
    assert!(Rule::parse(&deep).unwrap_err().message.contains("nested deeper"));
    // A long chain is wide, not deep: nobody's stack depends on it.
    let long = vec!["Host(`a`)"; 50_000].join(" || ");
    assert!(takes(&parse(&long), "a/"));
}

#[test]
fn the_hosts_of_a_rule_are_what_certificates_are_for() {
    assert_eq!(parse("(Host(`a`) || Host(`*.b`)) && HostRegexp(`c`) && !Host(`d`)").hosts(), ["a", "*.b"]);
}

#[test]
fn what_keeps_a_rule_from_holding_is_named() {
    let request = RequestView::get("a.test", "/api");
    for (rule, expected) in [
        ("Host(`a.test`) && PathPrefix(`/api`)", &[][..]),
        ("Host(`b.test`) && PathPrefix(`/api`)", &["Host(`b.test`)"]),
        (
            "Host(`b.test`) && (Path(`/x`) || Method(`POST`)) && !PathPrefix(`/api`)",
            &["Host(`b.test`)", "Path(`/x`) || Method(`POST`)", "!PathPrefix(`/api`)"],
        ),
        (
            "(Host(`b.test`) && Path(`/api`)) || Host(`c.test`)",
            &["Host(`b.test`) && Path(`/api`) || Host(`c.test`)"],
        ),
    ] {
        assert_eq!(Rule::parse(rule).unwrap().unmet_by(&request), expected, "{rule}");
    }
}
