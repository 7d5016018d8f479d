//! What one host must get right: who reaches whom, who does not, and the names for it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use skep_types::{NetworkId, PortConfig, Protocol, PublishMode};

use super::cluster::{Cluster, INGRESS};
use super::dns;
use super::lan::{Lan, ip, within};
use super::program::{
    Connection, PATIENCE, Server, at, tcp, tcp_in_vain, udp, udp_from, udp_from_in_vain,
};

fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

pub fn port(protocol: Protocol, published: u16, masquerade: bool) -> PortConfig {
    PortConfig {
        protocol,
        target: 80,
        published,
        mode: PublishMode::Ingress,
        masquerade,
    }
}

#[test]
fn one_host_joins_and_parts_containers_as_its_networks_say() {
    let mut lan = Lan::new(1);
    let mut cluster = Cluster::new(&lan);
    cluster.network(1, "front", |_| {});
    cluster.network(2, "back", |spec| spec.internal = true);
    let a1 = cluster.task(1, 2, &[1]);
    let a2 = cluster.task(1, 3, &[1]);
    let both = cluster.task(1, 4, &[1, 2]);
    let b1 = cluster.task(1, 5, &[2]);
    let alone = cluster.task(1, 6, &[]);
    cluster.service("web", 1, 1, &[a1, a2], vec![]);
    cluster.service("none", 2, 1, &[], vec![]);
    lan.hosts[0].start();
    cluster.apply(&lan);
    let host = &lan.hosts[0];
    let [a1, a2, both, b1, alone] = [a1, a2, both, b1, alone].map(|task| host.netns(task));
    let names = [("a1", &a1), ("a2", &a2), ("both", &both), ("b1", &b1)];
    let _servers: Vec<Server> = names
        .iter()
        .map(|(name, at)| Server::start(at, name, 80))
        .collect();
    let _outside = Server::start(&lan.client, "outside", 80);

    // Within a network, by address and by the service's own.
    assert_eq!(
        tcp(&a1, at(v4(10, 1, 1, 3), 80)).expect("same network"),
        ("a2".into(), v4(10, 1, 1, 2).into())
    );
    let mut answered: Vec<String> = (0..40)
        .map(|_| {
            let (name, from) = tcp(&a1, at(v4(10, 1, 255, 1), 80)).expect("the service answers");
            let expected = if name == "a1" {
                v4(10, 1, 0, 1)
            } else {
                v4(10, 1, 1, 2)
            };
            assert_eq!(
                from,
                IpAddr::V4(expected),
                "a task sees the caller, itself as the gateway"
            );
            name
        })
        .collect();
    answered.sort();
    answered.dedup();
    assert_eq!(answered, ["a1", "a2"]);
    assert_eq!(
        udp(&both, at(v4(10, 1, 255, 1), 80)).expect("UDP too").1,
        IpAddr::V4(v4(10, 1, 1, 4))
    );
    assert_eq!(
        tcp(&both, at(v4(10, 2, 1, 5), 80))
            .expect("second network")
            .1,
        IpAddr::V4(v4(10, 2, 1, 4))
    );

    // A service without tasks says no at once.
    let refused = tcp(&a1, at(v4(10, 1, 255, 2), 80)).expect_err("nobody is there");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    // Not between networks: neither by address nor by the service.
    for to in [v4(10, 1, 1, 2), v4(10, 1, 255, 1), v4(10, 1, 1, 4)] {
        tcp_in_vain(&b1, at(to, 80)).expect_err("another network's task is out of reach");
    }
    tcp_in_vain(&a1, at(v4(10, 2, 1, 5), 80)).expect_err("an internal network is out of reach");
    tcp_in_vain(&alone, at(v4(10, 1, 1, 2), 80))
        .expect_err("a container without network reaches no task");
    tcp_in_vain(&lan.client, at(v4(10, 1, 1, 2), 80)).expect_err("nobody outside reaches in");

    // To the outside under the node's address, unless the network is internal.
    for from in [&a1, &both, &alone] {
        assert_eq!(
            tcp(from, at(v4(192, 0, 2, 100), 80)).expect("outside").1,
            IpAddr::V4(host.address())
        );
    }
    tcp_in_vain(&b1, at(v4(192, 0, 2, 100), 80)).expect_err("an internal network stays inside");

    // Nobody speaks under another's address.
    let false_address = v4(10, 1, 1, 77);
    within(&a1, || ip_here("addr add 10.1.1.77/32 dev eth0"));
    udp_from_in_vain(&a1, false_address, at(v4(10, 1, 1, 3), 80))
        .expect_err("forged addresses are dropped");
    udp_from(&a1, v4(10, 1, 1, 2), at(v4(10, 1, 1, 3), 80)).expect("the right one is not");

    // A gone container is gone.
    let gone = cluster
        .told
        .services
        .keys()
        .next()
        .copied()
        .expect("a service");
    cluster.told.services.remove(&gone);
    let mut none = Cluster::new(&lan);
    none.network(1, "front", |_| {});
    none.apply(&lan);
    assert!(!a1.exists(), "the namespace of a gone task stays");
    lan.hosts[0].stop(true);
    assert_eq!(lan.hosts[0].leftovers(), "");
}

