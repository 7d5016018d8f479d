//! `skep swarm ca`.

use super::init::Settings;
use super::{EXTERNAL_CA, update};
use crate::client::{Client, Host};
use crate::error::usage;
use crate::flags;
use crate::output::{note, say};
use crate::progress::{Board, Line};
use crate::view::View;
use anyhow::{Context as _, Result, bail};
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_types::NodeState;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time between two looks at how far nodes are.
const LOOK: Duration = Duration::from_millis(250);
/// Width of a bar.
const BAR: usize = 50;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep swarm ca --rotate")]
pub struct Args {
    /// Replace the root CA: by a new one, or by the one given
    #[arg(long)]
    rotate: bool,
    /// File with the new root's certificate, PEM
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// File with the new root's key, PEM
    #[arg(long, value_name = "FILE")]
    ca_key: Option<PathBuf>,
    /// Life of a node's certificate, e.g. 2160h
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    cert_expiry: Option<Duration>,
    /// Not supported
    #[arg(long, value_name = "SPEC", hide = true)]
    external_ca: Vec<String>,
    /// Return at once instead of waiting for the nodes
    #[arg(short, long)]
    detach: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    /// The new root that is asked for, as PEM; empty for one to be made.
    fn root(&self) -> Result<pb::RotateRootCa> {
        if !self.external_ca.is_empty() {
            return Err(usage(EXTERNAL_CA));
        }
        if !self.rotate {
            let given = [
                ("ca-cert", self.ca_cert.is_some()),
                ("ca-key", self.ca_key.is_some()),
                ("cert-expiry", self.cert_expiry.is_some()),
            ];
            if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
                return Err(usage(format!(
                    "`--{flag}` flag requires the `--rotate` flag to update the CA"
                )));
            }
        }
        match (&self.ca_cert, &self.ca_key) {
            (None, None) => Ok(pb::RotateRootCa::default()),
            (Some(certificate), Some(key)) => Ok(pb::RotateRootCa {
                certificate: read(certificate)?,
                key: read(key)?,
            }),
            (Some(_), None) => Err(usage(
                "the --ca-cert flag requires that a --ca-key flag be provided as well",
            )),
            (None, Some(_)) => Err(usage(
                "the --ca-key flag requires that a --ca-cert flag be provided as well",
            )),
        }
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Prints the root certificate, or replaces it and follows the nodes.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let root = args.root()?;
    let client = host.connect().await?;
    if args.rotate {
        if args.cert_expiry.is_some() {
            let settings = Settings {
                cert_expiry: args.cert_expiry,
                ..Settings::default()
            };
            update::change(&client, &settings).await?;
        }
        client.change(Change::RotateRootCa(root)).await?;
        if args.detach {
            return Ok(());
        }
        follow(&client, args.quiet).await?;
    }
    let cluster = cluster(&look(&client).await?)?;
    say!("{}", cluster.root_ca_certificate.trim_end())?;
    Ok(())
}

async fn look(client: &Client) -> Result<View> {
    let request = pb::ReadRequest {
        cluster: true,
        nodes: true,
        ..Default::default()
    };
    client.read(request).await
}

fn cluster(view: &View) -> Result<pb::ClusterView> {
    let cluster = view.cluster.clone();
    cluster.context("the manager did not answer with the swarm's root CA")
}

