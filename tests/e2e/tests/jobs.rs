//! Jobs on hosts: one that completes, one that fails with its exit code, and what
//! is told of their runs; a job that runs by a schedule.

use skep_e2e::tables::cell;
use skep_e2e::{Cluster, Steps, wait_for};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
const IMAGE: &str = "redis:alpine";

#[test]
fn jobs_end_well_and_badly() {
    let steps = Steps::begin();
    let cluster = Cluster::swarm("jobs", 1, 1);

    steps.step("who makes a job waits until all of it is done");
    let job = |name: &str, options: &[&str], script: &str| {
        let fixed = [
            "service",
            "create",
            "--mode",
            "replicated-job",
            "--name",
            name,
        ];
        let program = [IMAGE, "sh", "-c", script];
        let arguments = [&fixed, options, &program].concat();
        cluster.skep(1, &arguments)
    };
    let many = ["--replicas", "3", "--max-concurrent", "2"];
    let made = job("sums", &many, "sleep 1; echo done").succeeds();
    assert!(
        made.err.contains("job progress: 3 out of 3 complete"),
        "{made}"
    );
    let replicas = |name: &str| {
        let filter = format!("name={name}");
        let shown = [
            "service",
            "ls",
            "--filter",
            &filter,
            "--format",
            "{{.Replicas}}",
        ];
        cluster.read(1, &shown).succeeds().out.trim().to_owned()
    };
    assert_eq!(replicas("sums"), "0/2 (3/3 completed)");

    steps.step("a job that fails says so, with its exit code, and keeps it");
    let once = ["--restart-max-attempts", "1", "--restart-delay", "1s"];
    job("broken", &once, "exit 42").fails(1, &["broken", "failed", "exit code 42"]);
    let runs = |name: &str| {
        cluster
            .table(1, &["service", "runs", name])
            .expect("its runs")
    };
    let shown = runs("broken");
    assert_eq!(cell(&shown[0], "OUTCOME"), "Failed", "{shown:?}");
    assert_eq!(cell(&shown[0], "EXIT CODE"), "42", "{shown:?}");
    let tasks = cluster
        .table(1, &["service", "ps", "broken"])
        .expect("its tasks");
    assert_eq!(tasks.len(), 2, "one restart: {tasks:?}");

    steps.step("it runs again when it is told to do something else, not for a label");
    let label = ["service", "update", "--label-add", "a=b", "broken"];
    cluster.skep(1, &label).succeeds();
    assert_eq!(runs("broken").len(), 1);
    let mended = ["service", "update", "--args", "true", "broken"];
    cluster.skep(1, &mended).succeeds();
    let shown = runs("broken");
    assert_eq!(cell(&shown[0], "RUN"), "2", "{shown:?}");
    assert_eq!(cell(&shown[0], "OUTCOME"), "Succeeded", "{shown:?}");
    assert_eq!(cell(&shown[1], "EXIT CODE"), "42", "{shown:?}");

    steps.step("what is refused");
    let global = ["service", "create", "--mode", "global-job", "--name", "all"];
    let all = [&global[..], &["--replicas", "2", IMAGE, "true"]].concat();
    cluster
        .skep(1, &all)
        .fails(2, &["replicas can only be used"]);
    let all = [&global[..], &["--update-delay", "2s", IMAGE, "true"]].concat();
    cluster
        .skep(1, &all)
        .fails(1, &["update and rollback configuration"]);

    steps.step("a global job runs on every node, and goes when its time is over");
    let all = [&global[..], &["--job-ttl", "5s", IMAGE, "true"]].concat();
    cluster.skep(1, &all).succeeds();
    let tasks = cluster
        .table(1, &["service", "ps", "all"])
        .expect("its tasks");
    assert_eq!(tasks.len(), 2, "{tasks:?}");
    wait_for("the job is removed", SOON, || {
        match replicas("all").as_str() {
            "" => Ok(()),
            there => Err(there.to_owned()),
        }
    });

    steps.step("a job on a schedule runs when it is due, and when somebody asks");
    let fixed = ["service", "create", "--name", "tick", "--replicas", "1"];
    let create = |schedule: &str| {
        let options = ["--schedule", schedule, "--schedule-tz", "Europe/Zurich"];
        let program = [IMAGE, "sh", "-c", "exit $((7 - ${OK:-7}))"];
        cluster.skep(1, &[&fixed[..], &options, &program].concat())
    };
    create("0 0 31 2 *").fails(2, &["day of the month", "never fires"]);
    // Not every minute at first: one may begin between two lines of this test.
    create("0 0 29 2 *").succeeds();
    assert!(runs("tick").is_empty(), "nothing was due yet");
    let next = ["service", "inspect", "--format", "{{.NextRun}}", "tick"];
    let next = cluster.read(1, &next).succeeds();
    assert!(next.out.starts_with("20"), "{next}");
    cluster.skep(1, &["service", "trigger", "tick"]).succeeds();
    let shown = runs("tick");
    assert_eq!(cell(&shown[0], "CAUSE"), "triggered", "{shown:?}");
    assert_eq!(cell(&shown[0], "EXIT CODE"), "0", "{shown:?}");
    let often = ["service", "update", "--schedule", "* * * * *", "tick"];
    cluster.skep(1, &often).succeeds();
    wait_for("the schedule opens a run", SOON, || {
        let shown = runs("tick");
        let done = |row| cell(row, "CAUSE") == "scheduled" && cell(row, "OUTCOME") == "Succeeded";
        match shown.iter().any(done) {
            true => Ok(()),
            false => Err(format!("{shown:?}")),
        }
    });
    let worse = [
        "service",
        "update",
        "--env-add",
        "OK=5",
        "--restart-condition",
        "none",
        "tick",
    ];
    cluster.skep(1, &worse).succeeds();
    let suspend = ["service", "update", "--schedule-suspend", "tick"];
    cluster.skep(1, &suspend).succeeds();
    cluster
        .skep(1, &["service", "trigger", "tick"])
        .fails(1, &["tick", "failed", "exit code 2"]);
    let wrong = ["service", "update", "--schedule-tz", "Zurich", "tick"];
    cluster.skep(1, &wrong).fails(1, &["Europe/Zurich"]);
    cluster.finish();
}
