//! `skep-shim exec`: runs a command beside process 1, confined as that is, for
//! health checks. It ends with the command, or kills it when time is up.

use crate::create;
use crate::error::Error;
use crate::workload::Workload;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{self, Pid};
use skep_agent_shim_api::{Bundle, ExecOutcome, ExecRequest};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Runs the command that standard input asks for and prints the outcome.
pub fn run(bundle: &Bundle) -> ExitCode {
    let outcome = execute(bundle).unwrap_or_else(|error| ExecOutcome::Failed {
        reason: error.chain(),
    });
    match serde_json::to_string(&outcome) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn execute(bundle: &Bundle) -> Result<ExecOutcome, Error> {
    let request: ExecRequest =
        serde_json::from_reader(io::stdin()).map_err(|source| Error::Request {
            path: "standard input".into(),
            source,
        })?;
    if request.process.args.is_empty() {
        return Err(Error::Reported("no command specified".to_owned()));
    }
    let end = Instant::now() + Duration::from_millis(request.timeout_millis);
    // The command's own time is kept below.
    unistd::alarm::set(create::WATCHDOG_SECONDS);
    prctl::set_child_subreaper(true).map_err(Error::kernel("become a subreaper"))?;
    let (output, writer) = create::pipe()?;
    let (report, report_writer) = create::pipe()?;
    let events = create::listen_to_events()?;
    let spec = ProcessFile::write(bundle, &request)?;
    let stdin = File::open("/dev/null").map_err(Error::kernel("open /dev/null"))?;
    let second = writer
        .try_clone()
        .map_err(Error::kernel("share the output"))?;
    let workload = Workload {
        filter: create::filter(&request.process, &request.seccomp_cache)?,
        process: request.process,
        new_network: false,
        tty: false,
        report: Rc::new(File::from(report_writer)),
    };
    let built = ContainerBuilder::new(request.container_id, SyscallType::default())
        .with_executor(workload)
        .with_root_path(bundle.state())
        .and_then(|builder| {
            builder
                .with_stdin(stdin)
                .with_stdout(writer)
                .with_stderr(second)
                .as_tenant()
                .with_process(Some(&spec.0))
                .with_detach(true)
                .build()
        });
    drop(spec);
    let pid = built
        .map_err(|error| create::explain(error.into(), &report, &events))?
        .as_raw();
    unistd::alarm::cancel();
    supervise(
        Pid::from_raw(pid),
        &output,
        &report,
        request.max_output_bytes,
        end,
    )
}

/// Collects the output until the command ends or the time is up.
fn supervise(
    pid: Pid,
    output: &OwnedFd,
    report: &OwnedFd,
    limit: usize,
    end: Instant,
) -> Result<ExecOutcome, Error> {
    let mut collected = Vec::new();
    let mut timed_out = false;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            timed_out = true;
            break;
        }
        // The output may be held open by a process that the command left
        // behind, so the end of the command is looked for as well.
        let slice = left.min(Duration::from_millis(20));
        let mut fds = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(slice).unwrap_or(PollTimeout::ZERO);
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => {
                if read_some(output, &mut collected, limit)? == 0 {
                    break;
                }
                continue;
            }
            Err(errno) => return Err(Error::kernel("poll")(errno)),
        }
        if let Some(status) = ended(pid)? {
            return Ok(outcome(status, collected, report));
        }
    }
    while !timed_out {
        if let Some(status) = ended(pid)? {
            return Ok(outcome(status, collected, report));
        }
        timed_out = Instant::now() >= end;
        std::thread::sleep(Duration::from_millis(1));
    }
    // Gone by itself at the last moment is as good.
    let _gone = kill(pid, Signal::SIGKILL);
    waitpid(pid, None).map_err(Error::kernel("wait for the command"))?;
    Ok(ExecOutcome::TimedOut {
        output: String::from_utf8_lossy(&collected).into_owned(),
    })
}

fn read_some(output: &OwnedFd, collected: &mut Vec<u8>, limit: usize) -> Result<usize, Error> {
    let mut buffer = [0; 4096];
    let count = match unistd::read(output, &mut buffer) {
        Err(Errno::EINTR) => return Ok(1),
        result => result.map_err(Error::kernel("read the output"))?,
    };
    let room = limit.saturating_sub(collected.len()).min(count);
    collected.extend_from_slice(&buffer[..room]);
    Ok(count)
}

fn ended(pid: Pid) -> Result<Option<WaitStatus>, Error> {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => Ok(None),
        Ok(status) => Ok(Some(status)),
        Err(errno) => Err(Error::kernel("wait for the command")(errno)),
    }
}

fn outcome(status: WaitStatus, collected: Vec<u8>, report: &OwnedFd) -> ExecOutcome {
    let mut reason = [0; 1024];
    // The command has ended, so this does not wait.
    let count = unistd::read(report, &mut reason).unwrap_or(0);
    if count > 0 {
        return ExecOutcome::Failed {
            reason: String::from_utf8_lossy(&reason[..count]).into_owned(),
        };
    }
    let code = match status {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        _ => 255,
    };
    ExecOutcome::Exited {
        code,
        output: String::from_utf8_lossy(&collected).into_owned(),
    }
}

/// The OCI process that libcontainer reads from a file; removed when dropped.
struct ProcessFile(std::path::PathBuf);

impl ProcessFile {
    fn write(bundle: &Bundle, request: &ExecRequest) -> Result<Self, Error> {
        let file = Self(
            bundle
                .dir()
                .join(format!("exec-{}.json", std::process::id())),
        );
        // Capabilities, filter and directory are the workload's own matter.
        let process = serde_json::json!({
            "args": request.process.args,
            "env": request.process.env,
            "cwd": "/",
            "user": {
                "uid": request.process.uid,
                "gid": request.process.gid,
                "additionalGids": request.process.groups,
            },
        });
        fs::write(&file.0, process.to_string()).map_err(|source| Error::File {
            verb: "write",
            path: file.0.clone(),
            source,
        })?;
        Ok(file)
    }
}

impl Drop for ProcessFile {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}
