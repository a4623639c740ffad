//! An echo behind the upgrade of the stream, to be judged by a conformance suite.
//!
//! Only in builds with the cargo feature `echo`, which no release has. Owns nothing. Takes
//! connections with the same HTTP server and the same upgrade as `/v1/stream`, and sends back each
//! message as it came.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::stream::upgraded;
use crate::adapters::stream::{close_frame, limits, part};

/// Echoes to every peer until accepting fails.
///
/// # Errors
/// What accepting a connection fails with.
pub async fn echo(listener: TcpListener, message_bytes_max: usize) -> io::Result<()> {
    loop {
        let (socket, peer) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let answer = service_fn(move |request: Request<Incoming>| async move {
            Ok::<_, Infallible>(answer(request, peer, message_bytes_max))
        });
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(socket), answer).with_upgrades();
        tokio::spawn(connection);
    }
}

fn answer(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    message_bytes_max: usize,
) -> Response<Full<Bytes>> {
    let Ok(answer) = create_response_with_body(&request, Full::<Bytes>::default) else {
        let mut refusal = Response::new(Full::default());
        *refusal.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return refusal;
    };
    let socket = upgraded(&mut request, peer, widened(message_bytes_max));
    tokio::spawn(async move {
        let Some(socket) = socket.await else { return };
        let (mut sink, mut stream) = socket.split();
        let frame = loop {
            match stream.next().await {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    if let Err(error) = sink.send(message).await {
                        break close_frame(&error);
                    }
                }
                None | Some(Ok(Message::Close(_))) => break None,
                Some(Ok(_)) => {}
                Some(Err(error)) => break close_frame(&error),
            }
        };
        part(&mut sink, &mut stream, frame).await;
    });
    answer
}

/// The limits of a subscriber, with room for messages to send back.
fn widened(message_bytes_max: usize) -> WebSocketConfig {
    limits()
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max))
        .max_write_buffer_size(usize::MAX)
}
