//! Stacks: all of a change or nothing, what is kept of what was deployed, and networks that
//! are left.

mod support;

use proptest::prelude::*;
use skep_manager_store::{StackPart as Part, *};
use skep_types::*;
use std::sync::Arc;
use support::Fixture;

const SHOP: StackId = StackId::from_bits(500);

fn service(name: &str) -> Arc<StackService> {
    Arc::new(StackService {
        key: name.to_owned(),
        spec: ServiceSpec {
            name: name.to_owned(),
            ..ServiceSpec::default()
        },
        ..StackService::default()
    })
}

/// A stack of one service, told from others by its source and the volume that it declares.
fn spec(source: &str) -> StackSpec {
    StackSpec {
        name: "shop".to_owned(),
        services: vec![service("shop_web")],
        volumes: vec![StackVolume {
            name: source.to_owned(),
            ..StackVolume::default()
        }],
        source: source.into(),
        ..StackSpec::default()
    }
}

/// Deploys it as what was read last.
fn deploy(swarm: &Fixture, spec: StackSpec, parts: Vec<Part>) -> Action {
    let present = swarm.store.state().stack_named(&spec.name);
    Action::Stack(StackAction::Apply {
        id: present.map_or(SHOP, |stack| stack.id),
        version: present.map(|stack| stack.meta.version),
        spec: Arc::new(spec),
        returns_to: None,
        leaving: Vec::new(),
        parts,
    })
}

fn remove(swarm: &Fixture, parts: Vec<Part>) -> Action {
    let present = swarm.store.state().stack_named("shop");
    Action::Stack(StackAction::Remove {
        name: "shop".to_owned(),
        version: present.map(|stack| stack.meta.version),
        parts,
    })
}

fn shop(swarm: &Fixture) -> &Stack {
    swarm.store.state().stack_named("SHOP").unwrap()
}

fn create(swarm: &mut Fixture, name: &str) -> (ServiceId, Part) {
    let (id, spec) = (swarm.next_service(), swarm.spec(name));
    (id, Part::Service(ServiceAction::Create { id, spec }))
}

/// The service with another image.
fn update(swarm: &Fixture, id: ServiceId, image: &str) -> Part {
    let service = swarm.store.state().service(id).unwrap();
    let mut spec = service.spec.clone();
    Arc::make_mut(&mut spec.task).container.image = image.to_owned();
    Part::Service(ServiceAction::Update {
        id,
        version: service.meta.version,
        spec: Box::new(spec),
    })
}

/// The update of the service fails.
fn fails(swarm: &mut Fixture, web: ServiceId) {
    let service = swarm.store.state().service(web).unwrap();
    swarm.must(Action::Service(ServiceAction::SetUpdateStatus {
        id: web,
        version: service.meta.version,
        status: UpdateStatus {
            state: UpdateState::Paused,
            started_at: Timestamp(1),
            completed_at: None,
            message: "no".to_owned(),
            resumed_at: None,
        },
        outcome: Some(RevisionOutcome::Failed),
    }));
}

/// A swarm with a stack and its service.
fn swarm() -> (Fixture, ServiceId) {
    let mut swarm = Fixture::new();
    let (web, part) = create(&mut swarm, "shop_web");
    let action = deploy(&swarm, spec("one"), vec![part]);
    swarm.must(action);
    (swarm, web)
}

#[test]
fn a_deploy_is_told_and_comes_back_from_a_dump() {
    let mut swarm = Fixture::new();
    let (web, part) = create(&mut swarm, "shop_web");
    let action = deploy(&swarm, spec("one"), vec![part]);
    let applied = swarm.apply(&[action]);
    let told: Vec<_> = applied
        .events
        .iter()
        .map(|e| (e.object.kind(), e.action.name(), e.name.as_str()))
        .collect();
    let expected = [
        ("service", "create", "shop_web"),
        ("stack", "create", "shop"),
    ];
    assert_eq!(told, expected);
    let part = update(&swarm, web, "two");
    let action = deploy(&swarm, spec("two"), vec![part]);
    let applied = swarm.apply(&[action]);
    let attributes = &applied.events.last().unwrap().attributes;
    let numbers = [
        ("revision.old", "1".to_owned()),
        ("revision.new", "2".to_owned()),
    ];
    assert_eq!(*attributes, numbers);
    let dump = swarm.store.state().dump();
    let loaded = Store::load(dump.clone());
    assert_eq!(loaded.state().dump(), dump);
    let stack = loaded.state().stack_named("Shop").unwrap();
    assert_eq!(**stack, *shop(&swarm));
    assert_eq!(stack.services.get(&web), Some(&2));
    // What is the same in both revisions is there once.
    let [before, now] = [&stack.past[0].spec, &stack.spec];
    assert!(Arc::ptr_eq(&before.services[0], &now.services[0]));
    assert_eq!(dump.changed_at(), stack.meta.updated_at);
}

