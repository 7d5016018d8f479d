//! A conversation with one registry about one image: documents, and blobs that
//! go on where a connection broke.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_RANGE, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use tokio::sync::{Mutex, mpsc};

use super::auth::{AuthError, authorise, challenge};
use super::http::{Http, cause};
use super::words::{chain, registry_message};
use super::{Credentials, Endpoint, RegistryConfig};
use crate::digest::Digest;
use crate::error::PullError;
use crate::manifest::ACCEPT as MANIFESTS;
use crate::reference::Reference;

/// The longest wait that a registry may ask for before it counts as a refusal.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// How many connections one blob may use up even if each brings some bytes.
const RESUMES_MAX: u32 = 200;

/// A manifest or index as it came.
pub(crate) struct Fetched {
    pub bytes: Bytes,
    pub digest: Digest,
}

/// One image at one registry.
pub(crate) struct Session {
    client: Client,
    endpoint: Endpoint,
    reference: Reference,
    credentials: Option<Credentials>,
    /// The header that the registry accepted last.
    authorisation: Mutex<Option<HeaderValue>>,
    config: Arc<RegistryConfig>,
}

/// A request did not give what was asked for.
enum Failure {
    /// It may do so next time, after at least this long.
    Transient(PullError, Option<Duration>),
    Final(PullError),
}

impl Failure {
    fn into_error(self) -> PullError {
        match self {
            Failure::Transient(error, _) | Failure::Final(error) => error,
        }
    }
}

