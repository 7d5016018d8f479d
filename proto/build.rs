//! Compiles the contract without protoc: protox parses, tonic-prost generates.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "skep/v1/specs.proto",
        "skep/v1/objects.proto",
        "skep/v1/control.proto",
        "skep/v1/node.proto",
        "skep/v1/dispatcher.proto",
        "skep/v1/ca.proto",
        "skep/v1/raft.proto",
        "skep/v1/log.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = if std::env::var_os("CARGO_FEATURE_NEXT_FORMAT").is_some() {
        let next = next_format(&files)?;
        protox::compile(files.map(|file| next.join(file)), [next])?
    } else {
        protox::compile(files, ["."])?
    };
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}

/// The schema of a version to come: one field more than this one's. For tests that
/// run two builds in one swarm.
fn next_format(files: &[&str]) -> Result<PathBuf, Box<dyn Error>> {
    let folder = PathBuf::from(std::env::var("OUT_DIR")?).join("next");
    for file in files {
        let text = fs::read_to_string(file)?;
        let (before, after) = (
            "message ClusterSpec {",
            "message ClusterSpec { string note = 1000;",
        );
        let path = folder.join(file);
        fs::create_dir_all(path.parent().ok_or("a file without a folder")?)?;
        fs::write(path, text.replace(before, after))?;
    }
    Ok(folder)
}