#[test]
fn one_refused_part_undoes_all() {
    let (mut swarm, web) = swarm();
    let (_, api) = create(&mut swarm, "shop_api");
    let (_, taken) = create(&mut swarm, "shop_web");
    let parts = vec![update(&swarm, web, "two"), api, taken];
    let action = deploy(&swarm, spec("two"), parts);
    let refused = swarm.refused(action);
    assert_eq!(
        refused.to_string(),
        "name conflicts with an existing object: service shop_web already exists; nothing of \
         stack shop was changed"
    );
    // It was good when it was planned, if it was tried out.
    assert!(refused.is_stale());
    let state = swarm.store.state();
    assert!(state.service_named("shop_api").is_none());
    assert_eq!(
        state.service(web).unwrap().spec.task.container.image,
        "image"
    );
    assert_eq!(shop(&swarm).revision.number, 1);
}

#[test]
fn what_was_planned_on_an_older_state_is_stale() {
    let (mut swarm, web) = swarm();
    let (first, second) = (
        deploy(&swarm, spec("two"), vec![]),
        deploy(&swarm, spec("three"), vec![]),
    );
    let part = update(&swarm, web, "two");
    let last = deploy(&swarm, spec("four"), vec![part]);
    swarm.must(first);
    let refused = swarm.refused(second);
    assert!(refused.is_stale(), "{refused}");
    assert_eq!(&*shop(&swarm).spec.source, "two");
    // A part, too.
    swarm.image(web, "other");
    let Action::Stack(StackAction::Apply { spec, parts, .. }) = last else {
        panic!("a deploy");
    };
    let action = deploy(&swarm, StackSpec::clone(&spec), parts);
    let refused = swarm.refused(action);
    assert!(refused.is_stale(), "{refused}");
    assert!(matches!(refused, Refused::Part { .. }));
    // Made or removed by somebody else meanwhile.
    let late = deploy(&swarm, spec_named("shop"), vec![]);
    let removal = remove(
        &swarm,
        vec![Part::Service(ServiceAction::Remove { id: web })],
    );
    let blind = deploy(&Fixture::new(), spec_named("shop"), vec![]);
    assert!(swarm.refused(blind.clone()).is_stale());
    swarm.must(removal);
    assert!(swarm.refused(late).is_stale());
    swarm.must(blind.clone());
    assert!(swarm.refused(blind).is_stale());
    let other = deploy(&swarm, spec_named("SHOP"), vec![]);
    let refused = swarm.refused(other);
    assert!(matches!(refused, Refused::NameTaken { .. }), "{refused}");
}

fn spec_named(name: &str) -> StackSpec {
    StackSpec {
        name: name.to_owned(),
        ..StackSpec::default()
    }
}

#[test]
fn the_same_again_is_no_revision() {
    let (mut swarm, web) = swarm();
    let version = shop(&swarm).meta.version;
    let action = deploy(&swarm, spec("one"), vec![]);
    assert!(swarm.apply(&[action]).events.is_empty());
    assert_eq!(shop(&swarm).meta.version, version);
    // A service that somebody changed by hand is deployed anew.
    swarm.image(web, "by-hand");
    let part = update(&swarm, web, "image");
    let action = deploy(&swarm, spec("one"), vec![part]);
    swarm.must(action);
    let stack = shop(&swarm);
    assert_eq!((stack.revision.number, stack.past.len()), (1, 0));
    assert_eq!(stack.services.get(&web), Some(&3));
    assert!(stack.meta.version > version);
}

