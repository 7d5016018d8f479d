//! Changes of stacks that users ask for: worked out here, on what the leader has.

use super::{fresh, known, required};
use crate::rpc::status;
use bytes::Bytes;
use prost::Message;
use skep_manager_planner::IdSource;
use skep_manager_planner::deploy::{DeployOptions, Fault, deploy, remove};
use skep_manager_store::{Action, Snapshot, StackAction, validate};
use skep_proto::{id_bytes, pb};
use skep_types::{Stack, StackSpec, Timestamp, Version};
use tonic::Status;

type Asked = Result<(Bytes, Action), Status>;

pub(super) fn apply(snapshot: &Snapshot, now: Timestamp, asked: pb::ApplyStack) -> Asked {
    let pb::ApplyStack {
        spec,
        version,
        prune,
        reset_scale,
    } = asked;
    let spec = required(spec, "apply_stack.spec")?;
    let bytes = spec.encoded_len();
    let spec: StackSpec = spec.try_into().map_err(status::invalid)?;
    let checked = validate::validate_stack(&spec, bytes);
    checked.map_err(|invalid| Status::invalid_argument(invalid.to_string()))?;
    as_read(
        snapshot.stack_named(&spec.name).map(AsRef::as_ref),
        &spec.name,
        version,
    )?;
    let how = DeployOptions {
        prune,
        reset_scale,
        returns_to: None,
    };
    planned(snapshot, now, &spec, how)
}

/// All that it was then, and nothing else; services keep their number of tasks.
pub(super) fn roll_back(snapshot: &Snapshot, now: Timestamp, asked: pb::RollbackStack) -> Asked {
    let pb::RollbackStack {
        name,
        version,
        revision,
    } = asked;
    let present = known(snapshot.stack_named(&name), "stack", &name)?;
    as_read(Some(present), &name, version)?;
    let number = revision.or_else(|| {
        let present = snapshot.contents().of(present);
        Some(present.before()?.revision.number)
    });
    let past = number.and_then(|number| present.past_revision(number));
    let past = past.ok_or_else(|| {
        Status::failed_precondition(match revision {
            Some(number) => format!(
                "stack {name} has no revision {number} to go back to; skep keeps the last ten"
            ),
            None => format!(
                "stack {name} has no earlier revision to go back to: none that did not fail is \
                 another than what it is now"
            ),
        })
    })?;
    let how = DeployOptions {
        prune: true,
        reset_scale: false,
        returns_to: Some(past.revision.number),
    };
    planned(snapshot, now, &past.spec, how)
}

pub(super) fn remove_stack(snapshot: &Snapshot, now: Timestamp, asked: pb::RemoveStack) -> Asked {
    let pb::RemoveStack { name, version } = asked;
    let present = snapshot.stack_named(&name);
    as_read(present.map(AsRef::as_ref), &name, version)?;
    let id = present.map_or_else(Bytes::new, |present| id_bytes(present.id));
    match remove(snapshot, now, &name) {
        Ok(Some(action)) => Ok((id, Action::Stack(action))),
        Ok(None) => Err(Status::not_found(format!("stack {name} not found"))),
        Err(refused) => Err(Status::failed_precondition(format!(
            "stack {name} cannot be removed, and nothing of it was: {refused}"
        ))),
    }
}

fn planned(snapshot: &Snapshot, now: Timestamp, spec: &StackSpec, how: DeployOptions) -> Asked {
    let mut ids = IdSource::new(fresh());
    let planned = deploy(snapshot, now, spec, how, &mut ids);
    let action = planned.map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
        Status::failed_precondition(faults.join("\n"))
    })?;
    let id = match &action {
        StackAction::Apply { id, .. } => id_bytes(*id),
        StackAction::Remove { .. } => Bytes::new(),
    };
    Ok((id, Action::Stack(action)))
}

/// Of a change of a stack the number of the revision that it makes; 0 where the stack is what
/// it was, or is no more.
pub(in crate::rpc) fn revision(snapshot: &Snapshot, action: &Action) -> Option<u64> {
    match action {
        Action::Stack(StackAction::Apply { spec, .. }) => {
            let present = snapshot.stack_named(&spec.name);
            Some(match present {
                Some(present) if present.spec == *spec => 0,
                present => present.map_or(0, |present| present.revision.number) + 1,
            })
        }
        Action::Stack(StackAction::Remove { .. }) => Some(0),
        _ => None,
    }
}

/// Who read a stack means that one. `version` 0 is whatever there is.
fn as_read(present: Option<&Stack>, name: &str, version: u64) -> Result<(), Status> {
    let found = present.map_or(Version(0), |present| present.meta.version);
    if version == 0 || found == Version(version) {
        return Ok(());
    }
    Err(Status::aborted(match present {
        Some(present) => format!(
            "stack {name} was deployed by somebody else meanwhile, as revision {}; look at it \
             and ask again",
            present.revision.number
        ),
        None => format!("stack {name} was removed by somebody else meanwhile"),
    }))
}

