//! `skep-shim create`: makes the container through libcontainer and then
//! becomes its monitor by executing this binary again, which leaves the heap
//! and the pages of the creation behind.

use crate::error::Error;
use crate::monitor::Inherited;
use crate::workload::Workload;
use crate::{devices, events, remove, seccomp, stdio};
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, umask};
use nix::sys::{prctl, signal};
use nix::unistd;
use skep_agent_shim_api::{Bundle, Cgroup, CreateOutcome, Seccomp, ShimRequest};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::rc::Rc;

/// The longest time in which a container is made or entered, in seconds:
/// libcontainer waits for its children without a limit of its own.
pub const WATCHDOG_SECONDS: u32 = 60;

/// Makes the container of this bundle. Returns only on failure: otherwise the
/// process goes on as the monitor, which prints the outcome.
pub fn run(bundle: &Bundle) -> ExitCode {
    let Err(error) = create(bundle);
    remove::clean(bundle);
    let outcome = CreateOutcome::Failed {
        reason: error.chain(),
    };
    if let Ok(text) = serde_json::to_string(&outcome) {
        println!("{text}");
    }
    ExitCode::FAILURE
}

/// Reads the request of a bundle.
pub fn request(bundle: &Bundle) -> Result<ShimRequest, Error> {
    let path = bundle.request();
    let bytes = fs::read(&path).map_err(|source| Error::File {
        verb: "read",
        path: path.clone(),
        source,
    })?;
    let request: ShimRequest =
        serde_json::from_slice(&bytes).map_err(|source| Error::Request { path, source })?;
    if request.process.args.is_empty() {
        return Err(Error::Reported("no command specified".to_owned()));
    }
    Ok(request)
}

/// A pipe whose ends do not survive `execve`.
pub fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    unistd::pipe2(OFlag::O_CLOEXEC).map_err(Error::kernel("make a pipe"))
}

/// The compiled filter that a process asks for.
pub fn filter(
    process: &skep_agent_shim_api::ProcessSpec,
    cache: &std::path::Path,
) -> Result<Option<Rc<Vec<u8>>>, Error> {
    match process.seccomp {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Default => seccomp::filter(process.capabilities, cache).map(|f| Some(Rc::new(f))),
    }
}

fn create(bundle: &Bundle) -> Result<std::convert::Infallible, Error> {
    let request = request(bundle)?;
    detach()?;
    unistd::alarm::set(WATCHDOG_SECONDS);
    let (theirs, ours) = stdio::open(&request, bundle)?;
    let (report_read, report_write) = pipe()?;
    let workload = Workload {
        process: request.process.clone(),
        filter: filter(&request.process, &request.seccomp_cache)?,
        new_network: request.new_network,
        tty: request.tty,
        report: Rc::new(File::from(report_write)),
    };
    let events = listen_to_events()?;
    oom_score(request.process.oom_score_adj)?;

    let state = bundle.state();
    fs::create_dir_all(&state).map_err(|source| Error::File {
        verb: "make",
        path: state.clone(),
        source,
    })?;
    let built = ContainerBuilder::new(request.container_id.clone(), SyscallType::default())
        .with_executor(workload)
        .with_root_path(state)
        .and_then(|builder| {
            theirs
                .hand_to(builder)
                .as_init(bundle.dir())
                .with_systemd(false)
                .with_detach(true)
                .build()
        });
    let container = built.map_err(|error| explain(error.into(), &report_read, &events))?;
    let pid = container
        .pid()
        .ok_or_else(|| Error::Reported("the container has no process".to_owned()))?
        .as_raw();

    let ours = ours.receive()?;

    // The container took its own; ours must not be the first to be killed.
    let _not_allowed_here = oom_score(-999).or_else(|_| oom_score(0));
    let cgroup = Cgroup::locate(&request.cgroup_path).map_err(Error::kernel("find the cgroup"))?;
    if let (true, Some(dir)) = (cgroup.is_unified(), cgroup.unified()) {
        devices::restrict(dir, &request.devices)?;
    }
    let listener = listen(bundle, Bundle::SOCKET_NAME)?;
    unistd::alarm::cancel();
    become_monitor(Inherited {
        bundle: bundle.dir().to_owned(),
        pid,
        stdout: keep(&ours.stdout)?,
        stderr: ours.stderr.as_ref().map(keep).transpose()?,
        stdin: ours.stdin.as_ref().map(keep).transpose()?,
        report: keep(&report_read)?,
        listener: keep(&listener)?,
    })
}

