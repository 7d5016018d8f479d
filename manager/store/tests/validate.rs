//! What is wrong with a request is said in the words Swarm users know.

mod support;

use skep_manager_store::validate::*;
use skep_manager_store::{Action, NetworkAction};
use skep_types::*;
use std::sync::Arc;
use std::time::Duration;
use support::Fixture;

fn port(published: u16, mode: PublishMode) -> PortConfig {
    PortConfig {
        protocol: Protocol::Tcp,
        target: 80,
        published,
        mode,
        masquerade: false,
    }
}

fn said(swarm: &Fixture, edit: impl FnOnce(&mut ServiceSpec, &mut TaskSpec)) -> String {
    let mut spec = *swarm.spec("new");
    let mut task = TaskSpec::clone(&spec.task);
    edit(&mut spec, &mut task);
    spec.task = Arc::new(task);
    match validate_service(swarm.store.state(), &spec) {
        Ok(()) => "fine".to_owned(),
        Err(invalid) => invalid.to_string(),
    }
}

#[test]
fn services_are_checked_part_by_part() {
    let mut swarm = Fixture::new();
    swarm.must(Action::Network(NetworkAction::Create {
        id: NetworkId::from_bits(3),
        spec: Box::new(NetworkSpec {
            name: "ingress".into(),
            ingress: true,
            ..NetworkSpec::default()
        }),
    }));
    let taken = swarm.service("taken");
    swarm.update(taken, |spec| {
        spec.endpoint.ports.push(port(8080, PublishMode::Ingress));
        spec.endpoint.ports.push(port(9090, PublishMode::Host));
    });
    assert_eq!(said(&swarm, |_, _| {}), "fine");
    let env = |text: &str| {
        said(&swarm, |_, task| {
            task.container.env = vec![format!("NODE={text}")];
        })
    };
    assert_eq!(env("{{.Node.Hostname}} {{.Node.Labels.zone}}"), "fine");
    assert_eq!(
        env("on {{.Node.Name}}"),
        "ContainerSpec: template in env NODE: column 6: there is no field .Node.Name; there are \
         .Node.ID .Node.Hostname .Node.Platform.OS .Node.Platform.Architecture .Node.Labels"
    );
    assert_eq!(
        env("{{.Service.Labels.tier}}"),
        "ContainerSpec: template in env NODE: column 3: service new has no label tier"
    );
    assert_eq!(
        said(&swarm, |spec, _| spec.name = "-web".into()),
        "name must be valid as a DNS name component: '-web'"
    );
    assert_eq!(
        said(&swarm, |spec, _| spec.name = "a".repeat(64)),
        format!("name must be 63 characters or fewer: '{}'", "a".repeat(64))
    );
    assert_eq!(
        said(&swarm, |spec, _| spec.mode =
            ServiceMode::Replicated { replicas: 100_001 }),
        "100001 replicas are too many: a service can have 100000 at most"
    );
    assert_eq!(
        said(&swarm, |_, task| task.restart.max_delay =
            Some(Duration::from_secs(86_401))),
        "TaskSpec: restart-max-delay cannot be more than 24h"
    );
    assert_eq!(
        said(&swarm, |spec, _| spec.name = "TAKEN".into()),
        "name conflicts with an existing object: service TAKEN already exists"
    );
    assert_eq!(
        said(&swarm, |_, task| task.container.image.clear()),
        "ContainerSpec: image reference must be provided"
    );
    assert_eq!(
        said(&swarm, |_, task| task.resources.cpu_limit = NanoCpus(1)),
        "invalid cpu value 0.000000001: Must be at least 0.001"
    );
    assert_eq!(
        said(&swarm, |_, task| task.resources.memory_reservation =
            ByteCount(5)),
        "invalid memory value 5: Must be at least 6MiB"
    );
    assert_eq!(
        said(&swarm, |_, task| task.placement.constraints =
            vec!["a=b".into()]),
        "constraint 'a=b': expected one operator from ==, !=, in, notin, >, <, exists, !exists; did \
         you mean a==b?"
    );
    let of_kind = |kind: &str, wanted| {
        said(&swarm, |_, task| {
            task.resources.generic.insert(kind.into(), wanted);
        })
    };
    assert_eq!(of_kind("gpu", 1), "fine");
    assert_eq!(
        of_kind("gpu", 0),
        "invalid generic resource gpu=0: the number must be from 1 to 1000000"
    );
    let blank = of_kind("g pu", 1);
    assert!(
        blank.starts_with("invalid generic resource \"g pu\": a kind"),
        "{blank}"
    );
    let twice = said(&swarm, |_, task| {
        let kinds = ["gpu", "GPU", "ssd"].map(|kind| (kind.to_owned(), 1));
        task.resources.generic = kinds.into();
    });
    assert_eq!(
        twice,
        "generic resources \"GPU\" and \"gpu\" would have the same variable in the container: use the \
         one kind that the nodes have"
    );
    let kinds = (0..65).map(|n| (n.to_string(), 1)).collect();
    assert_eq!(
        said(&swarm, |_, task| task.resources.generic = kinds),
        "65 generic resources are too many: a service can have 64 at most"
    );
    let on = |platform: &str, count| {
        let (os, architecture) = platform.split_once('/').unwrap();
        let platform = Platform {
            os: os.into(),
            architecture: architecture.into(),
        };
        said(&swarm, |_, task| {
            task.placement.platforms = vec![platform; count]
        })
    };
    assert_eq!(on("linux/amd64", 64), "fine");
    assert_eq!(
        on("linux/amd64", 65),
        "65 platforms are too many: a service can have 64 at most"
    );
    let long = on(&format!("linux/{}", "a".repeat(65)), 1);
    assert!(long.contains("64 bytes at most each"), "{long}");
    let skewed = |by: &str, most, mode| {
        said(&swarm, |spec, task| {
            spec.mode = mode;
            task.placement.spread = vec![Spread {
                by: by.into(),
                max_skew: Some(most),
            }];
        })
    };
    let replicated = ServiceMode::Replicated { replicas: 1 };
    assert_eq!(skewed("node.labels.zone", 1, replicated), "fine");
    assert_eq!(
        skewed("node.labels.zone", 0, replicated),
        "a max-skew must be from 1 to 100000; leave it out for none"
    );
    assert_eq!(
        skewed("zone", 1, replicated),
        "max-skew needs a label to spread over, such as node.labels.zone; 'zone' is none"
    );
    assert_eq!(
        skewed("node.labels.zone", 1, ServiceMode::Global),
        "max-skew can only be used with replicated or replicated-job mode"
    );
    assert_eq!(
        said(&swarm, |_, task| task.placement.spread =
            vec![Spread::over("node.labels.zone"); 17]),
        "17 placement preferences are too many: a service can have 16 at most"
    );
    assert_eq!(
        said(&swarm, |spec, _| spec.rollback.max_failure_ratio = 1.5),
        "TaskSpec: rollback-maxfailureratio cannot be less than 0 or bigger than 1"
    );
    assert_eq!(
        said(&swarm, |spec, _| spec.update.progress_deadline =
            Some(Duration::from_millis(999))),
        "update-progress-deadline is 999ms: it must be at least 1s, or 0 for none"
    );
    let mount = |target: &str| Mount {
        target: target.into(),
        read_only: false,
        kind: MountKind::Tmpfs {
            size: None,
            mode: None,
        },
    };
    assert_eq!(
        said(&swarm, |_, task| task.container.mounts =
            vec![mount("/x"), mount("/x/")]),
        "ContainerSpec: duplicate mount point: /x/"
    );
    assert_eq!(
        said(&swarm, |spec, _| {
            spec.endpoint.mode = EndpointMode::DnsRoundRobin;
            spec.endpoint.ports = vec![port(1, PublishMode::Ingress)];
        }),
        "EndpointSpec: port published with ingress mode can't be used with dnsrr mode"
    );
    let clash = |number, mode| {
        said(&swarm, |spec, _| {
            spec.endpoint.ports = vec![port(number, mode)]
        })
    };
    assert_eq!(
        clash(8080, PublishMode::Host),
        format!("port '8080' is already in use by service 'taken' ({taken}) as an ingress port")
    );
    assert_eq!(
        clash(9090, PublishMode::Ingress),
        format!(
            "port '9090' is already in use by service 'taken' ({taken}) as a host-published port"
        )
    );
    assert_eq!(clash(9090, PublishMode::Host), "fine");
    assert_eq!(
        said(&swarm, |_, task| task.networks.push(
            NetworkAttachmentSpec {
                network: NetworkId::from_bits(77),
                aliases: Vec::new(),
            }
        )),
        format!(
            "network {} not found; create it first",
            NetworkId::from_bits(77)
        )
    );
}

