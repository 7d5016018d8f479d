//! What every call to a manager's port passes before anything of it is read: who
//! may call what, how many calls a peer may have under way, and how long it may
//! take to say what it wants. A manager holds in memory what it reads.

use super::client;
use super::peer::{self, Peer};
use crate::shared::Shared;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use skep_proto::pb::{control_server, dispatcher_server, raft_server, relay_server};
use skep_transport::{Call, Load};
use skep_types::Role;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tower::Layer;

/// Bytes of requests that are held for one node at once: a change of the largest size
/// and as much again.
const LOAD_MAX_BYTES: usize = 128 << 20;

/// What a peer may do at once.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    /// Calls under way, of a node on all its connections.
    calls: usize,
    /// Streams of logs beside them: who reads many of them must not silence the node.
    logs: usize,
    /// How long it may take to send what a call begins with.
    body: Duration,
}

impl Allowance {
    /// Commands of a person, some of which watch; a stack with all its files is sent over
    /// whatever line that person has.
    const CLIENT: Allowance = Allowance {
        calls: 64,
        logs: 0,
        body: Duration::from_secs(60),
    };

    fn of(role: Option<Role>) -> Allowance {
        let (calls, logs, seconds) = match role {
            // It joins.
            None => (4, 0, 10),
            // A session, its assignments and a few words.
            Some(Role::Worker) => (64, 256, 10),
            // It passes on what agents of its own send.
            Some(Role::Manager) => (1024, 512, 60),
        };
        Allowance {
            calls,
            logs,
            body: Duration::from_secs(seconds),
        }
    }
}

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Callers {
    All,
    Nodes,
    Managers,
    /// And those who pass on what clients ask: managers.
    Clients,
}

/// Who may call a method. What is not known is refused by who would serve it.
fn callers(service: &str, method: &str) -> Callers {
    match (service, method) {
        (raft_server::SERVICE_NAME, "Leave") => Callers::Nodes,
        (raft_server::SERVICE_NAME | relay_server::SERVICE_NAME, _) => Callers::Managers,
        (control_server::SERVICE_NAME, _) => Callers::Clients,
        (dispatcher_server::SERVICE_NAME, _) => Callers::Nodes,
        // The CA's, and what is none.
        _ => Callers::All,
    }
}

/// Layer of the port's server.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) shared: Shared,
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            inner,
            shared: self.shared.clone(),
        }
    }
}

/// A service behind the gate.
#[derive(Clone)]
pub(crate) struct Gated<S> {
    inner: S,
    shared: Shared,
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (request, hold) = match pass(&self.shared, request) {
            Ok(passed) => passed,
            Err(refused) => return Box::pin(std::future::ready(Ok(refused.into_http()))),
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| Body::new(Answer { body, _hold: hold })))
        })
    }
}

/// The request as it goes on, with its [`Peer`] or its client where it has to be one.
fn pass(shared: &Shared, mut request: Request<Body>) -> Result<(Request<Body>, Hold), Status> {
    let path = request.uri().path().trim_start_matches('/');
    let (service, method) = path.split_once('/').unwrap_or((path, ""));
    let streams = method == "PublishLogs";
    let callers = callers(service, method);
    let client = match callers {
        Callers::Clients => client::caller(shared, request.extensions())?,
        Callers::All | Callers::Nodes | Callers::Managers => None,
    };
    let peer = match callers {
        Callers::All => None,
        Callers::Clients if client.is_some() => None,
        Callers::Nodes => Some(peer::node(shared, request.extensions())?),
        Callers::Managers | Callers::Clients => Some(peer::manager(shared, request.extensions())?),
    };
    let connection = peer::connection(request.extensions())?;
    let allowance = match (&client, peer) {
        (Some(_), _) => Allowance::CLIENT,
        (None, Some(Peer { role, .. })) => Allowance::of(Some(role)),
        (None, None) => Allowance::of(peer::role(connection)),
    };
    let (call, limit) = match streams {
        true => (
            connection.calls.begin_lasting(allowance.logs),
            allowance.logs,
        ),
        false => (connection.calls.begin(allowance.calls), allowance.calls),
    };
    let call = call.ok_or_else(|| {
        Status::resource_exhausted(format!(
            "{limit} calls of this kind of this peer are under way at this manager; try again \
             when some have ended"
        ))
    })?;
    let load = Arc::new(connection.calls.load(LOAD_MAX_BYTES));
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    if let Some(client) = client {
        request.extensions_mut().insert(client);
    }
    let hold = Hold {
        _call: call,
        _load: load.clone(),
    };
    if streams {
        return Ok((request, hold));
    }
    let until = Instant::now() + allowance.body;
    let request = request.map(|body| {
        Body::new(Timely {
            body,
            load,
            until,
            sleep: None,
        })
    });
    Ok((request, hold))
}

/// What a call takes of its peer's share while it is under way.
struct Hold {
    _call: Call,
    _load: Arc<Load>,
}

/// What a call is answered, which is under way until all of it is sent.
struct Answer {
    body: Body,
    _hold: Hold,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a call begins with, which has to arrive in time and to find room.
struct Timely {
    body: Body,
    load: Arc<Load>,
    until: Instant,
    /// Most of them are there at once and need none.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timely {
    fn held(&self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Status> {
        match self.load.add(frame.data_ref().map_or(0, Bytes::len)) {
            true => Ok(frame),
            false => Err(Status::resource_exhausted(format!(
                "{LOAD_MAX_BYTES} bytes of requests of this peer are held by this manager; try \
                 again when some have ended"
            ))),
        }
    }
}

impl http_body::Body for Timely {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| this.held(frame?)));
        }
        let until = this.until;
        let sleep = this
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Some(Err(Status::deadline_exceeded(
            "the request was not sent in time; try again",
        ))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_managers_call_what_is_among_managers() {
        let all = [
            ("skep.v1.Raft", "Step", Callers::Managers),
            ("skep.v1.Raft", "Join", Callers::Managers),
            ("skep.v1.Raft", "Leave", Callers::Nodes),
            ("skep.v1.Relay", "PublishLogs", Callers::Managers),
            ("skep.v1.Control", "Change", Callers::Clients),
            ("skep.v1.Dispatcher", "Session", Callers::Nodes),
            ("skep.v1.Ca", "Issue", Callers::All),
            ("skep.v1.LocalNode", "Info", Callers::All),
        ];
        for (service, method, may) in all {
            assert_eq!(callers(service, method), may, "{service}/{method}");
        }
    }
}
