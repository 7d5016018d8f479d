//! Hosts made of namespaces by `deploy/hosts`, with the outside world and a registry
//! in it.

use crate::command::{self, Output};
use crate::programs::root;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// Hosts, numbered from 1. Gone with every process in them when this is dropped, and
/// even when this process is killed.
#[derive(Debug)]
pub struct Hosts {
    prefix: String,
    folder: tempfile::TempDir,
    addresses: Vec<String>,
    outside: String,
    /// Takes everything down as soon as its standard input ends.
    holder: Child,
    finished: bool,
}

impl Hosts {
    /// Hosts 1 to `count`, and the outside world with a registry that has the voting
    /// application's images and stands in for Docker Hub.
    ///
    /// # Panics
    /// When that cannot be had.
    #[must_use]
    pub fn start(name: &str, count: usize) -> Self {
        // Of runs that were killed together with their holders.
        let mut sweep = Command::new(root().join("deploy/hosts"));
        let swept = command::run(sweep.arg("sweep"), COMMAND_LIMIT).succeeds();
        eprint!("{}", swept.err);
        let prefix = format!("t-{name}-{}", std::process::id());
        let folder = tempfile::Builder::new()
            .prefix(&format!("skep-{prefix}-"))
            .tempdir()
            .expect("a temporary folder can be made");
        let mut holder = Command::new(root().join("deploy/hosts"))
            .args(["hold", &prefix, &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("deploy/hosts starts");
        let out = holder.stdout.take().map(BufReader::new);
        let mut hosts = Self {
            prefix,
            folder,
            addresses: Vec::new(),
            outside: String::new(),
            holder,
            finished: false,
        };
        let mut ready = false;
        for line in out
            .into_iter()
            .flat_map(BufRead::lines)
            .map_while(Result::ok)
        {
            let mut words = line.split(' ');
            match (words.next().unwrap_or_default(), words.next()) {
                ("ready", None) => {
                    ready = true;
                    break;
                }
                (name, Some(address)) if name.ends_with("-net") => {
                    address.clone_into(&mut hosts.outside);
                }
                (_, Some(address)) => hosts.addresses.push(address.to_owned()),
                _ => {}
            }
        }
        assert!(ready, "deploy/hosts made no hosts; what it said is above");
        hosts.start_registry();
        hosts
    }

    fn start_registry(&self) {
        let folder = self.folder().join("registry");
        let shared = root().join("target/registry/data");
        fs::create_dir_all(&folder).expect("the registry's folder can be made");
        fs::create_dir_all(&shared).expect("the registry's data has a folder");
        // What one test pushed the next need not push again.
        symlink(&shared, folder.join("data")).expect("the registry's data can be linked");
        // What must be built or fetched, is before the outside world is entered: that
        // has no way out.
        for needed in [
            &["deploy/registry", "program"][..],
            &["stacks/examples/voting/build-images"],
        ] {
            let mut command = Command::new(root().join(needed[0]));
            command::run(command.args(&needed[1..]), Duration::from_secs(900)).succeeds();
        }
        let mut up = self.command(&["exec", &self.prefix, "net"]);
        up.arg(root().join("deploy/registry"))
            .arg("up")
            .arg(&folder)
            .arg(self.registry());
        command::run(&mut up, Duration::from_secs(600)).succeeds();
    }

    /// Runs a command in a host.
    pub fn exec(&self, host: usize, arguments: &[&str]) -> Output {
        let mut command = self.command(&["exec", &self.prefix, &host.to_string()]);
        command::run(command.args(arguments), COMMAND_LIMIT)
    }

    /// A command that is to run in a host; its arguments follow.
    #[must_use]
    pub fn exec_command(&self, host: usize) -> Command {
        self.command(&["exec", &self.prefix, &host.to_string()])
    }

    /// `kill`, `start`, `cut` or `mend` a host.
    ///
    /// # Panics
    /// When that fails.
    pub fn do_to(&self, verb: &str, host: usize) {
        let mut command = self.command(&[verb, &self.prefix, &host.to_string()]);
        command::run(&mut command, COMMAND_LIMIT).succeeds();
    }

    /// Takes it all down.
    pub fn take_down(&mut self) {
        if self.finished {
            return;
        }
        self.finished = true;
        drop(self.holder.stdin.take());
        if let Err(error) = self.holder.wait() {
            eprintln!("deploy/hosts: {error}");
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(root().join("deploy/hosts"));
        command.args(arguments);
        command
    }

    /// The prefix of all its names.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How many hosts there are, running or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.addresses.len()
    }

    /// The address of a host.
    #[must_use]
    pub fn address(&self, host: usize) -> &str {
        &self.addresses[host - 1]
    }

    /// The address of the outside world, from which clients come.
    #[must_use]
    pub fn outside(&self) -> &str {
        &self.outside
    }

    /// The registry, as a host reaches it.
    #[must_use]
    pub fn registry(&self) -> String {
        format!("{}:5000", self.outside)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.take_down();
    }
}
