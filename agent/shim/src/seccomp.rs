//! Turns the policy of [`crate::profile`] into a filter, once for each set of
//! capabilities: compiling takes 15 ms, reading the result from a file nothing.

use crate::error::Error;
use crate::profile;
use libseccomp::error::SeccompError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use skep_agent_shim_api::CapabilitySet;
use std::fs;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Changes when what is compiled from the same table changes.
const GENERATION: u64 = 1;

/// The filter for these capabilities, from `cache` where it is there.
///
/// # Errors
/// A filter that cannot be compiled. A cache that cannot be written is none.
pub fn filter(capabilities: CapabilitySet, cache: &Path) -> Result<Vec<u8>, Error> {
    let path = cache.join(format!(
        "{:016x}-{:016x}.bpf",
        policy_hash(),
        capabilities.0
    ));
    if let Some(program) = read(&path) {
        return Ok(program);
    }
    let program = compile(capabilities)?;
    // Without the cache the next container compiles again, which is no error.
    let _slower = write(&path, &program);
    Ok(program)
}

/// A cached file is the program followed by its hash.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = fs::read(path).ok()?;
    let (program, hash) = bytes.split_last_chunk::<8>()?;
    if program.is_empty() || fnv(program) != u64::from_le_bytes(*hash) {
        return None;
    }
    bytes.truncate(bytes.len() - 8);
    Some(bytes)
}

fn write(path: &Path, program: &[u8]) -> std::io::Result<()> {
    let aside = path.with_extension(format!("new{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(program)?;
    file.write_all(&fnv(program).to_le_bytes())?;
    fs::rename(&aside, path)
}

/// Fowler-Noll-Vo: tells versions and torn files apart; not against attackers,
/// who cannot write here.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn policy_hash() -> u64 {
    let mut text = format!("{GENERATION} {}", profile::ALLOWED);
    for (capability, names) in profile::ALLOWED_WITH {
        text.push_str(capability);
        text.push_str(names);
    }
    fnv(text.as_bytes())
}

fn compile(capabilities: CapabilitySet) -> Result<Vec<u8>, Error> {
    // libseccomp writes programs to descriptors only.
    let mut file = memfd_create(c"skep-shim-filter", MFdFlags::MFD_CLOEXEC)
        .map(fs::File::from)
        .map_err(Error::kernel("make a buffer"))?;
    let (context, highest_known) = build(capabilities).map_err(Error::Seccomp)?;
    context.export_bpf(&file).map_err(Error::Seccomp)?;
    let mut program = preamble(highest_known);
    file.rewind()
        .and_then(|()| file.read_to_end(&mut program))
        .map_err(Error::kernel("read the seccomp filter"))?;
    Ok(program)
}

/// The policy as rules, and the highest number of a call that it knows.
fn build(capabilities: CapabilitySet) -> Result<(ScmpFilterContext, i32), SeccompError> {
    let mut context = ScmpFilterContext::new(ScmpAction::Errno(libc::EPERM))?;
    // Programs for 32 bits run on this machine as well; without their
    // architectures in the filter every call of theirs would kill them.
    #[cfg(target_arch = "x86_64")]
    for arch in [ScmpArch::X86, ScmpArch::X32] {
        context.add_arch(arch)?;
    }
    #[cfg(target_arch = "aarch64")]
    context.add_arch(ScmpArch::Arm)?;
    // A tree instead of a list: a few comparisons a call instead of hundreds.
    context.set_ctl_optimize(2)?;

    let mut highest = 0;
    let mut allow = |context: &mut ScmpFilterContext, names: &str| {
        for name in names.split_whitespace() {
            // A name that this libseccomp does not know is answered ENOSYS by
            // the preamble if it is new, and is not of this machine otherwise.
            let Ok(call) = ScmpSyscall::from_name(name) else {
                continue;
            };
            highest = highest.max(i32::from(call));
            context.add_rule(ScmpAction::Allow, call)?;
        }
        Ok::<(), SeccompError>(())
    };
    allow(&mut context, profile::ALLOWED)?;
    for (capability, names) in profile::ALLOWED_WITH {
        if capabilities.has(capability) {
            allow(&mut context, names)?;
        }
    }
    let mut rule = |name: &str, action, op, value| {
        let compare = ScmpArgCompare::new(0, op, value);
        context
            .add_rule_conditional(action, ScmpSyscall::from_name(name)?, &[compare])
            .map(drop)
    };
    for value in profile::PERSONALITIES {
        rule(
            "personality",
            ScmpAction::Allow,
            ScmpCompareOp::Equal,
            value,
        )?;
    }
    let [alg, vsock] = profile::REFUSED_FAMILIES;
    rule("socket", ScmpAction::Allow, ScmpCompareOp::Less, alg)?;
    for between in alg + 1..vsock {
        rule("socket", ScmpAction::Allow, ScmpCompareOp::Equal, between)?;
    }
    rule("socket", ScmpAction::Allow, ScmpCompareOp::Greater, vsock)?;
    if !capabilities.has("SYS_ADMIN") {
        // The mask belongs to the comparison, the value is what must be left.
        let no_namespaces = ScmpCompareOp::MaskedEqual(profile::CLONE_NAMESPACE_FLAGS);
        rule("clone", ScmpAction::Allow, no_namespaces, 0)?;
        // clone3 has its flags in memory where no filter can look: libraries
        // fall back to clone.
        context.add_rule(
            ScmpAction::Errno(libc::ENOSYS),
            ScmpSyscall::from_name("clone3")?,
        )?;
    }
    Ok((context, highest))
}

/// Calls newer than all we know are answered "no such call", so that libraries
/// fall back, instead of "not permitted", which they believe.
fn preamble(highest_known: i32) -> Vec<u8> {
    const LOAD_NUMBER: (u16, u8, u8, u32) = (0x20, 0, 0, 0);
    let newer = (0x35, 0, 2, highest_known as u32 + 1); // jump if >=
    // Numbers of the x32 calls begin here and are the filter's own matter.
    let x32 = (0x35, 1, 0, 0x4000_0000);
    let no_such_call = (0x06, 0, 0, 0x0005_0000 | libc::ENOSYS as u32);
    let mut bytes = Vec::new();
    for (code, jump_true, jump_false, k) in [LOAD_NUMBER, newer, x32, no_such_call] {
        bytes.extend_from_slice(&u16::to_ne_bytes(code));
        bytes.extend_from_slice(&[jump_true, jump_false]);
        bytes.extend_from_slice(&u32::to_ne_bytes(k));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_filter_for_the_same_capabilities_comes_from_the_cache() -> Result<(), Error> {
        let dir = tempfile::tempdir().map_err(Error::kernel("make a directory"))?;
        let capabilities = CapabilitySet::docker_default();
        let compiled = filter(capabilities, dir.path())?;
        let files: Vec<_> = fs::read_dir(dir.path())
            .map_err(Error::kernel("list"))?
            .flatten()
            .collect();
        assert_eq!(files.len(), 1);
        assert_eq!(read(&files[0].path()), Some(compiled.clone()));
        assert_eq!(filter(capabilities, dir.path())?, compiled);
        Ok(())
    }

    #[test]
    fn a_torn_cache_file_is_not_used() -> Result<(), Error> {
        let dir = tempfile::tempdir().map_err(Error::kernel("make a directory"))?;
        let path = dir.path().join("x.bpf");
        write(&path, &[1; 64]).map_err(Error::kernel("write"))?;
        assert!(read(&path).is_some());
        fs::write(&path, [1; 64]).map_err(Error::kernel("write"))?;
        assert_eq!(read(&path), None);
        Ok(())
    }
}