/// `ip` in the namespace of the calling thread.
fn ip_here(arguments: &str) {
    ip(arguments);
}

#[test]
fn containers_resolve_the_names_of_their_networks_and_nothing_of_others() {
    let mut lan = Lan::new(1);
    let mut cluster = Cluster::new(&lan);
    cluster.network(1, "front", |_| {});
    cluster.network(2, "back", |spec| spec.internal = true);
    let a1 = cluster.task(1, 2, &[1]);
    let a2 = cluster.task(1, 3, &[1]);
    let b1 = cluster.task(1, 5, &[2]);
    cluster.service("Web", 1, 1, &[a1, a2], vec![]);
    cluster.service("db", 2, 2, &[b1], vec![]);
    lan.hosts[0].start();
    cluster.apply(&lan);
    let host = &lan.hosts[0];
    let (a, b) = (host.netns(a1), host.netns(b1));
    dns::upstream(&lan.client);

    let vip = vec![v4(10, 1, 255, 1)];
    let tasks = vec![v4(10, 1, 1, 2), v4(10, 1, 1, 3)];
    for name in ["web", "WEB.", "web-alias", "web.front"] {
        assert_eq!(
            dns::addresses(&dns::ask(&a, name, RecordType::A)),
            vip,
            "{name}"
        );
        assert_eq!(
            dns::addresses(&dns::ask_tcp(&a, name, RecordType::A)),
            vip,
            "{name} over TCP"
        );
    }
    assert_eq!(
        dns::addresses(&dns::ask(&a, "tasks.web", RecordType::A)),
        tasks
    );
    assert_eq!(
        dns::addresses(&dns::ask(&a, "2.web", RecordType::A)),
        [v4(10, 1, 1, 3)]
    );
    assert!(
        dns::addresses(&dns::ask(&a, "web", RecordType::AAAA)).is_empty(),
        "known, but not by IPv6"
    );
    let pointer = dns::ask(&a, "2.1.1.10.in-addr.arpa", RecordType::PTR);
    assert!(
        pointer.answers[0].data.to_string().starts_with("Web.1."),
        "{pointer}"
    );
    let unknown = dns::ask(&a, "9.9.1.10.in-addr.arpa", RecordType::PTR);
    assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);

    // Others' names are not known here, so the servers outside are asked; who is kept inside may not ask.
    let others = dns::ask(&a, "db", RecordType::A);
    assert_eq!(
        others.metadata.response_code,
        ResponseCode::NXDomain,
        "as the name server outside said"
    );
    let kept = dns::ask(&b, "web", RecordType::A);
    assert_eq!(kept.metadata.response_code, ResponseCode::ServFail);
    dns::ask(&a, "stop.example", RecordType::A);
    // Nobody answers outside any more.
    let dead = dns::ask(&a, "example.com", RecordType::A);
    assert_eq!(dead.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn a_published_port_answers_on_every_address_of_the_node() {
    let mut lan = Lan::new(1);
    let mut cluster = Cluster::new(&lan);
    cluster.network(1, "front", |_| {});
    let task = cluster.task(1, 2, &[1, INGRESS]);
    let other = cluster.task(1, 3, &[1]);
    let ports = vec![
        port(Protocol::Tcp, 8000, false),
        port(Protocol::Udp, 8000, false),
    ];
    cluster.service("web", 1, 1, &[task], ports);
    cluster.network(2, "back", |spec| spec.internal = true);
    let kept = cluster.task(1, 4, &[2, INGRESS]);
    cluster.service(
        "kept",
        2,
        2,
        &[kept],
        vec![port(Protocol::Tcp, 8002, false)],
    );
    lan.hosts[0].start();
    cluster.apply(&lan);
    let host = &lan.hosts[0];
    let _server = Server::start(&host.netns(task), "web", 80);
    let client = IpAddr::V4(v4(192, 0, 2, 100));
    assert_eq!(
        tcp(&lan.client, at(host.address(), 8000)).expect("published"),
        ("web".into(), client)
    );
    assert_eq!(
        udp(&lan.client, at(host.address(), 8000)).expect("published"),
        ("web".into(), client)
    );
    for own in [v4(127, 0, 0, 1), host.address()] {
        assert_eq!(
            tcp(&host.namespace, at(own, 8000))
                .expect("from the node itself")
                .0,
            "web",
            "{own}"
        );
        assert_eq!(
            udp(&host.namespace, at(own, 8000))
                .expect("from the node itself")
                .0,
            "web",
            "{own}"
        );
    }
    let other = host.netns(other);
    assert_eq!(
        tcp(&other, at(host.address(), 8000))
            .expect("from a container")
            .0,
        "web"
    );
    assert_eq!(
        tcp(&host.netns(task), at(host.address(), 8000))
            .expect("from the task itself")
            .0,
        "web"
    );
    // A task kept inside answers at its port but does not begin connections to the outside.
    let kept = host.netns(kept);
    let _kept = Server::start(&kept, "kept", 80);
    let _outside = Server::start(&lan.client, "outside", 81);
    assert_eq!(
        tcp(&lan.client, at(host.address(), 8002)).expect("published"),
        ("kept".into(), client)
    );
    tcp_in_vain(&kept, at(v4(192, 0, 2, 100), 81)).expect_err("an internal network stays inside");
    tcp(&other, at(v4(192, 0, 2, 100), 81)).expect("another one does not");
    // Tasks do not reach each other over the network behind published ports.
    tcp_in_vain(&other, at(v4(10, INGRESS, 1, 2), 80))
        .expect_err("the ingress network joins nobody");
    // Somebody flushes everything: it comes back by itself.
    let name = host.name();
    ip(&format!("netns exec {name} nft flush ruleset"));
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while tcp_in_vain(&lan.client, at(host.address(), 8000)).is_err() {
        assert!(
            std::time::Instant::now() < deadline,
            "the packet filter was not repaired"
        );
    }
}

#[test]
fn a_subnet_that_meets_a_route_of_the_node_is_refused_by_name() {
    let mut lan = Lan::new(1);
    let mut cluster = Cluster::new(&lan);
    cluster.network(1, "front", |_| {});
    cluster.network(3, "clashing", |_| {});
    let good = cluster.task(1, 2, &[1]);
    let bad = cluster.task(1, 3, &[3]);
    let name = lan.hosts[0].name();
    ip(&format!("-n {name} route add 10.3.7.0/24 via 192.0.2.100"));
    lan.hosts[0].start();
    let applied = lan.hosts[0].apply(cluster.desired(1));
    let error = applied.failed.get(&bad).expect("refused").to_string();
    assert_eq!(
        error,
        "subnet 10.3.0.0/16 of network clashing overlaps this node's route to 10.3.7.0/24 through e0: \
         choose another subnet for the network"
    );
    assert!(lan.hosts[0].netns(good).exists() && !lan.hosts[0].netns(bad).exists());
}

#[test]
fn containers_stay_where_they_are_when_a_route_of_the_node_gets_in_their_way() {
    let mut lan = Lan::new(1);
    let mut cluster = Cluster::new(&lan);
    cluster.network(3, "clashing", |_| {});
    let tasks = [2, 3].map(|number| cluster.task(1, number, &[3]));
    lan.hosts[0].start();
    cluster.apply(&lan);
    let host = &lan.hosts[0];
    let [one, two] = tasks.map(|task| host.netns(task));
    let _server = Server::start(&two, "two", 80);
    let _outside = Server::start(&lan.client, "outside", 80);
    let name = host.name();
    let route = "10.3.7.0/24 via 192.0.2.100";
    ip(&format!("-n {name} route add {route}"));
    let late = cluster.task(1, 4, &[3]);
    let applied = host.apply(cluster.desired(1));
    assert_eq!(applied.failed.keys().collect::<Vec<_>>(), [&late]);
    assert!(applied.failed[&late].to_string().contains("overlaps"));
    assert!(!host.netns(late).exists());
    let reached = |moment: &str| {
        let (name, _) = tcp(&one, at(v4(10, 3, 1, 3), 80)).expect(moment);
        assert_eq!(name, "two", "{moment}");
        tcp(&two, at(v4(192, 0, 2, 100), 80)).expect(moment);
    };
    reached("beside the route");
    ip(&format!("-n {name} route del {route}"));
    cluster.apply(&lan);
    reached("after the route");
    // A route to one of the network's own blocks stays the node's.
    let route = "10.3.1.0/24 via 192.0.2.100";
    ip(&format!("-n {name} route replace {route}"));
    host.apply(cluster.desired(1));
    let found = ip(&format!("-n {name} route show 10.3.1.0/24"));
    assert!(found.contains("via 192.0.2.100"), "{found}");
    reached("beside a route to their block");
}

#[test]
fn a_container_keeps_its_links_when_its_network_goes_first() {
    let mut lan = Lan::new(1);
    let mut cluster = Cluster::new(&lan);
    cluster.network(1, "front", |_| {});
    cluster.network(2, "back", |spec| spec.internal = true);
    let stopping = cluster.task(1, 2, &[1]);
    let kept = cluster.task(1, 3, &[2, INGRESS]);
    lan.hosts[0].start();
    cluster.apply(&lan);
    let host = &lan.hosts[0];
    let _outside = Server::start(&lan.client, "outside", 80);
    let to = at(v4(192, 0, 2, 100), 80);
    let mut open = Connection::open(&host.netns(stopping), to, PATIENCE).expect("outside");
    let mut removed = cluster.clone();
    removed
        .told
        .networks
        .retain(|_, network| network.spec.ingress);
    let late = removed.task(1, 4, &[1]);
    let applied = host.apply(removed.desired(1));
    assert_eq!(applied.failed.keys().collect::<Vec<_>>(), [&late]);
    open.echo("still there").expect("its connection goes on");
    tcp_in_vain(&host.netns(kept), to).expect_err("nobody says that it may go outside now");
    // A network that has the address now has the better right to it.
    removed.told.networks.insert(
        NetworkId::from_bits(7),
        cluster.told.networks[&NetworkId::from_bits(1)].clone(),
    );
    let applied = host.apply(removed.desired(1));
    let failed = applied.failed.keys().collect::<Vec<_>>();
    assert_eq!(failed, [&stopping, &late]);
    assert!(!host.netns(stopping).exists());
}

#[test]
fn an_answer_under_way_arrives_though_its_container_has_ended() {
    const LENGTH: usize = 4 << 20;
    const LONG: Duration = Duration::from_secs(60);
    let mut lan = Lan::new(1);
    let mut cluster = Cluster::new(&lan);
    cluster.network(1, "front", |_| {});
    let [server, client] = [2, 3].map(|number| cluster.task(1, number, &[1]));
    lan.hosts[0].start();
    cluster.apply(&lan);
    let host = &lan.hosts[0];
    let listener = within(&host.netns(server), || {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).expect("a port")
    });
    let mut stream = within(&host.netns(client), || {
        TcpStream::connect((v4(10, 1, 1, 2), 80)).expect("a connection")
    });
    let (mut answering, _) = listener.accept().expect("a client");
    let reading = std::thread::spawn(move || {
        stream.set_read_timeout(Some(LONG)).expect("a timeout");
        let (mut part, mut length) = ([0; 16 << 10], 0);
        loop {
            // Slower than the server, so that the kernel has the rest when it is gone.
            std::thread::sleep(Duration::from_millis(1));
            match stream.read(&mut part) {
                Ok(0) => return Ok(length),
                Ok(more) => length += more,
                Err(error) => return Err(format!("after {length} bytes: {error}")),
            }
        }
    });
    answering
        .write_all(&vec![7; LENGTH])
        .expect("the kernel takes it");
    drop((answering, listener));
    host.sent(server, LONG);
    let mut without = Cluster::new(&lan);
    without.network(1, "front", |_| {});
    without.task(1, 3, &[1]);
    without.apply(&lan);
    assert!(!lan.hosts[0].netns(server).exists());
    assert_eq!(reading.join().expect("no panic"), Ok(LENGTH));
}

