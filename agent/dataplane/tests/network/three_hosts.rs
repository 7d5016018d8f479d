//! What hosts must get right together: services, published ports with the client's address kept, drain,
//! restart.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use skep_types::{PortConfig, Protocol, PublishMode, TaskId};

use super::cluster::{Cluster, INGRESS};
use super::lan::{Lan, within};
use super::one_host::port;
use super::program::{
    Connection, PATIENCE, Server, ask_udp, at, tcp, tcp_in_vain, udp, udp_socket,
};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));

struct Stage {
    lan: Lan,
    cluster: Cluster,
    web: Vec<TaskId>,
    other: TaskId,
    _servers: Vec<Server>,
}

/// Three hosts, a task of service web on each, a task of another network on the first.
fn stage() -> Stage {
    let mut lan = Lan::new(3);
    let mut cluster = Cluster::new(&lan);
    cluster.network(1, "front", |_| {});
    cluster.network(2, "back", |_| {});
    let web: Vec<TaskId> = (1..=3)
        .map(|host| cluster.task(host, 2, &[1, INGRESS]))
        .collect();
    let other = cluster.task(1, 3, &[2]);
    publish(&mut cluster, &web);
    for host in &mut lan.hosts {
        host.start();
    }
    cluster.apply(&lan);
    let servers = web
        .iter()
        .zip(&lan.hosts)
        .map(|(task, host)| Server::start(&host.netns(*task), &format!("web{}", host.number), 80))
        .collect();
    Stage {
        lan,
        cluster,
        web,
        other,
        _servers: servers,
    }
}

fn publish(cluster: &mut Cluster, tasks: &[TaskId]) {
    let ports = vec![
        port(Protocol::Tcp, 8000, false),
        port(Protocol::Udp, 8000, false),
        port(Protocol::Tcp, 8001, true),
        PortConfig {
            mode: PublishMode::Host,
            ..port(Protocol::Tcp, 8003, false)
        },
    ];
    cluster.service("web", 1, 1, tasks, ports);
}

const VIP: Ipv4Addr = Ipv4Addr::new(10, 1, 255, 1);

#[test]
fn a_service_is_reached_from_every_host_and_only_from_its_network() {
    let stage = stage();
    for (task, host) in stage.web.iter().zip(&stage.lan.hosts) {
        let from = host.netns(*task);
        let mut answered = BTreeSet::new();
        for _ in 0..40 {
            let (name, seen) = tcp(&from, at(VIP, 80)).expect("the service answers");
            if name != format!("web{}", host.number) {
                assert_eq!(
                    seen,
                    IpAddr::V4(Ipv4Addr::new(10, 1, host.number, 2)),
                    "the caller's own address"
                );
            }
            answered.insert(name);
        }
        assert_eq!(answered.len(), 3, "from host {}: {answered:?}", host.number);
        let far = Ipv4Addr::new(10, 1, host.number % 3 + 1, 2);
        let mut connection =
            Connection::open(&from, at(far, 80), PATIENCE).expect("another host's task");
        connection.echo_much().expect("large packets pass");
    }
    // Somebody removes the interface: it comes back by itself.
    let host = &stage.lan.hosts[0];
    let name = host
        .namespace
        .file_name()
        .expect("a name")
        .to_string_lossy();
    super::lan::ip(&format!("-n {name} link del skep-wg"));
    let from = host.netns(stage.web[0]);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while tcp_in_vain(&from, at(Ipv4Addr::new(10, 1, 2, 2), 80)).is_err() {
        assert!(
            std::time::Instant::now() < deadline,
            "the mesh was not repaired"
        );
    }
    let other = stage.lan.hosts[0].netns(stage.other);
    for host in 1..=3 {
        tcp_in_vain(&other, at(Ipv4Addr::new(10, 1, host, 2), 80)).expect_err("another network");
        tcp_in_vain(&other, at(Ipv4Addr::new(10, INGRESS, host, 2), 80))
            .expect_err("the ingress network");
    }
    tcp_in_vain(&other, at(VIP, 80)).expect_err("another network's service");
}

