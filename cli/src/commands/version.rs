//! `skep version`.

use crate::client::{Client, Host};
use crate::output::say;
use crate::table::print_objects;
use anyhow::{Context as _, Result};
use serde_json::json;
use skep_proto::pb;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep version --format '{{.Server.Version}}'")]
pub struct Args {
    /// A template, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// The version of this program.
pub fn version_text() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Prints both versions. That of this program also where no daemon answers,
/// which is an error all the same.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let server = match host.connect().await {
        Ok(client) => server(&client).await,
        Err(error) => Err(error),
    };
    let (os, arch) = (std::env::consts::OS, go_arch(std::env::consts::ARCH));
    if let Some(format) = args.format {
        let mut object = json!({
            "Client": {"Version": version_text(), "Os": os, "Arch": arch},
            "Server": null,
        });
        if let Ok(server) = &server {
            object["Server"] = json!({
                "Version": server.version,
                "Os": server.os,
                "Arch": server.arch,
                "KernelVersion": server.kernel,
            });
        }
        if format == "json" {
            say!("{object}")?;
        } else {
            print_objects(vec![object], Some(&format))?;
        }
        return server.map(|_| ());
    }
    say!(
        "Client: skep\n Version:  {}\n OS/Arch:  {os}/{arch}",
        version_text()
    )?;
    let Server {
        version,
        os,
        arch,
        kernel,
    } = server?;
    say!("\nServer: skep daemon\n Version:  {version}\n OS/Arch:  {os}/{arch}")?;
    if let Some(kernel) = kernel {
        say!(" Kernel:   {kernel}")?;
    }
    Ok(())
}

/// What answers.
struct Server {
    version: String,
    os: String,
    arch: String,
    /// Only a daemon says that, of its own machine.
    kernel: Option<String>,
}

async fn server(client: &Client) -> Result<Server> {
    let Some(manager) = client.manager() else {
        let info = client.info().await?;
        return Ok(Server {
            version: info.version,
            os: info.os,
            arch: info.architecture,
            kernel: Some(info.kernel),
        });
    };
    let request = pb::ReadRequest {
        nodes: true,
        ..Default::default()
    };
    let nodes = client.read(request).await?.nodes;
    let node = nodes.get(&manager.node);
    let node = node.context("the manager does not know its own node")?;
    let described = node.node.description.clone();
    Ok(Server {
        version: described.engine_version,
        os: described.platform.os,
        arch: described.platform.architecture,
        kernel: None,
    })
}

/// An architecture in Go's words, as images and nodes name theirs.
fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}
