//! What is left of a test that was killed with all that watches over it, is removed by
//! the next one; nothing of one that runs is.

use skep_e2e::programs::root;
use skep_e2e::{command, leftovers};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A process that stands in for a test, with its hosts and its folder.
struct Run {
    test: Child,
    holder: Child,
    prefix: String,
    folder: PathBuf,
}

impl Run {
    fn start() -> Self {
        let test = Command::new("sleep").arg("600").spawn();
        let test = test.expect("sleep starts");
        let prefix = format!("t-swept-{}", test.id());
        let folder = std::env::temp_dir().join(format!("skep-{prefix}-a1B2c3"));
        fs::create_dir_all(folder.join("h1/data")).expect("a folder can be made");
        let holder = Command::new(root().join("deploy/hosts"))
            .args(["hold", &prefix, "2"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("deploy/hosts starts");
        let mut run = Self {
            test,
            holder,
            prefix,
            folder,
        };
        let said = run.holder.stdout.take().map(BufReader::new);
        let mut lines = said.into_iter().flat_map(BufReader::lines);
        assert!(lines.any(|line| line.is_ok_and(|line| line == "ready")));
        run
    }

    /// What the machine has of it.
    fn left(&self) -> Vec<String> {
        let folder = self.folder.to_string_lossy();
        let mut left = leftovers::on_the_machine(&self.prefix, &folder);
        left.extend(hosts(&["ls", &self.prefix]));
        left.extend(self.folder.exists().then(|| folder.into_owned()));
        left
    }
}

/// Whatever came of the test: its processes go, and what they held with the next sweep.
impl Drop for Run {
    fn drop(&mut self) {
        for child in [&mut self.holder, &mut self.test] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn hosts(arguments: &[&str]) -> Vec<String> {
    let mut hosts = Command::new(root().join("deploy/hosts"));
    let done = command::run(hosts.args(arguments), Duration::from_secs(120));
    done.succeeds().lines()
}

fn kill(child: &mut Child) {
    child.kill().expect("it can be killed");
    child.wait().expect("a child of ours can be waited for");
}

#[test]
fn a_run_is_swept_once_its_process_is_gone() {
    let mut run = Run::start();
    let all = run.left();
    hosts(&["sweep"]);
    assert_eq!(run.left(), all, "it runs");
    kill(&mut run.holder);
    hosts(&["sweep"]);
    assert_eq!(run.left(), all, "its process is there");
    kill(&mut run.test);
    hosts(&["sweep"]);
    assert_eq!(run.left(), Vec::<String>::new());
}

#[test]
fn a_pid_that_is_used_again_holds_nothing_back() {
    let mut run = Run::start();
    kill(&mut run.holder);
    let owner = format!("/run/skep-hosts/{}/owner", run.prefix);
    fs::write(owner, "1").expect("it can be written");
    hosts(&["sweep"]);
    assert_eq!(run.left(), Vec::<String>::new());
    kill(&mut run.test);
}
