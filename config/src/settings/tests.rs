//! What is written, against what is meant by it.

use std::time::Duration;

use super::*;
use crate::document::Format;

/// Settings written as flags, both spellings, with variables and a file below them.
fn resolve(flags: &[&str], variables: &[(&str, &str)], file: &str) -> Result<Settings, Vec<String>> {
    let mut written = Written::default();
    let own: Vec<OwnFlag> = own::OWN
        .iter()
        .chain([&own::ENTRY_POINT])
        .map(|own| OwnFlag { name: own.flag.to_owned(), takes_next: true })
        .collect();
    for left in written.take_flags(flags.iter().map(|flag| (*flag).to_owned()), &own) {
        let (flag, value) =
            left.strip_prefix("--").and_then(|left| left.split_once('=')).expect("--flag=value");
        written.own_flag(flag, value);
    }
    written.take_environment(
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        &[],
    );
    written.take_file("traefik.yml", file, Format::Yaml);
    Settings::resolve(&written, 2).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn flags(flags: &[&str]) -> Settings {
    resolve(flags, &[], "").unwrap_or_else(|faults| panic!("{faults:#?}"))
}

#[test]
fn nothing_written_gives_the_documented_defaults() {
    let settings = flags(&[]);
    assert_eq!(settings.admin.to_string(), "127.0.0.1:9080");
    assert_eq!(settings.entry_points, [EntryPoint::plain("web", ":8000".parse().unwrap())]);
    let dns = settings.dns.unwrap();
    assert_eq!((dns.address.to_string(), dns.zone.as_str()), ("127.0.0.1:1053".into(), "portolan.internal"));
    assert_eq!(dns.ttl, Duration::from_secs(2));
    assert_eq!((settings.workers, settings.drain_timeout), (2, Duration::from_secs(10)));
    assert!(settings.docker.enabled && settings.docker.exposed_by_default && settings.docker.watch);
    assert_eq!((settings.access_log, settings.file), (None, None));
    assert!(settings.swarm.is_some_and(|swarm| swarm.auto && swarm.exposed_by_default));
    assert_eq!(settings.internal, Internal::default());
}

#[test]
fn every_fault_is_reported_at_once() {
    let faults = resolve(
        &[
            "--admin-address=here",
            "--entry-point=web",
            "--entry-point=a=:80",
            "--entry-point=a=:81",
            "--entry-point=b=:80",
            "--dns-ttl=soon",
            "--dns-zone=a..b",
            "--workers=many",
        ],
        &[],
        "",
    )
    .unwrap_err();
    for expected in [
        "flag: --admin-address: `here` is not an address",
        "flag: --entry-point: `web`: expected `name=address`",
        "flag: --entry-point: `a` is written twice",
        "flag: --entry-point: :80 is already taken by entry point a",
        "flag: --dns-ttl: `soon` is not a duration",
        "flag: --dns-zone: `a..b` is not a domain name",
        "flag: --workers: `many` is not a number",
    ] {
        assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected} in {faults:#?}");
    }
    assert_eq!(faults.len(), 7, "{faults:#?}");
}

#[test]
fn a_flag_counts_more_than_a_variable_and_that_more_than_a_file() {
    let file =
        "entryPoints: {web: {address: ':1'}, other: {address: ':2'}}\nlog: {level: INFO}\nworkers: 3\n";
    let variables = [
        ("TRAEFIK_ENTRYPOINTS_WEB_ADDRESS", ":3"),
        ("TRAEFIK_LOG_LEVEL", "DEBUG"),
        ("PORTOLAN_WORKERS", "4"),
    ];
    let settings = resolve(&["--entrypoints.WEB.address=:5"], &variables, file).unwrap();
    let shown: Vec<String> =
        settings.entry_points.iter().map(|point| format!("{}={}", point.name, point.address)).collect();
    assert_eq!(shown, ["other=:2", "WEB=:5"]);
    assert_eq!((settings.log.filter.as_deref(), settings.workers), (Some("debug"), 4));
    // A section that is off stays off below what counts less.
    let log = "accessLog: {format: json}";
    assert!(resolve(&[], &[], log).unwrap().access_log.is_some());
    assert!(resolve(&["--accesslog=false"], &[], log).unwrap().access_log.is_none());
    assert!(
        resolve(&["--accesslog.filepath=/x"], &[("TRAEFIK_ACCESSLOG", "false")], "")
            .unwrap()
            .access_log
            .is_some()
    );
}

#[test]
fn portolans_flags_mean_what_they_meant() {
    let settings = flags(&[
        "--access-log=stdout",
        "--access-log-format=json",
        "--docker-host=tcp://engine:2375",
        "--docker-network=front",
        "--exposed-by-default=false",
        "--drain-timeout=3s",
        "--log-format=text",
        "--dns-address=off",
        "--entry-point=b=127.0.0.1:81",
        "--entry-point=a=:80",
    ]);
    let log = settings.access_log.expect("it is on");
    assert_eq!((log.file, log.format), (None, AccessLogFormat::Json));
    assert_eq!(settings.docker.host.as_deref(), Some("tcp://engine:2375"));
    assert_eq!(settings.docker.network.as_deref(), Some("front"));
    assert!(settings.docker.enabled && !settings.docker.exposed_by_default);
    assert_eq!((settings.drain_timeout, settings.log.format), (Duration::from_secs(3), LogFormat::Text));
    assert!(settings.dns.is_none());
    assert_eq!(settings.entry_points.len(), 2, "and Traefik's spelling is not needed to have them");
    assert!(flags(&["--access-log-format=json"]).access_log.is_none(), "a format alone is no log");
    assert!(flags(&["--accesslog.format=json"]).access_log.is_some(), "but it is one in Traefik's spelling");
    assert!(flags(&["--access-log=off", "--accesslog.filepath=x"]).access_log.is_none());
}

#[test]
fn what_only_traefiks_users_write_has_traefiks_defaults() {
    let settings = flags(&["--providers.docker"]);
    assert_eq!(settings.entry_points, [EntryPoint::plain("http", ":80".parse().unwrap())]);
    assert!(settings.docker.enabled);
    let settings =
        flags(&["--providers.file.directory=/etc/traefik/dynamic", "--providers.file.watch=false"]);
    assert!(!settings.docker.enabled, "only what is written");
    let source = FileSource::Directory("/etc/traefik/dynamic".into());
    assert_eq!(settings.file, Some(FileProvider { source, watch: false }));
    let settings = flags(&["--file=/routes.yml"]);
    let source = FileSource::File("/routes.yml".into());
    assert_eq!(settings.file, Some(FileProvider { source, watch: true }));
    assert!(settings.docker.enabled, "Portolan's own flag adds to what there is");
    assert!(!flags(&["--providers.docker=false"]).docker.enabled);
    assert!(flags(&["--docker-network=x"]).docker.enabled);
}

#[test]
fn an_entry_point_has_all_it_is_given() {
    let file = "\
entryPoints:
  web:
    address: :80
    asDefault: true
    reusePort: true
    http:
      redirections: {entryPoint: {to: websecure, permanent: false, priority: 10}}
      middlewares: [auth@file, compress@docker]
      sanitizePath: false
      encodeQuerySemicolons: true
      maxHeaderBytes: 8192
      maxBodyBytes: 1000
      underscoreHeadersStrategy: reject
      encodedCharacters: {allowEncodedSlash: false, allowEncodedHash: false}
    http2: {maxConcurrentStreams: 42, maxDecoderHeaderTableSize: 2048}
    forwardedHeaders:
      trustedIPs: [127.0.0.1/32, 192.168.1.7, 'fd00::1/8']
      connection: [X-Up]
      notAppendXForwardedFor: true
    proxyProtocol: {trustedIPs: [10.0.0.0/8]}
    observability: {accessLogs: false, metrics: false}
    transport:
      lifeCycle: {requestAcceptGraceTimeout: 3, graceTimeOut: 1m}
      respondingTimeouts: {readTimeout: 42s, writeTimeout: 0, idleTimeout: 2m}
      keepAliveMaxRequests: 7
      keepAliveMaxTime: 1h
      maxConnections: 100
      maxConnectionsPerClient: 5
      tcpIdleTimeout: 15m
  websecure:
    address: '[::1]:443/tcp'
    http:
      tls:
        options: strict@file
        certResolver: le
        domains: [{main: a.example, sans: [b.example, '*.c.example']}, {main: d.example}]
  game:
    address: localhost:9000/udp
    udp: {timeout: 9s}
";
    let settings = resolve(&[], &[], file).unwrap();
    let [game, web, websecure] = &settings.entry_points[..] else { panic!("{settings:#?}") };
    assert_eq!((game.protocol, game.address.to_string()), (Protocol::Udp, "127.0.0.1:9000".to_owned()));
    assert_eq!(game.udp_timeout, Some(Duration::from_secs(9)));
    let expected = EntryPoint {
        as_default: true,
        reuse_port: true,
        redirection: Some(Redirection {
            port: 443,
            to: "websecure".into(),
            scheme: "https".into(),
            permanent: false,
            priority: 10,
        }),
        middlewares: vec!["auth@file".into(), "compress@docker".into()],
        cleaning: Cleaning {
            sanitize_path: false,
            encode_query_semicolons: true,
            encoded: EncodedCharacters { slash: false, hash: false, ..EncodedCharacters::default() },
            underscores: Underscores::Reject,
        },
        forwarded: Forwarded {
            insecure: false,
            trusted: ["127.0.0.1/32", "192.168.1.7/32", "fd00::/8"].map(|net| net.parse().unwrap()).to_vec(),
            connection: vec!["x-up".into()],
            not_append: true,
        },
        proxy_protocol: Some(ProxyProtocol { insecure: false, trusted: vec!["10.0.0.0/8".parse().unwrap()] }),
        observability: Observability { access_logs: false, metrics: false },
        life_cycle: LifeCycle { accept_grace: Duration::from_secs(3), grace: Some(Duration::from_secs(60)) },
        limits: EntryPointLimits {
            read_timeout: Some(Duration::from_secs(42)),
            write_timeout: Some(Duration::ZERO),
            idle_timeout: Some(Duration::from_secs(120)),
            keep_alive_max_requests: Some(7),
            keep_alive_max_time: Some(Duration::from_secs(3600)),
            head_bytes_max: Some(8192),
            body_bytes_max: Some(1000),
            http2_streams_max: Some(42),
            http2_header_table_max: Some(2048),
            connections_max: Some(100),
            connections_per_client_max: Some(5),
            tcp_idle: Some(Duration::from_secs(900)),
        },
        ..EntryPoint::plain("web", ":80".parse().unwrap())
    };
    assert_eq!(*web, expected);
    assert_eq!(websecure.address.to_string(), "[::1]:443");
    let domain = |main: &str, sans: &[&str]| TlsDomain {
        main: main.into(),
        sans: sans.iter().map(|name| (*name).to_owned()).collect(),
    };
    let tls = EntryPointTls {
        options: Some("strict@file".into()),
        resolver: Some("le".into()),
        domains: vec![domain("a.example", &["b.example", "*.c.example"]), domain("d.example", &[])],
    };
    assert_eq!(websecure.tls, Some(tls));
    assert_eq!(
        (settings.accept_grace, settings.drain_timeout),
        (Duration::from_secs(3), Duration::from_secs(60))
    );
    // Two ways of writing the same by flags and variables.
    let by_flags = flags(&[
        "--entrypoints.s.address=:443",
        "--entrypoints.s.http.tls=true",
        "--entrypoints.s.http.tls.domains[0].main=a.example",
        "--entrypoints.s.http.tls.domains[0].sans=b.example,*.c.example",
        "--entrypoints.s.http.tls.domains[1].main=d.example",
        "--entrypoints.s.http.redirections.entrypoint.to=:8443",
        "--entrypoints.s.forwardedheaders.insecure",
    ]);
    let tls = by_flags.entry_points[0].tls.clone().expect("it has TLS");
    assert_eq!(Some(tls.domains), websecure.tls.clone().map(|tls| tls.domains));
    assert_eq!(by_flags.entry_points[0].redirection.as_ref().map(|to| to.port), Some(8443));
    assert!(by_flags.entry_points[0].forwarded.insecure);
    assert!(
        flags(&["--entrypoints.s.address=:443", "--entrypoints.s.http.tls=false"]).entry_points[0]
            .tls
            .is_none()
    );
}

#[test]
fn an_ipv4_peer_of_a_socket_for_both_families_is_trusted_as_itself() {
    let settings =
        flags(&["--entrypoints.w.address=:80", "--entrypoints.w.forwardedheaders.trustedips=10.0.0.0/8,::1"]);
    let forwarded = &settings.entry_points[0].forwarded;
    for (peer, trusted) in [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("::1", true), ("11.0.0.1", false)]
    {
        assert_eq!(forwarded.trusts(peer.parse().unwrap()), trusted, "{peer}");
    }
}

#[test]
fn what_portolan_serves_of_itself_is_where_traefik_has_it() {
    let settings = flags(&["--ping", "--api.insecure=true", "--metrics.prometheus.buckets=0.1,0.3"]);
    assert_eq!(settings.internal.address.map(|address| address.to_string()).as_deref(), Some(":8080"));
    assert!(settings.internal.has_ping() && settings.internal.has_api() && settings.internal.has_metrics());
    let metrics = settings.internal.metrics.expect("they are on");
    assert_eq!(metrics.buckets, [Duration::from_millis(100), Duration::from_millis(300)]);
    assert_eq!(settings.entry_points.len(), 1, "`traefik` is none for routers");
    let settings = flags(&[
        "--entrypoints.traefik.address=:9000",
        "--entrypoints.web.address=:80",
        "--ping.terminatingstatuscode=204",
    ]);
    assert_eq!(settings.internal.address.map(|address| address.port), Some(9000));
    assert_eq!(settings.internal.ping.map(|ping| ping.terminating_status), Some(204));
    assert_eq!(settings.entry_points.len(), 1);
    let settings = flags(&["--ping.entrypoint=web", "--entrypoints.web.address=:80", "--api"]);
    assert_eq!(settings.internal.address, None);
    assert_eq!(settings.internal.api, Some(Api { insecure: false }));
}

#[test]
fn the_access_log_has_its_filters_and_fields() {
    let settings = flags(&[
        "--accesslog.filepath=/var/log/access",
        "--accesslog.format=genericclf",
        "--accesslog.filters.statuscodes=200,500-599",
        "--accesslog.filters.retryattempts",
        "--accesslog.filters.minduration=10ms",
        "--accesslog.bufferingsize=100",
        "--accesslog.fields.defaultmode=drop",
        "--accesslog.fields.names.ClientUsername=keep",
        "--accesslog.fields.headers.defaultmode=redact",
        "--accesslog.fields.headers.names.User-Agent=keep",
        "--accesslog.fields.queryparameters.defaultmode=drop",
    ]);
    let log = settings.access_log.expect("it is on");
    assert_eq!(log.filters.statuses, [(200, 200), (500, 599)]);
    assert!(log.filters.retried && log.filters.min_duration == Some(Duration::from_millis(10)));
    assert_eq!((log.format, log.buffered_lines), (AccessLogFormat::Combined, Some(100)));
    assert_eq!(
        (log.fields.default_mode, log.fields.headers_default_mode, log.fields.query_mode),
        (FieldMode::Drop, FieldMode::Redact, FieldMode::Drop)
    );
    assert_eq!(log.fields.names.get("ClientUsername"), Some(&FieldMode::Keep));
    assert_eq!(log.fields.headers.get("user-agent"), Some(&FieldMode::Keep));
}

#[test]
fn providers_and_transports_have_what_is_written() {
    let settings = flags(&[
        "--providers.docker.endpoint=tcp://engine:2376",
        "--providers.docker.tls.ca=/ca.pem",
        "--providers.docker.tls.cert=/cert.pem",
        "--providers.docker.tls.key=/key.pem",
        "--providers.docker.constraints=Label(`a`,`b`)",
        "--providers.docker.defaultrule=Host(`{{ .Name }}.example`)",
        "--providers.docker.usebindportip",
        "--providers.docker.watch=false",
        "--providers.docker.httpclienttimeout=5",
        "--providers.swarm.refreshseconds=30s",
        "--serverstransport.insecureskipverify",
        "--serverstransport.rootcas=/a.pem,/b.pem",
        "--serverstransport.maxidleconnsperhost=-1",
        "--serverstransport.forwardingtimeouts.dialtimeout=5s",
        "--tcpserverstransport.dialtimeout=6s",
        "--tcpserverstransport.terminationdelay=100ms",
    ]);
    let tls = settings.docker.tls.expect("it is written");
    assert!(tls.ca.is_some() && tls.certificate.is_some() && !tls.insecure_skip_verify);
    assert!(settings.docker.constraints.is_some());
    let rule = settings.docker.default_rule.expect("it is written");
    assert_eq!(rule.as_str(), "Host(`{{ .Name }}.example`)");
    assert!(settings.docker.use_bind_port_ip && !settings.docker.watch);
    assert_eq!(settings.docker.timeout, Some(Duration::from_secs(5)));
    assert_eq!(settings.swarm.map(|swarm| swarm.refresh), Some(Duration::from_secs(30)));
    let transport = settings.servers_transport;
    assert!(transport.insecure_skip_verify && transport.root_cas.len() == 2);
    assert_eq!(
        (transport.max_idle_per_target, transport.dial_timeout),
        (Some(0), Some(Duration::from_secs(5)))
    );
    assert_eq!(settings.tcp_servers_transport.termination_delay, Some(Duration::from_millis(100)));
}

#[test]
fn values_that_mean_nothing_are_faults_with_what_was_expected() {
    for (flag, expected) in [
        ("--entrypoints.web", "an entry point needs an address"),
        ("--entrypoints.web.address=80", "`80` is not an address to listen on"),
        ("--entrypoints.web.address=:80/sctp", "`sctp` is not a protocol"),
        ("--entrypoints.w$b.address=:80", "`w$b` is not a name"),
        (
            "--entrypoints.web.forwardedheaders.trustedips=10.0.0.0/8,host",
            "`host` is neither an address nor a network",
        ),
        ("--entrypoints.web.http.redirections.entrypoint.permanent=true", "a redirection needs `to`"),
        (
            "--entrypoints.web.http.redirections.entrypoint.to=wbe",
            "there is no entry point `wbe`; did you mean `web`?",
        ),
        ("--entrypoints.web.http.sanitizepath=yes", "`yes` is neither true nor false"),
        ("--entrypoints.web.transport.respondingtimeouts.readtimeout=soon", "`soon` is not a duration"),
        ("--entrypoints.web.http2.maxconcurrentstreams=-1", "`-1` is not a number that fits"),
        (
            "--accesslog.format=jsn",
            "`jsn`: expected common, combined, json or genericCLF; did you mean `json`?",
        ),
        ("--accesslog.filters.statuscodes=599-500", "`599-500` is neither a status nor a range"),
        ("--accesslog.fields.headers.names.Cookie=hide", "`hide`: expected keep, drop or redact"),
        ("--ping=on", "`on` is neither true nor false"),
        ("--ping.entrypoint=wep", "there is no entry point `wep`; did you mean `web`?"),
        ("--ping.terminatingstatuscode=1000", "`1000` is not a status"),
        ("--metrics.prometheus.buckets=fast", "`fast` is not a number of seconds"),
        ("--providers.file.watch", "the file provider needs `filename` or `directory`"),
        ("--providers.docker.tls.cert=/cert.pem", "a certificate needs its `key` beside it"),
        ("--providers.docker.constraints=Lable(`a`)", "Lable"),
        ("--providers.docker.defaultrule=Host(`{{ nmae }}`)", "nmae"),
        ("--log.format=xml", "`xml`: expected auto, text, json or common"),
        ("--drain-timeout=soon", "`soon` is not a duration"),
    ] {
        let web = ["--entrypoints.web.address=:80"];
        let mut all: Vec<&str> = if flag.starts_with("--entrypoints.web=") || flag == "--entrypoints.web" {
            vec![]
        } else {
            web.to_vec()
        };
        if flag.contains(".web.address") {
            all.clear();
        }
        all.push(flag);
        let faults = resolve(&all, &[], "").expect_err(flag);
        assert_eq!(faults.len(), 1, "{flag}: {faults:#?}");
        assert!(faults[0].contains(expected), "{flag}: {expected}: {faults:#?}");
        let name = flag.split_once('=').map_or(flag, |(name, _)| name);
        assert!(
            faults[0].to_ascii_lowercase().contains(&name.trim_start_matches("--").to_ascii_lowercase()),
            "{faults:?}"
        );
    }
}

#[test]
fn what_portolan_can_not_do_is_named_and_what_asks_for_nothing_is_not() {
    let named = |flags: &[&str]| {
        let mut written = Written::default();
        assert!(written.take_flags(flags.iter().map(|flag| (*flag).to_owned()), &[]).is_empty());
        assert!(written.faults().is_empty(), "{:?}", written.faults());
        written.not_implemented().into_iter().map(|fault| fault.key).collect::<Vec<_>>()
    };
    assert_eq!(
        named(&[
            "--certificatesresolvers.le.acme.email=a@example",
            "--tracing=true",
            "--api.dashboard=true",
            "--log.maxsize=10",
            "--providers.redis.endpoints=a",
        ]),
        [
            "--api.dashboard",
            "--certificatesresolvers.le.acme.email",
            "--log.maxsize",
            "--providers.redis.endpoints",
            "--tracing",
        ]
    );
    assert_eq!(
        named(&[
            "--global.sendanonymoususage=false",
            "--global.checknewversion=true",
            "--tracing=false",
            "--tracing.samplerate=1",
            "--experimental.fastproxy",
            "--log.maxsize=0",
            "--entrypoints.web.http3=false",
            "--core.defaultrulesyntax=v3",
            "--providers.docker",
        ]),
        [""; 0]
    );
}

/// The table can't say of an option that it is done if nobody reads it.
#[test]
fn every_option_that_is_said_to_be_done_makes_a_difference() {
    let resolved = |flag: Option<&str>| {
        let mut written = Written::default();
        // What makes others of the options mean something.
        let around = [
            "--entrypoints.web.address=:80",
            "--entrypoints.other.address=:81",
            "--entrypoints.web.http.redirections.entrypoint.to=other",
            "--accesslog=true",
            "--dns.log=stdout",
        ];
        let path = |flag: &str| flag.split('=').next().unwrap_or_default().to_ascii_lowercase();
        let around = around.into_iter().filter(|around| flag.is_none_or(|flag| path(flag) != path(around)));
        let safe = ["--dns.tls.address=:853", "--dns.tls.certificate=/c", "--dns.tls.key=/k"];
        let flags = around.chain(safe).chain(flag);
        written.take_flags(flags.map(str::to_owned), &[]);
        Settings::resolve(&written, 2)
    };
    let base = resolved(None).expect("it is fine");
    let tried = [
        "true",
        "false",
        "7",
        "17s",
        "127.0.0.1:7",
        "json",
        "debug",
        "/x.yml",
        "10.0.0.0/8",
        "other",
        "x.example",
        "204",
        "Label(`a`,`b`)",
        "192.0.2.1",
        "denial",
        "http",
        "delete",
        "drop",
        "redact",
        ":7",
        "auto",
    ];
    let mut seen = 0;
    for known in known::table().iter().filter(|known| known.state == known::State::Done) {
        // There is a log in any case.
        if known.path == "log" {
            continue;
        }
        let path = known.path.replace('*', "web").replace(".[]", "[0]");
        let difference = tried.iter().any(|value| {
            let settings = resolved(Some(&format!("--{path}={value}")));
            settings.is_ok_and(|settings| settings != base)
        });
        // `watch` alone asks for no file.
        let difference = difference || path == "providers.file.watch";
        assert!(difference, "{path} is said to be done, and nothing it may be changes the settings");
        seen += 1;
    }
    assert!(seen > 40, "only {seen} seen");
}