/// What is new of it does not fit into one entry.
pub(super) fn too_large(reason: &str) -> Status {
    Status::resource_exhausted(format!(
        "{reason}; a stack is deployed at once or not at all: deploy it with some of its new \
         secrets and configs first, then with the others, or bring those that are there up to date \
         before (skep secret update, skep config update)"
    ))
}

#[cfg(test)]
mod tests {
    use crate::rpc::change::change;
    use crate::shared::Shared;
    use crate::testing;
    use skep_manager_store::{Action, ClusterAction};
    use skep_proto::pb;
    use skep_proto::pb::change::Change;
    use skep_types::{ConfigId, Content, Labels, STACK_LABEL, StackData, StackService, StackSpec};
    use std::sync::Arc;
    use tonic::{Code, Status};

    async fn leader(dir: &tempfile::TempDir) -> Shared {
        let cluster = Action::Cluster(ClusterAction::Create(Box::new(testing::swarm())));
        testing::leader(dir.path(), &[cluster]).await
    }

    /// A stack of these services with one image, and a config of that size.
    fn spec(services: &[&str], image: &str, bytes: usize) -> pb::StackSpec {
        let labels = Labels::from([(STACK_LABEL.to_owned(), "shop".to_owned())]);
        let service = |name: &&str| {
            let mut service = StackService::default();
            service.spec.name = format!("shop_{name}");
            service.spec.labels = labels.clone();
            Arc::make_mut(&mut service.spec.task).container.image = image.to_owned();
            Arc::new(service)
        };
        let config = |number: usize| StackData::<ConfigId> {
            key: "page".to_owned(),
            name: format!("shop_page{number}"),
            labels: labels.clone(),
            template: false,
            content: Content::Given(vec![7; 900_000].into()),
        };
        let spec = StackSpec {
            name: "shop".to_owned(),
            configs: (0..bytes / 900_000).map(config).collect(),
            services: services.iter().map(service).collect(),
            source: image.into(),
            ..StackSpec::default()
        };
        (&spec).into()
    }

    async fn ask(shared: &Shared, asked: Change) -> Result<(), Status> {
        let changes = vec![pb::Change {
            change: Some(asked),
        }];
        change(shared, pb::ChangeRequest { changes })
            .await
            .map(drop)
    }

    fn apply(spec: pb::StackSpec, version: u64) -> Change {
        Change::ApplyStack(pb::ApplyStack {
            spec: Some(spec),
            version,
            prune: true,
            reset_scale: false,
        })
    }

