//! Peers come, change and go, and move, while packets flow; the engine itself comes and goes.

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use skep_agent_wireguard::{Engine, EngineConfig, EngineError, PeerConfig};
use support::{Host, eventually, hosts, mesh, net, transfer};

#[test]
fn a_peer_that_is_removed_is_gone_and_one_that_is_added_again_works() {
    let (hosts, engines) = mesh(3);
    let [a, b, c] = &hosts.hosts[..] else {
        panic!("three")
    };
    assert!(a.ns.pings(&b.overlay(), 56) && a.ns.pings(&c.overlay(), 56));
    engines[0].set_peers(&[c.as_peer()]).expect("remove b");
    let output =
        a.ns.output("busybox", &format!("ping -c 1 -W 1 {}", b.overlay()));
    assert!(!output.status.success());
    assert!(a.ns.pings(&c.overlay(), 56));
    assert_eq!(engines[0].stats().len(), 1);
    let unknown = engines[0].engine_stats().dropped_unknown;
    let output =
        b.ns.output("busybox", &format!("ping -c 1 -W 1 {}", a.overlay()));
    assert!(!output.status.success());
    eventually("a drops what b sends", || {
        engines[0].engine_stats().dropped_unknown > unknown
    });
    let both = [b.as_peer(), c.as_peer()];
    engines[0].set_peers(&both).expect("add b again");
    assert!(a.ns.pings(&b.overlay(), 56));
}

