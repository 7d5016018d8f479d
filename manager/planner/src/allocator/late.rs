//! Tasks that have to come onto a network while they run: a port was published that
//! leads to them, and they are not on the network it comes in by.

use super::{Allocator, uses_ingress};
use crate::draft::Draft;

/// Gives them addresses there. What cannot be had is looked for again.
pub(crate) fn attach<'a>(draft: &mut Draft<'a>, allocator: &mut Allocator<'a>) {
    let Some(ingress) = allocator.ingress else {
        return;
    };
    let snapshot = draft.snapshot;
    for work in draft.services.values_mut() {
        let ports = work.service.map(|service| &service.spec.endpoint.ports);
        if !ports.is_some_and(|ports| uses_ingress(ports)) {
            continue;
        }
        for task in work.tasks.iter_mut().filter(|task| task.is_live()) {
            let (Some(known), Some(node)) = (task.known, task.node) else {
                continue;
            };
            let is_on = known.attachments.iter().any(|a| a.network == ingress);
            if task.placed || is_on || !task.may_run() {
                continue;
            }
            work.acted = true;
            if let Ok(attachments) = allocator.attach(snapshot, node, &[ingress]) {
                task.attachments = attachments;
            }
        }
    }
}
