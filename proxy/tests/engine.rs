//! The data plane, from outside: real sockets on loopback, origins that do as each test tells them, and clients that
//! say exactly the bytes they mean. One module for each thing promised.

#[path = "engine/altered.rs"]
mod altered;
#[path = "engine/any_split.rs"]
mod any_split;
#[path = "engine/asked_with_body.rs"]
mod asked_with_body;
#[path = "engine/balance.rs"]
mod balance;
#[path = "engine/bodies.rs"]
mod bodies;
#[path = "engine/broken_answers.rs"]
mod broken_answers;
#[path = "engine/bulk.rs"]
mod bulk;
#[path = "engine/composites.rs"]
mod composites;
#[path = "engine/counted.rs"]
mod counted;
#[allow(unreachable_pub)] // it is public where the fuzz targets are
#[path = "../../fuzz/src/differential.rs"]
mod differential;
#[allow(unreachable_pub)] // as the one above
#[path = "../../fuzz/src/differential_answers.rs"]
mod differential_answers;
#[path = "engine/drain.rs"]
mod drain;
#[path = "engine/early_answers.rs"]
mod early_answers;
#[path = "engine/entry_points.rs"]
mod entry_points;
#[path = "engine/failover.rs"]
mod failover;
#[path = "engine/fields.rs"]
mod fields;
#[path = "engine/health.rs"]
mod health;
#[path = "engine/http10.rs"]
mod http10;
#[path = "engine/http2.rs"]
mod http2;
#[path = "engine/http2_endpoints.rs"]
mod http2_endpoints;
#[path = "engine/interim.rs"]
mod interim;
#[path = "engine/limits.rs"]
mod limits;
#[path = "engine/middlewares.rs"]
mod middlewares;
#[path = "engine/passed_unread.rs"]
mod passed_unread;
#[path = "engine/pipelining.rs"]
mod pipelining;
#[path = "engine/pool.rs"]
mod pool;
#[path = "engine/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "engine/published_http.rs"]
mod published_http;
#[path = "engine/published_udp.rs"]
mod published_udp;
#[path = "engine/random_requests.rs"]
mod random_requests;
#[path = "engine/refusals.rs"]
mod refusals;
#[path = "engine/retries.rs"]
mod retries;
#[path = "engine/rfc6455.rs"]
mod rfc6455;
#[path = "engine/rfc9110.rs"]
mod rfc9110;
#[path = "engine/rfc9112.rs"]
mod rfc9112;
#[path = "engine/routing.rs"]
mod routing;
#[path = "engine/second_answers.rs"]
mod second_answers;
#[path = "engine/sticky.rs"]
mod sticky;
#[path = "engine/strategies.rs"]
mod strategies;
#[path = "engine/support.rs"]
mod support;
#[path = "engine/tcp_routers.rs"]
mod tcp_routers;
#[path = "engine/tcp_services.rs"]
mod tcp_services;
#[path = "engine/tls.rs"]
mod tls;
#[path = "engine/tls_endpoints.rs"]
mod tls_endpoints;
#[path = "engine/tls_handshakes.rs"]
mod tls_handshakes;
#[path = "engine/tls_options.rs"]
mod tls_options;
#[path = "engine/upgrade.rs"]
mod upgrade;
#[path = "engine/vanishing.rs"]
mod vanishing;
#[path = "engine/withheld.rs"]
mod withheld;