#[test]
fn what_a_container_shares_with_its_node_has_to_go_together() {
    let swarm = Fixture::new();
    let said =
        |edit: &dyn Fn(&mut ContainerSpec)| said(&swarm, |_, task| edit(&mut task.container));
    let sysctl = |name: &str| [(name.to_owned(), "1".to_owned())].into();
    assert_eq!(
        said(&|container| {
            container.host_pid = true;
            container.host_uts = true;
            container.ipc = Ipc::Host;
            container.sysctls = sysctl("net.core.somaxconn");
        }),
        "fine"
    );
    assert_eq!(
        said(&|container| {
            container.host_uts = true;
            container.hostname = "here".into();
        }),
        "ContainerSpec: a Hostname does not go with the UTS namespace of the node"
    );
    assert_eq!(
        said(&|container| container.sysctls = sysctl("vm.swappiness")),
        "ContainerSpec: the sysctl vm.swappiness is a setting of the node, not of the container; \
         set it on the nodes"
    );
}

#[test]
fn what_services_wait_for_makes_no_ring() {
    let on = |service: &str| Dependency {
        service: service.to_owned(),
        condition: DependencyCondition::Started,
        optional: false,
    };
    let mut swarm = Fixture::new();
    let (first, second) = (swarm.service("first"), swarm.service("second"));
    swarm.update(first, |spec| spec.depends_on = vec![on("second")]);
    swarm.update(second, |spec| spec.depends_on = vec![on("New")]);
    let said = |depends_on: Vec<Dependency>| said(&swarm, |spec, _| spec.depends_on = depends_on);
    assert_eq!(said(vec![on("later")]), "fine");
    assert_eq!(
        said(vec![on("later"), on("first")]),
        "its tasks would wait for each other without end: new waits for first waits for second \
         waits for New"
    );
    assert_eq!(
        said(vec![on("new")]),
        "its tasks would wait for each other without end: new waits for new"
    );
    assert_eq!(
        said(vec![on("db"), on("DB")]),
        "it depends on service DB twice"
    );
    let many = (0..65).map(|number| on(&format!("s{number}"))).collect();
    assert_eq!(said(many), "it depends on 65 services: 64 are the most");
    assert!(said(vec![on("no name")]).contains("no name"));
}

