//! `skep config create`.

use crate::client::Host;
use crate::commands::content::{self, TemplateDriver};
use crate::flags;
use crate::output::say;
use anyhow::Result;
use skep_proto::pb::change::Change;
use skep_types::{ConfigId, ConfigSpec};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep config create site nginx.conf")]
pub struct Args {
    /// Label; repeatable
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = flags::key_value)]
    label: Vec<(String, String)>,
    /// What its content is, for each task anew: golang, a template
    #[arg(long, value_name = "DRIVER", value_enum)]
    template_driver: Option<TemplateDriver>,
    /// Name of the config
    name: String,
    /// File with its content; `-` for standard input
    file: String,
}

/// Makes it and prints its id.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let data = content::read(&args.file)?;
    let spec = ConfigSpec {
        name: args.name,
        labels: flags::labels(&args.label),
        data: data.into(),
        template: content::is_template(args.template_driver).unwrap_or_default(),
    };
    let client = host.connect().await?;
    let made = client.change(Change::CreateConfig((&spec).into())).await?;
    let id: ConfigId = skep_proto::id(&made, "change.ids")?;
    say!("{id}")?;
    Ok(())
}
