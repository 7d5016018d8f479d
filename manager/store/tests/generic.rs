//! What nodes have of kinds of their own.

mod support;

use skep_manager_store::{Action, Given, Placement, ServiceAction, Store, TaskAction};
use skep_types::{
    GenericResource, Generics, PortConfig, Protocol, PublishMode, TaskId, TaskState, TaskStatus,
};
use std::collections::BTreeMap;
use support::Fixture;

#[test]
fn what_has_a_name_is_given_to_one_task_at_a_time() {
    let mut swarm = Fixture::new();
    let id = swarm.service("ai");
    let place = |swarm: &mut Fixture, task: TaskId, kind: &str, name: &str| {
        let version = swarm.store.state().task(task).unwrap().meta.version;
        let names = GenericResource::Named([name.to_owned()].into());
        let placement = Placement {
            task,
            version,
            node: swarm.node,
            attachments: Vec::new(),
            generic: Generics::from([(kind.to_owned(), names)]),
        };
        let tasks = vec![placement];
        let place = Action::Task(TaskAction::Place { tasks });
        swarm.apply(&[place]).into_result()
    };
    let (one, two) = (swarm.waiting(id, 1), swarm.waiting(id, 2));
    let (three, four) = (swarm.waiting(id, 3), swarm.waiting(id, 4));
    place(&mut swarm, one, "gpu", "a").unwrap();
    let taken = place(&mut swarm, two, "gpu", "a").unwrap_err().to_string();
    assert!(
        taken.contains(&format!("gpu a is given to task {one}")),
        "{taken}"
    );
    place(&mut swarm, two, "gpu", "b").unwrap();
    place(&mut swarm, three, "fpga", "a").unwrap();
    // Free again once the task has ended.
    let status = TaskStatus {
        state: TaskState::Failed,
        ..TaskStatus::default()
    };
    swarm.must(Action::Task(TaskAction::UpdateStatus {
        updates: vec![(one, status)],
    }));
    place(&mut swarm, four, "gpu", "a").unwrap();
}

fn ended(swarm: &mut Fixture, task: TaskId) {
    let status = TaskStatus {
        state: TaskState::Complete,
        ..TaskStatus::default()
    };
    swarm.must(Action::Task(TaskAction::UpdateStatus {
        updates: vec![(task, status)],
    }));
}

/// What the node has given away, as `kind=number` and ports; the same after a restart.
fn given(swarm: &Fixture) -> String {
    let loaded = Store::load(swarm.store.state().dump());
    let given = swarm.store.state().given(swarm.node);
    assert_eq!(given, loaded.state().given(swarm.node));
    let given = given.cloned().unwrap_or_default();
    let amounts: BTreeMap<String, u64> = given.amounts();
    let amounts = amounts
        .iter()
        .map(|(kind, amount)| format!("{kind}={amount}"));
    let ports = given
        .ports()
        .map(|(protocol, port)| format!("{port}/{protocol}"));
    amounts.chain(ports).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_a_node_gives_away_is_summed_up_as_tasks_come_and_go() {
    let mut swarm = Fixture::new();
    let web = swarm.service("web");
    let publish = |swarm: &mut Fixture, published: &[u16]| {
        swarm.update(web, |spec| {
            let port = |published: &u16| PortConfig {
                protocol: Protocol::Tcp,
                target: 80,
                published: *published,
                mode: PublishMode::Host,
                masquerade: false,
            };
            spec.endpoint.ports = published.iter().map(port).collect();
        });
    };
    publish(&mut swarm, &[80]);
    assert_eq!(given(&swarm), "");
    let tasks = [swarm.waiting(web, 1), swarm.waiting(web, 2)];
    assert_eq!(given(&swarm), "", "they have no node");
    for (task, count) in tasks.into_iter().zip([1, 3]) {
        let placement = Placement {
            task,
            version: swarm.store.state().task(task).unwrap().meta.version,
            node: swarm.node,
            attachments: Vec::new(),
            generic: Generics::from([("gpu".to_owned(), GenericResource::Count(count))]),
        };
        let tasks = vec![placement];
        swarm.must(Action::Task(TaskAction::Place { tasks }));
    }
    assert_eq!(given(&swarm), "gpu=4 80/tcp");
    publish(&mut swarm, &[80, 443]);
    assert_eq!(given(&swarm), "gpu=4 80/tcp 443/tcp");
    ended(&mut swarm, tasks[0]);
    assert_eq!(given(&swarm), "gpu=3 80/tcp 443/tcp");
    publish(&mut swarm, &[443]);
    assert_eq!(given(&swarm), "gpu=3 443/tcp");
    swarm.must(Action::Service(ServiceAction::Remove { id: web }));
    assert_eq!(given(&swarm), "gpu=3", "no service says more of ports");
    ended(&mut swarm, tasks[1]);
    assert_eq!(swarm.store.state().given(swarm.node), None::<&Given>);
}