#[test]
fn a_node_that_forwarded_nothing_is_no_router_of_its_neighbours() {
    const FORWARD: &str = "ipv4/ip_forward";
    let mut lan = Lan::new(2);
    let cluster = Cluster::new(&lan);
    let (behind, client) = (lan.hosts[1].name(), lan.client.clone());
    let name = lan.hosts[0].name();
    ip(&format!("-n {behind} addr add 198.51.100.1/32 dev lo"));
    let _server = Server::start(&lan.hosts[1].namespace, "behind", 80);
    let client_name = client.file_name().expect("a name").to_string_lossy();
    let to = "198.51.100.0/24 via";
    ip(&format!("-n {client_name} route add {to} 192.0.2.1"));
    ip(&format!("-n {name} route add {to} 192.0.2.2"));
    let beyond = at(v4(198, 51, 100, 1), 80);
    lan.hosts[0].set(FORWARD, "0");
    for _ in 0..2 {
        lan.hosts[0].start();
        lan.hosts[0].apply(cluster.desired(1));
        assert_eq!(lan.hosts[0].setting(FORWARD), "1");
        tcp_in_vain(&client, beyond)
            .expect_err("nobody's router, also after a restart of the daemon");
        lan.hosts[0].stop(false);
    }
    lan.hosts[0].start();
    lan.hosts[0].stop(true);
    assert_eq!(lan.hosts[0].setting(FORWARD), "0", "as it was found");

    // What comes later is not in our care.
    lan.hosts[0].start();
    lan.hosts[0].apply(cluster.desired(1));
    ip(&format!(
        "-n {name} link add late0 type veth peer name late1 netns {behind}"
    ));
    ip(&format!("-n {name} addr add 203.0.113.1/24 dev late0"));
    ip(&format!("-n {behind} addr add 203.0.113.2/24 dev late1"));
    ip(&format!("-n {name} link set late0 up"));
    ip(&format!("-n {behind} link set late1 up"));
    for link in ["all", "late1"] {
        let setting = format!("ipv4/conf/{link}/rp_filter");
        lan.hosts[1].set(&setting, "0");
    }
    ip(&format!("-n {name} route replace {to} 203.0.113.2"));
    tcp(&client, beyond).expect("by a link that came later");
    lan.hosts[0].stop(true);
    assert_eq!(
        lan.hosts[0].setting(FORWARD),
        "1",
        "the new link may need it"
    );

    // Nor is a node that forwarded before.
    ip(&format!("-n {name} route replace {to} 192.0.2.2"));
    lan.hosts[0].start();
    lan.hosts[0].apply(cluster.desired(1));
    tcp(&client, beyond).expect("as before");
}

