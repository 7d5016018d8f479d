//! Several files into one, later ones on top.
//!
//! The rules are Docker's: services by name; scalars and commands replaced when
//! set; maps united; lists appended; ports, secrets, configs and mounts matched
//! by what makes them the same thing. Ports are matched by number, protocol,
//! target and mode together, so that 53/tcp and 53/udp stay two ports.

use crate::model::{
    Dict, File, FileReference, HealthCheck, Logging, Mount, Port, Service, ServiceNetwork,
};
use std::collections::BTreeMap;

/// Puts `over` on top of `base`.
pub(crate) fn files(base: &mut File, over: File) {
    for (name, service) in over.services.0 {
        match base.services.get_mut(&name) {
            Some(found) => merge_service(found, service),
            None => {
                base.services.insert(name, service);
            }
        }
    }
    base.networks.extend(over.networks.0);
    base.volumes.extend(over.volumes.0);
    base.secrets.extend(over.secrets.0);
    base.configs.extend(over.configs.0);
}

/// Replaces a value when the new one says anything.
fn set<T: Default + PartialEq>(base: &mut T, over: T) {
    if over != T::default() {
        *base = over;
    }
}

fn append<T>(base: &mut Vec<T>, over: Vec<T>) {
    base.extend(over);
}

fn unite<V>(base: &mut Dict<V>, over: Dict<V>) {
    base.extend(over.0);
}

/// Merges two optional sections field by field.
fn inside<T>(base: &mut Option<T>, over: Option<T>, merge: impl FnOnce(&mut T, T)) {
    match (base.as_mut(), over) {
        (Some(base), Some(over)) => merge(base, over),
        (None, Some(over)) => *base = Some(over),
        (_, None) => {}
    }
}

/// Joins two lists whose items have a key; the result is sorted by `order`.
fn keyed<T, K: Ord, O: Ord>(
    base: &mut Vec<T>,
    over: Vec<T>,
    key: impl Fn(&T) -> K,
    order: impl Fn(&T) -> O,
) {
    if base.is_empty() && over.is_empty() {
        return;
    }
    let all = std::mem::take(base).into_iter().chain(over);
    let by_key: BTreeMap<K, T> = all.map(|item| (key(&item), item)).collect();
    *base = by_key.into_values().collect();
    base.sort_by_key(order);
}

// Destructured exhaustively: a new key must decide here how it merges.
fn merge_service(base: &mut Service, over: Service) {
    let Service {
        build,
        cap_add,
        cap_drop,
        cgroupns_mode,
        cgroup_parent,
        command,
        configs,
        container_name,
        credential_spec,
        depends_on,
        deploy,
        devices,
        dns,
        dns_search,
        domainname,
        entrypoint,
        environment,
        env_file,
        expose,
        external_links,
        extra_hosts,
        hostname,
        healthcheck,
        image,
        init,
        ipc,
        isolation,
        labels,
        links,
        logging,
        mac_address,
        network_mode,
        networks,
        pid,
        ports,
        privileged,
        read_only,
        restart,
        secrets,
        security_opt,
        shm_size,
        stdin_open,
        stop_grace_period,
        stop_signal,
        sysctls,
        tmpfs,
        tty,
        ulimits,
        user,
        oom_score_adj,
        userns_mode,
        volumes,
        working_dir,
        readiness,
        shutdown_delay,
        extras,
    } = over;
    set(&mut base.build.context, build.context);
    set(&mut base.build.dockerfile, build.dockerfile);
    unite(&mut base.build.args, build.args);
    unite(&mut base.build.labels, build.labels);
    append(&mut base.build.cache_from, build.cache_from);
    append(&mut base.build.extra_hosts, build.extra_hosts);
    set(&mut base.build.network, build.network);
    set(&mut base.build.target, build.target);
    append(&mut base.cap_add, cap_add);
    append(&mut base.cap_drop, cap_drop);
    set(&mut base.cgroupns_mode, cgroupns_mode);
    set(&mut base.cgroup_parent, cgroup_parent);
    set(&mut base.command, command);
    keyed(&mut base.configs, configs, source, source);
    set(&mut base.container_name, container_name);
    set(&mut base.credential_spec.config, credential_spec.config);
    set(&mut base.credential_spec.file, credential_spec.file);
    set(&mut base.credential_spec.registry, credential_spec.registry);
    append(&mut base.depends_on, depends_on);
    merge_deploy(&mut base.deploy, deploy);
    append(&mut base.devices, devices);
    append(&mut base.dns, dns);
    append(&mut base.dns_search, dns_search);
    set(&mut base.domainname, domainname);
    set(&mut base.entrypoint, entrypoint);
    unite(&mut base.environment, environment);
    append(&mut base.env_file, env_file);
    append(&mut base.expose, expose);
    append(&mut base.external_links, external_links);
    append(&mut base.extra_hosts, extra_hosts);
    set(&mut base.hostname, hostname);
    inside(&mut base.healthcheck, healthcheck, merge_check);
    inside(&mut base.readiness, readiness, merge_check);
    set(&mut base.image, image);
    set(&mut base.init, init);
    set(&mut base.ipc, ipc);
    set(&mut base.isolation, isolation);
    unite(&mut base.labels, labels);
    append(&mut base.links, links);
    inside(&mut base.logging, logging, merge_logging);
    set(&mut base.mac_address, mac_address);
    set(&mut base.network_mode, network_mode);
    for (name, network) in networks.0 {
        let found = base.networks.entry(name).or_default();
        inside(found, network, merge_network);
    }
    set(&mut base.pid, pid);
    keyed(&mut base.ports, ports, port_key, |p: &Port| {
        (p.published, port_key(p))
    });
    set(&mut base.privileged, privileged);
    set(&mut base.read_only, read_only);
    set(&mut base.restart, restart);
    keyed(&mut base.secrets, secrets, source, source);
    append(&mut base.security_opt, security_opt);
    set(&mut base.shm_size, shm_size);
    set(&mut base.stdin_open, stdin_open);
    set(&mut base.stop_grace_period, stop_grace_period);
    set(&mut base.shutdown_delay, shutdown_delay);
    set(&mut base.stop_signal, stop_signal);
    unite(&mut base.sysctls, sysctls);
    append(&mut base.tmpfs, tmpfs);
    set(&mut base.tty, tty);
    unite(&mut base.ulimits, ulimits);
    set(&mut base.user, user);
    set(&mut base.oom_score_adj, oom_score_adj);
    set(&mut base.userns_mode, userns_mode);
    let target = |m: &Mount| m.target.clone();
    keyed(&mut base.volumes, volumes, target, target);
    set(&mut base.working_dir, working_dir);
    unite(&mut base.extras, extras);
}