/// Shows how far the nodes are, until the new root is the only one and all
/// that answer trust it alone.
async fn follow(client: &Client, quiet: bool) -> Result<()> {
    let mut desired = None;
    let mut board = Board::default();
    loop {
        let view = look(client).await?;
        let at = cluster(&view)?;
        let root = desired.get_or_insert_with(|| at.desired_root.clone());
        if *root != at.desired_root {
            bail!("another rotation of the root CA has begun; see \"skep swarm ca\"");
        }
        let progress = Progress::of(&view, &at);
        let lines = progress.lines(&at.desired_root);
        if !quiet {
            board.show(lines.into_iter().map(Line::from).collect())?;
        }
        if !at.rotating_root && progress.done() {
            if !progress.down.is_empty() && !quiet {
                note!(
                    "{} not answer and did not follow; when it comes back it renews its \
                     certificate by itself, unless that has expired by then",
                    match progress.down.as_slice() {
                        [one] => format!("node {one} does"),
                        several => format!("nodes {} do", several.join(", ")),
                    }
                );
            }
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How far the nodes are.
#[derive(Debug, PartialEq)]
struct Progress {
    /// All nodes.
    nodes: usize,
    /// Those with a certificate under the new root.
    certificates: usize,
    /// Those that trust the new root and no other.
    roots: usize,
    /// Those that answer and have not got that far.
    open: usize,
    /// Host names of those that do not answer and have not followed.
    down: Vec<String>,
}

impl Progress {
    fn of(view: &View, cluster: &pb::ClusterView) -> Progress {
        let mut progress = Progress {
            nodes: view.nodes.len(),
            certificates: 0,
            roots: 0,
            open: 0,
            down: Vec::new(),
        };
        for entry in view.nodes.values() {
            let tls = &entry.node.description.tls;
            let certificate = tls.issuer[..] == cluster.desired_root[..];
            let root = certificate && tls.trusted[..] == cluster.desired_root[..];
            progress.certificates += usize::from(certificate);
            progress.roots += usize::from(root);
            if entry.node.status.state == NodeState::Down {
                if !root {
                    progress.down.push(entry.node.description.hostname.clone());
                }
            } else if !root {
                progress.open += 1;
            }
        }
        progress
    }

    fn done(&self) -> bool {
        self.open == 0
    }

    fn lines(&self, root: &[u8]) -> Vec<String> {
        let digest: String = root.iter().map(|byte| format!("{byte:02x}")).collect();
        let of = |count: usize| {
            let filled = (count * BAR).checked_div(self.nodes).unwrap_or(BAR);
            let bar = match filled {
                BAR => "=".repeat(BAR),
                filled => format!("{}>{}", "=".repeat(filled), " ".repeat(BAR - 1 - filled)),
            };
            format!("[{bar}] {count}/{} nodes", self.nodes)
        };
        vec![
            format!("desired root digest: sha256:{digest}"),
            format!("  rotated TLS certificates:  {}", of(self.certificates)),
            format!("  rotated CA certificates:   {}", of(self.roots)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use crate::commands::Command;
    use clap::Parser as _;

    fn args(words: &str) -> Args {
        let words = ["skep", "swarm", "ca"]
            .into_iter()
            .chain(words.split_whitespace());
        match Cli::try_parse_from(words).unwrap().command {
            Command::Swarm(super::super::Command::Ca(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_without_rotate_or_without_their_other_half_are_refused() {
        for (words, said) in [
            (
                "--ca-cert a",
                "`--ca-cert` flag requires the `--rotate` flag",
            ),
            ("--ca-key a", "`--ca-key` flag requires the `--rotate` flag"),
            (
                "--cert-expiry 2h",
                "`--cert-expiry` flag requires the `--rotate`",
            ),
            ("--rotate --ca-cert a", "requires that a --ca-key flag"),
            ("--rotate --ca-key a", "requires that a --ca-cert flag"),
            ("--rotate --external-ca protocol=cfssl", "external CA"),
            ("--external-ca protocol=cfssl", "external CA"),
        ] {
            let refused = args(words).root().unwrap_err().to_string();
            assert!(refused.contains(said), "{words}: {refused}");
        }
        assert_eq!(args("").root().unwrap(), pb::RotateRootCa::default());
        let none = args("--rotate --ca-cert /nonexistent --ca-key /nonexistent");
        let refused = none.root().unwrap_err().to_string();
        assert!(refused.contains("/nonexistent"), "{refused}");
    }

    #[test]
    fn progress_is_drawn_as_docker_draws_it() {
        let progress = Progress {
            nodes: 2,
            certificates: 1,
            roots: 0,
            open: 1,
            down: Vec::new(),
        };
        assert_eq!(
            progress.lines(&[0xab, 0x01]),
            [
                "desired root digest: sha256:ab01".to_owned(),
                format!(
                    "  rotated TLS certificates:  [{}>{}] 1/2 nodes",
                    "=".repeat(25),
                    " ".repeat(24)
                ),
                format!(
                    "  rotated CA certificates:   [>{}] 0/2 nodes",
                    " ".repeat(49)
                ),
            ]
        );
        assert!(!progress.done());
    }
}
