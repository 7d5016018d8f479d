//! One manager of the version to come: see the library.

fn main() -> anyhow::Result<()> {
    skep_versions::main()
}
