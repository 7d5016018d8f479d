//! Waiting until the services of a stack are as it says.

use super::asked::SERVICE;
use crate::client::Client;
use crate::commands::service::{self, WaitArgs};
use crate::progress::{Waiting, wait};
use crate::view::View;
use anyhow::Result;
use skep_proto::pb;
use skep_types::{ServiceId, StackSpec};

/// Waits, unless that is not wanted. `before`: the services as they were; `objects`: what was
/// done since.
pub async fn follow(
    client: &Client,
    stack: &StackSpec,
    before: &View,
    objects: &[pb::ChangedObject],
    how: WaitArgs,
) -> Result<()> {
    if how.detach {
        return Ok(());
    }
    let now = service::read(client).await?;
    let mut deployed = Vec::with_capacity(stack.services.len());
    let mut unchanged = Vec::new();
    for service in &stack.services {
        let name = &service.spec.name;
        let Some(found) = now.services.iter().find(|s| s.spec.name == *name) else {
            continue;
        };
        let mut changed = objects.iter().filter(|object| object.kind == SERVICE);
        if !changed.any(|object| object.name == *name) {
            unchanged.push(found.id);
        }
        if !ran_before(before, &now, found.id) {
            deployed.push((found.id, name.clone()));
        }
    }
    let how = Waiting {
        quiet: how.quiet,
        timeout: how.timeout,
        unchanged: &unchanged,
        stack: Some(&stack.name),
        ..Waiting::default()
    };
    wait(client, &deployed, how).await
}

/// It is a job whose newest run had ended before, well or badly: the deploy asked for
/// none, so there is none to wait for.
fn ran_before(before: &View, now: &View, id: ServiceId) -> bool {
    let newest = |view: &View| {
        let service = view.services.iter().find(|service| service.id == id)?;
        service.job.newest().copied()
    };
    newest(before).is_some_and(|run| run.end.is_some() && newest(now) == Some(run))
}