#[test]
fn ingress_ports_need_the_ingress_network() {
    let swarm = Fixture::new();
    assert_eq!(
        said(&swarm, |spec, _| spec.endpoint.ports =
            vec![port(80, PublishMode::Ingress)]),
        "service needs ingress network, but no ingress network is present"
    );
}

#[test]
fn jobs_have_runs_and_no_updates() {
    type Edit = fn(&mut ServiceSpec, &mut JobSpec);
    let swarm = Fixture::new();
    let job = |edit: Edit| {
        said(&swarm, |spec, _| {
            spec.mode = ServiceMode::GlobalJob;
            let mut job = JobSpec::default();
            edit(spec, &mut job);
            spec.job = Some(Box::new(job));
        })
    };
    let daily = || Schedule::new(Cron::parse("@daily").unwrap());
    assert_eq!(job(|_, _| {}), "fine");
    let table: [(Edit, &str); 6] = [
        (
            |spec, _| {
                spec.mode = ServiceMode::ReplicatedJob {
                    completions: 100_001,
                    concurrent: 1,
                }
            },
            "100001 completions are too many: a job can have 100000 at most",
        ),
        (
            |spec, _| spec.mode = ServiceMode::Global,
            "job-deadline, job-ttl and a schedule can only be used with a job mode",
        ),
        (
            |spec, _| spec.update.parallelism = 2,
            "update and rollback configuration is not supported for jobs",
        ),
        (
            |_, job| job.ttl = Some(Duration::ZERO),
            "job-ttl must be from 1s to 366 days",
        ),
        (
            |_, job| job.deadline = Some(Duration::MAX),
            "job-deadline must be from 1s to 366 days",
        ),
        (
            |_, job| {
                job.ttl = Some(Duration::from_secs(60));
                job.schedule = Some(Schedule::new(Cron::parse("@daily").unwrap()));
            },
            "job-ttl cannot be used with a schedule: such a job is never over",
        ),
    ];
    for (edit, message) in table {
        assert_eq!(job(edit), message);
    }
    let scheduled = |edit: &dyn Fn(&mut Schedule)| {
        said(&swarm, |spec, _| {
            let mut schedule = daily();
            edit(&mut schedule);
            spec.mode = ServiceMode::GlobalJob;
            spec.job.get_or_insert_default().schedule = Some(schedule);
        })
    };
    assert_eq!(scheduled(&|_| {}), "fine");
    assert_eq!(
        scheduled(&|schedule| schedule.time_zone = "Zurich".into()),
        "schedule-tz: \"Zurich\" is not a time zone; did you mean \"Europe/Zurich\"?"
    );
    assert_eq!(
        scheduled(&|schedule| schedule.time_zone = "é".repeat(100_000)),
        format!(
            "schedule-tz: \"{}\" is not a time zone; write UTC or a name such as Europe/Zurich",
            "é".repeat(64)
        )
    );
    assert_eq!(
        scheduled(&|schedule| schedule.starting_deadline = Some(Duration::ZERO)),
        "schedule-starting-deadline must be from 1s to 366 days"
    );
}

