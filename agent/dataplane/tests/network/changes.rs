//! What changes under a host while its containers run, and what it makes of it.

use std::thread;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use skep_agent_dataplane::Error;

use super::cluster::Cluster;
use super::dns;
use super::lan::Lan;

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
