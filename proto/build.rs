//! Compiles the contract without protoc: protox parses, tonic-prost generates.

fn main() -> Result<(), Box<dyn std::error::Error>> {
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
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