#[test]
fn revisions_are_kept_with_what_came_of_them_and_the_way_back_stays() {
    let (mut swarm, web) = swarm();
    for number in 2..=15 {
        let part = update(&swarm, web, &format!("image-{number}"));
        let action = deploy(&swarm, spec(&number.to_string()), vec![part]);
        swarm.must(action);
        // Each fails.
        fails(&mut swarm, web);
    }
    let stack = shop(&swarm);
    let kept: Vec<_> = stack.past.iter().map(|past| past.revision.number).collect();
    assert_eq!(kept, [1, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    let outcome = |number| stack.past_revision(number).unwrap().revision.outcome;
    assert_eq!(outcome(1), Some(RevisionOutcome::Completed));
    assert_eq!(outcome(14), Some(RevisionOutcome::Failed));
    assert_eq!(stack.revision.outcome, None);
    let before = stack.before().map(|past| past.revision.number);
    assert_eq!(before, Some(1));

    // Going back is a revision of its own. The service went on by itself meanwhile: what
    // came of the one before is told by its revision of then.
    swarm.image(web, "by-hand");
    let stack = shop(&swarm);
    let action = Action::Stack(StackAction::Apply {
        id: SHOP,
        version: Some(stack.meta.version),
        spec: Arc::clone(&stack.past[0].spec),
        returns_to: Some(1),
        leaving: Vec::new(),
        parts: vec![update(&swarm, web, "image")],
    });
    swarm.must(action);
    let stack = shop(&swarm);
    assert_eq!(
        (stack.revision.number, stack.revision.returns_to),
        (16, Some(1))
    );
    let last = stack.past.last().unwrap().revision;
    assert_eq!(
        (last.number, last.outcome),
        (15, Some(RevisionOutcome::Failed))
    );
}

fn with_secret(source: &str, content: Content<SecretId>) -> StackSpec {
    StackSpec {
        secrets: vec![StackData {
            key: "key".to_owned(),
            name: "shop_key".to_owned(),
            labels: Labels::new(),
            template: false,
            content,
        }],
        ..spec(source)
    }
}

fn secret(content: &str) -> Box<SecretSpec> {
    Box::new(SecretSpec {
        name: "shop_key".to_owned(),
        data: content.as_bytes().into(),
        ..SecretSpec::default()
    })
}

#[test]
fn contents_stay_as_long_as_a_revision_names_them() {
    let (mut swarm, web) = swarm();
    let [first, second] = [70, 71].map(SecretId::from_bits);
    let made = Part::Secret(SecretAction::Create {
        id: first,
        spec: secret("hush"),
    });
    let kept = with_secret("two", Content::Kept(first));
    let action = deploy(&swarm, kept.clone(), vec![]);
    let refused = swarm.refused(action);
    let gone = Refused::NotFound(skep_manager_store::ObjectId::Secret(first));
    assert!(refused.to_string().contains(&gone.to_string()), "{refused}");
    assert!(
        refused.is_stale(),
        "somebody removed it meanwhile: {refused}"
    );
    let given = with_secret("two", Content::Given(b"hush".as_slice().into()));
    let action = deploy(&swarm, given, vec![made.clone()]);
    let refused = swarm.refused(action);
    assert!(matches!(refused, Refused::BringsContent(_)), "{refused}");
    let action = deploy(&swarm, kept, vec![made]);
    swarm.must(action);

    let version = swarm.store.state().secret(first).unwrap().meta.version;
    let rotate = Part::Secret(SecretAction::Rotate {
        id: first,
        version,
        new_id: second,
        spec: secret("hush-two"),
        rollout: false,
    });
    let kept = with_secret("three", Content::Kept(second));
    let action = deploy(&swarm, kept, vec![rotate]);
    swarm.must(action);
    // No service refers to either.
    assert!(swarm.store.state().unused_secrets().is_empty());
    let collect = Action::Secret(SecretAction::Collect { id: first });
    let refused = swarm.refused(collect);
    assert!(matches!(refused, Refused::StillNeeded { .. }), "{refused}");
    let loaded = Store::load(swarm.store.state().dump());
    assert!(loaded.state().unused_secrets().is_empty());

    let parts = vec![
        Part::Service(ServiceAction::Remove { id: web }),
        Part::Secret(SecretAction::Remove { id: second }),
    ];
    let action = remove(&swarm, parts);
    let applied = swarm.apply(&[action]);
    let last = applied.events.last().unwrap();
    assert_eq!(
        (last.object, last.action),
        (ObjectId::Stack(SHOP), EventAction::Remove)
    );
    let state = swarm.store.state();
    assert_eq!((state.secrets().count(), state.stacks().count()), (0, 0));
    assert!(state.stack_named("shop").is_none());
}

#[test]
fn a_stack_goes_with_its_networks_while_its_tasks_still_run() {
    let (mut swarm, web) = swarm();
    let network = swarm.network("shop_front", "10.1.0.0/24");
    let [task] = swarm.on(web, network, ["10.1.0.17"]);
    let parts = |service| {
        vec![
            Part::Service(ServiceAction::Remove { id: service }),
            Part::Network(NetworkAction::Remove { id: network }),
        ]
    };
    // Not while a task of a service that stays is on it.
    let other = swarm.service("other");
    let removal = remove(&swarm, parts(other));
    let refused = swarm.refused(removal);
    assert!(
        refused
            .to_string()
            .starts_with(&format!("network shop_front is in use by task {task}"))
    );
    assert!(swarm.store.state().service(other).is_some());
    let removal = remove(&swarm, parts(web));
    swarm.must(removal);
    let state = swarm.store.state();
    assert!(state.task(task).unwrap().is_live());
    assert_eq!(
        (state.networks().count(), swarm.leaving()),
        (0, vec![network])
    );
}

#[test]
fn the_way_back_is_to_something_else_whichever_generation_holds_it() {
    let (mut swarm, web) = swarm();
    let generations = [1, 2, 3].map(SecretId::from_bits);
    let spec_of = |content: &str| {
        Box::new(SecretSpec {
            name: "shop_key".to_owned(),
            data: content.as_bytes().into(),
            ..SecretSpec::default()
        })
    };
    let made = Action::Secret(SecretAction::Create {
        id: generations[0],
        spec: spec_of("good"),
    });
    swarm.must(made);
    let with = |id, source: &str| StackSpec {
        secrets: vec![StackData {
            key: "key".to_owned(),
            name: "shop_key".to_owned(),
            labels: Labels::new(),
            template: false,
            content: Content::Kept(id),
        }],
        source: source.into(),
        ..spec("one")
    };
    let rotate = |swarm: &Fixture, from: usize, content| {
        let present = swarm.store.state().secret(generations[from]).unwrap();
        Action::Secret(SecretAction::Rotate {
            id: present.id,
            version: present.meta.version,
            new_id: generations[from + 1],
            spec: spec_of(content),
            rollout: false,
        })
    };
    let deployed = |swarm: &mut Fixture, generation: usize, source: &str| {
        let action = deploy(swarm, with(generations[generation], source), vec![]);
        swarm.must(action);
    };
    deployed(&mut swarm, 0, "2");
    let action = rotate(&swarm, 0, "bad");
    swarm.must(action);
    let part = update(&swarm, web, "bad");
    let action = deploy(&swarm, with(generations[1], "3"), vec![part]);
    swarm.must(action);
    fails(&mut swarm, web);
    // Back to revision 2, as another generation, and written otherwise.
    let action = rotate(&swarm, 1, "good");
    swarm.must(action);
    deployed(&mut swarm, 2, "4");
    let stack = shop(&swarm);
    assert_eq!(
        stack.past.last().unwrap().revision.outcome,
        Some(RevisionOutcome::Failed)
    );
    let stack = swarm.store.state().contents().of(stack);
    assert_eq!(stack.before().unwrap().revision.number, 1);
    let kept = |spec: &StackSpec| spec.secrets[0].kept();
    assert_eq!(kept(&stack.past[1].spec), Some(generations[2]));
    assert_eq!(kept(&stack.past[2].spec), Some(generations[1]));
    assert_eq!(kept(&stack.spec), Some(generations[2]));
}

#[test]
fn a_network_that_is_left_goes_when_it_is_free_or_stays_when_it_is_wanted_again() {
    let (mut swarm, web) = swarm();
    let network = swarm.network("shop_front", "10.1.0.0/24");
    let [task] = swarm.on(web, network, ["10.1.0.17"]);
    let leave = |swarm: &Fixture, source: &str, networks| {
        Action::Stack(StackAction::Apply {
            id: SHOP,
            version: Some(shop(swarm).meta.version),
            spec: Arc::new(StackSpec {
                networks,
                ..spec(source)
            }),
            returns_to: None,
            leaving: vec![network, NetworkId::from_bits(9)],
            parts: Vec::new(),
        })
    };
    let action = leave(&swarm, "without", Vec::new());
    swarm.must(action);
    assert_eq!(shop(&swarm).leaving, [network]);
    assert!(swarm.store.state().networks_left().is_empty());
    swarm.stop(task);
    let loaded = Store::load(swarm.store.state().dump());
    for state in [swarm.store.state(), loaded.state()] {
        assert_eq!(
            state.networks_left().into_iter().collect::<Vec<_>>(),
            [network]
        );
    }
    // Wanted again.
    let front = StackNetwork {
        name: "shop_front".to_owned(),
        ..StackNetwork::default()
    };
    let action = leave(&swarm, "with", vec![front]);
    swarm.must(action);
    assert_eq!(shop(&swarm).leaving, []);
    // Removed with the stack, or by somebody else.
    let action = leave(&swarm, "without", Vec::new());
    swarm.must(action);
    let removal = remove(
        &swarm,
        vec![Part::Service(ServiceAction::Remove { id: web })],
    );
    let mut beside = Store::over(swarm.store.snapshot());
    let applied = beside.apply(Version(900), Timestamp(1), std::slice::from_ref(&removal));
    assert_eq!(applied.into_result(), Ok(()));
    assert_eq!(beside.state().networks().count(), 0);
    swarm.must(Action::Network(NetworkAction::Remove { id: network }));
    assert!(swarm.store.state().networks_left().is_empty());
    swarm.must(removal);
    assert_eq!(swarm.store.state().stacks().count(), 0);
}

/// A part, good or not as it happens.
fn part(kind: u8, number: u8) -> Part {
    let name = format!("o{}", number % 4);
    let bits = u128::from(number % 8) + 900;
    match kind % 6 {
        0 => Part::Service(ServiceAction::Create {
            id: ServiceId::from_bits(bits),
            spec: Box::new(ServiceSpec {
                name,
                ..ServiceSpec::default()
            }),
        }),
        1 => Part::Service(ServiceAction::Remove {
            id: ServiceId::from_bits(bits),
        }),
        2 => Part::Network(NetworkAction::Create {
            id: NetworkId::from_bits(bits),
            spec: Box::new(NetworkSpec {
                name,
                subnets: vec![ipnet::Ipv4Net::new_assert(
                    [10, 1, number % 3, 0].into(),
                    24,
                )],
                ..NetworkSpec::default()
            }),
        }),
        3 => Part::Network(NetworkAction::Remove {
            id: NetworkId::from_bits(bits),
        }),
        4 => Part::Secret(SecretAction::Create {
            id: SecretId::from_bits(bits),
            spec: Box::new(SecretSpec {
                name,
                data: vec![number].into(),
                ..SecretSpec::default()
            }),
        }),
        _ => Part::Config(ConfigAction::Remove {
            id: ConfigId::from_bits(bits),
        }),
    }
}

fn alone(part: &Part) -> Action {
    match part.clone() {
        Part::Service(action) => Action::Service(action),
        Part::Network(action) => Action::Network(action),
        Part::Secret(action) => Action::Secret(action),
        Part::Config(action) => Action::Config(action),
    }
}

proptest! {
    /// A deploy does what its parts do, or nothing at all: neither to objects nor to what is
    /// derived of them.
    #[test]
    fn all_or_nothing(deploys in prop::collection::vec(
        prop::collection::vec((0..6_u8, 0..16_u8), 0..5), 1..12,
    )) {
        let mut swarm = Fixture::new();
        for (number, parts) in deploys.into_iter().enumerate() {
            let parts: Vec<Part> = parts.into_iter().map(|(kind, n)| part(kind, n)).collect();
            let (index, now) = (Version(100 + number as u64), Timestamp(number as u64));
            let mut beside = Store::over(swarm.store.snapshot());
            let each: Vec<Action> = parts.iter().map(alone).collect();
            let applied = beside.apply(index, now, &each);
            let is_good = applied.results.iter().all(Result::is_ok);
            if !is_good {
                beside = Store::over(swarm.store.snapshot());
                beside.apply(index, now, &[]);
            }
            let action = deploy(&swarm, spec(&number.to_string()), parts);
            let done = swarm.store.apply(index, now, &[action]);
            prop_assert_eq!(done.results[0].is_ok(), is_good);
            if is_good {
                prop_assert_eq!(&done.events[..applied.events.len()], &applied.events[..]);
                let stacks = swarm.store.state().dump().stacks;
                let with = Dump { stacks, ..beside.state().dump() };
                prop_assert_eq!(swarm.store.state().dump(), with);
            } else {
                prop_assert!(done.events.is_empty());
                let [found, expected] = [&swarm.store, &beside].map(|s| format!("{s:?}"));
                prop_assert_eq!(found, expected);
            }
        }
    }
}
