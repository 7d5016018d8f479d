//! The data plane on real kernels objects: hosts and containers are network namespaces, their programs are
//! threads inside them. Needs root.

#[path = "network/changes.rs"]
mod changes;
#[path = "network/cluster.rs"]
mod cluster;
#[path = "network/dns.rs"]
mod dns;
#[path = "network/lan.rs"]
mod lan;
#[path = "network/one_host.rs"]
mod one_host;
#[path = "network/program.rs"]
mod program;
#[path = "network/three_hosts.rs"]
mod three_hosts;
