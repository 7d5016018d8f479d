//! Changes of the leader and of who answers, as people see them who watch at any manager.

mod support;

use skep_manager::Manager;
use skep_proto::pb;
use skep_proto::pb::control_server::Control as _;
use skep_types::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;
use support::Swarm;
use tokio_stream::StreamExt as _;

const SOON: Duration = Duration::from_secs(60);

/// Watches until the first manager neither leads nor answers and another one leads, and holds
/// that nothing is told twice.
async fn sees_the_change(manager: &Manager) {
    let request = pb::WatchRequest {
        since_ms: Some(0),
        until_ms: None,
    };
    let watched = manager.control().watch(tonic::Request::new(request)).await;
    let mut events = watched.unwrap().into_inner();
    let first = NodeId::from_bits(1).to_string();
    let mut is: BTreeMap<(String, &str), String> = BTreeMap::new();
    let over = |is: &BTreeMap<(String, &str), String>| {
        let first = |what, value| is.get(&(first.clone(), what)).is_some_and(|is| is == value);
        let leads = |((_, what), is): (&(String, &str), &String)| *what == "leader" && is == "true";
        first("leader", "false") && first("reachability", "unreachable") && is.iter().any(leads)
    };
    while !over(&is) {
        let event = tokio::time::timeout(SOON, events.next()).await;
        let event = event.unwrap_or_else(|_| panic!("no more than {is:?}"));
        let event = event.unwrap().unwrap();
        for what in ["leader", "reachability"] {
            let part = |part| event.attributes.get(&format!("{what}.{part}")).cloned();
            let Some((old, new)) = part("old").zip(part("new")) else {
                continue;
            };
            assert_eq!(event.kind, "node");
            assert_eq!(event.action, "update");
            assert!(event.at_ms > 0 && event.version > 0, "{event:?}");
            assert_ne!(old, new);
            let known = is.insert((event.id.clone(), what), new);
            assert!(known.is_none_or(|known| known == old), "twice: {event:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leads_and_who_answers_is_told_at_every_manager() {
    let swarm = Swarm::start().await;
    let second = swarm.add_manager().await;
    let third = swarm.add_manager().await;
    swarm.manager.stop().await;
    sees_the_change(&second.manager).await;
    sees_the_change(&third.manager).await;
}
