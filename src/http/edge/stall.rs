//! A client that takes nothing of an answer for a long time is gone, or means harm, as is one that stops in the middle of a
//! request: what it holds is given back.
//!
//! A connection without an answer under way writes nothing, so none is closed for being idle before its keep-alive ends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::server::KEEP_ALIVE;

/// How long a connection may take no byte of what is to be written to it.
const STALL_TIME: Duration = Duration::from_mins(1);

/// How long nothing may come while something is read for: as long as a connection may be idle. The HTTP engines have a time for
/// idle connections and for a first head, and none for what stops in the middle later.
const SILENT_TIME: Duration = KEEP_ALIVE;

/// A connection that breaks when a write does not go on, or a read for very long.
#[derive(Debug)]
pub(super) struct Timely<T> {
    stream: T,
    /// Ends when the write under way has stood still for too long.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Ends when nothing has come for too long.
    silent: Option<Pin<Box<Sleep>>>,
}

impl<T> Timely<T> {
    pub(super) fn new(stream: T) -> Self {
        Self {
            stream,
            stalled: None,
            silent: None,
        }
    }

    fn in_time<R>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        within(&mut self.stalled, STALL_TIME, context, written)
    }
}

/// What was done, or an error where it has not been for so long.
fn within<R>(
    clock: &mut Option<Pin<Box<Sleep>>>,
    time: Duration,
    context: &mut Context<'_>,
    done: Poll<io::Result<R>>,
) -> Poll<io::Result<R>> {
    if done.is_ready() {
        *clock = None;
        return done;
    }
    let clock = clock.get_or_insert_with(|| Box::pin(sleep(time)));
    ready!(clock.as_mut().poll(context));
    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Timely<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.in_time(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        this.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_flush(context);
        this.in_time(context, written)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Timely<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        within(&mut this.silent, SILENT_TIME, context, read)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up_and_who_is_slow_or_idle_is_not() {
        let (ours, mut theirs) = duplex(10);
        let mut ours = Timely::new(ours);
        let began = Instant::now();
        let reads = tokio::spawn(async move {
            for _ in 0..20 {
                sleep(STALL_TIME * 9 / 10).await;
                theirs.read_u8().await.unwrap();
            }
            theirs
        });
        ours.write_all(&[1; 30]).await.unwrap();
        let theirs = reads.await.unwrap();
        assert!(began.elapsed() > 15 * STALL_TIME, "slow");
        sleep(STALL_TIME * 10).await;
        let began = Instant::now();
        let error = ours.write_all(&[1; 30]).await.unwrap_err();
        assert_eq!(
            (error.kind(), began.elapsed().as_secs()),
            (io::ErrorKind::TimedOut, STALL_TIME.as_secs())
        );
        drop(theirs);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_for_longer_than_an_idle_connection_is_kept_is_given_up() {
        let (ours, mut theirs) = duplex(10);
        let (mut ours, began) = (Timely::new(ours), Instant::now());
        theirs.write_all(b"POST").await.unwrap();
        let mut come = [0; 5];
        let error = ours.read_exact(&mut come).await.unwrap_err();
        assert_eq!(
            (error.kind(), began.elapsed().as_secs()),
            (io::ErrorKind::TimedOut, SILENT_TIME.as_secs())
        );
    }
}