#[test]
fn a_service_keeps_its_name_and_mode() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let state = swarm.store.state();
    let present = state.service(id).unwrap();
    let mut renamed = present.spec.clone();
    renamed.name = "other".into();
    let mut global = present.spec.clone();
    global.mode = ServiceMode::Global;
    for (spec, message) in [
        (renamed, "renaming services is not supported"),
        (global, "service mode change is not allowed"),
    ] {
        let invalid = validate_service_update(state, present, &spec).unwrap_err();
        assert_eq!(invalid.to_string(), message);
    }
}

#[test]
fn secrets_configs_networks_and_settings_have_their_limits() {
    let swarm = Fixture::new();
    let state = swarm.store.state();
    let secret = |name: &str, bytes: usize| {
        let spec = SecretSpec {
            name: name.into(),
            data: vec![0; bytes].into(),
            ..SecretSpec::default()
        };
        validate_secret(state, &spec).map_err(|invalid| invalid.to_string())
    };
    assert_eq!(secret("pw", 511_999), Ok(()));
    assert!(
        secret("pw", 512_000)
            .unwrap_err()
            .contains("less than 512000")
    );
    assert!(secret("pw", 0).is_err());
    assert!(
        secret(".pw", 1)
            .unwrap_err()
            .starts_with("invalid secret name '.pw'")
    );
    let template = |template: bool| {
        let spec = ConfigSpec {
            name: "page".into(),
            data: (*b"a\nb {{.Node.Name}}").into(),
            template,
            ..ConfigSpec::default()
        };
        validate_config(state, &spec).map_err(|invalid| invalid.to_string())
    };
    assert_eq!(template(false), Ok(()));
    assert!(
        template(true)
            .unwrap_err()
            .starts_with("config 'page' is not a template: line 2, column 5: there is no field")
    );
    let subnet = |text: &str| {
        let spec = NetworkSpec {
            name: "front".into(),
            subnets: vec![text.parse().unwrap()],
            ..NetworkSpec::default()
        };
        validate_network(state, &spec).map_err(|invalid| invalid.to_string())
    };
    assert_eq!(subnet("10.0.9.0/24"), Ok(()));
    assert_eq!(
        subnet("10.0.9.1/24").unwrap_err(),
        "subnet 10.0.9.1/24: has host bits set; write 10.0.9.0/24"
    );
    assert!(subnet("10.0.9.0/30").is_err());
    let mut settings = support::cluster().spec;
    assert_eq!(validate_cluster(&settings), Ok(()));
    settings.cert_expiry = std::time::Duration::from_secs(60);
    assert_eq!(
        validate_cluster(&settings).unwrap_err().to_string(),
        "minimum certificate expiry time is: 1h0m0s"
    );
}
