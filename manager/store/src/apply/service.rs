//! Changes of services.

use super::{Write, changed, revision};
use crate::action::ServiceAction;
use crate::data::Data;
use crate::event::{EventAction, ObjectId};
use crate::refused::Refused;
use crate::runs::completed;
use crate::validate::resume_update;
use skep_types::{
    Config, Endpoint, EndpointMode, JobStatus, NetworkId, Revision, RevisionOutcome, RunCause,
    Secret, Service, ServiceId, ServiceMode, ServiceSpec, TaskSpec, Timestamp, UpdateState,
    UpdateStatus, Version,
};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) fn apply(write: &mut Write<'_>, action: &ServiceAction) -> Result<(), Refused> {
    match action {
        ServiceAction::Create { id, spec } => create(write, *id, spec),
        ServiceAction::Update { id, version, spec } => {
            let present = fresh(write, *id, *version)?;
            if present.spec.name != spec.name {
                return Err(Refused::Renamed {
                    from: present.spec.name.clone(),
                    to: spec.name.clone(),
                });
            }
            require_same_mode(&present, spec)?;
            require_references(write, spec)?;
            require_newest(write, spec, Some(&present.spec))?;
            let runs_again = spec.mode.is_job() && runs_again(&present, spec);
            change(write, &present, ServiceSpec::clone(spec), runs_again);
            Ok(())
        }
        ServiceAction::Rollback {
            id,
            version,
            to,
            message,
            failed,
        } => {
            let present = fresh(write, *id, *version)?;
            let past = present.past_revision(*to).ok_or(Refused::NoRevision {
                service: present.spec.name.clone(),
                number: *to,
            })?;
            let spec = present.as_before(past);
            require_references(write, &spec)?;
            let rolling = is_rolling(write, &present);
            let mut service = Service::clone(&present);
            set_spec(write, &mut service, spec);
            if *failed {
                service.revision.outcome = Some(RevisionOutcome::Failed);
            }
            revision::next(&present, &mut service, rolling, Some(*to), write.now);
            service.update_status = Some(UpdateStatus {
                state: UpdateState::RollbackStarted,
                started_at: write.now,
                completed_at: None,
                message: message.clone(),
                resumed_at: None,
            });
            put(write, &present, service);
            Ok(())
        }
        ServiceAction::Remove { id } => remove(write, *id),
        ServiceAction::Expire { id, version } => {
            fresh(write, *id, *version)?;
            remove(write, *id)
        }
        ServiceAction::SetEndpoint {
            id,
            version,
            endpoint,
        } => {
            let present = fresh(write, *id, *version)?;
            require_free_vips(write, *id, endpoint)?;
            let mut service = Service::clone(&present);
            service.endpoint = endpoint.clone();
            put(write, &present, service);
            Ok(())
        }
        ServiceAction::SetUpdateStatus {
            id,
            version,
            status,
            outcome,
        } => {
            let present = fresh(write, *id, *version)?;
            let mut service = Service::clone(&present);
            service.update_status = Some(status.clone());
            come_to(&mut service.revision, *outcome);
            put(write, &present, service);
            Ok(())
        }
        ServiceAction::SetJobStatus {
            id,
            version,
            status,
        } => {
            let present = fresh(write, *id, *version)?;
            let mut service = Service::clone(&present);
            service.job = status.clone();
            put(write, &present, service);
            Ok(())
        }
        ServiceAction::Rebalance {
            id,
            version,
            begins,
        } => {
            let present = fresh(write, *id, *version)?;
            let mut service = Service::clone(&present);
            service.rebalance_since = begins.then_some(write.now);
            put(write, &present, service);
            Ok(())
        }
        ServiceAction::SetWait {
            id,
            version,
            waits_for,
        } => {
            let present = fresh(write, *id, *version)?;
            let mut service = Service::clone(&present);
            service.waits_for = waits_for.clone();
            put(write, &present, service);
            Ok(())
        }
    }
}

/// Takes over a spec that was asked for. What a job's tasks run is not rolled out: it
/// runs again, or goes on as it does.
fn change(write: &mut Write<'_>, present: &Arc<Service>, spec: ServiceSpec, runs_again: bool) {
    let mut service = Service::clone(present);
    let rolling = is_rolling(write, present);
    set_spec(write, &mut service, spec);
    let spec = &service.spec;
    if spec.mode.is_job() {
        if spec.schedule() != present.spec.schedule() {
            // What another schedule, or none, left out is not made up for.
            service.job.due_until = write.now;
        }
        if runs_again {
            let done = |run| completed(write.state, present.id, run);
            service.job.replace(write.now, done);
            let of = service.spec_version;
            service.job.begin(RunCause::Updated, of, write.now);
        }
    } else if spec.task.runs_like(&present.spec.task) && rolling {
        // The same is rolled out as before, or waits for somebody to look.
        let moves = present.spec.task.placement != spec.task.placement;
        revision::carry_over(&mut service, &present.spec);
        if present.spec == service.spec || moves {
            resume(&mut service, write.now);
        }
    } else {
        if !present.spec.same_revision(&service.spec) {
            revision::next(present, &mut service, rolling, None, write.now);
        } else {
            revision::carry_over(&mut service, &present.spec);
        }
        // Whatever an earlier update came to is over; the planner starts
        // the one this change calls for.
        service.update_status = None;
    }
    put(write, present, service);
}