/// Leaves the session, the directory and the signals of whoever started us.
fn detach() -> Result<(), Error> {
    // Fails only for a group leader, which has a session of its own already.
    let _leader = unistd::setsid();
    unistd::chdir("/").map_err(Error::kernel("change to /"))?;
    umask(Mode::from_bits_truncate(0o022));
    prctl::set_child_subreaper(true).map_err(Error::kernel("become a subreaper"))?;
    let ignore = |signal| {
        let action = signal::SigAction::new(
            signal::SigHandler::SigIgn,
            signal::SaFlags::empty(),
            signal::SigSet::empty(),
        );
        crate::sys::set_action(signal, &action).map_err(Error::kernel("ignore a signal"))
    };
    // A container ends with us, so we end with it: whoever wants to stop it asks
    // through the socket. The container gets its defaults back.
    ignore(signal::Signal::SIGHUP)?;
    ignore(signal::Signal::SIGINT)?;
    ignore(signal::Signal::SIGTERM)
}

fn oom_score(value: i32) -> Result<(), Error> {
    let path = "/proc/self/oom_score_adj";
    fs::write(path, value.to_string()).map_err(|source| Error::File {
        verb: "set the OOM score in",
        path: path.into(),
        source,
    })
}

/// Collects what libcontainer says about its failures.
pub fn listen_to_events() -> Result<File, Error> {
    let file = memfd_create(c"skep-shim-events", MFdFlags::MFD_CLOEXEC)
        .map(File::from)
        .map_err(Error::kernel("make a buffer"))?;
    let copy = file.try_clone().map_err(Error::kernel("share a buffer"))?;
    // Set once in the life of this process.
    let _already = tracing::subscriber::set_global_default(events::ErrorsTo(copy));
    Ok(file)
}

/// The best reason there is: our own from inside the container, then what
/// libcontainer logged, then the error it returned.
pub fn explain(error: Box<dyn std::error::Error>, report: &OwnedFd, events: &File) -> Error {
    let mut buffer = [0; 4096];
    let pending = fcntl(report, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
        .and_then(|_| unistd::read(report, &mut buffer))
        .unwrap_or(0);
    if pending > 0 {
        return Error::Reported(String::from_utf8_lossy(&buffer[..pending]).into_owned());
    }
    let logged = events::written(events);
    if logged.is_empty() {
        Error::Reported(format!("cannot make the container: {error}"))
    } else {
        Error::Reported(format!("cannot make the container: {logged}"))
    }
}

/// Binds a socket through the open directory: a socket address holds 108 bytes,
/// a path more.
pub fn listen(bundle: &Bundle, name: &str) -> Result<UnixListener, Error> {
    let fail = |source: io::Error| Error::File {
        verb: "listen on",
        path: bundle.dir().join(name),
        source,
    };
    let dir = File::open(bundle.dir()).map_err(fail)?;
    let name = format!("/proc/self/fd/{}/{name}", dir.as_raw_fd());
    match fs::remove_file(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    UnixListener::bind(name).map_err(fail)
}

/// Lets a descriptor survive the execution of the monitor.
fn keep(fd: impl AsFd) -> Result<RawFd, Error> {
    fcntl(fd.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))
        .map_err(Error::kernel("keep a descriptor"))?;
    Ok(fd.as_fd().as_raw_fd())
}

fn become_monitor(inherited: Inherited) -> Result<std::convert::Infallible, Error> {
    let state = serde_json::to_string(&inherited).map_err(|source| Error::Request {
        path: inherited.bundle.clone(),
        source,
    })?;
    io::stdout()
        .flush()
        .map_err(Error::kernel("flush the output"))?;
    let state = CString::new(state)
        .map_err(|_| Error::Reported("the bundle's path holds a zero byte".to_owned()))?;
    unistd::execve(
        c"/proc/self/exe",
        &[c"skep-shim", c"monitor", state.as_c_str()],
        &[] as &[&std::ffi::CStr],
    )
    .map_err(Error::kernel("execute the monitor"))
}