#[test]
fn every_node_answers_a_published_port_and_tasks_see_the_client() {
    let stage = stage();
    for host in &stage.lan.hosts {
        let node = at(host.address(), 8000);
        let mut tasks = BTreeSet::new();
        for _ in 0..30 {
            let (name, seen) = tcp(&stage.lan.client, node).expect("TCP");
            assert_eq!(seen, CLIENT, "{name} through host {}", host.number);
            tasks.insert(name);
            let (name, seen) = udp(&stage.lan.client, node).expect("UDP");
            assert_eq!(seen, CLIENT, "{name} through host {}, UDP", host.number);
        }
        assert_eq!(tasks.len(), 3, "through host {}: {tasks:?}", host.number);
        // Masqueraded: local tasks see the client, others the node.
        for _ in 0..12 {
            let (name, seen) =
                tcp(&stage.lan.client, at(host.address(), 8001)).expect("masqueraded");
            let mesh = IpAddr::V4(Ipv4Addr::new(10, 200, 0, host.number));
            let expected = if name == format!("web{}", host.number) {
                CLIENT
            } else {
                mesh
            };
            assert_eq!(seen, expected, "{name} through host {}", host.number);
        }
        // A port of the host's own: only the task here.
        for _ in 0..6 {
            let (name, seen) = tcp(&stage.lan.client, at(host.address(), 8003)).expect("host port");
            assert_eq!((name, seen), (format!("web{}", host.number), CLIENT));
        }
        // From the node itself, by loopback and by every node's address.
        for _ in 0..9 {
            tcp(&host.namespace, at(Ipv4Addr::LOCALHOST, 8000)).expect("loopback");
            udp(&host.namespace, at(Ipv4Addr::LOCALHOST, 8000)).expect("loopback, UDP");
            tcp(&host.namespace, at(Ipv4Addr::LOCALHOST, 8001)).expect("loopback, masqueraded");
        }
        for to in &stage.lan.hosts {
            for _ in 0..9 {
                tcp(&host.namespace, at(to.address(), 8000)).expect("from a node");
            }
        }
    }
    // From a task, to every node.
    for from in [stage.web[0], stage.other] {
        let from = stage.lan.hosts[0].netns(from);
        for to in &stage.lan.hosts {
            for _ in 0..9 {
                tcp(&from, at(to.address(), 8000)).expect("from a container");
            }
        }
    }
    let mut connection = Connection::open(
        &stage.lan.client,
        at(stage.lan.hosts[0].address(), 8000),
        PATIENCE,
    )
    .expect("open");
    connection.echo_much().expect("large packets pass");
    assert!(
        tcp_in_vain(&stage.lan.client, at(Ipv4Addr::new(10, 1, 1, 2), 80)).is_err(),
        "nobody reaches in"
    );
}

#[test]
fn a_drained_task_keeps_its_connections_and_gets_no_new_ones() {
    let mut stage = stage();
    let client = stage.lan.client.clone();
    let through = at(stage.lan.hosts[0].address(), 8000);
    // Connections to every task, by the service's address and by the port.
    let inside = stage.lan.hosts[0].netns(stage.web[0]);
    let open = |namespace, to| {
        std::iter::repeat_with(|| Connection::open(namespace, to, PATIENCE).expect("a connection"))
            .take(60)
            .find(|connection| connection.seen.0 == "web2")
            .expect("one to the second host")
    };
    let mut kept = [open(&inside, at(VIP, 80)), open(&client, through)];
    let flow = udp_socket(&client);
    let flowing = (0..60)
        .map(|_| udp_socket(&client))
        .find(|socket| ask_udp(socket, through).expect("UDP").0 == "web2")
        .unwrap_or(flow);
    let drained = stage.web[1];
    let rest: Vec<TaskId> = stage
        .web
        .iter()
        .copied()
        .filter(|task| *task != drained)
        .collect();
    publish(&mut stage.cluster, &rest);
    stage.cluster.apply(&stage.lan);
    for connection in &mut kept {
        connection
            .echo("still there")
            .expect("an established connection stays");
    }
    for _ in 0..20 {
        assert_ne!(tcp(&inside, at(VIP, 80)).expect("others answer").0, "web2");
        assert_ne!(tcp(&client, through).expect("others answer").0, "web2");
    }
    // Flows are looked through beside the pass.
    let deadline = Instant::now() + PATIENCE;
    while ask_udp(&flowing, through).expect("others answer").0 == "web2" {
        assert!(Instant::now() < deadline, "the UDP flow did not move on");
    }
    for connection in &mut kept {
        connection
            .echo("still there")
            .expect("an established connection stays");
    }
}

