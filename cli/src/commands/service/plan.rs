//! `skep service plan`.

use super::update::{Asked, to_read};
use crate::changes::changes;
use crate::client::Host;
use crate::error::CliError;
use crate::find;
use crate::foreseen::Foreseen;
use crate::json;
use crate::output::say;
use crate::table::FormatArgs;
use crate::view::View;
use anyhow::Result;
use serde_json::json;
use skep_proto::pb::change::Change;
use skep_proto::{id_bytes, pb};
use skep_types::Service;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  skep service plan --image nginx:1.29 web",
    after_help = "Exit code: 0 if nothing would change, 2 if something would, 1 if that cannot be said"
)]
pub struct Args {
    #[command(flatten)]
    form: FormatArgs,
    #[command(flatten)]
    asked: Asked,
}

/// Asks the managers what would come of the change.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let Args { form, asked } = args;
    asked.check()?;
    let client = host.connect().await?;
    let request = pb::ReadRequest {
        nodes: true,
        ..to_read()
    };
    let view = client.read(request).await?;
    let service = find::service(&view.services, &asked.service)?;
    let (change, after) = change(&asked, &view, service)?;
    let told = changes(
        &json::service_spec(&service.spec),
        &json::service_spec(&after.spec),
    );
    let answer = client.foresee(change).await?;
    let acts = !told.is_empty() || !answer.steps.is_empty() || !answer.updates.is_empty();
    let foreseen = Foreseen {
        view: &view,
        answer: &answer,
    };
    if form.format.as_deref() == Some("json") {
        let object = json!({"Changes": told});
        say!("{}", foreseen.json(object, answer.kept)?)?;
    } else if form.format.is_some() || form.quiet {
        foreseen.steps()?.print(&form)?;
    } else {
        let name = &service.spec.name;
        if !told.is_empty() {
            say!("{name} would change:")?;
            for line in &told {
                say!("  {line}")?;
            }
            say!("")?;
        }
        foreseen.tell(name, answer.kept, &form)?;
        foreseen.tell_end(false)?;
    }
    match acts {
        true => Err(CliError::WouldChange.into()),
        false => Ok(()),
    }
}

/// The change, and the service as it leaves it, as far as that is known here.
fn change(asked: &Asked, view: &View, service: &Service) -> Result<(Change, Service)> {
    let mut after = service.clone();
    if asked.rollback {
        return Ok((Change::RollbackService(id_bytes(service.id)), after));
    }
    asked.edit(view, service, &mut after.spec)?;
    let update = pb::UpdateService {
        id: id_bytes(service.id),
        version: service.meta.version.0,
        spec: Some((&after.spec).into()),
    };
    Ok((Change::UpdateService(update), after))
}
