//! Nodes that are drained or silent, as the store keeps them.

mod support;

use skep_manager_store::*;
use skep_types::*;
use std::time::Duration;
use support::Fixture;

fn set(swarm: &mut Fixture, availability: Availability) {
    let node = swarm.store.state().node(swarm.node).unwrap();
    let action = NodeAction::Update {
        id: node.id,
        version: node.meta.version,
        spec: NodeSpec {
            availability,
            drain_deadline: Some(Duration::from_secs(60)),
            ..node.spec.clone()
        },
    };
    swarm.must(Action::Node(action));
}

#[test]
fn the_time_of_a_drain_is_that_of_its_beginning() {
    let mut swarm = Fixture::new();
    let until = |swarm: &Fixture| swarm.store.state().node(swarm.node).unwrap().drained_by();
    assert_eq!(until(&swarm), None);
    set(&mut swarm, Availability::Drain);
    let began = swarm.now();
    set(&mut swarm, Availability::Drain);
    assert_eq!(until(&swarm), Some(began + Duration::from_secs(60)));
    set(&mut swarm, Availability::Pause);
    assert_eq!(until(&swarm), None);
    set(&mut swarm, Availability::Drain);
    assert_eq!(until(&swarm), Some(swarm.now() + Duration::from_secs(60)));
}

#[test]
fn a_slot_gets_a_second_task_only_beside_one_that_has_to_leave_its_node() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    swarm.task(id, 1);
    let early = second(&swarm, id, 71, Cause::Drained);
    assert!(swarm.refused(early).is_stale());
    set(&mut swarm, Availability::Drain);
    let first = second(&swarm, id, 72, Cause::Drained);
    swarm.must(first);
    // The same plan once more.
    let twice = second(&swarm, id, 73, Cause::Drained);
    assert!(swarm.refused(twice).is_stale());
}

#[test]
fn a_slot_gets_a_second_task_beside_one_whose_node_is_silent() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    swarm.task(id, 1);
    let node = swarm.store.state().node(swarm.node).unwrap();
    let down = NodeAction::SetStatus {
        id: node.id,
        version: node.meta.version,
        status: NodeStatus {
            state: NodeState::Down,
            ..node.status.clone()
        },
    };
    let early = second(&swarm, id, 71, Cause::NodeLost);
    assert!(swarm.refused(early).is_stale());
    swarm.must(Action::Node(down));
    let first = second(&swarm, id, 72, Cause::NodeLost);
    swarm.must(first);
    let twice = second(&swarm, id, 73, Cause::NodeLost);
    assert!(swarm.refused(twice).is_stale());
}

/// Another task in slot 1.
fn second(swarm: &Fixture, service: ServiceId, number: u128, cause: Cause) -> Action {
    let service = swarm.store.state().service(service).unwrap();
    let task = NewTask {
        run: 0,
        generic: Default::default(),
        id: TaskId::from_bits(number),
        slot: Slot(1),
        desired: TaskState::Running,
        node: None,
        attachments: Vec::new(),
        error: String::new(),
        cause,
        restarts: Restarts::default(),
        start_at: None,
    };
    Action::Task(TaskAction::Create {
        service: service.id,
        version: service.meta.version,
        spec_version: service.spec_version,
        tasks: vec![task],
    })
}

#[test]
fn a_drain_takes_a_month_at_most() {
    let day = Duration::from_secs(24 * 60 * 60);
    let spec = |days| NodeSpec {
        drain_deadline: Some(day * days),
        ..NodeSpec::default()
    };
    assert!(validate::validate_node(&spec(30)).is_ok());
    assert!(validate::validate_node(&spec(31)).is_err());
}
