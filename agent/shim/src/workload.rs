//! Our part of the process that becomes the container: called by libcontainer
//! inside the namespaces and the root file system.
//!
//! It finds the program (so that a missing one is told when the container is
//! made), binds the life of the container to that of the shim, and runs the
//! program confined.

use crate::{confine, init, sys};
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd;
use skep_agent_shim_api::ProcessSpec;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The program of a container, and where to tell why it did not run.
#[derive(Clone)]
pub struct Workload {
    /// What to run and how to confine it.
    pub process: ProcessSpec,
    /// Compiled system call filter.
    pub filter: Option<Rc<Vec<u8>>>,
    /// Whether the network namespace is new and its loopback still down.
    pub new_network: bool,
    /// Whether the standard streams are a terminal.
    pub tty: bool,
    /// Write end of a pipe that closes when the program runs. What is written
    /// to it is the reason why it did not.
    pub report: Rc<File>,
}

impl Workload {
    fn prepare(&self) -> Result<(), String> {
        // Set after the last change of user, which would clear it.
        prctl::set_pdeathsig(Signal::SIGKILL)
            .map_err(|error| format!("cannot bind the container to its shim: {error}"))?;
        if self.tty {
            // Its user may open it again by name, as for pipes.
            unistd::fchown(
                std::io::stdin(),
                Some(unistd::Uid::from_raw(self.process.uid)),
                None,
            )
            .map_err(|error| format!("cannot hand over the terminal: {error}"))?;
        }
        if self.new_network {
            sys::loopback_up().map_err(|error| format!("cannot bring up loopback: {error}"))?;
        }
        enter(&self.process.cwd)?;
        find_program(&self.process).map(drop)
    }

    fn run(&self) -> (i32, String) {
        let name = &self.process.args[0];
        let program = match find_program(&self.process) {
            Ok(path) => path,
            Err(reason) => return (127, reason),
        };
        let c_strings = |texts: &[String]| {
            texts
                .iter()
                .map(|text| CString::new(text.as_str()))
                .collect::<Result<Vec<_>, _>>()
        };
        let path = CString::new(program.as_os_str().as_encoded_bytes());
        let (Ok(path), Ok(args), Ok(env)) = (
            path,
            c_strings(&self.process.args),
            c_strings(&self.process.env),
        ) else {
            return (
                126,
                format!("exec: {name:?}: an argument holds a zero byte"),
            );
        };
        let (path, args) = match self.process.init {
            // This very binary; the program is its first argument.
            true => {
                let name = CString::new(init::NAME).unwrap_or_default();
                let words = [vec![name, path], args].concat();
                (c"/proc/self/exe".to_owned(), words)
            }
            false => (path, args),
        };
        let filter = self.filter.as_ref().map(|filter| filter.as_slice());
        if let Err((step, error)) = confine::apply(&self.process, filter) {
            return (126, format!("cannot {step}: {error}"));
        }
        let Err(errno) = unistd::execve(&path, &args, &env);
        let code = if errno == Errno::ENOENT { 127 } else { 126 };
        (code, format!("exec: {name:?}: {}", describe(errno)))
    }
}

impl Executor for Workload {
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        self.prepare().map_err(|reason| {
            // The pipe carries the reason unchanged; libcontainer wraps it.
            let _told_below_too = (&*self.report).write_all(reason.as_bytes());
            ExecutorValidationError::ArgValidationError(reason)
        })
    }

    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // The environment is handed to execve in the order it was given.
        Ok(())
    }

    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        let (code, reason) = self.run();
        let _nobody_listens = (&*self.report).write_all(reason.as_bytes());
        sys::exit_now(code)
    }
}

/// Enters the working directory, which is made where it does not exist.
fn enter(cwd: &str) -> Result<(), String> {
    let fail = |error: &dyn std::fmt::Display| format!("working directory {cwd:?}: {error}");
    if unistd::chdir(cwd) == Err(Errno::ENOENT) {
        make_directories(Path::new(cwd)).map_err(|e| fail(&e))?;
        unistd::chdir(cwd).map_err(|e| fail(&e.desc()))?;
    } else {
        unistd::chdir(cwd).map_err(|e| fail(&e.desc()))?;
    }
    // A path through a descriptor that leaked would lead out of the container.
    match unistd::getcwd() {
        Ok(path) if path.is_absolute() => Ok(()),
        _ => Err(fail(&"is outside of the container")),
    }
}

/// `mkdir -p`, owned by root as Docker does it.
fn make_directories(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directories(parent)?;
    }
    fs::create_dir(path)?;
    std::os::unix::fs::chown(path, Some(0), Some(0))
}

/// Where the program is, by the rules of `execvp`, with the reasons that Docker
/// gives.
fn find_program(process: &ProcessSpec) -> Result<PathBuf, String> {
    let name = process.args[0].as_str();
    if name.contains('/') {
        return match usable(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(Errno::ENOENT) => Err(format!(
                "exec: {name:?}: stat {name}: {}",
                describe(Errno::ENOENT)
            )),
            Err(errno) => Err(format!("exec: {name:?}: {}", describe(errno))),
        };
    }
    let path = process
        .env
        .iter()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or_default();
    let mut refused = None;
    for dir in path.split(':').filter(|_| !name.is_empty()) {
        let candidate = Path::new(if dir.is_empty() { "." } else { dir }).join(name);
        match usable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => refused = Some(candidate),
            Err(_) => {}
        }
    }
    Err(match refused {
        Some(_) => format!("exec: {name:?}: {}", describe(Errno::EACCES)),
        None => format!("exec: {name:?}: executable file not found in $PATH"),
    })
}

fn usable(path: &Path) -> Result<(), Errno> {
    let metadata = fs::metadata(path)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO)))?;
    if metadata.is_dir() {
        return Err(Errno::EISDIR);
    }
    // Whether this user may is the kernel's to say; nobody may without a bit.
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(Errno::EACCES);
    }
    Ok(())
}

fn describe(errno: Errno) -> String {
    errno.desc().to_lowercase()
}
