//! Packets get through: every protocol, size and direction, over IPv4 and IPv6.

mod support;

use std::net::SocketAddr;

use skep_agent_wireguard::PeerConfig;
use support::{hosts, mesh, transfer};

#[test]
fn in_a_mesh_of_three_everyone_reaches_everyone_over_both_families() {
    let (hosts, engines) = mesh(3);
    for from in &hosts.hosts {
        for to in &hosts.hosts {
            assert!(
                from.ns.pings(&to.overlay(), 56),
                "{} to {}",
                from.number,
                to.number
            );
            assert!(
                from.ns.pings(&to.overlay6(), 56),
                "{} to {} v6",
                from.number,
                to.number
            );
        }
    }
    for engine in &engines {
        let stats = engine.stats();
        assert_eq!(stats.len(), 2);
        for peer in stats {
            assert!(peer.last_handshake.is_some(), "{peer:?}");
            assert!(peer.tx_bytes > 0 && peer.rx_bytes > 0, "{peer:?}");
            assert_eq!(peer.dropped_source, 0);
        }
        assert_eq!(engine.engine_stats().faults, 0);
        assert_eq!(engine.failure(), None);
    }
}

#[test]
fn bulk_tcp_arrives_unchanged_in_both_directions_over_both_families() {
    let (hosts, engines) = mesh(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    let megabytes = 24 << 20;
    transfer(&a.ns, &b.ns, &b.overlay(), megabytes);
    transfer(&b.ns, &a.ns, &a.overlay(), megabytes);
    transfer(&a.ns, &b.ns, &b.overlay6(), megabytes);
    std::thread::scope(|scope| {
        scope.spawn(|| transfer(&a.ns, &b.ns, &b.overlay(), megabytes));
        scope.spawn(|| transfer(&b.ns, &a.ns, &a.overlay(), megabytes));
    });
    for engine in &engines {
        let peer = &engine.stats()[0];
        assert_eq!(
            (peer.dropped_forged, peer.dropped_malformed),
            (0, 0),
            "{peer:?}"
        );
        assert_eq!(engine.engine_stats().dropped_tun, 0);
    }
}

#[test]
fn udp_of_every_size_arrives_whole_also_when_it_is_fragmented() {
    let (hosts, _engines) = mesh(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    for (from, to) in [
        (a.overlay(), b.overlay()),
        (format!("[{}]", a.overlay6()), format!("[{}]", b.overlay6())),
    ] {
        let sender = a.ns.udp(&format!("{from}:0"));
        let receiver = b.ns.udp(&format!("{to}:0"));
        let address = receiver.local_addr().expect("it is bound");
        // Empty, tiny, the MTU's edge, fragments, the largest there is.
        for size in [
            0, 1, 1371, 1372, 1391, 1392, 1393, 1400, 5000, 20_000, 65_000,
        ] {
            let sent = support::pattern(size, 7);
            sender.send_to(&sent, address).expect("send");
            let mut received = vec![0; 65_536];
            let (length, _) = receiver.recv_from(&mut received).expect("it arrives");
            assert!(received[..length] == sent[..], "{size} bytes to {address}");
        }
    }
}

#[test]
fn the_underlay_may_be_ipv6() {
    let hosts = hosts(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    let (engine_a, engine_b) = (a.engine(), b.engine());
    let over6 = |host: &support::Host| PeerConfig {
        endpoint: Some(SocketAddr::new(host.underlay6(), 51820)),
        ..host.as_peer()
    };
    engine_a.set_peers(&[over6(b)]).expect("set the peers");
    engine_b.set_peers(&[over6(a)]).expect("set the peers");
    assert!(a.ns.pings(&b.overlay(), 56));
    transfer(&a.ns, &b.ns, &b.overlay(), 8 << 20);
    transfer(&b.ns, &a.ns, &a.overlay6(), 8 << 20);
    assert!(engine_a.stats()[0].endpoint.is_some_and(|e| e.is_ipv6()));
}

#[test]
fn an_underlay_narrower_than_expected_costs_speed_and_not_packets() {
    let (hosts, _engines) = mesh(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    for host in [a, b] {
        host.ns.ip("link set under mtu 1300");
    }
    assert!(a.ns.pings(&b.overlay(), 1392));
    transfer(&a.ns, &b.ns, &b.overlay(), 1 << 20);
}

#[test]
fn packets_as_large_as_jumbo_frames_pass_once_the_mtu_is_raised() {
    let (hosts, engines) = mesh(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    for host in [a, b] {
        hosts.hub.ip(&format!("link set h{} mtu 9000", host.number));
        host.ns.ip("link set under mtu 9000");
        host.ns.ip("link set skepwg mtu 8920");
    }
    assert!(a.ns.pings(&b.overlay(), 8892), "the largest there is");
    transfer(&a.ns, &b.ns, &b.overlay(), 8 << 20);
    transfer(&b.ns, &a.ns, &a.overlay(), 8 << 20);
    // One read is cut into fewer segments than small ones need, and into as many as those need again.
    for host in [a, b] {
        host.ns.ip("link set skepwg mtu 1420");
    }
    transfer(&a.ns, &b.ns, &b.overlay(), 8 << 20);
    for engine in &engines {
        assert_eq!(engine.engine_stats().dropped_tun, 0);
    }
}

#[test]
fn a_tiny_segment_size_of_a_peer_does_not_stop_a_transfer() {
    let (hosts, _engines) = mesh(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    b.ns.ip(&format!(
        "route replace {}/32 dev skepwg advmss 90",
        a.overlay()
    ));
    transfer(&a.ns, &b.ns, &b.overlay(), 1 << 20);
}
