//! What the scheduler thinks of each node, in words.

use super::candidates::Candidates;
use super::filter::{Filters, Refusal};
use super::fleet::{At, Fleet, FleetNode, Rank};
use crate::allocator::Allocator;
use crate::current::Current;
use crate::draft::{Draft, ServiceWork};
use crate::explained::{Fit, NodeUse, Subject, Verdict};
use skep_types::{Availability, ByteCount, NanoCpus, NodeState, Service, ServiceMode, TaskSpec};
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
    fleet.begin_group(
        &work.tasks,
        |task| !current.runs_other(task),
        &filters,
        draft.now,
    );
    let spread = &spec.placement.spread;
    let next = Candidates::new(fleet, &filters, spread, 1).best(fleet, &filters);
    let networks = allocator.networks_of(service, spec);
    let global = matches!(
        service.spec.mode,
        ServiceMode::Global | ServiceMode::GlobalJob
    );
    let mut ranked: Vec<((Fit, Rank), Verdict)> = nodes
        .iter()
        .map(|at| {
            let node = fleet.node(*at);
            let mut why: Vec<String> = filters
                .refusals(node)
                .map(|refusal| describe(refusal, &filters, spec, node))
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
            } else if !global && Some(*at) == next {
                Fit::Next
            } else {
                Fit::Fits
            };
            if fit <= Fit::Fits
                && let Some(failures) = node.blamed()
            {
                let text = format!("{failures} tasks failed here in the last minutes: tried last");
                why.push(text);
            }
            let verdict = Verdict {
                service: service.id,
                node: node.id,
                fit,
                tasks: node.of_service,
                why,
            };
            ((fit, fleet.rank(*at)), verdict)
        })
        .collect();
    fleet.end_group();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, verdict)| verdict).collect()
}

/// Why a node does not take a task, with the numbers.
fn describe(refusal: Refusal, filters: &Filters, spec: &TaskSpec, node: &FleetNode) -> String {
    match refusal {
        Refusal::NotReady => match (node.node.status.state, node.node.spec.availability) {
            (NodeState::Ready, Availability::Drain) => "it is drained".to_owned(),
            (NodeState::Ready, _) => "it is paused".to_owned(),
            (NodeState::Down, _) => "it is down".to_owned(),
            (_, _) => "it has not been heard yet".to_owned(),
        },
        Refusal::Resources => {
            let (cpu, memory) = node.free();
            let total = &node.node.description;
            let mut lacks = Vec::new();
            if spec.resources.cpu_reservation > cpu {
                let needs = cpus(spec.resources.cpu_reservation);
                let (free, total) = (cpus(cpu), cpus(total.cpus));
                lacks.push(format!("needs {needs} CPUs, {free} of {total} are free"));
            }
            if spec.resources.memory_reservation > memory {
                let needs = bytes(spec.resources.memory_reservation);
                let (free, total) = (bytes(memory), bytes(total.memory));
                lacks.push(format!(
                    "needs {needs} of memory, {free} of {total} are free"
                ));
            }
            lacks.join("; ")
        }
        Refusal::Constraints => {
            let broken: Vec<String> = filters.broken_constraints(&node.node).collect();
            format!("does not satisfy {}", broken.join(" and "))
        }
        Refusal::HostPort => {
            let taken = filters
                .ports
                .iter()
                .filter(|port| node.ports.contains(port));
            let taken: Vec<String> = taken
                .map(|(protocol, port)| format!("{port}/{protocol}"))
                .collect();
            format!("host port {} is taken", taken.join(", "))
        }
        Refusal::MaxReplicas => format!(
            "has {} of at most {} tasks of the service",
            node.of_limit, spec.placement.max_replicas_per_node
        ),
    }
}

/// `1.5`
fn cpus(NanoCpus(nano): NanoCpus) -> String {
    let text = format!("{:.3}", nano as f64 / 1e9);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1.5 GiB`
fn bytes(ByteCount(bytes): ByteCount) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.1}");
    format!("{} {}", text.trim_end_matches(".0"), UNITS[unit])
}