/// Changes the template of a service's tasks, which is rolled out like any other change.
/// A job does not run again for it.
pub(super) fn edit_task(write: &mut Write<'_>, id: ServiceId, edit: impl FnOnce(&mut TaskSpec)) {
    let Some(present) = write.state.service(id).cloned() else {
        return;
    };
    let mut spec = present.spec.clone();
    edit(Arc::make_mut(&mut spec.task));
    change(write, &present, spec, false);
}

fn remove(write: &mut Write<'_>, id: ServiceId) -> Result<(), Refused> {
    let object = ObjectId::Service(id);
    let old = write
        .state
        .drop_service(id)
        .ok_or(Refused::NotFound(object))?;
    let name = old.spec.name.clone();
    write.event(object, EventAction::Remove, name, Vec::new());
    Ok(())
}

/// What a job's tasks run was changed. Other numbers are taken up by a run that is
/// open; where none is, they are for the next, which is asked for with them. What runs
/// by a schedule waits for that.
fn runs_again(present: &Service, spec: &ServiceSpec) -> bool {
    let is_open = present.job.open().next().is_some();
    let never_ran = present.job.newest().is_none();
    spec.schedule().is_none()
        && (never_ran
            || !spec.task.runs_like(&present.spec.task)
            || (spec.mode != present.spec.mode && !is_open))
}

fn create(write: &mut Write<'_>, id: ServiceId, spec: &ServiceSpec) -> Result<(), Refused> {
    let object = ObjectId::Service(id);
    if write.state.service(id).is_some() {
        return Err(Refused::IdTaken(object));
    }
    if write.state.service_named(&spec.name).is_some() {
        return Err(Refused::NameTaken {
            kind: object.kind(),
            name: spec.name.clone(),
        });
    }
    require_references(write, spec)?;
    require_newest(write, spec, None)?;
    let meta = write.created();
    let revision = Revision::first(meta.created_at);
    let mut job = JobStatus::default();
    if spec.schedule().is_some() {
        job.due_until = write.now;
    } else if spec.mode.is_job() {
        job.begin(RunCause::Created, write.index, write.now);
    }
    write.state.put_service(Service {
        id,
        meta,
        spec: spec.clone(),
        spec_version: write.index,
        revision,
        past: Vec::new(),
        endpoint: Endpoint {
            mode: spec.endpoint.mode,
            ..Endpoint::default()
        },
        update_status: None,
        job,
        rebalance_since: None,
        waits_for: String::new(),
    });
    write.event(object, EventAction::Create, spec.name.clone(), Vec::new());
    Ok(())
}

fn fresh(write: &Write<'_>, id: ServiceId, version: Version) -> Result<Arc<Service>, Refused> {
    let object = ObjectId::Service(id);
    let present = write.state.service(id).ok_or(Refused::NotFound(object))?;
    write.require_fresh(present.meta, version, object, &present.spec.name)?;
    Ok(Arc::clone(present))
}

/// Takes over a spec. Only another task template makes tasks outdated; an
/// equal one stays the shared one.
fn set_spec(write: &Write<'_>, service: &mut Service, mut spec: ServiceSpec) {
    if spec.task == service.spec.task {
        spec.task = Arc::clone(&service.spec.task);
    } else {
        service.spec_version = write.index;
    }
    service.spec = spec;
}

/// Its tasks are being changed, or only some of them have been: an update is under
/// way, or paused, or about to begin.
pub(super) fn is_rolling(write: &Write<'_>, service: &Service) -> bool {
    let status = service.update_status.as_ref();
    if status.is_some_and(|status| !is_over(status.state)) {
        return true;
    }
    // Tasks of one version have one template: each is looked at once.
    let mut alike = BTreeSet::from([service.spec_version]);
    write.state.tasks_of(service.id).any(|task| {
        task.is_live()
            && alike.insert(task.spec_version)
            && !task.spec.runs_like(&service.spec.task)
    })
}

/// Who asks for what is there already wants what is paused to go on, as Swarm's
/// users know it, and so does who says where its tasks may go instead.
fn resume(service: &mut Service, now: Timestamp) {
    if let Ok(status) = resume_update(service, now) {
        service.update_status = Some(status);
        come_to(&mut service.revision, None);
    }
}

/// What is known of a revision once its update went on or ended.
fn come_to(revision: &mut Revision, outcome: Option<RevisionOutcome>) {
    // What goes on has not failed; what was rolled out once stays good.
    let known = revision
        .outcome
        .filter(|known| *known == RevisionOutcome::Completed);
    revision.outcome = outcome.or(known);
}

