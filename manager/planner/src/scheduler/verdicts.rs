//! What the scheduler thinks of each node.

use super::candidates::Candidates;
use super::filter::Filters;
use super::fleet::{At, Fleet, Rank};
use super::words;
use crate::allocator::Allocator;
use crate::current::Current;
use crate::draft::{Draft, ServiceWork, Work};
use crate::explained::{Fit, NodeUse, Subject, Verdict};
use skep_types::{Service, ServiceMode};
use std::sync::Arc;

/// Of a service every node, best first; of a node every service.
pub(crate) fn verdicts<'a>(
    draft: &Draft<'a>,
    allocator: &mut Allocator<'a>,
    subject: Subject,
) -> (Vec<NodeUse>, Vec<Verdict>) {
    let mut fleet = Fleet::new(draft);
    let (nodes, services): (Vec<At>, Vec<&ServiceWork<'a>>) = match subject {
        Subject::Service(id) => (
            fleet.nodes().map(|(at, _)| at).collect(),
            draft.services.get(&id).into_iter().collect(),
        ),
        Subject::Node(id) => (
            fleet.index_of(id).into_iter().collect(),
            draft.services.values().collect(),
        ),
    };
    let mut verdicts = Vec::new();
    for work in services {
        let Some(service) = work.service else {
            continue;
        };
        verdicts.extend(of_service(
            draft, allocator, &mut fleet, work, service, &nodes,
        ));
    }
    let uses = nodes.iter().map(|at| fleet.node(*at).in_use()).collect();
    (uses, verdicts)
}

fn of_service<'a>(
    draft: &Draft<'a>,
    allocator: &mut Allocator<'a>,
    fleet: &mut Fleet,
    work: &ServiceWork<'a>,
    service: &'a Arc<Service>,
    nodes: &[At],
) -> Vec<Verdict> {
    let spec = &service.spec.task;
    let filters = Filters::new(service, spec, &spec.placement);
    let current = Current::new(&draft.nodes, service, &work.tasks);
    let of_group = |task: &Work<'_>| !current.runs_other(task);
    fleet.begin_group(work, of_group, &filters, draft.now);
    // Nothing comes next of a job that has ended, or is not due.
    let idle = service.spec.mode.is_job() && service.job.open().next().is_none();
    let next = Candidates::new(fleet, &filters, 1).best(fleet, &filters);
    let networks = allocator.networks_of(service, spec);
    let global = matches!(
        service.spec.mode,
        ServiceMode::Global | ServiceMode::GlobalJob
    );
    let mut ranked: Vec<((Fit, bool, Rank), Verdict)> = nodes
        .iter()
        .map(|at| {
            let node = fleet.node(*at);
            let mut why: Vec<String> = fleet
                .refusals(*at, &filters)
                .map(|refusal| words::describe(refusal, &filters, spec, fleet, *at))
                .collect();
            if why.is_empty()
                && let Err(exhausted) = allocator.try_attach(draft, node.id, &networks)
            {
                why.push(exhausted.message().to_owned());
            }
            let fit = if global && node.of_service > 0 {
                // Why it is to go is of interest, what is against another is not.
                why.truncate(usize::from(!node.takes_tasks));
                Fit::Serves
            } else if !why.is_empty() {
                Fit::Unfit
            } else if !global && !idle && Some(*at) == next {
                Fit::Next
            } else {
                Fit::Fits
            };
            let unlabelled = filters
                .labels()
                .find(|label| label.on(&node.node).is_empty());
            if fit <= Fit::Fits {
                why.extend(unlabelled.map(|label| {
                    let name = words::name(label);
                    format!("has no label {name} to spread over: tried last")
                }));
                why.extend(node.blamed().map(|failures| {
                    format!("{failures} tasks failed here in the last minutes: tried last")
                }));
            }
            let verdict = Verdict {
                service: service.id,
                node: node.id,
                fit,
                tasks: node.of_service,
                why,
            };
            ((fit, unlabelled.is_some(), fleet.rank(*at)), verdict)
        })
        .collect();
    fleet.end_group();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, verdict)| verdict).collect()
}
