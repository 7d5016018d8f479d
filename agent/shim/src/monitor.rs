//! The life of a container: a loop that waits for output, for the container's
//! end and for requests, with one thread and little memory.
//!
//! When the container has ended, the exit record is on the disk before anybody
//! is told, if the disk takes it; then the cgroup goes and the process ends.

mod client;
mod output;

use crate::error::{Error, complain};
use crate::log::{Log, Source};
use crate::{create, remove, sys};
use client::Client;
use libcontainer::container::Container;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{self, Pid};
use output::Output;
use serde::{Deserialize, Serialize};
use skep_agent_shim_api::exit::unix_nanos_now;
use skep_agent_shim_api::{
    Bundle, Cgroup, ControlRequest, ControlResponse, CreateOutcome, ExitRecord, ShimRequest, Status,
};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long output may still come after the last process has ended.
const DRAIN: Duration = Duration::from_secs(2);

/// What the creation hands to the monitor through `execve`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Inherited {
    /// The bundle directory.
    pub bundle: PathBuf,
    /// Process 1 of the container.
    pub pid: i32,
    /// Read end of the container's standard output, or its terminal.
    pub stdout: RawFd,
    /// Read end of its standard error; none with a terminal.
    pub stderr: Option<RawFd>,
    /// Write end of its standard input, where that is to stay open.
    pub stdin: Option<RawFd>,
    /// Read end of the pipe that says why the program did not run.
    pub report: RawFd,
    /// The control socket, bound.
    pub listener: RawFd,
}

/// `skep-shim monitor`.
pub fn run(state: &str) -> ExitCode {
    let inherited: Inherited = match serde_json::from_str(state) {
        Ok(inherited) => inherited,
        Err(error) => {
            complain(&format!("monitor is started by create only: {error}"));
            return ExitCode::from(2);
        }
    };
    // It was executed as /proc/self/exe, and `exe` would tell nobody in ps what it is. All
    // else is well without.
    let _ = prctl::set_name(c"skep-shim");
    let bundle = Bundle::new(&inherited.bundle);
    match Monitor::new(inherited, &bundle).and_then(|mut monitor| monitor.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.chain());
            remove::clean(&bundle);
            ExitCode::FAILURE
        }
    }
}

struct Monitor {
    bundle: Bundle,
    request: ShimRequest,
    pid: Pid,
    signals: SignalFd,
    listener: UnixListener,
    stdout: Output,
    stderr: Output,
    /// Nobody writes to it; closing it would end the container's input.
    _stdin: Option<OwnedFd>,
    /// Open until the program runs or failed to.
    report: Option<File>,
    reason: String,
    started: bool,
    /// Nobody will ask for the exit record.
    deleted: bool,
    clients: Vec<Client>,
    log: Log,
}

