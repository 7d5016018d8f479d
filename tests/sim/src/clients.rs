//! Clients: each writes to a register of its own and reads all of them, at
//! managers of its choice, and keeps the history.
//!
//! A register is a config, its number a label.

use crate::history::{History, Reading};
use crate::host::Site;
use crate::process::Process;
use crate::world::World;
use skep_manager::Control;
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_proto::pb::control_server::Control as _;
use skep_transport::never_taken;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tonic::{Request, Status};

/// An answer that has not come by then is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// The label that holds the number.
const NUMBER: &str = "number";

/// What a client waits for.
enum Call {
    Create(oneshot::Receiver<Result<bytes::Bytes, Status>>),
    Write(u64, oneshot::Receiver<Result<(), Status>>),
    /// At a host.
    Read(
        usize,
        Reading,
        oneshot::Receiver<Result<BTreeMap<String, u64>, Status>>,
    ),
}

struct Client {
    register: Option<bytes::Bytes>,
    call: Option<(Call, Duration)>,
    rests_until: Duration,
}

/// All clients.
pub(crate) struct Clients {
    clients: Vec<Client>,
    pub(crate) history: History,
    /// Longest rest between two calls of one.
    pause: Duration,
    /// Of a hundred calls, how many are reads.
    reads: u64,
}

fn name(client: usize) -> String {
    format!("register-{client}")
}

fn data(name: String, number: u64) -> pb::DataSpec {
    pb::DataSpec {
        name,
        labels: [(NUMBER.to_owned(), number.to_string())].into(),
        data: bytes::Bytes::new(),
        template: false,
    }
}

/// Has a change made at this site's manager, whoever leads.
pub(crate) fn change(
    process: &Process,
    control: Control,
    change: Change,
) -> oneshot::Receiver<Result<bytes::Bytes, Status>> {
    let (tell, told) = oneshot::channel();
    process.spawn(async move {
        let request = pb::ChangeRequest {
            changes: vec![pb::Change {
                change: Some(change),
            }],
        };
        let answer = control.change(Request::new(request)).await;
        let id = answer.map(|answer| {
            answer
                .into_inner()
                .ids
                .into_iter()
                .next()
                .unwrap_or_default()
        });
        // Who asked has given up when this fails.
        let _ = tell.send(id);
    });
    told
}

pub(crate) fn control(site: &Arc<Site>) -> Option<Control> {
    site.seat().manager().map(skep_manager::Manager::control)
}

impl Clients {
    pub(crate) fn new(count: usize, pause: Duration, reads: u64) -> Clients {
        let client = || Client {
            register: None,
            call: None,
            rests_until: Duration::ZERO,
        };
        Clients {
            clients: (0..count).map(|_| client()).collect(),
            history: History::new(count),
            pause,
            reads,
        }
    }

    /// Whether each has its register.
    pub(crate) fn ready(&self) -> bool {
        self.clients.iter().all(|client| client.register.is_some())
    }
}

/// Lets clients hear their answers and ask anew.
pub(crate) fn act(world: &mut World) {
    let mut clients = std::mem::replace(&mut world.clients, Clients::new(0, Duration::ZERO, 0));
    for number in 0..clients.clients.len() {
        if let Err(broken) = hear(&mut clients, number, world.now) {
            world.fail("no_acknowledged_write_is_lost", &broken);
        }
        ask(&mut clients, number, world);
    }
    world.clients = clients;
}

fn hear(all: &mut Clients, number: usize, now: Duration) -> Result<(), String> {
    let (client, history) = (&mut all.clients[number], &mut all.history);
    let Some((call, since)) = client.call.take() else {
        return Ok(());
    };
    let late = now > since + PATIENCE;
    let waits = |call| Some((call, since));
    match call {
        Call::Create(mut answer) => match answer.try_recv() {
            Ok(Ok(id)) => client.register = Some(id),
            Err(TryRecvError::Empty) if !late => client.call = waits(Call::Create(answer)),
            // It may be there all the same: a read tells.
            Ok(Err(_)) | Err(_) => {}
        },
        Call::Write(written, mut answer) => match answer.try_recv() {
            Ok(Ok(())) => history.acknowledge(number, written, now),
            Err(TryRecvError::Empty) if !late => client.call = waits(Call::Write(written, answer)),
            Ok(Err(refused)) if never_taken(&refused) => {}
            // It may show later, or not.
            Ok(Err(_)) | Err(_) => history.lose(number, written),
        },
        Call::Read(host, reading, mut answer) => match answer.try_recv() {
            Ok(Ok(found)) => {
                let count = all.clients.len();
                let numbers: Vec<_> = (0..count).map(|n| found.get(&name(n)).copied()).collect();
                let shown = history.shown(&reading, &numbers);
                return shown.map_err(|wrong| format!("{wrong}, at host {host} since {since:?}"));
            }
            Err(TryRecvError::Empty) if !late => {
                client.call = waits(Call::Read(host, reading, answer))
            }
            Ok(Err(_)) | Err(_) => {}
        },
    }
    Ok(())
}

fn ask(all: &mut Clients, number: usize, world: &mut World) {
    let ready = all.ready();
    let client = &mut all.clients[number];
    if client.call.is_some() || client.rests_until > world.now {
        return;
    }
    let rest = u64::try_from(all.pause.as_millis()).unwrap_or(u64::MAX);
    client.rests_until = world.now + Duration::from_millis(1 + world.rng.below(rest));
    let chosen = world.rng.below(world.hosts.len() as u64) as usize;
    let read = world.rng.chance(all.reads);
    let host = &world.hosts[chosen];
    let (Some(process), Some(site)) = (host.process(), host.site()) else {
        return;
    };
    let Some(control) = control(site) else { return };
    let call = match client.register.clone() {
        None => {
            let spec = data(name(number), 0);
            Call::Create(change(process, control, Change::CreateConfig(spec)))
        }
        Some(_) if !ready => return,
        Some(_) if read => {
            let (tell, told) = oneshot::channel();
            process.spawn(async move {
                // Who asked has given up when this fails.
                let _ = tell.send(read_all(&control).await);
            });
            Call::Read(chosen, all.history.read(), told)
        }
        Some(id) => {
            let written = all.history.ask(number);
            let (tell, told) = oneshot::channel();
            let update = Change::UpdateConfig(pb::UpdateData {
                id,
                version: 0,
                spec: Some(data(name(number), written)),
                rollout: None,
            });
            let answer = change(process, control, update);
            process.spawn(async move {
                if let Ok(answer) = answer.await {
                    let _ = tell.send(answer.map(drop));
                }
            });
            Call::Write(written, told)
        }
    };
    client.call = Some((call, world.now));
}

async fn read_all(control: &Control) -> Result<BTreeMap<String, u64>, Status> {
    let request = pb::ReadRequest {
        configs: true,
        ..pb::ReadRequest::default()
    };
    let answer = control.read(Request::new(request)).await?.into_inner();
    let specs = answer.configs.into_iter().filter_map(|config| config.spec);
    Ok(specs
        .filter_map(|spec| Some((spec.name, spec.labels.get(NUMBER)?.parse().ok()?)))
        .collect())
}