/// A health check is one command: a later one replaces it. (Docker's merge
/// appends the words of the two, which is no command at all.)
fn append_or_set_test(base: &mut Vec<String>, over: Vec<String>) {
    set(base, over);
}

fn merge_check(base: &mut HealthCheck, over: HealthCheck) {
    append_or_set_test(&mut base.test, over.test);
    set(&mut base.timeout, over.timeout);
    set(&mut base.interval, over.interval);
    set(&mut base.retries, over.retries);
    set(&mut base.start_period, over.start_period);
    set(&mut base.start_interval, over.start_interval);
    set(&mut base.disable, over.disable);
}

fn merge_deploy(base: &mut crate::model::Deploy, over: crate::model::Deploy) {
    set(&mut base.mode, over.mode);
    set(&mut base.replicas, over.replicas);
    unite(&mut base.labels, over.labels);
    inside(&mut base.update_config, over.update_config, merge_update);
    inside(
        &mut base.rollback_config,
        over.rollback_config,
        merge_update,
    );
    inside(&mut base.resources.limits, over.resources.limits, |b, o| {
        set(&mut b.cpus, o.cpus);
        set(&mut b.memory, o.memory);
        set(&mut b.pids, o.pids);
    });
    let reservations = over.resources.reservations;
    inside(&mut base.resources.reservations, reservations, |b, o| {
        set(&mut b.cpus, o.cpus);
        set(&mut b.memory, o.memory);
        append(&mut b.generic_resources, o.generic_resources);
    });
    inside(&mut base.restart_policy, over.restart_policy, |b, o| {
        set(&mut b.condition, o.condition);
        set(&mut b.delay, o.delay);
        set(&mut b.max_attempts, o.max_attempts);
        set(&mut b.window, o.window);
        set(&mut b.max_delay, o.max_delay);
    });
    append(&mut base.placement.constraints, over.placement.constraints);
    append(&mut base.placement.preferences, over.placement.preferences);
    append(&mut base.placement.platforms, over.placement.platforms);
    let most = over.placement.max_replicas_per_node;
    set(&mut base.placement.max_replicas_per_node, most);
    set(&mut base.placement.rebalance, over.placement.rebalance);
    set(&mut base.endpoint_mode, over.endpoint_mode);
    inside(&mut base.job, over.job, |b, o| {
        set(&mut b.deadline, o.deadline);
        set(&mut b.ttl, o.ttl);
        set(&mut b.max_concurrent, o.max_concurrent);
    });
    inside(&mut base.schedule, over.schedule, |b, o| {
        set(&mut b.cron, o.cron);
        set(&mut b.time_zone, o.time_zone);
        set(&mut b.concurrency, o.concurrency);
        set(&mut b.starting_deadline, o.starting_deadline);
        set(&mut b.suspend, o.suspend);
    });
}

fn merge_update(base: &mut crate::model::Update, over: crate::model::Update) {
    set(&mut base.parallelism, over.parallelism);
    set(&mut base.delay, over.delay);
    set(&mut base.failure_action, over.failure_action);
    set(&mut base.monitor, over.monitor);
    set(&mut base.max_failure_ratio, over.max_failure_ratio);
    set(&mut base.order, over.order);
    set(&mut base.progress_deadline, over.progress_deadline);
}

/// Options belong to a driver: another driver brings its own.
fn merge_logging(base: &mut Logging, over: Logging) {
    if base.driver == over.driver || base.driver.is_empty() || over.driver.is_empty() {
        set(&mut base.driver, over.driver);
        unite(&mut base.options, over.options);
    } else {
        *base = over;
    }
}

fn merge_network(base: &mut ServiceNetwork, over: ServiceNetwork) {
    base.aliases = over.aliases;
    unite(&mut base.driver_opts, over.driver_opts);
    set(&mut base.ipv4_address, over.ipv4_address);
    set(&mut base.ipv6_address, over.ipv6_address);
}

fn source(reference: &FileReference) -> String {
    reference.source.clone()
}

fn port_key(port: &Port) -> (i64, String, i64, String) {
    let protocol = port.protocol.clone();
    (port.published, protocol, port.target, port.mode.clone())
}
