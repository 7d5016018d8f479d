//! Whatever is sent to an engine, it costs a counter and nothing else.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use skep_agent_wireguard::{Engine, PeerConfig, generate_private_key};
use support::{Host, eventually, hosts, mesh, net, pattern};

/// A peer whose side of the protocol is in the test's hands.
struct HandMade {
    socket: UdpSocket,
    to: SocketAddr,
    tunn: Tunn,
}

impl HandMade {
    /// Lives on `host`, which runs no engine, and talks to the engine of `to`.
    fn new(host: &Host, to: &Host, port: u16) -> Self {
        let socket = host.ns.udp(&format!("{}:{port}", host.underlay()));
        let tunn = Tunn::new(
            StaticSecret::from(host.key),
            PublicKey::from(to.public()),
            None,
            None,
            1,
            None,
        );
        Self {
            socket,
            to: SocketAddr::new(to.underlay(), 51820),
            tunn,
        }
    }

    fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.to).expect("send");
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let (length, _) = self.socket.recv_from(&mut buffer).expect("an answer");
        buffer.truncate(length);
        buffer
    }

    fn initiation(&mut self) -> Vec<u8> {
        let mut buffer = vec![0; 2048];
        match self.tunn.format_handshake_initiation(&mut buffer, true) {
            TunnResult::WriteToNetwork(message) => message.to_vec(),
            other => panic!("no initiation: {other:?}"),
        }
    }

    fn handshake(&mut self) {
        let initiation = self.initiation();
        self.send(&initiation);
        let answer = self.receive();
        let mut buffer = vec![0; 2048];
        match self.tunn.decapsulate(None, &answer, &mut buffer) {
            TunnResult::WriteToNetwork(keepalive) => {
                let keepalive = keepalive.to_vec();
                self.send(&keepalive);
            }
            other => panic!("no session: {other:?}"),
        }
    }

    fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; packet.len() + 148];
        match self.tunn.encapsulate(packet, &mut buffer) {
            TunnResult::WriteToNetwork(message) => message.to_vec(),
            other => panic!("not sealed: {other:?}"),
        }
    }
}

/// A UDP packet with no payload worth mentioning.
fn packet(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0; 28];
    packet[0] = 0x45;
    packet[3] = 28;
    packet[8] = 64;
    packet[9] = 17;
    packet[12..16].copy_from_slice(&source);
    packet[16..20].copy_from_slice(&destination);
    packet
}

fn engine_for(host: &Host, peer: &Host) -> Engine {
    let engine = host.engine();
    engine.set_peers(&[peer.as_peer()]).expect("set the peers");
    engine
}

