//! One manager of this version: see the library.

fn main() -> anyhow::Result<()> {
    skep_versions::main()
}
