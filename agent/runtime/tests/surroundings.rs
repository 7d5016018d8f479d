//! What a container finds around it: directories, users, files, volumes,
//! network, and its log.

mod node;

use nix::fcntl::{FcntlArg, fcntl};
use node::{Node, TestResult};
use skep_agent_runtime::{FileInTmpfs, LogOptions};
use skep_types::{Mount, MountKind};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::Duration;
use tokio_stream::StreamExt;

fn volume(name: &str, target: &str) -> Mount {
    Mount {
        target: target.into(),
        read_only: false,
        kind: MountKind::Volume {
            name: name.into(),
            no_copy: false,
            driver: String::new(),
            options: Default::default(),
            labels: Default::default(),
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_directory_names_and_environment_are_as_declared() -> TestResult {
    let node = Node::new();
    let mut request = node.request(
        "id; pwd; stat -c %u:%a .; hostname; echo $HOME $A $B $HOSTNAME; cat /etc/hostname \
         /etc/hosts /etc/resolv.conf; ip -o addr show lo | head -n 1; touch /etc/hosts",
    );
    request.spec.user = "web".into();
    request.spec.dir = "/made/for/you".into();
    request.spec.env = vec!["A=1".into(), "B=2".into()];
    request.extra_env = vec!["B=3".into()];
    request.hostname = "vote-1".into();
    let (record, output) = node.finish(request).await?;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(
        lines[..8],
        [
            "uid=1000(web) gid=1001(web) groups=1001(web),2000(extra)",
            "/made/for/you",
            "0:755",
            "vote-1",
            "/home/web 1 3 vote-1",
            "vote-1",
            "127.0.0.1 localhost",
            "nameserver 127.0.0.11",
        ]
    );
    assert!(lines[8].contains("127.0.0.1/8"), "{output}");
    assert_eq!(record.code, 1, "the user may not change /etc/hosts");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_directory_inside_a_volume_is_made() -> TestResult {
    let node = Node::new();
    let mut request = node.request("pwd");
    request.spec.mounts = vec![volume("data", "/data")];
    request.spec.dir = "/data/deep/er".into();
    let (_, output) = node.finish(request).await?;
    assert_eq!(output, "/data/deep/er\n");
    assert!(node.data().join("volumes/data/_data/deep/er").is_dir());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_directory_that_leads_outside_is_refused() -> TestResult {
    let node = Node::new();
    // A directory of the host that a daemon leaks to all its children.
    let leaked = fcntl(&fs::File::open("/")?, FcntlArg::F_DUPFD(500))?;
    let mut request = node.request("ls; pwd");
    request.spec.dir = format!("/proc/self/fd/{leaked}");
    let result = node.finish(request).await.map_err(|error| error.chain());
    nix::unistd::close(leaked)?;
    assert_eq!(
        result.map(drop),
        Err(format!(
            "working directory \"/proc/self/fd/{leaked}\": is outside of the container"
        ))
    );
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_configs_are_in_memory_and_read_only() -> TestResult {
    let node = Node::new();
    let mut request = node.request(
        "exec 2>&1; cat /run/secrets/pw /app.conf; stat -c '%u %g %a' /run/secrets/pw; \
         echo x > /app.conf; grep -c tmpfs /proc/mounts; echo end; exec sleep 600",
    );
    let file = |path: &str, text: &str| FileInTmpfs {
        path: path.into(),
        uid: 1000,
        gid: 1001,
        mode: 0o440,
        data: text.as_bytes().into(),
    };
    request.secrets = vec![file("pw", "geheim\n")];
    request.configs = vec![file("/app.conf", "a=b\n")];
    let (task, _) = node.run(request).await?;
    node.until_output(&task, "end").await?;
    let output = node.output(&task).await?;
    assert!(output.contains("geheim\na=b\n1000 1001 440\n"), "{output}");
    assert!(output.contains("Read-only file system"), "{output}");
    // Nowhere on the disk: not in the upper directory, not in the bundle.
    let upper = node.bundle(&task).join("upper");
    assert_eq!(fs::metadata(upper.join("run/secrets/pw"))?.len(), 0);
    let config = fs::read_to_string(node.bundle(&task).join("config.json"))?;
    assert!(!config.contains("geheim"));
    node.runtime.remove(&task).await?;
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_volume_is_filled_once_and_stays() -> TestResult {
    let node = Node::new();
    fs::create_dir_all(node.layer().join("var/lib/db"))?;
    fs::write(node.layer().join("var/lib/db/seed"), "seed")?;
    chown(node.layer().join("var/lib/db"), Some(70), Some(70))?;
    fs::set_permissions(
        node.layer().join("var/lib/db"),
        fs::Permissions::from_mode(0o700),
    )?;
    let mut first = node.request("cat seed; echo one > mark; rm seed");
    first.spec.dir = "/var/lib/db".into();
    first.spec.mounts = vec![volume("db-data", "/var/lib/db")];
    let mut second = node.request("ls; cat mark");
    second.spec.dir = first.spec.dir.clone();
    second.spec.mounts = first.spec.mounts.clone();
    assert_eq!(node.finish(first).await?.1, "seed\n");
    let data = node.data().join("volumes/db-data/_data");
    let metadata = fs::metadata(&data)?;
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (70, 0o700));
    assert_eq!(node.finish(second).await?.1, "mark\none\n");
    assert!(
        data.join("mark").exists(),
        "named volumes outlive their tasks"
    );
    assert!(node.layer().join("var/lib/db/seed").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn binds_tmpfs_and_anonymous_volumes_are_mounted() -> TestResult {
    let node = Node::new();
    let host = node.dir.path().join("host");
    fs::create_dir(&host)?;
    fs::write(host.join("file"), "from the host\n")?;
    let mut request = node.request(
        "exec 2>&1; cat /bind/file; touch /bind/x; touch /scratch/y && stat -c %a /scratch; \
         touch /anon/z && echo anon; touch /ro; echo end",
    );
    request.spec.read_only = true;
    request.image.config.volumes = vec!["/anon".into()];
    request.spec.mounts = vec![
        Mount {
            target: "/bind".into(),
            read_only: true,
            kind: MountKind::Bind {
                source: host.to_string_lossy().into_owned(),
                propagation: String::new(),
            },
        },
        Mount {
            target: "/scratch".into(),
            read_only: false,
            kind: MountKind::Tmpfs {
                size: Some(skep_types::ByteCount(1 << 20)),
                mode: Some(0o700),
            },
        },
    ];
    let (_, output) = node.finish(request.clone()).await?;
    assert!(output.contains("from the host\n"), "{output}");
    assert!(output.contains("700\n"), "{output}");
    assert!(output.contains("anon\n"), "{output}");
    assert_eq!(
        output.matches("Read-only file system").count(),
        2,
        "{output}"
    );
    assert_eq!(fs::read_dir(&host)?.count(), 1);
    assert_eq!(node.leftovers(), [""; 0]);

    request.spec.mounts[0].kind = MountKind::Bind {
        source: "/no/such/place".into(),
        propagation: String::new(),
    };
    let refused = node.run(request).await.map(drop).map_err(|e| e.chain());
    assert_eq!(
        refused,
        Err("bind source path does not exist: /no/such/place".into())
    );
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_cannot_lead_our_hands_out_of_the_container() -> TestResult {
    let node = Node::new();
    let outside = node.dir.path().join("outside");
    fs::create_dir(&outside)?;
    // Everything we make inside goes through links that point to the host.
    for name in ["work", "run"] {
        std::os::unix::fs::symlink(&outside, node.layer().join(name))?;
    }
    let mut request = node.request("true");
    request.spec.dir = "/work/dir".into();
    request.secrets = vec![FileInTmpfs {
        path: "pw".into(),
        uid: 0,
        gid: 0,
        mode: 0o400,
        data: b"x".as_slice().into(),
    }];
    // Whether it runs or is refused: nothing appears outside.
    let _either = node.finish(request.clone()).await;
    node.runtime.remove(&request.task).await?;
    assert_eq!(fs::read_dir(&outside)?.count(), 0);
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_network_is_joined() -> TestResult {
    let node = Node::new();
    let name = format!("skep-t{}", std::process::id());
    struct Netns(String);
    impl Drop for Netns {
        fn drop(&mut self) {
            let _gone = std::process::Command::new("ip")
                .args(["netns", "del", &self.0])
                .status();
        }
    }
    let run = |args: &[&str]| std::process::Command::new("ip").args(args).status();
    assert!(run(&["netns", "add", &name])?.success());
    let _guard = Netns(name.clone());
    let pair = "link add skeptest type veth peer name skeppeer";
    let pair: Vec<&str> = ["-n", &name].into_iter().chain(pair.split(' ')).collect();
    assert!(run(&pair)?.success());
    assert!(run(&["-n", &name, "addr", "add", "10.9.8.7/32", "dev", "skeptest"])?.success());
    let mut request = node.request("ip -o -4 addr show skeptest");
    request.netns = Some(format!("/run/netns/{name}").into());
    let (_, output) = node.finish(request).await?;
    assert!(output.contains("10.9.8.7/32"), "{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_rotated_and_read_in_order_while_it_grows() -> TestResult {
    let node = Node::new();
    let mut request = node.request("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done");
    request.log_max_bytes = Some(60_000);
    request.log_max_files = Some(5);
    let task = request.task;
    node.runtime.create(request).await?;
    let follow = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let lines = node.runtime.logs(&task, follow)?;
    node.runtime.start(&task).await?;
    let followed: Vec<_> = tokio::time::timeout(
        Duration::from_secs(60),
        lines.collect::<Result<Vec<_>, _>>(),
    )
    .await??;
    let wanted: Vec<String> = (0..2000).map(|i| format!("line {i}\n")).collect();
    let texts = |lines: &[skep_agent_runtime::LogLine]| -> Vec<String> {
        lines.iter().map(|line| line.text.clone()).collect()
    };
    assert_eq!(texts(&followed), wanted);
    assert!(node.bundle(&task).join("container.log.1").exists());
    let read = async |options| {
        node.runtime
            .logs(&task, options)?
            .collect::<Result<Vec<_>, _>>()
            .await
    };
    assert_eq!(texts(&read(LogOptions::default()).await?), wanted);
    let tail = LogOptions {
        tail: Some(3),
        ..LogOptions::default()
    };
    assert_eq!(texts(&read(tail).await?), wanted[1997..]);
    let since = LogOptions {
        since_unix_nanos: Some(followed[1500].at_unix_nanos),
        ..LogOptions::default()
    };
    let after = followed
        .iter()
        .filter(|line| line.at_unix_nanos > followed[1500].at_unix_nanos)
        .count();
    assert_eq!(texts(&read(since).await?), wanted[2000 - after..]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_containers_start_and_end_at_once() -> TestResult {
    let node = Node::new();
    let mut work = tokio::task::JoinSet::new();
    for number in 0..16 {
        let runtime = node.runtime.clone();
        let request = node.request(&format!("exit {number}"));
        work.spawn(async move {
            let task = request.task;
            runtime.create(request).await?;
            runtime.start(&task).await?;
            let record = runtime.wait(&task).await?;
            runtime.remove(&task).await?;
            Ok::<_, skep_agent_runtime::Error>((number, record.code))
        });
    }
    while let Some(result) = work.join_next().await {
        let (wanted, code) = result??;
        assert_eq!(wanted, code);
    }
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}
