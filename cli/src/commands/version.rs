//! `skep version`.

use crate::client::Host;
use crate::output::say;
use crate::table::print_objects;
use anyhow::Result;
use serde_json::json;

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
        Ok(client) => client.info().await,
        Err(error) => Err(error),
    };
    let (os, arch) = (std::env::consts::OS, go_arch(std::env::consts::ARCH));
    if let Some(format) = args.format {
        let mut object = json!({
            "Client": {"Version": version_text(), "Os": os, "Arch": arch},
            "Server": null,
        });
        if let Ok(info) = &server {
            object["Server"] = json!({
                "Version": info.version,
                "Os": info.os,
                "Arch": info.architecture,
                "KernelVersion": info.kernel,
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
    let info = server?;
    say!(
        "\nServer: skep daemon\n Version:  {}\n OS/Arch:  {}/{}\n Kernel:   {}",
        info.version,
        info.os,
        info.architecture,
        info.kernel
    )?;
    Ok(())
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
