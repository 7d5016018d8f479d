//! How a machine gets its certificate: the first one by a token, later ones
//! by the one before.

use anyhow::{Context, Result, anyhow, bail};
use skep_manager::Manager;
use skep_manager_ca::{CaBundle, Identity, JoinToken, Request, bootstrap_config, joining_config};
use skep_proto::pb::ca_client::CaClient;
use skep_proto::{pb, unlock_key};
use skep_transport::{Channels, connect, redirected_to};
use skep_types::{UnlockKey, with_causes};
use std::time::Duration;

/// How long a manager may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a manager is asked for its CA that hangs up.
const DOWNLOAD_TRIES: u32 = 8;

/// An identity, and with a manager's the swarm's unlock key, if it has one.
pub(crate) type Issued = (Identity, Option<UnlockKey>);

/// What a manager gave a machine that joins.
pub(crate) struct Joined {
    /// Its identity.
    pub issued: Issued,
    /// UDP port of WireGuard.
    pub data_path_port: u16,
    /// The manager that answered.
    pub manager: String,
}

/// Joins at the first of these managers that lets it.
pub(crate) async fn join(
    token: &str,
    managers: &[String],
    request: pb::IssueRequest,
) -> Result<Joined> {
    let token: JoinToken = token.parse().map_err(|error| anyhow!("{error}"))?;
    // One key for all attempts: managers know by it that it is the same node.
    let key = Request::generate()?;
    let request = pb::IssueRequest {
        csr: key.pem().to_owned(),
        token: token.to_string(),
        ..request
    };
    let mut last = anyhow!("name a manager to join: HOST:2377");
    for manager in managers {
        match join_at(&token, manager, &request).await {
            Ok((ca, answer, manager)) => {
                return Ok(Joined {
                    issued: complete(key, &answer, ca)?,
                    data_path_port: u16::try_from(answer.data_path_port).unwrap_or_default(),
                    manager,
                });
            }
            Err(error) => last = error.context(format!("cannot join at {manager}")),
        }
    }
    Err(last)
}

async fn join_at(
    token: &JoinToken,
    manager: &str,
    request: &pb::IssueRequest,
) -> Result<(CaBundle, pb::IssueResponse, String)> {
    let ca = download(token, manager).await?;
    let channels = Channels::new(joining_config(&ca)?);
    let (answer, manager) = issue(&channels, &[manager.to_owned()], request).await?;
    Ok((ca, answer, manager))
}

/// Asks an unknown server for its CA, and believes it only if the token says so.
async fn download(token: &JoinToken, manager: &str) -> Result<CaBundle> {
    let mut tries = 0;
    let answer = loop {
        let channel = connect(manager, bootstrap_config()?)?;
        let call = async { CaClient::new(channel).root_ca(pb::RootCaRequest {}).await };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, call)
            .await
            .map_err(|_| anyhow!("{manager} does not answer"))?;
        tries += 1;
        match answer {
            Ok(answer) => break answer,
            // Hung up on, most likely: many come from behind one address at once.
            Err(status) if was_hung_up_on(&status) && tries < DOWNLOAD_TRIES => {
                let pause = rand::random_range(100..1000);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            Err(status) => bail!(
                "{}; is a skep manager listening at {manager}, and is the port open?",
                explained(&status)
            ),
        }
    };
    Ok(CaBundle::from_download(
        &answer.into_inner().certificate,
        token,
    )?)
}

/// Asks for a certificate at the leader, wherever that is.
async fn issue(
    channels: &Channels,
    managers: &[String],
    request: &pb::IssueRequest,
) -> Result<(pb::IssueResponse, String)> {
    let mut ask = managers.to_vec();
    let mut last = anyhow!("no manager is known");
    // Leadership may change while it is being looked for.
    for _ in 0..20 {
        let Some(manager) = ask.pop() else {
            ask = managers.to_vec();
            tokio::time::sleep(Duration::from_millis(250)).await;
            continue;
        };
        let mut client = CaClient::new(channels.to(&manager)?);
        match tokio::time::timeout(ANSWER_TIMEOUT, client.issue(request.clone())).await {
            Ok(Ok(answer)) => return Ok((answer.into_inner(), manager)),
            Ok(Err(status)) => {
                if let Some(leader) = redirected_to(&status) {
                    ask.push(leader);
                } else if status.code() != tonic::Code::Unavailable {
                    bail!("{}", explained(&status));
                }
                last = anyhow!("{manager}: {}", explained(&status));
            }
            Err(_) => last = anyhow!("{manager} does not answer"),
        }
    }
    Err(last)
}

/// A new certificate for this identity, with the role the managers want it to
/// have.
pub(crate) async fn renew(channels: &Channels, managers: &[String]) -> Result<Issued> {
    let key = Request::generate()?;
    let request = pb::IssueRequest {
        csr: key.pem().to_owned(),
        ..pb::IssueRequest::default()
    };
    let (answer, _) = issue(channels, managers, &request)
        .await
        .context("the certificate was not renewed")?;
    // Whoever answered is a manager under a root this node trusts.
    let ca = CaBundle::from_pem(&answer.root_ca_certificate)?;
    complete(key, &answer, ca)
}

/// A new certificate for this node, from its own manager; see
/// [`Manager::issue_own`].
pub(crate) fn renew_alone(manager: &Manager) -> Result<Issued> {
    let key = Request::generate()?;
    let answer = manager
        .issue_own(key.pem())
        .map_err(|status| anyhow!("the certificate was not renewed: {}", status.message()))?;
    let ca = CaBundle::from_pem(&answer.root_ca_certificate)?;
    complete(key, &answer, ca)
}

fn complete(key: Request, answer: &pb::IssueResponse, ca: CaBundle) -> Result<Issued> {
    let unlock = unlock_key(&answer.unlock_key, "issue.unlock_key")?;
    Ok((key.complete(&answer.certificate, ca)?, unlock))
}

/// Whether somebody was there and broke off the connection.
fn was_hung_up_on(status: &tonic::Status) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    let mut reason = std::error::Error::source(status);
    while let Some(error) = reason {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(error.kind(), ConnectionReset | BrokenPipe | UnexpectedEof);
        }
        reason = error.source();
    }
    false
}

/// A status in words, with what lies behind a connection that failed.
pub(crate) fn explained(status: &tonic::Status) -> String {
    let source = std::error::Error::source(status);
    if let Some(text) = source.and_then(skep_manager_ca::explain) {
        return text;
    }
    with_causes(status.message(), source)
}
