//! Agents in a swarm of daemons: they join by the token as machines do, and work.

use crate::agent::{Agent, Said};
use crate::{Error, connected};
use skep_manager_ca::{
    CaBundle, Credentials, Identity, JoinToken, Request, bootstrap_config, joining_config,
};
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;
use skep_transport::{Channels, connect, redirected_to};
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

/// How many join at a time: more from one address are sent away.
const JOINING: usize = 4;
/// How often the leader is looked for.
const TRIES: usize = 20;

/// Says when all have their assignments, and at the end how often one lost its session and how
/// many messages told what all are told.
pub(crate) async fn run(count: usize, token: &str, managers: &[String]) -> Result<(), Error> {
    let token: JoinToken = token.parse()?;
    let first = managers.first().ok_or("name a manager: HOST:PORT")?;
    let answer = CaClient::new(connect(first, bootstrap_config()?)?)
        .root_ca(pb::RootCaRequest {})
        .await?;
    let ca = CaBundle::from_download(&answer.into_inner().certificate, &token)?;
    let door = Arc::new(Door {
        channels: Channels::new(joining_config(&ca)?),
        managers: managers.to_vec(),
        token: token.to_string(),
        ca,
        turns: Semaphore::new(JOINING),
    });
    let begun = Instant::now();
    let mut joining = JoinSet::new();
    for place in 0..count {
        let door = door.clone();
        joining.spawn(async move { door.join(place).await });
    }
    let mut identities = Vec::with_capacity(count);
    while let Some(joined) = joining.join_next().await {
        identities.push(joined??);
    }
    println!("joined in {:.1} s", begun.elapsed().as_secs_f64());

    let (say, mut said) = mpsc::unbounded_channel();
    // There is one round only.
    let (_round, rounds) = watch::channel(0);
    let digests = Arc::new(Mutex::new(vec![bytes::Bytes::new(); count]));
    let dialling = Arc::new(Semaphore::new(256));
    let begun = Instant::now();
    for (place, identity) in identities.into_iter().enumerate() {
        let agent = Agent {
            managers: managers.to_vec(),
            bits: identity.peer().node.bits(),
            credentials: Credentials::new(identity)?,
            place,
            digests: digests.clone(),
            dialling: dialling.clone(),
            rounds: rounds.clone(),
            said: say.clone(),
            works: true,
        };
        tokio::spawn(agent.run());
    }
    let again = connected(&mut said, count).await?;
    let took = begun.elapsed().as_secs_f64();
    println!("ready in {took:.1} s, {again} tried again");
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let (mut lost, mut told) = (0_usize, 0_usize);
    tokio::pin!(end);
    loop {
        tokio::select! {
            ended = &mut end => {
                ended??;
                break;
            }
            said = said.recv() => match said {
                Some(Said::Lost(reason)) => {
                    if lost == 0 {
                        eprintln!("(the first session that was lost: {reason})");
                    }
                    lost += 1;
                }
                Some(Said::Told(_)) => told += 1,
                Some(Said::Connected(_)) | None => {}
            }
        }
    }
    println!("{lost} sessions were lost; {told} messages were of what all are told");
    Ok(())
}

/// Where machines join.
struct Door {
    channels: Channels,
    managers: Vec<String>,
    token: String,
    ca: CaBundle,
    turns: Semaphore,
}

impl Door {
    async fn join(&self, place: usize) -> Result<Identity, Error> {
        let _turn = self.turns.acquire().await?;
        let key = Request::generate()?;
        let request = pb::IssueRequest {
            csr: key.pem().to_owned(),
            token: self.token.clone(),
            hostname: format!("crowd-{place}"),
            ..pb::IssueRequest::default()
        };
        let mut address = self.managers[place % self.managers.len()].clone();
        for _ in 0..TRIES {
            let mut client = CaClient::new(self.channels.to(&address)?);
            match client.issue(request.clone()).await {
                Ok(answer) => {
                    let certificate = answer.into_inner().certificate;
                    return Ok(key.complete(&certificate, self.ca.clone())?);
                }
                Err(status) => match redirected_to(&status) {
                    Some(leader) => address = leader,
                    None if status.code() == tonic::Code::Unavailable => {
                        tokio::time::sleep(Duration::from_millis(250)).await;
                    }
                    None => return Err(status.into()),
                },
            }
        }
        Err(format!("{address} made no node").into())
    }
}