#[test]
fn a_packet_from_an_address_that_was_not_given_is_dropped_and_counted() {
    let (hosts, engines) = mesh(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    assert!(a.ns.pings(&b.overlay(), 56));
    // A address B's engine has not been told of, and one that is B's own.
    for stolen in ["10.77.0.99", "10.88.0.1"] {
        a.ns.ip(&format!("addr add {stolen}/32 dev skepwg"));
        let receiver = b.ns.udp(&format!("{}:0", b.overlay()));
        let to = receiver.local_addr().expect("it is bound");
        let dropped = engines[1].stats()[0].dropped_source;
        a.ns.udp(&format!("{stolen}:0"))
            .send_to(b"stolen", to)
            .expect("send");
        eventually("the drop is counted", || {
            engines[1].stats()[0].dropped_source > dropped
        });
        a.ns.udp(&format!("{}:0", a.overlay()))
            .send_to(b"honest", to)
            .expect("send");
        let mut buffer = [0; 16];
        let (length, _) = receiver.recv_from(&mut buffer).expect("the honest one");
        assert_eq!(&buffer[..length], b"honest");
    }
}

#[test]
fn a_packet_for_an_address_that_is_nobodys_is_counted() {
    let (hosts, engines) = mesh(2);
    let a = &hosts.hosts[0];
    let before = engines[0].engine_stats().dropped_no_route;
    let sender = a.ns.udp(&format!("{}:0", a.overlay()));
    sender.send_to(b"hello", "10.77.0.200:1").expect("send");
    eventually("the drop is counted", || {
        engines[0].engine_stats().dropped_no_route > before
    });
}

#[test]
fn garbage_of_every_size_is_counted_and_changes_nothing() {
    let hosts = hosts(3);
    let [a, b, stranger] = &hosts.hosts[..] else {
        panic!("three")
    };
    let (engine, other) = (engine_for(a, b), engine_for(b, a));
    assert!(a.ns.pings(&b.overlay(), 56));
    let socket = stranger.ns.udp(&format!("{}:0", stranger.underlay()));
    let to = SocketAddr::new(a.underlay(), 51820);
    let total = || {
        let stats = engine.engine_stats();
        stats.dropped_malformed
            + stats.dropped_unknown
            + stats.dropped_mac
            + engine.stats()[0].dropped_forged
    };
    let mut sent = 0;
    for size in (0..200).chain([1000, 1451, 1452, 1453, 9000, 65_507]) {
        for kind in 0..6u8 {
            let mut bytes = pattern(size, size as u64 * 8 + u64::from(kind));
            if size >= 4 {
                bytes[..4].copy_from_slice(&[kind, 0, 0, 0]);
            }
            socket.send_to(&bytes, to).expect("send");
            sent += 1;
        }
        // Not faster than they are looked at: the socket's buffer is bounded too.
        eventually("every datagram is counted", || total() >= sent);
    }
    assert_eq!(total(), sent);
    assert_eq!(engine.engine_stats().faults, 0);
    assert!(a.ns.pings(&b.overlay(), 56) && b.ns.pings(&a.overlay(), 56));
    drop(other);
}

#[test]
fn messages_of_a_session_that_were_changed_or_repeated_are_dropped() {
    let hosts = hosts(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    let engine = engine_for(a, b);
    let mut peer = HandMade::new(b, a, 51820);
    peer.handshake();
    let receiver = a.ns.udp("0.0.0.0:7");
    let good = packet([10, 77, 0, 2], [10, 77, 0, 1]);
    let sealed = peer.seal(&good);
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 0x40;
        peer.send(&changed);
    }
    eventually("every change is noticed", || {
        let stats = engine.engine_stats();
        let dropped = stats.dropped_unknown + stats.dropped_malformed;
        engine.stats()[0].dropped_forged + dropped >= sealed.len() as u64
    });
    peer.send(&sealed);
    for _ in 0..3 {
        peer.send(&sealed);
    }
    eventually("the repetitions are noticed", || {
        engine.stats()[0].dropped_replay == 3
    });
    drop(receiver);
    assert_eq!(engine.engine_stats().faults, 0);
}

#[test]
fn a_peer_that_seals_nonsense_harms_nobody() {
    let hosts = hosts(3);
    let [a, b, c] = &hosts.hosts[..] else {
        panic!("three")
    };
    let engine = a.engine();
    let peers = [b.as_peer(), c.as_peer()];
    engine.set_peers(&peers).expect("set the peers");
    let honest = engine_for(c, a);
    let mut peer = HandMade::new(b, a, 51820);
    peer.handshake();
    for round in 0..600u64 {
        let size = (round * 7 % 1500) as usize;
        let mut inner = pattern(size, round);
        // Half of them look like IP from the right address, with random headers behind it.
        if size >= 40 && round % 2 == 0 {
            let v4 = round % 4 == 0;
            if v4 {
                inner[0] = 0x40 | (inner[0] & 0x0f);
                inner[2..4].copy_from_slice(&(size as u16).to_be_bytes());
                inner[9] = if round % 8 == 0 { 6 } else { 17 };
                inner[12..16].copy_from_slice(&[10, 77, 0, 2]);
            } else {
                inner[0] = 0x60;
                inner[4..6].copy_from_slice(&((size - 40) as u16).to_be_bytes());
                inner[6] = if round % 8 == 2 { 6 } else { 17 };
                let source = "fd00:77::2".parse::<std::net::Ipv6Addr>();
                inner[8..24].copy_from_slice(&source.expect("an address").octets());
            }
        }
        let sealed = peer.seal(&inner);
        peer.send(&sealed);
    }
    // The end of what a session can count is far off, and nobody can bring it near.
    let sealed = peer.seal(&packet([10, 77, 0, 2], [10, 77, 0, 1]));
    let mut last = sealed.clone();
    last[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    peer.send(&last);
    eventually("the nonsense is counted", || {
        let peer = &engine.stats()[0];
        peer.dropped_malformed > 100 && peer.dropped_replay == 1
    });
    assert_eq!(engine.engine_stats().faults, 0);
    assert!(c.ns.pings(&a.overlay(), 56));
    drop(honest);
}

#[test]
fn a_stranger_with_a_valid_handshake_is_not_answered() {
    let hosts = hosts(3);
    let [a, b, stranger] = &hosts.hosts[..] else {
        panic!("three")
    };
    let engine = engine_for(a, b);
    let mut peer = HandMade::new(stranger, a, 0);
    let initiation = peer.initiation();
    peer.send(&initiation);
    eventually("the stranger is counted", || {
        engine.engine_stats().dropped_unknown == 1
    });
    // One made for another node's key is not even looked into.
    let other = Host {
        ns: support::Netns::new(),
        number: a.number,
        key: generate_private_key(),
    };
    let mut peer = HandMade::new(stranger, &other, 0);
    let initiation = peer.initiation();
    peer.send(&initiation);
    eventually("the wrong key is counted", || {
        engine.engine_stats().dropped_mac == 1
    });
    assert_eq!(engine.stats()[0].last_handshake, None);
}

#[test]
fn a_replayed_handshake_is_dropped_and_does_not_move_the_endpoint() {
    let hosts = hosts(3);
    let [a, b, thief] = &hosts.hosts[..] else {
        panic!("three")
    };
    let engine = engine_for(a, b);
    let mut peer = HandMade::new(b, a, 51820);
    let initiation = peer.initiation();
    peer.send(&initiation);
    peer.receive();
    let socket = thief.ns.udp(&format!("{}:0", thief.underlay()));
    let to = SocketAddr::new(a.underlay(), 51820);
    socket.send_to(&initiation, to).expect("send");
    eventually("the replay is counted", || {
        engine.stats()[0].dropped_replay == 1
    });
    let endpoint = engine.stats()[0].endpoint.expect("it was configured");
    assert_eq!(endpoint.ip(), b.underlay());
}

#[test]
fn a_flood_of_handshakes_is_answered_with_cookies_and_a_peer_still_gets_in() {
    let hosts = hosts(3);
    let [a, b, flooder] = &hosts.hosts[..] else {
        panic!("three")
    };
    let engine = a.engine();
    let flood_peer = PeerConfig {
        allowed_ips: vec![net("10.99.0.1")],
        ..flooder.as_peer()
    };
    let peers = [b.as_peer(), flood_peer];
    engine.set_peers(&peers).expect("set the peers");
    let honest = engine_for(b, a);
    let mut flood = HandMade::new(flooder, a, 51820);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                for _ in 0..20 {
                    let initiation = flood.initiation();
                    flood.send(&initiation);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        eventually("the engine asks for proof of address", || {
            engine.engine_stats().cookie_replies > 20
        });
        // The first attempt of b is answered with a cookie as well; the second one proves it.
        eventually("b gets in", || b.ns.pings(&a.overlay(), 56));
        done.store(true, Relaxed);
    });
    assert_eq!(engine.engine_stats().faults, 0);
    drop(honest);
}
