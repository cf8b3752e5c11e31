//! The promises of the README, each in a file of its own, over the built binary and a real engine.

pub mod harness;

mod access_log;
mod api;
mod as_traefik;
mod beside_traefik;
mod burst;
mod command_line;
mod data_path;
mod deploys;
mod draining;
mod engine_restart;
mod explain;
mod files;
mod harness_works;
mod health;
mod layer_four;
mod lifecycle;
mod metrics;
mod middlewares;
mod names;
mod networks;
mod no_request_lost;
mod podman;
mod publish;
mod readme;
mod real_clients;
mod reload;
mod resolvers;
mod routes;
mod secondaries;
mod settings;
mod stopping;
mod swarm;
mod swarm_nodes;
mod takeover;
mod udp;
