//! One end of a connection, as a program holds it.

use super::{End, Fabric, Packet, WINDOW};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct Stream {
    fabric: Fabric,
    /// What comes in.
    input: u64,
    /// What goes out.
    output: u64,
    closed: bool,
}

impl Stream {
    pub(super) fn new(fabric: Fabric, input: u64, output: u64) -> Stream {
        Stream {
            fabric,
            input,
            output,
            closed: false,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.fabric.state();
        let Some(pipe) = state.pipes.get_mut(&self.input) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        if pipe.ended == Some(End::Reset) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let Some(bytes) = pipe.arrived.front_mut() else {
            if pipe.ended.is_some() {
                return Poll::Ready(Ok(()));
            }
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        let length = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes[..length]);
        if length == bytes.len() {
            pipe.arrived.pop_front();
        } else {
            bytes.drain(..length);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.fabric.state();
        let reset = state
            .pipes
            .get(&self.input)
            .is_none_or(|input| input.ended == Some(End::Reset));
        if reset || self.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let Some(pipe) = state.pipes.get_mut(&self.output) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let room = WINDOW.saturating_sub(pipe.in_flight);
        if room == 0 {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let length = data.len().min(room);
        if length > 0 {
            state.send(self.output, Packet::Bytes(data[..length].to_vec()));
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            self.closed = true;
            let mut state = self.fabric.state();
            state.send(self.output, Packet::End(End::Closed));
        }
        Poll::Ready(Ok(()))
    }
}

/// As when the kernel closes the socket of a process that ended: unread bytes
/// make it a reset. A host without power says nothing.
impl Drop for Stream {
    fn drop(&mut self) {
        self.fabric.with(|state, _| {
            let Some(input) = state.pipes.get_mut(&self.input) else {
                return;
            };
            input.reader_gone = true;
            let unread = !input.arrived.is_empty();
            input.arrived.clear();
            let host = input.to;
            if state.dark.contains(&host) {
                // Its memory is gone; only who speaks to it learns so.
            } else if unread {
                state.send(self.output, Packet::End(End::Reset));
            } else if !self.closed {
                state.send(self.output, Packet::End(End::Closed));
            }
            // Gone for good once neither end is held.
            let both = state.pipes.get(&self.output).is_none_or(|p| p.reader_gone);
            if both {
                state.pipes.remove(&self.input);
                state.pipes.remove(&self.output);
            }
        });
    }
}
