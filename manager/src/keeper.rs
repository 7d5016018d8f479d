//! Keeps the Raft group and the roles of nodes at what users asked for:
//! members come and go, roles follow. Once all of them read a newer format of
//! what they keep, it is written.

use crate::error::ProposeError;
use crate::shared::Shared;
use skep_manager_raft::Member;
use skep_manager_store::format::NEWEST;
use skep_manager_store::{Action, ClusterAction, NodeAction, Snapshot};
use skep_types::{Format, ManagerStatus, Node, NodeId, Role};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A step that failed is tried again after this long: a new member may not listen
/// yet. The pause doubles while nothing succeeds: it may be out of reach for long.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The next thing to do.
#[derive(Debug, PartialEq)]
enum Step {
    /// A change of the members ends that the last leader began.
    Finish,
    /// The node may have a manager's certificate.
    Promote(NodeId),
    /// The member catches up, then votes.
    Add(u64, String),
    /// The member lives somewhere else now.
    Move(u64, String),
    /// The member goes; then its node is a worker.
    Remove(u64),
    /// This manager leads and has to go: another one has to lead first.
    HandOver,
    /// The node is a worker.
    Demote(NodeId),
    /// Every manager reads this.
    Raise(Format),
}

/// Works until it is dropped. Run by the leader only.
pub(crate) async fn run(shared: Shared) {
    let mut changes = shared.state.changes();
    let mut unsuccessful = Vec::new();
    let (mut pause, mut retry_at) = (RETRY_MIN, Instant::now());
    loop {
        changes.borrow_and_update();
        let begun = shared.raft.is_changing().then_some(Step::Finish);
        let steps = steps(
            &shared.state.snapshot(),
            &shared.raft.members(),
            shared.node,
        );
        let mut steps = begun.into_iter().chain(steps);
        let next = steps.find(|step| !unsuccessful.contains(step));
        if let Some(step) = next {
            tracing::info!(?step, "membership");
            if let Err(error) = take(&shared, &step).await {
                tracing::warn!(?step, %error, "membership step did not succeed");
                if unsuccessful.is_empty() {
                    retry_at = Instant::now() + pause;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                unsuccessful.push(step);
            } else {
                pause = RETRY_MIN;
            }
            continue;
        }
        let retry = async {
            if unsuccessful.is_empty() {
                std::future::pending().await
            } else {
                tokio::time::sleep_until(retry_at).await;
            }
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            // Whatever stood in the way may be gone by now.
            () = retry => unsuccessful.clear(),
        }
    }
}

/// What is left to do, most urgent first.
fn steps(snapshot: &Snapshot, members: &[Member], this: NodeId) -> Vec<Step> {
    let members: BTreeMap<u64, &Member> = members.iter().map(|m| (m.id, m)).collect();
    let mut steps = Vec::new();
    let mut known = BTreeMap::new();
    for node in snapshot.nodes() {
        let Node {
            id,
            spec,
            role,
            manager,
            ..
        } = node.as_ref();
        if let Some(ManagerStatus {
            raft_id, address, ..
        }) = manager
        {
            known.insert(*raft_id, *id);
            match (spec.role, members.get(raft_id)) {
                (Role::Manager, None) => steps.push(Step::Add(*raft_id, address.clone())),
                // The leader that let it in was lost before it had a vote.
                (Role::Manager, Some(member)) if !member.voter => {
                    steps.push(Step::Add(*raft_id, address.clone()));
                }
                (Role::Manager, Some(member)) if member.address != *address => {
                    steps.push(Step::Move(*raft_id, address.clone()));
                }
                (Role::Manager, Some(_)) => {}
                (Role::Worker, Some(_)) if *id == this => steps.push(Step::HandOver),
                (Role::Worker, Some(_)) => steps.push(Step::Remove(*raft_id)),
                (Role::Worker, None) => steps.push(Step::Demote(*id)),
            }
        } else if spec.role == Role::Manager && *role == Role::Worker {
            steps.push(Step::Promote(*id));
        } else if spec.role == Role::Worker && *role == Role::Manager {
            steps.push(Step::Demote(*id));
        }
    }
    for id in members.keys() {
        if !known.contains_key(id) {
            steps.push(Step::Remove(*id));
        }
    }
    // A manager counts as soon as it asked for a seat, and while it is away.
    let reads = snapshot.nodes().filter_map(|node| node.manager.as_ref());
    if let (Some(cluster), Some(all)) = (snapshot.cluster(), reads.map(|m| m.format).min())
        && all.min(NEWEST) > cluster.format
    {
        steps.push(Step::Raise(all.min(NEWEST)));
    }
    // One that does not catch up holds up for a minute what comes after it.
    steps.sort_by_key(|step| matches!(step, Step::Add(..)));
    steps
}

fn applied(proposed: Result<usize, ProposeError>) -> Result<(), String> {
    match proposed {
        Ok(0) => Err("the store refused it".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

async fn take(shared: &Shared, step: &Step) -> Result<(), String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    match step {
        Step::Finish => shared.raft.finish_change().await.map_err(|e| say(&e)),
        Step::Promote(id) => {
            let action = NodeAction::SetRole {
                id: *id,
                role: Role::Manager,
            };
            applied(shared.propose_all(&[Action::Node(action)]).await)
        }
        Step::Add(id, address) => shared
            .raft
            .add_member(*id, address)
            .await
            .map_err(|e| say(&e)),
        Step::Move(id, address) => shared
            .raft
            .update_address(*id, address)
            .await
            .map_err(|e| say(&e)),
        Step::Remove(id) => shared.raft.remove_member(*id).await.map_err(|e| say(&e)),
        Step::HandOver => shared
            .raft
            .transfer_leadership()
            .await
            .map(|_| ())
            .map_err(|e| say(&e)),
        Step::Raise(format) => {
            let action = ClusterAction::RaiseFormat { format: *format };
            applied(shared.propose_all(&[Action::Cluster(action)]).await)
        }
        Step::Demote(id) => {
            let actions = [
                Action::Node(NodeAction::SetManager {
                    id: *id,
                    manager: None,
                }),
                Action::Node(NodeAction::SetRole {
                    id: *id,
                    role: Role::Worker,
                }),
            ];
            applied(shared.propose_all(&actions).await)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use skep_manager_store::Store;
    use skep_types::{
        Cluster, ClusterId, ClusterSpec, JoinSecrets, Meta, NodeDescription, NodeSpec, NodeStatus,
        RootCa, Timestamp, Version,
    };

    const THIS: NodeId = NodeId::from_bits(1);

    fn node(bits: u128, wanted: Role, role: Role) -> Action {
        Action::Node(NodeAction::Create(Box::new(Node {
            id: NodeId::from_bits(bits),
            meta: Meta::default(),
            spec: NodeSpec {
                role: wanted,
                ..NodeSpec::default()
            },
            description: NodeDescription::default(),
            status: NodeStatus::default(),
            role,
            role_since: Default::default(),
            drain_since: None,
            manager: None,
            mesh: None,
        })))
    }

    fn manager(bits: u128, raft_id: u64) -> Action {
        let address = format!("10.0.0.{bits}:2377");
        Action::Node(NodeAction::SetManager {
            id: NodeId::from_bits(bits),
            manager: Some(ManagerStatus {
                raft_id,
                address,
                format: NEWEST,
            }),
        })
    }

    fn cluster() -> Action {
        Action::Cluster(ClusterAction::Create(Box::new(Cluster {
            id: ClusterId::from_bits(9),
            meta: Meta::default(),
            spec: ClusterSpec::default(),
            root_ca: RootCa::new(String::new(), String::new()),
            join_secrets: JoinSecrets {
                worker: String::new(),
                manager: String::new(),
            },
            blocked: BTreeMap::new(),
            certificates_until: Default::default(),
            last_raft_id: 0,
            format: NEWEST,
            unlock_key: None,
            clients: BTreeMap::new(),
        })))
    }

    fn check(actions: Vec<Action>, members: &[(u64, &str)], expected: &[Step]) {
        let mut store = Store::new();
        let actions: Vec<Action> = std::iter::once(cluster()).chain(actions).collect();
        let applied = store.apply(Version(1), Timestamp(1), &actions);
        applied.into_result().unwrap();
        let member = |(id, address): &(u64, &str)| Member {
            id: *id,
            address: address.trim_start_matches("learner ").to_owned(),
            voter: !address.starts_with("learner "),
        };
        let members: Vec<Member> = members.iter().map(member).collect();
        assert_eq!(steps(&store.snapshot(), &members, THIS), expected);
    }

    #[test]
    fn a_group_that_is_as_wanted_is_left_alone() {
        let nodes = vec![
            node(1, Role::Manager, Role::Manager),
            manager(1, 1),
            node(2, Role::Worker, Role::Worker),
        ];
        check(nodes, &[(1, "10.0.0.1:2377")], &[]);
    }

    #[test]
    fn a_promoted_worker_first_gets_the_role_and_then_a_seat() {
        let first = vec![
            node(1, Role::Manager, Role::Manager),
            manager(1, 1),
            node(2, Role::Manager, Role::Worker),
        ];
        check(
            first,
            &[(1, "10.0.0.1:2377")],
            &[Step::Promote(NodeId::from_bits(2))],
        );
        let then = vec![
            node(1, Role::Manager, Role::Manager),
            manager(1, 1),
            node(2, Role::Manager, Role::Manager),
            manager(2, 2),
        ];
        let seat = [Step::Add(2, "10.0.0.2:2377".to_owned())];
        check(then.clone(), &[(1, "10.0.0.1:2377")], &seat);
        let halfway = [(1, "10.0.0.1:2377"), (2, "learner 10.0.0.2:2377")];
        check(then.clone(), &halfway, &seat);
        let seated = [(1, "10.0.0.1:2377"), (2, "10.0.0.2:2377")];
        check(then, &seated, &[]);
    }

    #[test]
    fn a_demoted_manager_loses_its_seat_before_its_role() {
        let nodes = || {
            vec![
                node(1, Role::Manager, Role::Manager),
                manager(1, 1),
                node(2, Role::Worker, Role::Manager),
                manager(2, 2),
            ]
        };
        let both = [(1, "10.0.0.1:2377"), (2, "10.0.0.2:2377")];
        check(nodes(), &both, &[Step::Remove(2)]);
        check(nodes(), &both[..1], &[Step::Demote(NodeId::from_bits(2))]);
    }

    #[test]
    fn a_leader_that_is_demoted_lets_another_lead_first() {
        let nodes = vec![node(1, Role::Worker, Role::Manager), manager(1, 1)];
        check(nodes, &[(1, "10.0.0.1:2377")], &[Step::HandOver]);
    }

    #[test]
    fn a_format_is_raised_once_every_manager_reads_it() {
        let swarm = |reads: [u32; 2]| {
            let mut store = Store::new();
            let mut cluster = testing::swarm();
            cluster.format = Format(0);
            let mut actions = vec![Action::Cluster(ClusterAction::Create(Box::new(cluster)))];
            for (bits, reads) in (1..).zip(reads) {
                actions.push(node(bits, Role::Manager, Role::Manager));
                let address = format!("10.0.0.{bits}:2377");
                actions.push(Action::Node(NodeAction::SetManager {
                    id: NodeId::from_bits(bits),
                    manager: Some(ManagerStatus {
                        raft_id: bits as u64,
                        address,
                        format: Format(reads),
                    }),
                }));
            }
            let applied = store.apply(Version(1), Timestamp(1), &actions);
            applied.into_result().unwrap();
            let member = |id| Member {
                id,
                address: format!("10.0.0.{id}:2377"),
                voter: true,
            };
            // The second one need not be heard of to count.
            let steps = steps(&store.snapshot(), &[member(1), member(2)], THIS);
            steps.into_iter().next()
        };
        assert_eq!(swarm([NEWEST.0, 0]), None);
        assert_eq!(swarm([NEWEST.0; 2]), Some(Step::Raise(NEWEST)));
        // No further than what this build knows.
        assert_eq!(swarm([NEWEST.0 + 5; 2]), Some(Step::Raise(NEWEST)));
    }

    #[test]
    fn who_goes_does_not_wait_for_who_comes() {
        let nodes = vec![
            node(1, Role::Manager, Role::Manager),
            manager(1, 1),
            node(2, Role::Manager, Role::Manager),
            manager(2, 2),
            node(3, Role::Worker, Role::Manager),
            manager(3, 3),
        ];
        let members = [(1, "10.0.0.1:2377"), (3, "10.0.0.3:2377")];
        let add = Step::Add(2, "10.0.0.2:2377".to_owned());
        check(nodes, &members, &[Step::Remove(3), add]);
    }

    #[test]
    fn a_member_without_a_node_goes_and_one_that_moved_is_followed() {
        let nodes = vec![node(1, Role::Manager, Role::Manager), manager(1, 1)];
        let members = [(1, "10.0.0.77:2377"), (5, "10.0.0.5:2377")];
        let expected = [Step::Move(1, "10.0.0.1:2377".to_owned()), Step::Remove(5)];
        check(nodes, &members, &expected);
    }
}
