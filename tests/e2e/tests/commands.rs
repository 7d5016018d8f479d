//! The commands of a day: secrets and configs in a container, an update taken back,
//! a node emptied and removed, images, and the events of all that.

use skep_e2e::tables::cell;
use skep_e2e::{Cluster, Container, Programs, Steps, wait_for};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
const WORKER: usize = 2;
const IMAGE: &str = "redis:alpine";

#[test]
fn a_day_with_the_command_line() {
    let steps = Steps::begin();
    let cluster = Cluster::swarm("commands", 1, 1);
    cluster.heartbeat(1, "5s");
    steps.step("events are followed");
    let events = Events::follow(&cluster);

    steps.step("a secret and a config are files in the container");
    let folder = cluster.folder();
    let file = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, content).expect("a file can be written");
        path.to_string_lossy().into_owned()
    };
    let (hush, plain) = (file("hush", "xyzzy\n"), file("plain", "color = blue\n"));
    cluster
        .skep(1, &["secret", "create", "hush", &hush])
        .succeeds();
    cluster
        .skep(1, &["config", "create", "plain", &plain])
        .succeeds();
    let shown = cluster.skep(1, &["secret", "inspect", "hush"]).succeeds();
    assert!(!shown.out.contains("xyzzy"), "{shown}");
    let shown = cluster.skep(1, &["config", "inspect", "--pretty", "plain"]);
    assert!(shown.clone().succeeds().out.contains("color"), "{shown}");
    let config = "source=plain,target=/etc/plain.conf,mode=0400";
    let create = [
        "service",
        "create",
        "--name",
        "keeper",
        "--secret",
        "hush",
        "--config",
        config,
        "--env",
        "STEP=1",
        "--constraint",
        "node.labels.place==back",
        // The program does not end by itself when it is asked to.
        "--stop-grace-period",
        "1s",
        IMAGE,
        "sleep",
        "1000",
    ];
    let mut detached = create.to_vec();
    detached.insert(2, "--detach");
    cluster.skep(1, &detached).succeeds();

    steps.step("a task that no node fits waits, and says why; a label lets it run");
    wait_for("the reason is told", SOON, || {
        let rows = cluster.table(1, &["service", "ps", "--no-trunc", "keeper"])?;
        let told = |row| cell(row, "ERROR").contains("no suitable node");
        match rows.iter().any(told) {
            true => Ok(()),
            false => Err(format!("{rows:#?}")),
        }
    });
    let worker = name(&cluster, WORKER);
    let label = ["node", "update", "--label-add", "place=back", &worker];
    cluster.skep(1, &label).succeeds();
    let container = runs_on(&cluster, WORKER);
    let read = |path: &str| cluster.inside(&container, &["cat", path]).succeeds().out;
    assert_eq!(read("/run/secrets/hush"), "xyzzy\n");
    assert_eq!(read("/etc/plain.conf"), "color = blue\n");
    let mounts = fs::read_to_string(format!("/proc/{}/mounts", container.pid));
    let mounts = mounts.expect("its mounts can be read");
    let secrets = mounts.lines().find(|line| line.contains("/run/secrets"));
    assert!(
        secrets.is_some_and(|line| line.starts_with("tmpfs")),
        "{mounts}"
    );
    cluster
        .skep(1, &["secret", "rm", "hush"])
        .fails(1, &["hush", "keeper"]);

    steps.step("an update is foreseen, and nothing is done");
    let plan = |flags: &[&str]| {
        let asked = [&["service", "plan"], flags, &["keeper"]].concat();
        cluster.read(1, &asked)
    };
    let same = plan(&[]).succeeds();
    assert!(same.out.contains("no task would start or stop"), "{same}");
    let other = plan(&["--env-add", "STEP=2"]).fails(2, &[]);
    for said in ["STEP=2", "keeper.1", "stops", "starts", "update completed"] {
        assert!(other.out.contains(said), "{said}: {other}");
    }
    let nowhere = plan(&["--constraint-add", "node.labels.place==moon"]).fails(2, &[]);
    for said in ["keeper.1 would wait", "update paused after 10m"] {
        assert!(nowhere.out.contains(said), "{said}: {nowhere}");
    }
    assert_eq!(runs_on(&cluster, WORKER), container);

    steps.step("an update is taken back");
    let step = |wanted: &str| {
        let format = "{{json .Spec.TaskTemplate.ContainerSpec.Env}}";
        let inspect = ["service", "inspect", "--format", format, "keeper"];
        let env = cluster.read(1, &inspect).succeeds();
        assert!(env.out.contains(wanted), "{wanted}: {env}");
    };
    step("STEP=1");
    let update = [
        "service",
        "update",
        "--env-rm",
        "STEP",
        "--env-add",
        "STEP=2",
        "keeper",
    ];
    cluster.skep(1, &update).succeeds();
    step("STEP=2");
    cluster
        .skep(1, &["service", "rollback", "keeper"])
        .succeeds();
    step("STEP=1");
    let back = runs_on(&cluster, WORKER);
    assert_ne!(back, container);
    let state = [
        "service",
        "inspect",
        "--format",
        "{{.UpdateStatus.State}}",
        "keeper",
    ];
    assert_eq!(
        cluster.read(1, &state).succeeds().text(),
        "rollback_completed"
    );

    steps.step("a drained node is emptied, and takes tasks again");
    let anywhere = [
        "service",
        "update",
        "--constraint-rm",
        "node.labels.place==back",
        "keeper",
    ];
    cluster.skep(1, &anywhere).succeeds();
    let drain = ["node", "update", "--availability", "drain", &worker];
    cluster.skep(1, &drain).succeeds();
    runs_on(&cluster, 1);
    wait_for("the worker is empty", SOON, || empty(&cluster, WORKER));
    let manager = name(&cluster, 1);
    cluster
        .skep(1, &["node", "update", "--availability", "active", &worker])
        .succeeds();
    cluster
        .skep(1, &["node", "update", "--availability", "drain", &manager])
        .succeeds();
    runs_on(&cluster, WORKER);

    steps.step("a node is removed when it has left, and not before");
    cluster
        .skep(1, &["node", "rm", &worker])
        .fails(1, &["down"]);
    cluster
        .skep(1, &["node", "rm", &manager])
        .fails(1, &["manager"]);
    cluster.skep(WORKER, &["swarm", "leave"]).succeeds();
    wait_for("it is Down", SOON, || {
        let rows = cluster.table(1, &["node", "ls", "--filter", &format!("name={worker}")])?;
        match rows.iter().any(|row| cell(row, "STATUS") == "Down") {
            true => Ok(()),
            false => Err(format!("{rows:#?}")),
        }
    });
    cluster.skep(1, &["node", "rm", &worker]).succeeds();
    assert_eq!(cluster.table(1, &["node", "ls"]).expect("node ls").len(), 1);

    steps.step("what nothing uses any more can be removed");
    cluster.skep(1, &["service", "rm", "keeper"]).succeeds();
    cluster.skep(1, &["secret", "rm", "hush"]).succeeds();
    cluster.skep(1, &["config", "rm", "plain"]).succeeds();
    for kind in ["service", "secret", "config"] {
        let left = cluster.table(1, &[kind, "ls"]).expect("ls works");
        assert!(left.is_empty(), "{kind}: {left:?}");
    }

    steps.step("images come and go");
    wait_for("no task has it any more", SOON, || empty(&cluster, 1));
    cluster.skep(1, &["image", "pull", "-q", IMAGE]).succeeds();
    assert!(has_image(&cluster));
    cluster.skep(1, &["image", "rm", IMAGE]).succeeds();
    assert!(!has_image(&cluster));
    cluster
        .skep(1, &["image", "rm", IMAGE])
        .fails(1, &[IMAGE, "no such image"]);

    steps.step("all of it was told while it happened, and is known afterwards");
    let format = "{{.Type}} {{.Action}} {{.Name}}";
    let past = [
        "events", "--since", "10m", "--until", "0s", "--format", format,
    ];
    let past = cluster.skep(1, &past).succeeds().out;
    for told in ["service create keeper", "secret remove hush"] {
        assert!(past.lines().any(|line| line == told), "{past}");
    }
    for told in [
        "secret create hush",
        "config create plain",
        "service create keeper",
        "service update keeper",
        "service remove keeper",
        "secret remove hush",
        "config remove plain",
        &format!("node update {worker}"),
        &format!("node remove {worker}"),
    ] {
        wait_for(told, SOON, || {
            let all = fs::read_to_string(&events.file).map_err(|error| error.to_string())?;
            match all.lines().any(|line| line == told) {
                true => Ok(()),
                false => Err(all),
            }
        });
    }
    drop(events);
    cluster.finish();
}

