//! Why tasks are where they are, for who asks.

use super::status;
use skep_manager_planner::{Explained, Fit, NodeUse, Subject, Vacancy, Verdict, explain};
use skep_manager_store::Snapshot;
use skep_proto::pb::read_request::Explain;
use skep_proto::{id, id_bytes, pb};
use skep_types::{ByteCount, NanoCpus, Slot, Timestamp};
use tonic::Status;

/// Asks the planner.
///
/// # Errors
/// For an id that is none.
pub(super) fn answer(
    snapshot: &Snapshot,
    now: Timestamp,
    asked: &Explain,
) -> Result<pb::Explained, Status> {
    let subject = match asked {
        Explain::ExplainService(service) => {
            Subject::Service(id(service, "explain_service").map_err(status::invalid)?)
        }
        Explain::ExplainNode(node) => {
            Subject::Node(id(node, "explain_node").map_err(status::invalid)?)
        }
    };
    let Explained {
        nodes,
        verdicts,
        vacancies,
    } = explain(snapshot, now, subject);
    Ok(pb::Explained {
        nodes: nodes.into_iter().map(node_use).collect(),
        verdicts: verdicts.into_iter().map(verdict).collect(),
        vacancies: vacancies.into_iter().map(vacancy).collect(),
    })
}

fn node_use(of: NodeUse) -> pb::NodeUse {
    let NodeUse {
        node,
        cpu_reserved: NanoCpus(cpu),
        memory_reserved: ByteCount(memory),
        tasks,
        ports,
        generic,
    } = of;
    let port = |(protocol, port): &_| format!("{port}/{protocol}");
    pb::NodeUse {
        node: id_bytes(node),
        cpu_reserved_nano: cpu,
        memory_reserved_bytes: memory,
        tasks,
        ports: ports.iter().map(port).collect(),
        generic,
    }
}

fn verdict(of: Verdict) -> pb::Verdict {
    let Verdict {
        service,
        node,
        fit,
        tasks,
        why,
    } = of;
    let fit = match fit {
        Fit::Next => pb::Fit::Next,
        Fit::Fits => pb::Fit::Fits,
        Fit::Serves => pb::Fit::Serves,
        Fit::Unfit => pb::Fit::Unfit,
    };
    pb::Verdict {
        service: id_bytes(service),
        node: id_bytes(node),
        fit: fit.into(),
        tasks,
        why,
    }
}

fn vacancy(of: Vacancy) -> pb::Vacancy {
    let Vacancy { slot, node, why } = of;
    pb::Vacancy {
        slot: slot.map_or(0, |Slot(slot)| slot),
        node: node.map(id_bytes).unwrap_or_default(),
        why,
    }
}
