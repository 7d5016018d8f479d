//! Pulling: from a name to an image in the store. Everybody who wants the same
//! image with the same credentials at the same time shares one pull, which
//! stops when the last of them goes away.

mod layer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::config::Document;
use crate::digest::Digest;
use crate::error::{PullError, StoreError};
use crate::image::Image;
use crate::manifest::{Descriptor, Manifest, Platform, choose, platforms};
use crate::progress::{Progress, Stage};
use crate::reference::Reference;
use crate::registry::{Credentials, Endpoint, RemoteImage, Session, chain};
use crate::store::{ImageStore, Inner, NewImage};
use layer::Layer;

/// Progress messages that a slow listener may lag behind before it misses some.
const MESSAGES: usize = 1024;

type Key = (Reference, Option<Credentials>);
type Outcome = Result<Image, PullError>;

/// The pulls in progress.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Key, Weak<Flight>>>);

struct Flight {
    progress: broadcast::Sender<Progress>,
    outcome: watch::Receiver<Option<Outcome>>,
    task: JoinHandle<()>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        // The last one who waits is gone; after the end this does nothing.
        self.task.abort();
    }
}

impl ImageStore {
    /// Pulls an image, and names it. Layers that are here already are not
    /// fetched; if the registry still has the same image under the name, its
    /// manifest and configuration are all that is transferred.
    ///
    /// `progress` is called now and then from this task. Dropping the future
    /// stops the pull unless somebody else waits for the same image.
    ///
    /// # Errors
    /// See [`PullError`]; whatever was begun is gone, but layers that were
    /// complete are kept for the next try until the store is opened anew.
    pub async fn pull(
        &self,
        reference: &Reference,
        credentials: Option<Credentials>,
        progress: impl Fn(Progress),
    ) -> Result<Image, PullError> {
        let (flight, mut messages) = self.board(reference, credentials);
        let mut outcome = flight.outcome.clone();
        let stopped = || PullError::Stopped {
            reference: reference.clone(),
        };
        loop {
            tokio::select! {
                biased;
                message = messages.recv() => match message {
                    Ok(message) => progress(message),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                ended = outcome.changed() => {
                    if ended.is_err() {
                        return Err(stopped());
                    }
                    break;
                }
            }
        }
        while let Ok(message) = messages.try_recv() {
            progress(message);
        }
        let ended = outcome
            .wait_for(Option::is_some)
            .await
            .map_err(|_| stopped())?;
        ended.clone().unwrap_or_else(|| Err(stopped()))
    }

    /// Joins the pull of this image, or begins it.
    fn board(
        &self,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> (Arc<Flight>, broadcast::Receiver<Progress>) {
        let key = (reference.clone(), credentials);
        let mut flights = self
            .inner
            .flights
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = flights.get(&key).and_then(Weak::upgrade)
            && flight.outcome.borrow().is_none()
            && !flight.task.is_finished()
        {
            let messages = flight.progress.subscribe();
            return (flight, messages);
        }
        let (progress, messages) = broadcast::channel(MESSAGES);
        let (tell, outcome) = watch::channel(None);
        let pull = Pull {
            store: self.clone(),
            reference: reference.clone(),
            credentials: key.1.clone(),
            progress: progress.clone(),
        };
        let task = tokio::spawn(async move {
            let _ = tell.send(Some(pull.run().await));
        });
        let flight = Arc::new(Flight {
            progress,
            outcome,
            task,
        });
        flights.insert(key, Arc::downgrade(&flight));
        (flight, messages)
    }

    /// Asks the registry what a name stands for, without pulling it.
    ///
    /// # Errors
    /// Those of [`ImageStore::pull`] that speak of registries.
    pub async fn resolve(
        &self,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> Result<RemoteImage, PullError> {
        let mut tried = Vec::new();
        for endpoint in Endpoint::candidates(reference, &self.inner.config) {
            let label = endpoint.name.clone();
            match resolve_at(&self.inner, endpoint, reference, credentials.as_ref()).await {
                Ok(found) => return Ok(found),
                Err(error) => tried.push((label, error)),
            }
        }
        Err(nowhere(reference, tried))
    }
}

async fn resolve_at(
    inner: &Inner,
    endpoint: Endpoint,
    reference: &Reference,
    credentials: Option<&Credentials>,
) -> Result<RemoteImage, PullError> {
    let session = Session::new(&inner.http, endpoint, reference, credentials)?;
    let fetched = session
        .manifest(&wanted(reference), reference.digest())
        .await?;
    let unusable = |reason: String| PullError::Unusable {
        reference: reference.clone(),
        registry: session.registry(),
        reason,
    };
    let platforms = match Manifest::parse(&fetched.bytes).map_err(|e| unusable(e.to_string()))? {
        Manifest::Index(entries) => platforms(&entries),
        Manifest::Image { config, .. } => {
            let bytes = session.small_blob(&config.digest).await?;
            let document = Document::parse(&bytes).map_err(|e| unusable(e.to_string()))?;
            vec![platform_of(&document)]
        }
    };
    Ok(RemoteImage {
        digest: fetched.digest,
        size: fetched.bytes.len() as u64,
        platforms,
        registry: session.registry(),
    })
}

/// What is asked of a registry: the digest wins over the tag.
fn wanted(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    }
}

fn platform_of(document: &Document) -> Platform {
    Platform {
        os: document.config.os.clone(),
        architecture: document.config.architecture.clone(),
        variant: String::new(),
    }
}

/// The error when no place had the image.
fn nowhere(reference: &Reference, mut tried: Vec<(String, PullError)>) -> PullError {
    // A loopback registry is tried with TLS first: where the plain try got
    // an answer at all, that is the one that counts.
    let original: Vec<usize> = (0..tried.len())
        .filter(|at| tried[*at].0 == reference.domain())
        .collect();
    if let [first, second] = original[..] {
        let plain_is_beside_the_point = match &tried[second].1 {
            // The answer of a TLS server to plain HTTP.
            PullError::Answer { status: 400, .. } => true,
            PullError::Unreachable { .. } => {
                !matches!(tried[first].1, PullError::Unreachable { .. })
            }
            _ => false,
        };
        let gone = if plain_is_beside_the_point {
            second
        } else {
            first
        };
        tried.remove(gone);
    }
    if tried.len() == 1
        && let Some((_, error)) = tried.pop()
    {
        return error;
    }
    PullError::Everywhere {
        reference: reference.clone(),
        tried,
    }
}

/// One pull on its way.
struct Pull {
    store: ImageStore,
    reference: Reference,
    credentials: Option<Credentials>,
    progress: broadcast::Sender<Progress>,
}

impl Pull {
    async fn run(&self) -> Outcome {
        let mut tried = Vec::new();
        for endpoint in Endpoint::candidates(&self.reference, &self.store.inner.config) {
            let label = endpoint.name.clone();
            self.tell(None, Stage::Resolving(label.clone()));
            match self.from(endpoint).await {
                Ok(image) => {
                    self.tell(None, Stage::Done(image.id.clone()));
                    return Ok(image);
                }
                // Nowhere else would this be any better.
                Err(error @ (PullError::NoSpace { .. } | PullError::Store { .. })) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::debug!(image = %self.reference, registry = %label, error = %chain(&error), "no pull from here");
                    tried.push((label, error));
                }
            }
        }
        Err(nowhere(&self.reference, tried))
    }

    fn tell(&self, layer: Option<Digest>, stage: Stage) {
        // Nobody need listen.
        let _ = self.progress.send(Progress { layer, stage });
    }

    fn unusable(&self, session: &Session, reason: impl ToString) -> PullError {
        PullError::Unusable {
            reference: self.reference.clone(),
            registry: session.registry(),
            reason: reason.to_string(),
        }
    }

    async fn from(&self, endpoint: Endpoint) -> Outcome {
        let inner = &self.store.inner;
        let session = Session::new(
            &inner.http,
            endpoint,
            &self.reference,
            self.credentials.as_ref(),
        )?;
        let fetched = session
            .manifest(&wanted(&self.reference), self.reference.digest())
            .await?;
        let top = fetched.digest.clone();
        self.tell(None, Stage::Resolved(top.clone()));
        let (config, layers) = self.image_manifest(&session, &fetched.bytes).await?;
        if layers.len() > inner.config.limits.layers {
            return Err(self.unusable(
                &session,
                format!("{} layers are more than an overlay takes", layers.len()),
            ));
        }
        let config = session.small_blob(&config.digest).await?;
        let document = Document::parse(&config)
            .map_err(|e| self.unusable(&session, format!("its configuration is malformed: {e}")))?;
        let platform = platform_of(&document);
        if !platform.runs_here() {
            return Err(PullError::WrongPlatform {
                reference: self.reference.clone(),
                wanted: Platform::current(),
                found: vec![platform],
            });
        }
        if document.diff_ids.len() != layers.len() {
            return Err(self.unusable(
                &session,
                format!(
                    "{} layers, but its configuration names {}",
                    layers.len(),
                    document.diff_ids.len()
                ),
            ));
        }
        let pins = inner.pin(document.diff_ids.clone());
        self.layers(session, layers, &document).await?;
        let mut names = vec![self.reference.with_digest(top)];
        if self.reference.digest().is_none() {
            names.push(self.reference.clone());
        }
        let new = NewImage {
            config: config.to_vec(),
            document,
            names,
        };
        let committed = self.store.blocking(move |inner| {
            let _pins = pins;
            inner.commit(new)
        });
        committed.await.map_err(|source| self.store_error(source))
    }

    fn store_error(&self, source: StoreError) -> PullError {
        let reference = self.reference.clone();
        if source.is_no_space() {
            PullError::NoSpace {
                reference,
                source: Arc::new(source),
            }
        } else {
            PullError::Store {
                reference,
                source: Arc::new(source),
            }
        }
    }

    /// The manifest for this machine, through an index if need be.
    async fn image_manifest(
        &self,
        session: &Session,
        bytes: &[u8],
    ) -> Result<(Descriptor, Vec<Descriptor>), PullError> {
        let parse = |bytes: &[u8]| Manifest::parse(bytes).map_err(|e| self.unusable(session, e));
        let mut manifest = parse(bytes)?;
        // An index may hold indexes; two steps are more than anybody uses.
        for _ in 0..3 {
            match manifest {
                Manifest::Image { config, layers } => return Ok((config, layers)),
                Manifest::Index(entries) => {
                    let entry = choose(&entries).map_err(|found| PullError::WrongPlatform {
                        reference: self.reference.clone(),
                        wanted: Platform::current(),
                        found,
                    })?;
                    let fetched = session
                        .manifest(entry.digest.as_str(), Some(&entry.digest))
                        .await?;
                    manifest = parse(&fetched.bytes)?;
                }
            }
        }
        Err(self.unusable(session, "indexes within indexes"))
    }

    /// Brings all layers into the store, some at a time, the lowest first.
    async fn layers(
        &self,
        session: Session,
        layers: Vec<Descriptor>,
        document: &Document,
    ) -> Result<(), PullError> {
        let session = Arc::new(session);
        let turns = Arc::new(Semaphore::new(self.store.inner.config.parallel.max(1)));
        // Dropping the set, on the first error or with the pull, stops the rest.
        let mut running = JoinSet::new();
        let mut seen = Vec::new();
        for (blob, diff_id) in layers.into_iter().zip(&document.diff_ids) {
            if seen.contains(diff_id) {
                continue;
            }
            seen.push(diff_id.clone());
            let layer = Layer {
                store: self.store.clone(),
                session: session.clone(),
                reference: self.reference.clone(),
                progress: self.progress.clone(),
                blob: blob.digest,
                size: blob.size,
                diff_id: diff_id.clone(),
            };
            let turns = turns.clone();
            running.spawn(async move {
                layer.tell(Stage::Waiting);
                // The semaphore is never closed.
                let _turn = turns.acquire().await;
                layer.bring().await
            });
        }
        while let Some(ended) = running.join_next().await {
            match ended {
                Ok(outcome) => outcome?,
                Err(stopped) => match stopped.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => {
                        return Err(PullError::Stopped {
                            reference: self.reference.clone(),
                        });
                    }
                },
            }
        }
        Ok(())
    }
}
