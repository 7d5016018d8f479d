//! What a listener asks of certificates: whose they are, and whether connections
//! that were good when they were made still are.

use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;

/// Says whether the peer that showed this certificate may stay.
type Judge = Arc<dyn Fn(&CertificateDer<'_>) -> bool + Send + Sync>;

/// Names whoever showed this certificate; two of one peer have the same name.
type Owner = Arc<dyn Fn(&CertificateDer<'_>) -> Option<Vec<u8>> + Send + Sync>;

/// Asks about all connections of a listener again, whenever it is told to;
/// those of which the answer is no are cut. Cheap to clone.
#[derive(Clone)]
pub struct Recheck {
    asked: watch::Receiver<()>,
    judge: Judge,
    owner: Owner,
}

impl Recheck {
    /// Asks `judge` each time that `asked` changes. Connections of one `owner` are
    /// counted together.
    pub fn new(
        asked: watch::Receiver<()>,
        judge: impl Fn(&CertificateDer<'_>) -> bool + Send + Sync + 'static,
        owner: impl Fn(&CertificateDer<'_>) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Recheck {
            asked,
            judge: Arc::new(judge),
            owner: Arc::new(owner),
        }
    }

    pub(crate) fn owner(&self, certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
        (self.owner)(certificate)
    }

    /// For a connection that begins now: what was asked before is what its handshake goes by.
    pub(crate) fn watch(&self) -> Watched {
        let mut asked = self.asked.clone();
        asked.mark_unchanged();
        Watched {
            asked: WatchStream::from_changes(asked),
            judge: self.judge.clone(),
            cut: false,
        }
    }
}

/// One connection under watch.
pub(crate) struct Watched {
    asked: WatchStream<()>,
    judge: Judge,
    cut: bool,
}

impl Watched {
    /// Whether the connection has to end; wakes the caller when that may be.
    pub(crate) fn poll_cut(
        &mut self,
        certificate: &CertificateDer<'_>,
        context: &mut Context<'_>,
    ) -> bool {
        while !self.cut
            && let Poll::Ready(Some(())) = std::pin::Pin::new(&mut self.asked).poll_next(context)
        {
            self.cut = !(self.judge)(certificate);
        }
        self.cut
    }
}
