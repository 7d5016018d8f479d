//! The last steps before a program runs in a container: capabilities, the
//! system call filter, signals. The same for process 1 and for commands run
//! beside it.
//!
//! libcontainer is told of no capabilities and no filter. It leaves the process
//! with the permitted set it had, and this does the rest in an order in which
//! each step is still allowed to make the next one.

use crate::sys;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use skep_agent_shim_api::{CapabilitySet, ProcessSpec};
use std::io;

/// Takes away what `process` may not have. Cannot be undone.
///
/// # Errors
/// The step that failed and why. The caller must not run the program then.
pub fn apply(
    process: &ProcessSpec,
    filter: Option<&[u8]>,
) -> Result<(), (&'static str, io::Error)> {
    sys::reset_signals();
    umask(Mode::from_bits_truncate(0o022));
    for capability in 0..CapabilitySet::COUNT {
        if !process.capabilities.contains(capability) {
            match sys::drop_bounding(capability) {
                // An older kernel knows fewer of them.
                Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => {}
                result => result.map_err(|e| ("drop capabilities", e))?,
            }
        }
    }
    // Capabilities newer than our table are dropped too.
    for capability in CapabilitySet::COUNT..64 {
        if sys::drop_bounding(capability).is_err() {
            break;
        }
    }
    sys::clear_ambient().map_err(|e| ("clear ambient capabilities", e))?;
    if process.no_new_privileges {
        prctl::set_no_new_privs().map_err(|e| ("set no-new-privileges", e.into()))?;
    }
    // Before the capabilities go: without no-new-privileges it needs one.
    if let Some(filter) = filter {
        sys::load_filter(filter).map_err(|e| ("load the seccomp filter", e))?;
    }
    sys::set_capabilities(process.capabilities.0).map_err(|e| ("set capabilities", e))
}
