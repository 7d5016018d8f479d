//! The kernel takes what is meant, whole and in parts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::process::Command;

use skep_agent_planner::network::{Backend, Endpoint, Mesh, Network, Peer, PortKey, PublishedPort};
use skep_types::{NetworkId, NodeId, Protocol, PublishMode, TaskId};

use super::*;
use crate::nft::Nft;

fn sample(tasks: u8) -> Desired {
    let node = NodeId::from_bits(1);
    let net = NetworkId::from_bits(7);
    let address = |n: u8| Ipv4Addr::new(10, 1, 1, n);
    let network = Network {
        name: "front".to_owned(),
        subnets: vec![
            "10.1.0.0/16".parse().expect("net"),
            "10.3.0.0/24".parse().expect("net"),
        ],
        own_blocks: vec!["10.1.1.0/24".parse().expect("net")],
        internal: false,
        isolated: false,
    };
    let peer = Peer {
        public_key: [1; 32],
        endpoint: "192.0.2.2:51820".parse().expect("endpoint"),
        mesh: Ipv4Addr::new(10, 200, 0, 2),
        blocks: vec!["10.1.2.0/24".parse().expect("net")],
        index: 2,
    };
    let endpoints = (0..tasks).map(|n| {
        let endpoint = Endpoint {
            attachments: vec![(net, address(n))],
            local: None,
            source: Some(address(n)),
            egress: true,
            dns_servers: vec![],
        };
        (TaskId::from_bits(u128::from(n) + 1), endpoint)
    });
    let backends: Vec<Backend> = (0..tasks)
        .map(|n| Backend {
            address: address(n),
            node,
        })
        .collect();
    let port = |masquerade| PublishedPort {
        target: 80,
        backends: backends.clone(),
        mode: PublishMode::Ingress,
        masquerade,
    };
    let ports = [
        (
            PortKey {
                protocol: Protocol::Tcp,
                published: 8080,
            },
            port(false),
        ),
        (
            PortKey {
                protocol: Protocol::Udp,
                published: 8081,
            },
            port(true),
        ),
    ];
    Desired {
        node,
        mesh: Mesh {
            address: Ipv4Addr::new(10, 200, 0, 1),
            subnet: "10.200.0.0/16".parse().expect("net"),
            mtu: None,
        },
        peers: BTreeMap::from([(NodeId::from_bits(2), peer)]),
        networks: BTreeMap::from([(net, network)]),
        endpoints: endpoints.collect(),
        services: BTreeMap::from([
            (Ipv4Addr::new(10, 1, 255, 1), backends.clone()),
            (Ipv4Addr::new(10, 1, 255, 2), vec![]),
        ]),
        ports: BTreeMap::from(ports),
        zones: BTreeMap::new(),
    }
}

fn table(desired: &Desired) -> Table {
    node(desired, &BTreeSet::from(["e0".to_owned()]))
}

/// Runs `work` on a thread with a network namespace of its own, which ends with it.
fn in_own_namespace<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("needs root");
        work()
    });
    thread.join().expect("the work in the namespace")
}

fn listing() -> String {
    let output = Command::new("nft")
        .args(["list", "ruleset"])
        .output()
        .expect("nft to read back with");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_kernel_takes_the_table_as_it_is_meant() {
    let listing = in_own_namespace(|| {
        let nft = Nft::open().expect("a socket");
        nft.replace(&table(&sample(3)))
            .expect("the table is accepted");
        assert!(nft.exists(TABLE).expect("it can be asked for"));
        listing()
    });
    println!("{listing}");
    for part in [
        "type nat hook prerouting priority dstnat",
        "chain vip-3",
        "numgen random mod 3",
        "10.1.255.1 : goto vip-3",
        "10.1.255.2 : goto none",
        "tcp . 8080 : goto port-3",
        "udp . 8081 : goto port-masq-3",
        "10.1.0.0/16 . 10.3.0.0/24",
        "10.1.1.2 . 10.1.1.2 : 10.1.0.1",
        "tcp option maxseg size set rt mtu",
        "ct state established,related accept",
        "snat to 169.254.1.1",
        "snat to 10.200.0.1",
        "masquerade",
        "reject with tcp reset",
        "fib daddr type local",
        "ct state new iifname @outer oifname @outer counter packets 0 bytes 0 drop",
    ] {
        assert!(listing.contains(part), "{part:?} is missing from {listing}");
    }
}

#[test]
fn an_update_by_elements_ends_in_the_same_table_as_a_new_one() {
    let (updated, fresh) = in_own_namespace(|| {
        let nft = Nft::open().expect("a socket");
        let steps: Vec<Table> = [3, 5, 0, 2]
            .into_iter()
            .map(|tasks| table(&sample(tasks)))
            .collect();
        nft.replace(&steps[0]).expect("the first table");
        for pair in steps.windows(2) {
            nft.update(&pair[0], &pair[1]).expect("the update");
        }
        let updated = listing();
        nft.replace(&steps[3]).expect("the last table");
        (updated, listing())
    });
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&updated), sorted(&fresh));
}

#[test]
fn ten_thousand_services_are_one_quick_transaction() {
    let took = in_own_namespace(|| {
        let mut desired = sample(10);
        let backends = desired
            .services
            .values()
            .next()
            .cloned()
            .unwrap_or_default();
        for number in 0..10_000u32 {
            desired
                .services
                .insert(Ipv4Addr::from_bits(0x0a02_0000 + number), backends.clone());
        }
        let nft = Nft::open().expect("a socket");
        let table = table(&desired);
        let start = std::time::Instant::now();
        nft.replace(&table).expect("a large table");
        start.elapsed()
    });
    assert!(took.as_secs() < 10, "took {took:?}");
}

#[test]
fn what_the_kernel_refuses_is_named() {
    let error = in_own_namespace(|| {
        let nft = Nft::open().expect("a socket");
        let mut table = table(&sample(1));
        if let Some(chain) = table.chains.get_mut("nat-in") {
            chain.rules.push(vec![Expr::In {
                set: "absent".to_owned(),
                key: Reg(0),
            }]);
        }
        let error = nft
            .replace(&table)
            .expect_err("a rule about a set that is not there");
        assert!(
            !nft.exists(TABLE).expect("asked"),
            "nothing of a refused transaction stays"
        );
        error
    });
    assert_eq!(
        error.to_string(),
        "cannot write packet filter rules: rule 3 of chain nat-in"
    );
}