#[test]
fn a_hundred_containers_are_attached_quickly_and_a_change_costs_little() {
    let mut lan = Lan::new(1);
    let mut cluster = Cluster::new(&lan);
    cluster.network(1, "front", |_| {});
    cluster.network(2, "back", |_| {});
    let tasks: Vec<_> = (2..102)
        .map(|number| cluster.task(1, number, &[1, 2]))
        .collect();
    lan.hosts[0].start();
    let start = std::time::Instant::now();
    cluster.apply(&lan);
    let attach = start.elapsed();
    cluster.service("web", 1, 1, &tasks, vec![]);
    let start = std::time::Instant::now();
    cluster.apply(&lan);
    let change = start.elapsed();
    lan.hosts[0].stop(false);
    lan.hosts[0].start();
    let start = std::time::Instant::now();
    cluster.apply(&lan);
    let takeover = start.elapsed();
    println!("attach 100: {attach:?}, change: {change:?}, take over 100: {takeover:?}");
    // Far above what a machine takes that is busy or stands still for seconds; what this guards against is
    // work that grows with the square.
    assert!(attach < Duration::from_secs(100), "{attach:?}");
    assert!(change < Duration::from_secs(20), "{change:?}");
    assert!(takeover < Duration::from_secs(60), "{takeover:?}");
}
