//! What changes under a host while its containers run, and what it makes of it.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use skep_agent_dataplane::Error;
use skep_types::Protocol;

use super::cluster::{Cluster, INGRESS};
use super::dns;
use super::lan::{Lan, ip};
use super::one_host::port;
use super::program::{Server, at, tcp};

#[test]
fn nothing_is_made_any_more_once_the_node_has_left() {
    let mut lan = Lan::new(1);
    let mut cluster = Cluster::new(&lan);
    cluster.network(1, "front", |_| {});
    cluster.task(1, 2, &[1]);
    lan.hosts[0].start();
    cluster.apply(&lan);
    let host = &lan.hosts[0];
    host.leave();
    assert_eq!(host.leftovers(), "");
    // What a container changed on its way out is applied a moment later.
    let late = host.try_apply(cluster.desired(1));
    let late = late.expect_err("too late");
    assert!(matches!(late, Error::Ended), "{late}");
    // The guard looks every two seconds.
    thread::sleep(Duration::from_secs(3));
    assert_eq!(host.leftovers(), "");
}

#[test]
fn name_servers_are_those_of_the_moment() {
    let mut lan = Lan::new(1);
    let mut cluster = Cluster::new(&lan);
    cluster.network(1, "front", |_| {});
    let task = cluster.task(1, 2, &[1]);
    dns::upstream(&lan.client);
    let file = lan.hosts[0].resolv_conf();
    let text = std::fs::read(&file).expect("a file");
    std::fs::remove_file(&file).expect("it was there");
    lan.hosts[0].start();
    cluster.apply(&lan);
    let container = lan.hosts[0].netns(task);
    let asked = || {
        let answer = dns::ask(&container, "example.com", RecordType::A);
        answer.metadata.response_code
    };
    let early = asked();
    assert_eq!(early, ResponseCode::ServFail, "nobody said there is none");
    std::fs::write(&file, &text).expect("it comes late");
    assert_eq!(asked(), ResponseCode::NXDomain, "as the server said");
    std::fs::write(&file, "nameserver 192.0.2.101\n").expect("it changes");
    assert_eq!(asked(), ResponseCode::ServFail, "nobody is there");
    std::fs::write(&file, text).expect("it changes back");
    dns::ask(&container, "stop.example", RecordType::A);
}

#[test]
fn a_link_that_is_down_is_set_up_again_with_all_that_is_on_it() {
    let mut lan = Lan::new(2);
    let mut cluster = Cluster::new(&lan);
    cluster.network(1, "front", |_| {});
    let here = cluster.task(1, 2, &[1, INGRESS]);
    let there = cluster.task(2, 2, &[1, INGRESS]);
    let ports = vec![port(Protocol::Tcp, 8000, false)];
    cluster.service("web", 1, 1, &[there], ports);
    for host in &mut lan.hosts {
        host.start();
    }
    cluster.apply(&lan);
    let host = &lan.hosts[0];
    let _server = Server::start(&lan.hosts[1].netns(there), "there", 80);
    let reached = |moment: &str| {
        let inside = at(Ipv4Addr::new(10, 1, 2, 2), 80);
        tcp(&host.netns(here), inside).expect(moment);
        // Through the tunnel.
        tcp(&lan.client, at(host.address(), 8000)).expect(moment);
    };
    reached("at first");
    let name = host.name();
    let links = ip(&format!("-n {name} -o link"));
    let ours = links
        .lines()
        .filter_map(|line| line.split([' ', '@', ':']).nth(2));
    let ours: Vec<&str> = ours.filter(|link| link.starts_with("skep")).collect();
    assert_eq!(ours.len(), 3, "{links}");
    for link in ours {
        ip(&format!("-n {name} link set {link} down"));
        // As if the daemon had died before it came to this.
        let setting = format!("ipv4/conf/{link}/route_localnet");
        host.set(&setting, "0");
        let applied = host.apply(cluster.desired(1));
        assert!(applied.failed.is_empty(), "{:?}", applied.failed);
        assert!(applied.steps > 0, "{link}");
        reached(link);
        assert_eq!(host.setting(&setting), "1");
        let again = host.apply(cluster.desired(1));
        assert_eq!(again.steps, 0, "{link}");
    }
}

#[test]
fn a_mesh_that_is_there_goes_on_beside_a_route_of_the_node_that_overlaps_it() {
    let mut lan = Lan::new(2);
    let mut cluster = Cluster::new(&lan);
    cluster.network(1, "front", |_| {});
    let here = cluster.task(1, 2, &[1]);
    let there = cluster.task(2, 2, &[1]);
    for host in &mut lan.hosts {
        host.start();
    }
    let name = lan.hosts[0].name();
    let route = "10.192.0.0/12 via 192.0.2.100";
    let inside = "10.200.64.0/24 via 192.0.2.100";
    ip(&format!("-n {name} route add {route}"));
    let refused = lan.hosts[0].try_apply(cluster.desired(1));
    let refused = refused.expect_err("there is no mesh yet").to_string();
    assert_eq!(
        refused,
        "subnet 10.200.0.0/16 of the mesh between the nodes overlaps this node's route to 10.192.0.0/12 \
         through e0: remove the route, or make the swarm with another --mesh-subnet"
    );
    ip(&format!("-n {name} route del {route}"));
    cluster.apply(&lan);
    let _server = Server::start(&lan.hosts[1].netns(there), "there", 80);
    for route in [route, inside] {
        ip(&format!("-n {name} route add {route}"));
        // Also after a restart of the daemon.
        for _ in 0..2 {
            let late = cluster.task(1, 3, &[1]);
            let applied = lan.hosts[0].apply(cluster.desired(1));
            assert!(applied.failed.is_empty(), "{:?}", applied.failed);
            for from in [here, late] {
                let from = lan.hosts[0].netns(from);
                tcp(&from, at(Ipv4Addr::new(10, 1, 2, 2), 80)).expect(route);
            }
            lan.hosts[0].stop(false);
            lan.hosts[0].start();
        }
    }
}
