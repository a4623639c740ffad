//! An echo over the connection of a feed, to be judged by a conformance suite.
//!
//! Only in builds with the cargo feature `echo`, which no release has. Owns nothing. Sends back
//! each message as it came, through the same [`Dialer`] and the same [`Connection`] as the source.
//! Never looks into a message.

use std::future::poll_fn;
use std::task::Poll;

use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::connection::{Connection, Event, Reached};
use super::feed::LineId;
use super::inflate::{Compression, Unpack};
use crate::net::address::WebSocketUrl;
use crate::net::dial::{DialError, Dialer};

/// Echoes messages until the connection has ended and its last words are out. Returns the texts
/// that came.
///
/// # Errors
/// [`DialError`] where there is no connection.
pub async fn echo(
    dialer: &Dialer,
    url: &WebSocketUrl,
    message_bytes_max: usize,
) -> Result<Vec<Utf8Bytes>, DialError> {
    let socket = dialer.dial(url).await?;
    let unpack = Unpack { compression: Compression::None, bytes_max: message_bytes_max };
    let mut connection = Connection::new(LineId(1), Reached { unpack, ..socket.into() });
    let mut texts = Vec::new();
    while let Some(event) = next(&mut connection).await {
        let message = match event {
            Event::Text(bytes) => {
                let text = Utf8Bytes::try_from(bytes).unwrap_or_default();
                texts.push(text.clone());
                Message::Text(text)
            }
            Event::Binary(bytes) => Message::Binary(bytes),
            Event::Ping | Event::Pong | Event::Ended(_) => continue,
        };
        // A connection that takes nothing has ended, and says so with its next event.
        let _ = connection.send(message);
    }
    Ok(texts)
}

/// The next event, or none once the connection is gone.
async fn next(connection: &mut Connection) -> Option<Event> {
    poll_fn(|context| match connection.poll_event(context) {
        Poll::Ready(event) => Poll::Ready(Some(event)),
        Poll::Pending if connection.is_gone() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
