//! `skep secret update`.

use crate::client::Host;
use crate::commands::content::{self, UpdateArgs};
use crate::find::find;
use anyhow::Result;
use skep_proto::pb::change::Change;
use skep_proto::{id_bytes, pb};
use skep_types::SecretSpec;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  printf %s hunter3 | skep secret update db-password -")]
pub struct Args {
    #[command(flatten)]
    update: UpdateArgs,
    /// Name or id
    secret: String,
    /// File with its content from now on; `-` for standard input
    file: String,
}

/// Sends the content, and waits until the services that use it use that.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let data = content::read(&args.file)?;
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let found = find("secret", &args.secret, &view.newest, |secret| {
        (secret.id.to_string(), &secret.spec.name)
    })?;
    let spec = SecretSpec {
        data: data.into(),
        template: found.spec.template || args.update.is_template(),
        ..found.spec.clone()
    };
    let update = pb::UpdateData {
        id: id_bytes(found.id),
        version: found.meta.version.0,
        spec: Some((&spec).into()),
        rollout: Some(args.update.rolls_out()),
    };
    let change = Change::UpdateSecret(update);
    args.update
        .send(&client, &args.secret, change, |container| {
            container
                .secrets
                .iter()
                .map(|secret| id_bytes(secret.id))
                .collect()
        })
        .await
}
