//! `skep image ls`.

use crate::client::Host;
use crate::error::CliError;
use crate::filter::FilterArgs;
use crate::human::{ago, parse_moment, size};
use crate::output::now_ms;
use crate::table::{FormatArgs, Table};
use anyhow::Result;
use skep_proto::pb;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "list",
    before_help = "Example:\n  skep image ls --filter reference=redis"
)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    form: FormatArgs,
    /// Do not cut ids
    #[arg(long)]
    no_trunc: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
}

/// Lists.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let filters = args.filter.read(&["reference"])?;
    let client = host.connect().await?;
    let answer = client.node()?.list_images(pb::ListImagesRequest {}).await;
    let mut images = answer.map_err(CliError::from)?.into_inner().images;
    images.sort_by(|a, b| b.created.cmp(&a.created).then(a.id.cmp(&b.id)));
    let mut table = Table::new(
        match args.digests {
            true => &[
                ("REPOSITORY", "Repository"),
                ("TAG", "Tag"),
                ("DIGEST", "Digest"),
                ("IMAGE ID", "ID"),
                ("CREATED", "CreatedSince"),
                ("SIZE", "Size"),
            ],
            false => &[
                ("REPOSITORY", "Repository"),
                ("TAG", "Tag"),
                ("IMAGE ID", "ID"),
                ("CREATED", "CreatedSince"),
                ("SIZE", "Size"),
            ],
        },
        "ID",
    );
    let now = now_ms();
    for image in &images {
        let digest = image
            .digests
            .first()
            .and_then(|d| d.split_once('@'))
            .map(|(_, d)| d);
        let mut names: Vec<(String, String)> =
            image.references.iter().map(|name| split(name)).collect();
        if names.is_empty() {
            names.push(("<none>".to_owned(), "<none>".to_owned()));
        }
        for (repository, tag) in names {
            let shown = filters.any("reference", |wanted| {
                let (name, wanted_tag) = split(wanted);
                name == repository && (wanted_tag == "<none>" || wanted_tag == tag)
            });
            if !shown {
                continue;
            }
            table.row([
                ("ID", id(&image.id, args.no_trunc)),
                ("Repository", repository),
                ("Tag", tag),
                ("Digest", digest.unwrap_or("<none>").to_owned()),
                ("CreatedSince", created_since(&image.created, now)),
                ("Size", size(image.size_bytes)),
            ]);
        }
    }
    table.print(&args.form)
}

/// How long ago an image says that it was made.
fn created_since(created: &str, now: u64) -> String {
    match parse_moment(created, now) {
        Ok(at) if !created.is_empty() => ago(at, now),
        _ => "N/A".to_owned(),
    }
}

fn id(id: &str, whole: bool) -> String {
    match whole {
        true => id.to_owned(),
        false => crate::human::id(id.trim_start_matches("sha256:"), false),
    }
}

/// Name and tag of a reference, in the short form people write.
fn split(reference: &str) -> (String, String) {
    let short = reference
        .strip_prefix("docker.io/library/")
        .or_else(|| reference.strip_prefix("docker.io/"))
        .unwrap_or(reference);
    let name = short.split('@').next().unwrap_or(short);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name.to_owned(), tag.to_owned()),
        _ => (name.to_owned(), "<none>".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_shown_as_people_write_them() {
        for (reference, name, tag) in [
            ("docker.io/library/redis:alpine", "redis", "alpine"),
            ("docker.io/dockersamples/vote:1", "dockersamples/vote", "1"),
            ("10.0.0.1:5000/vote:1", "10.0.0.1:5000/vote", "1"),
            ("10.0.0.1:5000/vote", "10.0.0.1:5000/vote", "<none>"),
            ("redis@sha256:abc", "redis", "<none>"),
        ] {
            assert_eq!(split(reference), (name.to_owned(), tag.to_owned()));
        }
    }
}