    #[tokio::test]
    async fn two_deploys_at_once_are_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let shared = leader(&dir).await;
        for round in 0..20 {
            let (a, b) = (format!("a{round}"), format!("b{round}"));
            let one = ask(&shared, apply(spec(&["web", "api"], &a, 0), 0));
            let other = ask(&shared, apply(spec(&["api", "db"], &b, 0), 0));
            let (one, other) = tokio::join!(one, other);
            one.unwrap();
            other.unwrap();
            let state = shared.state.snapshot();
            let stack = state.stack_named("shop").unwrap();
            let image = stack.spec.source.to_string();
            let names: Vec<&str> = match image == a {
                true => vec!["shop_api", "shop_web"],
                false => vec!["shop_api", "shop_db"],
            };
            let mut found: Vec<_> = state.services().map(|s| s.spec.name.as_str()).collect();
            found.sort_unstable();
            assert_eq!(found, names);
            let mut images = state.services().map(|s| &s.spec.task.container.image);
            assert!(images.all(|of| *of == image), "{image}");
        }
        shared.raft.shutdown().await;
    }

    #[tokio::test]
    async fn what_somebody_else_deployed_is_not_deployed_over() {
        let dir = tempfile::tempdir().unwrap();
        let shared = leader(&dir).await;
        let version = || {
            let state = shared.state.snapshot();
            state.stack_named("shop").unwrap().meta.version.0
        };
        ask(&shared, apply(spec(&["web"], "a", 0), 0))
            .await
            .unwrap();
        let read = version();
        ask(&shared, apply(spec(&["web"], "b", 0), read))
            .await
            .unwrap();
        let late = ask(&shared, apply(spec(&["web"], "c", 0), read))
            .await
            .unwrap_err();
        assert_eq!(late.code(), Code::Aborted);
        assert!(late.message().contains("as revision 2"), "{late}");

        let back = |version, revision| {
            Change::RollbackStack(pb::RollbackStack {
                name: "shop".to_owned(),
                version,
                revision,
            })
        };
        let none = ask(&shared, back(version(), Some(7))).await.unwrap_err();
        assert!(none.message().contains("no revision 7"), "{none}");
        ask(&shared, back(version(), None)).await.unwrap();
        let state = shared.state.snapshot();
        let stack = state.stack_named("shop").unwrap();
        assert_eq!(
            (stack.revision.number, stack.revision.returns_to),
            (3, Some(1))
        );
        let web = state.service_named("shop_web").unwrap();
        assert_eq!(web.spec.task.container.image, "a");

        let remove = |version| {
            let name = "shop".to_owned();
            Change::RemoveStack(pb::RemoveStack { name, version })
        };
        let late = ask(&shared, remove(read)).await.unwrap_err();
        assert_eq!(late.code(), Code::Aborted);
        ask(&shared, remove(0)).await.unwrap();
        assert_eq!(shared.state.snapshot().services().count(), 0);
        let gone = ask(&shared, remove(0)).await.unwrap_err();
        assert_eq!(gone.code(), Code::NotFound);
        shared.raft.shutdown().await;
    }

    #[tokio::test]
    async fn what_is_done_to_which_object_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let shared = leader(&dir).await;
        let told = async |change| {
            let changes = vec![pb::Change {
                change: Some(change),
            }];
            let made = crate::rpc::change::change(&shared, pb::ChangeRequest { changes }).await;
            let objects = made.unwrap().objects.into_iter();
            let words = objects.map(|o| {
                assert!(o.service.is_none());
                let what = o.what().as_str_name().to_lowercase();
                format!("{what} {} {} {}", o.kind, o.name, o.keys.join("+"))
            });
            words.collect::<Vec<_>>().join(", ")
        };
        let first = spec(&["web", "api"], "a", 900_000);
        assert_eq!(
            told(apply(first, 0)).await,
            "created config shop_page0 , created service shop_web , created service shop_api "
        );
        let mut second = spec(&["web", "db"], "b", 900_000);
        if let Some(pb::stack_data::Content::Given(content)) = &mut second.configs[0].content {
            *content = bytes::Bytes::from_static(b"short");
        }
        assert_eq!(
            told(apply(second.clone(), 0)).await,
            "updated config shop_page0 content, removed service shop_api , \
             updated service shop_web , created service shop_db "
        );
        assert_eq!(told(apply(second, 0)).await, "");
        let last = told(Change::RemoveStack(pb::RemoveStack {
            name: "shop".to_owned(),
            version: 0,
        }));
        let mut words: Vec<String> = last.await.split(", ").map(str::to_owned).collect();
        words.sort_unstable();
        assert_eq!(
            words,
            [
                "removed config shop_page0 ",
                "removed service shop_db ",
                "removed service shop_web "
            ]
        );
        shared.raft.shutdown().await;
    }

    #[tokio::test]
    async fn the_revision_that_is_made_is_told_also_where_no_object_changes() {
        let dir = tempfile::tempdir().unwrap();
        let shared = leader(&dir).await;
        let told = async |change| {
            let changes = vec![pb::Change {
                change: Some(change),
            }];
            let request = pb::ChangeRequest { changes };
            let made = crate::rpc::change::change(&shared, request).await.unwrap();
            (made.objects.len(), made.revisions)
        };
        let first = spec(&["web"], "a", 0);
        assert_eq!(told(apply(first.clone(), 0)).await, (1, vec![1]));
        assert_eq!(told(apply(first.clone(), 0)).await, (0, vec![0]));
        let volume = pb::StackVolume {
            key: "data".to_owned(),
            name: "shop_data".to_owned(),
            ..pb::StackVolume::default()
        };
        let declared = pb::StackSpec {
            volumes: vec![volume],
            ..first
        };
        assert_eq!(told(apply(declared, 0)).await, (0, vec![2]));
        let gone = Change::RemoveStack(pb::RemoveStack {
            name: "shop".to_owned(),
            version: 0,
        });
        assert_eq!(told(gone).await, (1, vec![0]));
        shared.raft.shutdown().await;
    }

    #[tokio::test]
    async fn what_is_wrong_or_too_large_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let shared = leader(&dir).await;
        let large = ask(&shared, apply(spec(&["web"], "a", 1_800_000), 0)).await;
        let large = large.unwrap_err();
        assert_eq!(large.code(), Code::ResourceExhausted);
        assert!(large.message().contains("then with the others"), "{large}");
        let wrong = ask(&shared, apply(spec(&["web", "api"], "", 0), 0))
            .await
            .unwrap_err();
        assert_eq!(wrong.message().lines().count(), 2, "{wrong}");
        assert!(wrong.message().starts_with("service shop_web: "), "{wrong}");
        let state = shared.state.snapshot();
        assert_eq!((state.services().count(), state.configs().count()), (0, 0));
        assert!(state.stack_named("shop").is_none());
        shared.raft.shutdown().await;
    }
}
