//! The short way to a subscriber: a publisher writes to its socket.
//!
//! Owns the writing half of a subscriber's socket, and who may write records to it: the
//! subscriber's task, or publishers while the task has nothing to say. Promises that frames are
//! whole and in the order of the stream, that a publisher neither waits for
//! the socket nor for the task, and that what the socket did not take is kept for the task, up to
//! one small buffer. Never decides what a slow subscriber is worth.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_tungstenite::tungstenite::Message;

use super::ring::{Following, Numbered, Ring};
use super::subscription::envelope;
use super::{StreamMetrics, SymbolFilter, Wish};

/// The most records that a publisher writes at once; the task writes more of them.
pub(super) const RECORDS_AT_ONCE_MAX: usize = 32;

/// The most bytes that a publisher writes at once.
const BYTES_AT_ONCE_MAX: usize = 32 << 10;

/// The most subscribers that publishers write to. Each costs a publisher a call to the system; with
/// more of them, their tasks share one wake-up.
const OUTLETS_MAX: usize = 2;

/// The outlets of a stream that publishers write to. Behind a lock, because a subscriber leaves the
/// list wherever its task ends; publishers read it side by side.
#[derive(Default)]
pub(super) struct Outlets(Arc<RwLock<Vec<Arc<Outlet>>>>);

/// A place in the list, until it is dropped.
pub(super) struct Listed {
    outlets: Weak<RwLock<Vec<Arc<Outlet>>>>,
    outlet: Weak<Outlet>,
}

/// Why two threads share the socket: a task that has to be woken for each record takes longer than
/// all that is done with the record.
pub(super) struct Outlet(Mutex<State>);

struct State {
    socket: OwnedWriteHalf,
    /// What records are wanted, and how they are written.
    filter: SymbolFilter,
    /// The word for a record in its envelope; `None` without envelopes.
    noun: Option<&'static str>,
    /// The number of the last record that was dealt with, while publishers may write.
    open_at: Option<u64>,
    /// The library has written a part of its bytes, and the rest of them comes next.
    is_cut: bool,
    /// What the socket did not take of a publisher's frames; it comes before everything else.
    left: Vec<u8>,
    /// Kept for their memory.
    records: Vec<Numbered>,
    frames: Vec<u8>,
}

/// A subscriber's socket as the library sees it.
pub(in crate::adapters) struct OutletSocket {
    reader: OwnedReadHalf,
    outlet: Arc<Outlet>,
}

impl Outlets {
    /// Lists an outlet where there is room; without a place its task alone writes.
    pub(super) fn list(&self, outlet: &Arc<Outlet>) -> Option<Listed> {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        (list.len() < OUTLETS_MAX).then(|| {
            list.push(Arc::clone(outlet));
            Listed { outlets: Arc::downgrade(&self.0), outlet: Arc::downgrade(outlet) }
        })
    }

    /// Writes the records that follow to each outlet. Returns whether nothing is left for the task
    /// of any of the stream's `subscribers`.
    pub(super) fn write(
        &self,
        subscribers: usize,
        ring: &Mutex<Ring>,
        metrics: &StreamMetrics,
    ) -> bool {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // Where tasks must wake anyway, they do the work.
        subscribers == list.len() && list.iter().all(|outlet| outlet.write(ring, metrics))
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let Some(outlets) = self.outlets.upgrade() else { return };
        let mut list = outlets.write().unwrap_or_else(PoisonError::into_inner);
        list.retain(|one| !std::ptr::eq(Arc::as_ptr(one), self.outlet.as_ptr()));
    }
}

impl Outlet {
    /// Shares a socket. Publishers may not write before [`Outlet::open`].
    pub(super) fn share(socket: TcpStream, wish: &Wish) -> (Arc<Self>, OutletSocket) {
        let (reader, socket) = socket.into_split();
        let state = State {
            socket,
            filter: wish.filter.clone(),
            noun: wish.envelope.then_some(wish.records.noun()),
            open_at: None,
            is_cut: false,
            left: Vec::new(),
            records: Vec::new(),
            frames: Vec::new(),
        };
        let outlet = Arc::new(Self(Mutex::new(state)));
        (Arc::clone(&outlet), OutletSocket { reader, outlet })
    }

    /// Lets publishers write the records behind number `cursor`.
    pub(super) fn open(&self, cursor: u64) {
        self.lock().open_at = Some(cursor);
    }