pub(super) fn is_over(state: UpdateState) -> bool {
    match state {
        UpdateState::Completed | UpdateState::RollbackCompleted => true,
        UpdateState::Updating
        | UpdateState::Paused
        | UpdateState::RollbackStarted
        | UpdateState::RollbackPaused => false,
    }
}

fn require_same_mode(present: &Service, spec: &ServiceSpec) -> Result<(), Refused> {
    match present.spec.mode.is_like(spec.mode) {
        true => Ok(()),
        false => Err(Refused::ModeChanged(present.spec.name.clone())),
    }
}

/// What a service refers to must be there: it may have been removed between
/// the check of the request and its turn in the log.
fn require_references(write: &Write<'_>, spec: &ServiceSpec) -> Result<(), Refused> {
    for attachment in &spec.task.networks {
        if write.state.network(attachment.network).is_none() {
            return Err(Refused::NotFound(ObjectId::Network(attachment.network)));
        }
    }
    for secret in &spec.task.container.secrets {
        if write.state.secret(secret.id).is_none() {
            return Err(Refused::NotFound(ObjectId::Secret(secret.id)));
        }
    }
    for config in &spec.task.container.configs {
        if write.state.config(config.id).is_none() {
            return Err(Refused::NotFound(ObjectId::Config(config.id)));
        }
    }
    Ok(())
}

/// A rollback goes back to what it was; anything else is of today.
fn require_newest(
    write: &Write<'_>,
    spec: &ServiceSpec,
    present: Option<&ServiceSpec>,
) -> Result<(), Refused> {
    let container = &spec.task.container;
    let present = present.map(|present| &present.task.container);
    Secret::require_newest(write.state, container, present)?;
    Config::require_newest(write.state, container, present)?;
    Ok(())
}

fn require_free_vips(write: &Write<'_>, id: ServiceId, endpoint: &Endpoint) -> Result<(), Refused> {
    let refuse = |network: NetworkId, address, reason| Refused::Address {
        address,
        network,
        reason,
    };
    for vip in &endpoint.vips {
        let network = write
            .state
            .network(vip.network)
            .ok_or(Refused::NotFound(ObjectId::Network(vip.network)))?;
        if !super::network::service_block_holds(network, vip.address) {
            return Err(refuse(
                vip.network,
                vip.address,
                "it is in no block of virtual addresses",
            ));
        }
        let holder = write.state.vip_holder(vip.network, vip.address);
        if holder.is_some_and(|holder| holder != id) {
            return Err(refuse(vip.network, vip.address, "another service has it"));
        }
    }
    Ok(())
}

fn put(write: &mut Write<'_>, present: &Service, mut service: Service) {
    service.meta = write.touched(service.meta);
    let mut attributes = Vec::new();
    if let (ServiceMode::Replicated { replicas: old }, ServiceMode::Replicated { replicas: new }) =
        (present.spec.mode, service.spec.mode)
    {
        changed(
            &mut attributes,
            ("replicas.old", "replicas.new"),
            &old,
            &new,
            u32::to_string,
        );
    }
    changed(
        &mut attributes,
        ("image.old", "image.new"),
        &present.spec.task.container.image,
        &service.spec.task.container.image,
        String::clone,
    );
    let state = |s: &Service| s.update_status.as_ref().map(|status| status.state);
    changed(
        &mut attributes,
        ("updatestate.old", "updatestate.new"),
        &state(present),
        &state(&service),
        |state| state.map_or("", update_state_name).to_owned(),
    );
    changed(
        &mut attributes,
        ("run.old", "run.new"),
        &newest_run(present),
        &newest_run(&service),
        String::clone,
    );
    changed(
        &mut attributes,
        ("waitsfor.old", "waitsfor.new"),
        &present.waits_for,
        &service.waits_for,
        String::clone,
    );
    changed(
        &mut attributes,
        ("mode.old", "mode.new"),
        &present.endpoint.mode,
        &service.endpoint.mode,
        |mode| match mode {
            EndpointMode::Vip => "vip".to_owned(),
            EndpointMode::DnsRoundRobin => "dnsrr".to_owned(),
        },
    );
    let (object, name) = (ObjectId::Service(service.id), service.spec.name.clone());
    write.state.put_service(service);
    write.event(object, EventAction::Update, name, attributes);
}

/// Where the newest run of a job is, as events show it: `3 open`, `3 failed`.
fn newest_run(service: &Service) -> String {
    service.job.newest().map_or_else(String::new, |run| {
        let state = run.end.map_or("open", |end| end.outcome.name());
        format!("{} {state}", run.number)
    })
}

/// Names of update states, as tables and events show them.
fn update_state_name(state: UpdateState) -> &'static str {
    match state {
        UpdateState::Updating => "updating",
        UpdateState::Paused => "paused",
        UpdateState::Completed => "completed",
        UpdateState::RollbackStarted => "rollback_started",
        UpdateState::RollbackPaused => "rollback_paused",
        UpdateState::RollbackCompleted => "rollback_completed",
    }
}