impl Session {
    pub(crate) fn new(
        http: &Http,
        endpoint: Endpoint,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<Session, PullError> {
        let client = http
            .client(endpoint.is_tls())
            .map_err(|source| PullError::Unreachable {
                reference: reference.clone(),
                registry: endpoint.name.clone(),
                source,
            })?;
        Ok(Session {
            client,
            reference: reference.clone(),
            credentials: credentials.filter(|_| endpoint.original).cloned(),
            endpoint,
            authorisation: Mutex::new(None),
            config: http.config.clone(),
        })
    }

    pub(crate) fn registry(&self) -> String {
        self.endpoint.name.clone()
    }

    /// The manifest or index that a tag or digest names, verified.
    pub(crate) async fn manifest(
        &self,
        name: &str,
        digest: Option<&Digest>,
    ) -> Result<Fetched, PullError> {
        let path = format!("manifests/{name}");
        let (bytes, told) = self.document(&path, MANIFESTS).await?;
        // Without a digest of the caller's, the registry's own is at least a
        // check against damage on the way.
        let expected = digest
            .cloned()
            .or_else(|| told.as_deref().and_then(|told| told.parse().ok()));
        let digest = self.verify("the manifest", expected, &bytes)?;
        Ok(Fetched { bytes, digest })
    }

    /// A small blob, such as an image's configuration, verified.
    pub(crate) async fn small_blob(&self, digest: &Digest) -> Result<Bytes, PullError> {
        let (bytes, _) = self.document(&format!("blobs/{digest}"), "*/*").await?;
        self.verify("the configuration", Some(digest.clone()), &bytes)?;
        Ok(bytes)
    }

    fn verify(
        &self,
        what: &str,
        expected: Option<Digest>,
        bytes: &[u8],
    ) -> Result<Digest, PullError> {
        let Some(expected) = expected else {
            return Ok(Digest::sha256(bytes));
        };
        let mut hasher = expected.hasher();
        hasher.update(bytes);
        let actual = hasher.finish();
        if actual == expected {
            return Ok(actual);
        }
        Err(PullError::DigestMismatch {
            reference: self.reference.clone(),
            registry: self.registry(),
            what: what.to_owned(),
            expected,
            actual,
        })
    }

    /// A whole body and the digest that the registry tells with it, with retries.
    async fn document(
        &self,
        path: &str,
        accept: &str,
    ) -> Result<(Bytes, Option<String>), PullError> {
        let mut attempt = 0;
        loop {
            let failure = match self.try_document(path, accept).await {
                Ok(document) => return Ok(document),
                Err(failure) => failure,
            };
            match failure {
                Failure::Transient(_, wait) if attempt < self.config.retries.min(2) => {
                    attempt += 1;
                    self.pause(attempt, wait).await;
                }
                failure => return Err(self.explain(path, failure.into_error()).await),
            }
        }
    }

    async fn try_document(
        &self,
        path: &str,
        accept: &str,
    ) -> Result<(Bytes, Option<String>), Failure> {
        let response = self.get(path, accept, 0).await?;
        let told = response
            .headers()
            .get("docker-content-digest")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let bytes = self
            .bounded(response, self.config.limits.document_bytes)
            .await?;
        Ok((bytes, told))
    }

    async fn bounded(&self, mut response: Response, most: u64) -> Result<Bytes, Failure> {
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => return Ok(bytes.into()),
                Err(error) => return Err(self.broken(error)),
            }
            if bytes.len() as u64 > most {
                return Err(Failure::Final(PullError::Unusable {
                    reference: self.reference.clone(),
                    registry: self.registry(),
                    reason: format!("a document of more than {most} bytes"),
                }));
            }
        }
    }

    /// Tells a missing tag from a missing repository.
    async fn explain(&self, path: &str, error: PullError) -> PullError {
        if !path.starts_with("manifests/") || !matches!(error, PullError::NotFound { .. }) {
            return error;
        }
        match self.get("tags/list?n=1", "application/json", 0).await {
            Ok(_) => PullError::NoSuchTag {
                reference: self.reference.clone(),
                registry: self.registry(),
            },
            Err(_) => error,
        }
    }

    /// Sends the content of a blob, in order and each byte once, to a reader
    /// that verifies it. Returns early, without error, if the reader goes away.
    pub(crate) async fn blob(
        &self,
        digest: &Digest,
        size: u64,
        to: mpsc::Sender<io::Result<Bytes>>,
        told: impl Fn(BlobEvent),
    ) -> Result<(), PullError> {
        let mut offset = 0;
        let mut attempt = 0;
        let mut resumes = 0;
        loop {
            let before = offset;
            let failure = match self.blob_part(digest, size, &mut offset, &to, &told).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if offset > before {
                attempt = 0;
            }
            match failure {
                Failure::Transient(error, wait)
                    if attempt < self.config.retries && resumes < RESUMES_MAX =>
                {
                    attempt += 1;
                    resumes += 1;
                    tracing::debug!(%digest, offset, attempt, error = %chain(&error), "blob broke off");
                    told(BlobEvent::Retry(attempt, chain(&error)));
                    self.pause(attempt, wait).await;
                }
                failure => {
                    let error = failure.into_error();
                    // The reader must not take the cut for the end.
                    let _ = to.send(Err(io::Error::other(chain(&error)))).await;
                    return Err(error);
                }
            }
        }
    }

    async fn blob_part(
        &self,
        digest: &Digest,
        size: u64,
        offset: &mut u64,
        to: &mpsc::Sender<io::Result<Bytes>>,
        told: &impl Fn(BlobEvent),
    ) -> Result<(), Failure> {
        let mut response = self.get(&format!("blobs/{digest}"), "*/*", *offset).await?;
        // A registry without ranges begins anew: skip what is here already.
        let mut skip = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = response
                    .headers()
                    .get(CONTENT_RANGE)
                    .and_then(|value| value.to_str().ok());
                let begins = range.and_then(|range| {
                    range
                        .strip_prefix("bytes ")?
                        .split('-')
                        .next()?
                        .trim()
                        .parse::<u64>()
                        .ok()
                });
                if begins.is_some_and(|begins| begins != *offset) {
                    return Err(
                        self.unusable(format!("another part of layer {digest} than was asked for"))
                    );
                }
                0
            }
            _ => *offset,
        };
        loop {
            let mut chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) if *offset >= size => return Ok(()),
                Ok(None) => {
                    let cut = io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!(
                            "connection closed after {offset} of {size} bytes of layer {digest}"
                        ),
                    );
                    return Err(self.unreachable(cut));
                }
                Err(error) => return Err(self.broken(error)),
            };
            if skip > 0 {
                let skipped = skip.min(chunk.len() as u64);
                let _ = chunk.split_to(usize::try_from(skipped).unwrap_or(0));
                skip -= skipped;
                if chunk.is_empty() {
                    continue;
                }
            }
            *offset += chunk.len() as u64;
            if *offset > size {
                return Err(self.unusable(format!(
                    "more than the {size} bytes that layer {digest} has"
                )));
            }
            if to.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
            told(BlobEvent::Bytes(*offset));
            if *offset == size {
                return Ok(());
            }
        }
    }

    /// One request, authorised as the registry demands.
    async fn get(&self, path: &str, accept: &str, offset: u64) -> Result<Response, Failure> {
        let url = format!(
            "{}/v2/{}/{path}",
            self.endpoint.base, self.endpoint.repository
        );
        let mut asked = false;
        loop {
            let mut request = self.client.get(&url).header(ACCEPT, accept);
            if offset > 0 {
                request = request.header(RANGE, format!("bytes={offset}-"));
            }
            let authorisation = self.authorisation.lock().await.clone();
            if let Some(value) = &authorisation {
                request = request.header(reqwest::header::AUTHORIZATION, value);
            }
            let response = request.send().await.map_err(|error| self.broken(error))?;
            match response.status() {
                StatusCode::OK => return Ok(response),
                StatusCode::PARTIAL_CONTENT if offset > 0 => return Ok(response),
                StatusCode::UNAUTHORIZED if !asked => {
                    asked = true;
                    self.authorise(&response, authorisation).await?;
                }
                status => return Err(self.refused(status, response).await),
            }
        }
    }

    /// Obtains the authorisation that an answer of 401 demands. Layers that
    /// come here together obtain it once: `stale` is what was refused.
    async fn authorise(
        &self,
        response: &Response,
        stale: Option<HeaderValue>,
    ) -> Result<(), Failure> {
        let mut current = self.authorisation.lock().await;
        if *current != stale {
            return Ok(());
        }
        let Some(challenge) = challenge(response.headers()) else {
            return Err(self.denied("it does not say how to log in".to_owned()));
        };
        let obtained = authorise(
            &self.client,
            &challenge,
            self.credentials.as_ref(),
            &self.endpoint.repository,
            self.endpoint.is_tls(),
        );
        match obtained.await {
            Ok(value) => {
                *current = Some(value);
                Ok(())
            }
            Err(AuthError::Request(error)) => Err(self.broken(error)),
            Err(AuthError::Denied(reason)) => Err(self.denied(reason)),
            Err(AuthError::Answer(429, _)) => Err(self.rate_limited(None)),
            Err(AuthError::Answer(status, message)) => Err(self.answer(status, message)),
        }
    }

    async fn refused(&self, status: StatusCode, response: Response) -> Failure {
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let body = self.bounded(response, 64 << 10).await.unwrap_or_default();
        let message = registry_message(&body);
        match status {
            StatusCode::NOT_FOUND => Failure::Final(PullError::NotFound {
                reference: self.reference.clone(),
                registry: self.registry(),
            }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.denied(message),
            StatusCode::TOO_MANY_REQUESTS => self.rate_limited(retry_after),
            status => self.answer(status.as_u16(), message),
        }
    }

    fn denied(&self, reason: String) -> Failure {
        Failure::Final(PullError::Unauthorised {
            reference: self.reference.clone(),
            registry: self.registry(),
            reason,
        })
    }

    fn rate_limited(&self, retry_after: Option<Duration>) -> Failure {
        let error = PullError::RateLimited {
            reference: self.reference.clone(),
            registry: self.registry(),
        };
        match retry_after {
            Some(wait) if wait <= RETRY_AFTER_MAX => Failure::Transient(error, Some(wait)),
            _ => Failure::Final(error),
        }
    }

    fn answer(&self, status: u16, message: String) -> Failure {
        let error = PullError::Answer {
            reference: self.reference.clone(),
            registry: self.registry(),
            status,
            message,
        };
        if status >= 500 || status == 408 {
            Failure::Transient(error, None)
        } else {
            Failure::Final(error)
        }
    }

    fn unusable(&self, reason: String) -> Failure {
        Failure::Final(PullError::Unusable {
            reference: self.reference.clone(),
            registry: self.registry(),
            reason,
        })
    }

    fn broken(&self, error: reqwest::Error) -> Failure {
        let futile = error.is_redirect() || error.is_builder();
        let failure = self.unreachable(error.without_url());
        if futile {
            Failure::Final(failure.into_error())
        } else {
            failure
        }
    }

    fn unreachable(&self, error: impl Error + Send + Sync + 'static) -> Failure {
        let error = PullError::Unreachable {
            reference: self.reference.clone(),
            registry: self.registry(),
            source: cause(error),
        };
        Failure::Transient(error, None)
    }

    /// Waits before another try: longer each time, never in step with others.
    async fn pause(&self, attempt: u32, at_least: Option<Duration>) {
        let doubled = self
            .config
            .backoff
            .saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let jitter = rand::random_range(0.75..1.25);
        let wait = doubled.min(self.config.backoff_max).mul_f64(jitter);
        tokio::time::sleep(wait.max(at_least.unwrap_or_default())).await;
    }
}

/// What happens while a blob arrives.
pub(crate) enum BlobEvent {
    /// This many bytes are here and taken.
    Bytes(u64),
    /// A retry in a row, and why.
    Retry(u32, String),
}
