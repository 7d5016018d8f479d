//! What changes under a host while its containers run, and what it makes of it.

use std::thread;
use std::time::Duration;

use skep_agent_dataplane::Error;

use super::cluster::Cluster;
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