#[test]
fn a_connection_that_a_gone_task_never_answered_goes_to_another_one() {
    let mut stage = stage();
    let client = stage.lan.client.clone();
    let through = at(stage.lan.hosts[0].address(), 8000);
    let gone = stage.web[1];
    let namespace = stage.lan.hosts[1].netns(gone);
    within(&namespace, || {
        std::process::Command::new("ip")
            .args(["link", "set", "eth0", "down"])
            .status()
    })
    .expect("ip runs");
    let connecting: Vec<_> = (0..30)
        .map(|_| {
            let client = client.clone();
            std::thread::spawn(move || {
                let begun = Instant::now();
                let opened = Connection::open(&client, through, PATIENCE * 2);
                (
                    opened.expect("a living task answers").seen.0,
                    begun.elapsed(),
                )
            })
        })
        .collect();
    while connecting.iter().filter(|one| one.is_finished()).count() < 10 {
        std::thread::yield_now();
    }
    let rest: Vec<TaskId> = stage
        .web
        .iter()
        .copied()
        .filter(|task| *task != gone)
        .collect();
    publish(&mut stage.cluster, &rest);
    stage.cluster.apply(&stage.lan);
    let mut longest = Duration::ZERO;
    for one in connecting {
        let (name, took) = one.join().expect("no panic");
        assert_ne!(name, "web2");
        longest = longest.max(took);
    }
    // The kernel tries again after a second: one in three first went to the gone task.
    assert!(
        longest > Duration::from_millis(900),
        "none went there: {longest:?}"
    );
}

#[test]
fn a_restarted_daemon_takes_everything_up_and_cuts_no_connection() {
    let mut stage = stage();
    let client = stage.lan.client.clone();
    let first = at(stage.lan.hosts[0].address(), 8000);
    let inside = stage.lan.hosts[0].netns(stage.web[0]);
    let mut kept = Vec::new();
    for wanted in ["web1", "web2", "web3"] {
        for (namespace, to) in [(&client, first), (&inside, at(VIP, 80))] {
            let found =
                std::iter::repeat_with(|| Connection::open(namespace, to, PATIENCE).expect("open"))
                    .take(60)
                    .find(|connection| connection.seen.0 == wanted);
            kept.push(found.unwrap_or_else(|| panic!("none to {wanted}")));
        }
    }
    let desired = stage.cluster.desired(1);
    let host = &mut stage.lan.hosts[0];
    host.stop(false);
    assert!(
        inside.exists(),
        "the container's namespace outlives the daemon"
    );
    host.start();
    let applied = host.apply(desired);
    assert!(applied.failed.is_empty(), "{:?}", applied.failed);
    // Another node speaks first: it must not go on with the session that died.
    let third = stage.lan.hosts[2].netns(stage.web[2]);
    tcp(&third, at(Ipv4Addr::new(10, 1, 1, 2), 80)).expect("the node is met again at once");
    for connection in &mut kept {
        connection
            .echo("after the restart")
            .unwrap_or_else(|error| panic!("{:?}: {error}", connection.seen));
    }
    let asked = super::dns::ask(&inside, "web", hickory_proto::rr::RecordType::A);
    assert_eq!(super::dns::addresses(&asked), [VIP]);
    for _ in 0..12 {
        tcp(&client, first).expect("new connections");
        tcp(&inside, at(VIP, 80)).expect("new connections");
    }
    // Nothing is left to do, and nothing is left behind.
    let again = stage.lan.hosts[0].apply(stage.cluster.desired(1));
    assert_eq!(again.steps, 0, "a second pass finds everything as wanted");
    for host in &mut stage.lan.hosts {
        host.stop(true);
        assert_eq!(host.leftovers(), "");
    }
}