/// What `skep events` says, in a file.
struct Events {
    skep: Child,
    file: PathBuf,
}

impl Events {
    fn follow(cluster: &Cluster) -> Events {
        let file = cluster.folder().join("events");
        let out = File::create(&file).expect("a file can be made");
        let mut skep = Command::new(Programs::find().skep());
        skep.args(["-H", &cluster.socket(1), "events"]);
        skep.args(["--format", "{{.Type}} {{.Action}} {{.Name}}"]);
        let skep = skep.stdin(Stdio::null()).stdout(out).spawn();
        let events = Events {
            skep: skep.expect("skep starts"),
            file,
        };
        // Nothing of before is told.
        wait_for("it listens", SOON, || {
            let probe = ["network", "create", "-d", "overlay", "probe"];
            cluster.skep(1, &probe).checked()?;
            cluster.skep(1, &["network", "rm", "probe"]).checked()?;
            let all = fs::read_to_string(&events.file).map_err(|error| error.to_string())?;
            match all.contains("probe") {
                true => Ok(()),
                false => Err("nothing is told".to_owned()),
            }
        });
        events
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // It may have ended with the daemon.
        let _ = self.skep.kill();
        let _ = self.skep.wait();
    }
}

fn name(cluster: &Cluster, host: usize) -> String {
    let hostname = cluster.exec(host, &["hostname"]).succeeds();
    hostname.text().to_owned()
}

/// Waits until the one task of keeper runs on this host.
fn runs_on(cluster: &Cluster, host: usize) -> Container {
    let (container, _) = wait_for("its task runs there", SOON, || {
        let tasks = cluster.running(1, "keeper")?;
        let [(task, at)] = &tasks[..] else {
            return Err(format!("{tasks:?}"));
        };
        let container = cluster.container_of(*at, task);
        let here = container.filter(|container| *at == host && container.is_started());
        here.ok_or_else(|| format!("{tasks:?}"))
    });
    container
}

fn empty(cluster: &Cluster, host: usize) -> Result<(), String> {
    let left = cluster.containers(host);
    match left.is_empty() {
        true => Ok(()),
        false => Err(format!("{left:?}")),
    }
}

fn has_image(cluster: &Cluster) -> bool {
    let images = cluster.table(1, &["image", "ls"]).expect("image ls works");
    images.iter().any(|row| cell(row, "REPOSITORY") == "redis")
}