impl Monitor {
    fn new(inherited: Inherited, bundle: &Bundle) -> Result<Self, Error> {
        let take = |fd| sys::adopt_fd(fd).map_err(Error::kernel("take over a descriptor"));
        let set_quiet = |fd: &OwnedFd| -> Result<(), Error> {
            use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
                .and_then(|_| fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)))
                .map(drop)
                .map_err(Error::kernel("set up a descriptor"))
        };
        let take = |fd| take(fd).and_then(|fd| set_quiet(&fd).map(|()| fd));
        let stderr = inherited.stderr.map(take).transpose()?;
        let stdin = inherited.stdin.map(take).transpose()?;
        let [stdout, report, listener] = [
            take(inherited.stdout)?,
            take(inherited.report)?,
            take(inherited.listener)?,
        ];
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()
            .map_err(Error::kernel("block SIGCHLD"))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(Error::kernel("watch for SIGCHLD"))?;
        let request = create::request(bundle)?;
        Ok(Self {
            pid: Pid::from_raw(inherited.pid),
            signals,
            listener: listener.into(),
            stdout: Output::new(Some(stdout), Source::Stdout),
            stderr: Output::new(stderr, Source::Stderr),
            _stdin: stdin,
            report: Some(report.into()),
            reason: String::new(),
            started: false,
            deleted: false,
            clients: Vec::new(),
            log: Log::new(request.log.clone()),
            bundle: bundle.clone(),
            request,
        })
    }

    fn run(&mut self) -> Result<(), Error> {
        self.announce()?;
        let status = loop {
            if let Some(status) = self.turn()? {
                break status;
            }
        };
        self.finish(status)
    }

    /// Tells whoever started the creation, and lets go of its pipe.
    fn announce(&self) -> Result<(), Error> {
        let outcome = CreateOutcome::Created {
            pid: self.pid.as_raw(),
        };
        if let Ok(text) = serde_json::to_string(&outcome) {
            use io::Write;
            // The daemon may have died meanwhile; it will find us.
            let _nobody = writeln!(io::stdout(), "{text}");
        }
        let null = File::open("/dev/null").map_err(Error::kernel("open /dev/null"))?;
        unistd::dup2_stdout(&null).map_err(Error::kernel("close the output"))
    }

    /// Waits for something to happen and deals with it. The status of the
    /// container when it has ended.
    fn turn(&mut self) -> Result<Option<WaitStatus>, Error> {
        // Which descriptor is what: the fixed ones first, then the clients.
        let ready = {
            let mut fds = vec![
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
            ];
            let optional = [
                self.stdout.fd(),
                self.stderr.fd(),
                // Looked at only when somebody waits for the start.
                self.report
                    .as_ref()
                    .filter(|_| self.started)
                    .map(AsFd::as_fd),
            ];
            let mut slots = [None; 3];
            for (slot, fd) in slots.iter_mut().zip(optional) {
                if let Some(fd) = fd {
                    *slot = Some(fds.len());
                    fds.push(PollFd::new(fd, PollFlags::POLLIN));
                }
            }
            let first_client = fds.len();
            for client in &self.clients {
                fds.push(PollFd::new(client.fd(), PollFlags::POLLIN));
            }
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => return Ok(None),
                result => result.map_err(Error::kernel("poll"))?,
            };
            let is_ready = |index: usize| fds[index].any().unwrap_or(true);
            Ready {
                signals: is_ready(0),
                listener: is_ready(1),
                stdout: slots[0].is_some_and(is_ready),
                stderr: slots[1].is_some_and(is_ready),
                report: slots[2].is_some_and(is_ready),
                clients: (0..self.clients.len())
                    .map(|index| is_ready(first_client + index))
                    .collect(),
            }
        };
        if ready.stdout {
            self.stdout.read(&mut self.log);
        }
        if ready.stderr {
            self.stderr.read(&mut self.log);
        }
        if ready.report {
            self.read_report();
        }
        self.serve(&ready.clients);
        if ready.listener {
            self.accept();
        }
        if ready.signals {
            return self.reap();
        }
        Ok(None)
    }

    /// Takes the status of every child that ended.
    fn reap(&mut self) -> Result<Option<WaitStatus>, Error> {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        let mut ended = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(ended),
                Ok(status) if status.pid() == Some(self.pid) => ended = Some(status),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::kernel("wait for the container")(errno)),
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            // A client that cannot be served asynchronously is not served.
            if stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client::new(stream));
            }
        }
    }

    fn serve(&mut self, ready: &[bool]) {
        let mut clients = std::mem::take(&mut self.clients);
        let mut index = 0;
        clients.retain_mut(|client| {
            let is_ready = ready.get(index).copied().unwrap_or(false);
            index += 1;
            if !is_ready {
                return true;
            }
            match client.receive() {
                Ok(Some(request)) => self.handle(client, request),
                Ok(None) => true,
                Err(_) => false,
            }
        });
        self.clients.append(&mut clients);
    }

    /// Answers a request now, or keeps the client until there is an answer.
    fn handle(&mut self, client: &mut Client, request: ControlRequest) -> bool {
        let response = match request {
            ControlRequest::Start => match self.start() {
                Ok(()) => {
                    client.waits_for_start = true;
                    return true;
                }
                Err(reason) => ControlResponse::Failed { reason },
            },
            ControlRequest::Kill { signal } => done(sys::kill(self.pid.as_raw(), signal)),
            ControlRequest::State => ControlResponse::State(Status {
                pid: self.pid.as_raw(),
                started: self.started,
            }),
            ControlRequest::Wait => {
                client.waits_for_exit = true;
                return true;
            }
            ControlRequest::Delete => {
                client.waits_for_exit = true;
                self.deleted = true;
                // Gone already: the exit is on its way to this loop.
                let _gone = kill(self.pid, Signal::SIGKILL);
                return true;
            }
        };
        client.send(&response);
        false
    }

    fn start(&mut self) -> Result<(), String> {
        if self.started {
            return Err("the container is started already".to_owned());
        }
        Container::load(self.bundle.state().join(&self.request.container_id))
            .and_then(|mut container| container.start())
            .map_err(|error| format!("cannot start the container: {error}"))?;
        self.started = true;
        Ok(())
    }

    /// The pipe closes when the program runs; what came before is the reason
    /// why it does not.
    fn read_report(&mut self) {
        let Some(report) = &self.report else { return };
        let mut buffer = [0; 512];
        match unistd::read(report, &mut buffer) {
            Ok(0) => {
                self.report = None;
                self.answer_start();
            }
            Ok(count) => {
                if self.reason.len() < 4096 {
                    self.reason
                        .push_str(&String::from_utf8_lossy(&buffer[..count]));
                }
            }
            Err(_) => {}
        }
    }

    fn answer_start(&mut self) {
        let response = if self.reason.is_empty() {
            ControlResponse::Done
        } else {
            ControlResponse::Failed {
                reason: self.reason.clone(),
            }
        };
        self.clients.retain_mut(|client| {
            if client.waits_for_start {
                client.send(&response);
            }
            !client.waits_for_start
        });
    }

    fn finish(&mut self, status: WaitStatus) -> Result<(), Error> {
        let cgroup =
            Cgroup::locate(&self.request.cgroup_path).map_err(Error::kernel("find the cgroup"))?;
        if self.request.host_pid {
            // They would go on, and hold the output open.
            cgroup.signal_all(Signal::SIGKILL);
        }
        self.drain()?;
        while self.report.is_some() && self.started {
            // All writers are dead: this reads to the end.
            let before = self.reason.len();
            self.read_report();
            if self.report.is_some() && self.reason.len() == before {
                self.report = None;
                self.answer_start();
            }
        }
        let (code, signal) = match status {
            WaitStatus::Exited(_, code) => (code, None),
            WaitStatus::Signaled(_, signal, _) => (128 + signal as i32, Some(signal as i32)),
            _ => (255, None),
        };
        let record = ExitRecord {
            code,
            signal,
            oom: code != 0 && cgroup.oom_kills() > 0,
            at_unix_nanos: unix_nanos_now(),
            error: Some(std::mem::take(&mut self.reason)).filter(|reason| !reason.is_empty()),
        };
        // Writing durably takes longer than all the rest. On a full disk it fails,
        // and whoever waits is told all the same.
        let is_written = self.deleted || record.write(&self.bundle).is_ok();
        // Whoever connects from here on finds no socket, but the record.
        let _gone = fs::remove_file(self.bundle.socket());
        self.accept();
        for client in &mut self.clients {
            client.send(&ControlResponse::Exited(record.clone()));
        }
        self.clients.clear();
        remove::clean(&self.bundle);
        // What was killed above is ours to take the status of.
        self.reap()?;
        if is_written {
            return Ok(());
        }
        // What was removed has made room.
        record.write(&self.bundle).map_err(|source| Error::File {
            verb: "write",
            path: self.bundle.exit(),
            source,
        })
    }

    /// Reads the rest of the output. It ends by itself once all writers are
    /// dead, which they are soon after process 1.
    fn drain(&mut self) -> Result<(), Error> {
        let end = Instant::now() + DRAIN;
        loop {
            let fds: Vec<_> = [self.stdout.fd(), self.stderr.fd()]
                .into_iter()
                .flatten()
                .collect();
            if fds.is_empty() {
                break;
            }
            let mut fds: Vec<_> = fds
                .into_iter()
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
                .collect();
            let left = end.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            match poll(&mut fds, timeout) {
                Ok(0) => break,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::kernel("poll")(errno)),
            }
            self.stdout.read(&mut self.log);
            self.stderr.read(&mut self.log);
        }
        self.stdout.flush(&mut self.log);
        self.stderr.flush(&mut self.log);
        Ok(())
    }
}

fn done(result: io::Result<()>) -> ControlResponse {
    match result {
        Ok(()) => ControlResponse::Done,
        Err(error) => ControlResponse::Failed {
            reason: error.to_string(),
        },
    }
}

/// What `poll` found.
struct Ready {
    signals: bool,
    listener: bool,
    stdout: bool,
    stderr: bool,
    report: bool,
    clients: Vec<bool>,
}