    /// Takes the writing of records back; returns the number of the last record that was dealt
    /// with, if publishers could write.
    pub(super) fn close(&self) -> Option<u64> {
        self.lock().open_at.take()
    }

    /// Whether the task has something to write: a record behind the last one, up to `newest`, or
    /// what the socket did not take.
    pub(super) fn is_due(&self, newest: u64) -> bool {
        let state = self.lock();
        !state.left.is_empty() || state.open_at.is_none_or(|cursor| cursor < newest)
    }

    /// Writes the records that follow. Returns whether nothing is left for the task to do.
    pub(super) fn write(&self, ring: &Mutex<Ring>, metrics: &StreamMetrics) -> bool {
        // The thread that has it may have looked at the ring before: the task does the rest.
        let Ok(mut state) = self.0.try_lock() else { return false };
        let State { socket, filter, noun, open_at, is_cut, left, records, frames } = &mut *state;
        let Some(cursor) = open_at else { return false };
        if *is_cut || !left.is_empty() {
            return false;
        }
        records.clear();
        let (following, newest) = {
            let ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
            let following = ring.follow(*cursor, filter, RECORDS_AT_ONCE_MAX, records);
            (following, ring.progress().newest)
        };
        let up_to = match following {
            Following::UpTo(seq) => seq,
            Following::Nothing => return true,
            Following::Forgotten(_) | Following::End => return false,
        };
        let bytes: usize = records.iter().map(|record| record.message.len()).sum();
        if bytes > BYTES_AT_ONCE_MAX {
            return false;
        }
        frames.clear();
        for record in records.drain(..) {
            metrics.sent.inc();
            let message = match noun {
                Some(noun) => envelope(&record, noun),
                None => record.message,
            };
            push_frame(frames, &message);
        }
        *cursor = up_to;
        // A socket that fails says so to the task as well.
        let taken = if frames.is_empty() { 0 } else { socket.try_write(frames).unwrap_or(0) };
        left.extend_from_slice(&frames[taken..]);
        left.is_empty() && up_to >= newest
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No call in between can panic before what it changes is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A whole message as a server's frame.
fn push_frame(frames: &mut Vec<u8>, message: &Message) {
    const FINAL_TEXT: u8 = 0x81;
    const FINAL_BINARY: u8 = 0x82;
    let (kind, payload): (_, &[u8]) = match message {
        Message::Text(text) => (FINAL_TEXT, text.as_bytes()),
        Message::Binary(bytes) => (FINAL_BINARY, &bytes[..]),
        // The ring holds records alone.
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => return,
    };
    frames.push(kind);
    match payload.len() {
        // Both lengths fit by their ranges.
        length @ 0..=125 => frames.push(length as u8),
        length @ 126..=0xffff => {
            frames.push(126);
            frames.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frames.push(127);
            frames.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frames.extend_from_slice(payload);
}

impl State {
    /// Writes what a publisher could not.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.left.is_empty() {
            let taken = ready!(Pin::new(&mut self.socket).poll_write(context, &self.left))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.left.drain(..taken);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for OutletSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}

impl AsyncWrite for OutletSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.outlet.lock();
        ready!(state.poll_left(context))?;
        // The library hands over whole frames, or the rest of what was not taken.
        let taken = ready!(Pin::new(&mut state.socket).poll_write(context, bytes))?;
        state.is_cut = taken < bytes.len();
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.outlet.lock();
        ready!(state.poll_left(context))?;
        Pin::new(&mut state.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.outlet.lock();
        ready!(state.poll_left(context))?;
        Pin::new(&mut state.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
impl Outlets {
    /// How many outlets publishers may write to that are at `cursor`.
    pub(super) fn count_open_at(&self, cursor: u64) -> usize {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter(|outlet| outlet.lock().open_at == Some(cursor)).count()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio_tungstenite::tungstenite::WebSocket;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[test]
    fn a_frame_has_the_bytes_of_the_library() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let bytes = Bytes::from(vec![b'x'; length]);
            let text = Message::text(String::from_utf8(bytes.to_vec()).unwrap());
            for message in [text, Message::Binary(bytes)] {
                let mut socket = io::Cursor::new(Vec::new());
                let mut server = WebSocket::from_raw_socket(&mut socket, Role::Server, None);
                server.send(message.clone()).unwrap();
                let mut frames = b"before".to_vec();
                push_frame(&mut frames, &message);
                assert_eq!(frames[6..], socket.into_inner()[..], "{length}");
            }
        }
    }
}