#[test]
fn updates_under_traffic_neither_disturb_it_nor_take_long() {
    let (hosts, engines) = mesh(3);
    let [a, b, c] = &hosts.hosts[..] else {
        panic!("three")
    };
    assert!(a.ns.pings(&b.overlay(), 56));
    let handshake = engines[0].stats()[0].last_handshake;
    let done = AtomicBool::new(false);
    let (updates, slowest) = std::thread::scope(|scope| {
        let updating = scope.spawn(|| {
            let (mut updates, mut slowest) = (0u32, Duration::ZERO);
            while !done.load(Relaxed) {
                let mut peer = b.as_peer();
                let block = |n: u32| net(&format!("10.80.{}.0/24", n % 250));
                peer.allowed_ips.extend((0..50).map(|n| block(updates + n)));
                let mut peers = vec![peer];
                if updates % 2 == 0 {
                    peers.push(c.as_peer());
                }
                let start = Instant::now();
                engines[0].set_peers(&peers).expect("an update");
                slowest = slowest.max(start.elapsed());
                updates += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            (updates, slowest)
        });
        transfer(&a.ns, &b.ns, &b.overlay(), 32 << 20);
        transfer(&b.ns, &a.ns, &a.overlay(), 32 << 20);
        done.store(true, Relaxed);
        updating.join().expect("the updates end well")
    });
    assert!(updates > 20, "only {updates} updates");
    assert!(slowest < Duration::from_secs(10), "one took {slowest:?}");
    // The session survived all of it.
    assert_eq!(engines[0].stats()[0].last_handshake, handshake);
}

#[test]
fn an_allowed_network_added_to_a_peer_is_reached_at_once_and_one_taken_away_is_not() {
    let (hosts, engines) = mesh(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    b.ns.ip("addr add 10.90.0.1/32 dev lo");
    a.ns.ip("route add 10.90.0.0/24 dev skepwg");
    let with_block = PeerConfig {
        allowed_ips: vec![net(&b.overlay()), net("10.90.0.0/24")],
        ..b.as_peer()
    };
    engines[0].set_peers(&[with_block]).expect("add a block");
    assert!(a.ns.pings("10.90.0.1", 56));
    engines[0].set_peers(&[b.as_peer()]).expect("take it away");
    let output = a.ns.output("busybox", "ping -c 1 -W 1 10.90.0.1");
    assert!(!output.status.success());
    assert!(a.ns.pings(&b.overlay(), 56));
}

#[test]
fn a_peer_whose_address_changes_is_followed() {
    let (hosts, engines) = mesh(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    assert!(a.ns.pings(&b.overlay(), 56));
    b.ns.ip("addr add 192.0.2.77/24 dev under");
    b.ns.ip(&format!("addr del {}/24 dev under", b.underlay()));
    // Deleting the first address may take the second along, as a secondary of the same network.
    let _ = b.ns.output("ip", "addr add 192.0.2.77/24 dev under");
    assert!(
        b.ns.pings(&a.overlay(), 56),
        "b speaks from its new address"
    );
    let moved: SocketAddr = "192.0.2.77:51820".parse().expect("an address");
    assert_eq!(engines[0].stats()[0].endpoint, Some(moved));
    assert!(a.ns.pings(&b.overlay(), 56), "a answers to it");
    // Saying the same again does not send a back to the old address; saying something new does.
    engines[0]
        .set_peers(&[b.as_peer()])
        .expect("the same again");
    assert_eq!(engines[0].stats()[0].endpoint, Some(moved));
    let elsewhere: SocketAddr = "192.0.2.78:51820".parse().expect("an address");
    let told = PeerConfig {
        endpoint: Some(elsewhere),
        ..b.as_peer()
    };
    engines[0].set_peers(&[told]).expect("something new");
    assert_eq!(engines[0].stats()[0].endpoint, Some(elsewhere));
}

#[test]
fn packets_wait_for_the_handshake_and_then_arrive_in_order() {
    let hosts = hosts(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    let (engine_a, engine_b) = (a.engine(), b.engine());
    engine_b.set_peers(&[a.as_peer()]).expect("set the peers");
    engine_a.set_peers(&[b.as_peer()]).expect("set the peers");
    let receiver = b.ns.udp(&format!("{}:0", b.overlay()));
    let sender = a.ns.udp(&format!("{}:0", a.overlay()));
    let to = receiver.local_addr().expect("it is bound");
    for n in 0..100u8 {
        sender.send_to(&[n; 9], to).expect("send");
    }
    let mut buffer = [0; 64];
    for n in 0..100u8 {
        let (length, _) = receiver.recv_from(&mut buffer).expect("it arrives");
        assert_eq!(buffer[..length], [n; 9]);
    }
}

#[test]
fn only_one_side_needs_to_know_where_the_other_is() {
    let hosts = hosts(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    let (engine_a, engine_b) = (a.engine(), b.engine());
    let unknown = PeerConfig {
        endpoint: None,
        ..b.as_peer()
    };
    engine_a.set_peers(&[unknown]).expect("set the peers");
    let output =
        a.ns.output("busybox", &format!("ping -c 1 -W 1 {}", b.overlay()));
    assert!(!output.status.success());
    assert!(engine_a.stats()[0].dropped_no_endpoint > 0);
    let alive = PeerConfig {
        keepalive: Some(Duration::from_secs(1)),
        ..a.as_peer()
    };
    // A handshake needs no packet to set it off.
    engine_b.set_peers(&[alive]).expect("set the peers");
    eventually("a learns where b is", || {
        engine_a.stats()[0].endpoint.is_some() && engine_a.stats()[0].last_handshake.is_some()
    });
    assert!(a.ns.pings(&b.overlay(), 56));
    let heard = engine_a.stats()[0].rx_bytes;
    eventually("keepalives go on", || {
        engine_a.stats()[0].rx_bytes >= heard + 2 * 32
    });
}

#[test]
fn a_node_that_restarts_is_met_again_at_once() {
    let (hosts, mut engines) = mesh(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    assert!(a.ns.pings(&b.overlay(), 56));
    engines.pop().expect("b's").stop();
    let again = b.engine();
    again.set_peers(&[a.as_peer()]).expect("set the peers");
    eventually("a session with the new engine", || {
        again.stats()[0].last_handshake.is_some()
    });
    assert!(a.ns.pings(&b.overlay(), 56));
}

#[test]
fn a_greeting_that_was_lost_does_not_delay_the_first_packet() {
    // The machine may stand still for a while.
    let fastest = (0..3).map(|_| first_packet_after_a_lost_greeting()).min();
    // A handshake is tried again after five seconds by itself.
    assert!(fastest < Some(Duration::from_secs(4)), "{fastest:?}");
}

fn first_packet_after_a_lost_greeting() -> Duration {
    let hosts = hosts(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    let engine_a = a.engine();
    engine_a.set_peers(&[b.as_peer()]).expect("set the peers");
    let engine_b = b.engine();
    // B answers and never begins.
    let silent = PeerConfig {
        endpoint: None,
        ..a.as_peer()
    };
    engine_b.set_peers(&[silent]).expect("set the peers");
    let start = Instant::now();
    assert!(a.ns.pings(&b.overlay(), 56));
    start.elapsed()
}

fn has_interface(host: &Host) -> bool {
    host.ns.output("ip", "link show skepwg").status.success()
}

#[test]
fn stopping_does_not_wait_for_traffic_and_removes_the_interface() {
    let (hosts, mut engines) = mesh(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    let sender = a.ns.udp(&format!("{}:0", a.overlay()));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flood = [0u8; 1300];
            while !done.load(Relaxed) {
                let _ = sender.send_to(&flood, (b.overlay(), 9));
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        for (engine, host) in engines.drain(..).zip([a, b]) {
            assert!(has_interface(host));
            let start = Instant::now();
            engine.stop();
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "{:?}",
                start.elapsed()
            );
            // A program another test starts this moment may hold the descriptor until it executes.
            eventually("the interface is gone", || !has_interface(host));
        }
        done.store(true, Relaxed);
    });
}

#[test]
fn an_engine_whose_interface_is_deleted_says_so_and_stops() {
    let (hosts, engines) = mesh(2);
    let a = &hosts.hosts[0];
    assert_eq!(engines[0].failure(), None);
    a.ns.ip("link del skepwg");
    eventually("the engine notices", || engines[0].failure().is_some());
    assert_eq!(engines[1].failure(), None);
}

#[test]
fn an_interface_that_is_set_down_and_up_again_works_again() {
    let (hosts, engines) = mesh(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    assert!(a.ns.pings(&b.overlay(), 56));
    b.ns.ip("link set skepwg down");
    let output =
        a.ns.output("busybox", &format!("ping -c 1 -W 1 {}", b.overlay()));
    assert!(!output.status.success());
    b.ns.ip("link set skepwg up");
    assert!(a.ns.pings(&b.overlay(), 56));
    assert_eq!(engines[1].failure(), None);
}

#[test]
fn a_name_or_port_that_is_taken_is_refused_and_leaves_nothing() {
    let hosts = hosts(1);
    let a = &hosts.hosts[0];
    let config = |interface: &str, listen_port| EngineConfig {
        interface: interface.to_owned(),
        private_key: a.key,
        listen_port,
        mtu: 1420,
    };
    let first = a.ns.run(|| Engine::start(config("skepwg", 0)));
    let first = first.expect("the first has all it needs");
    let error = a.ns.run(|| Engine::start(config("skepwg", 0)));
    assert!(matches!(error, Err(EngineError::CreateTun { .. })));
    let port = first.listen_port();
    let error = a.ns.run(|| Engine::start(config("skepwg2", port)));
    assert!(matches!(error, Err(EngineError::BindUdp { .. })));
    let output = a.ns.output("ip", "link show skepwg2");
    assert!(!output.status.success());
    drop(first);
    let again = a.ns.run(|| Engine::start(config("skepwg", port)));
    again.expect("both are free again").stop();
}
