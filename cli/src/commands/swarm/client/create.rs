//! `skep swarm client create`.

use super::Role;
use crate::client::{Client, Host};
use crate::flags;
use crate::kept::Aside;
use crate::output::{note, say};
use anyhow::{Context as _, Result, bail};
use skep_manager_ca::{ClientKey, Request};
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_types::{ClientRole, check_client_name};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep swarm client create alice
  skep swarm client create --role read-only --expiry 720h -o monitor.pem monitor")]
pub struct Args {
    /// What the client may do
    #[arg(long, value_enum, default_value = "admin")]
    role: Role,
    /// How long its certificate is good
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "2160h")]
    expiry: Duration,
    /// File to write, with the client's key; `-` for standard output [default: NAME.pem]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Who it is for
    #[arg(value_name = "NAME")]
    name: String,
}

/// Has a certificate issued, and writes it with its key, which was made here.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    check_client_name(&args.name)?;
    let output = args
        .output
        .unwrap_or_else(|| format!("{}.pem", args.name).into());
    if output == Path::new("-") {
        if std::io::stdout().is_terminal() {
            bail!("a private key is not for the eye: name a file with -o, or redirect the output");
        }
        let client = host.connect().await?;
        let key = issued(&client, &args.name, args.role, args.expiry).await?;
        std::io::stdout().lock().write_all(key.pem().as_bytes())?;
        return Ok(());
    }
    if output.exists() {
        bail!("{} exists; name another file with -o", output.display());
    }
    let client = host.connect().await?;
    // Before anything is asked for: a certificate that is nowhere is of no use.
    let mut file = Aside::begin(&output)?;
    let key = issued(&client, &args.name, args.role, args.expiry).await?;
    file.write(key.pem().as_bytes())?;
    file.finish()?;
    let managers = managers(&client).await?;
    let (name, file) = (&args.name, output.display());
    let until = key.validity().not_after.duration_since(UNIX_EPOCH);
    let until = u64::try_from(until.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    say!(
        "Client {name} may {} until {}. Its certificate and its private key are in {file}.",
        match ClientRole::from(args.role) {
            ClientRole::Admin => "change the swarm",
            ClientRole::ReadOnly => "look at the swarm",
        },
        crate::human::timestamp(until)
    )?;
    say!("\nTo use it, run the following where it is, then commands as on a manager:\n")?;
    say!("    skep context create swarm --host tcp://{managers} --cert {file}")?;
    say!("    skep context use swarm\n")?;
    note!("Whoever has the file can do the same: pass it on safely, and keep no copy.");
    Ok(())
}

async fn issued(client: &Client, name: &str, role: Role, life: Duration) -> Result<ClientKey> {
    let request = Request::generate()?;
    let create = pb::CreateClient {
        name: name.to_owned(),
        csr: request.pem().to_owned(),
        role: pb::ClientRole::from(ClientRole::from(role)).into(),
        life_ms: u64::try_from(life.as_millis()).unwrap_or(u64::MAX),
    };
    let told = client.change_told(Change::CreateClient(create)).await?;
    let issued = told
        .client
        .context("the manager did not answer with a certificate")?;
    Ok(request.complete_client(&issued.certificate, &issued.roots)?)
}

/// The addresses of the swarm's managers, as a host lists them.
async fn managers(client: &Client) -> Result<String> {
    let request = pb::ReadRequest {
        nodes: true,
        ..Default::default()
    };
    let nodes = client.read(request).await?.nodes;
    let managers = nodes.values().filter_map(|view| view.node.manager.as_ref());
    let managers = managers.map(|manager| manager.address.as_str());
    Ok(managers.collect::<Vec<_>>().join(","))
}
