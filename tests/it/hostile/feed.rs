//! A feed that breaks the protocol: each connection brings one good tick and one breach.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_tungstenite::tungstenite::accept;

use crate::support::process::eventually;

/// How many breaches there are.
pub(super) const COUNT: usize = 21;

/// How long a breach is waited for at most; the daemon is expected to leave at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// A feed that runs through its breaches and is a quiet one then.
pub(super) struct HostileFeed {
    url: String,
    done: Arc<AtomicUsize>,
}

/// A frame as a server sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(length as u8),
        length => {
            frame.push(126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// What follows the good tick.
fn breaches() -> Vec<Vec<u8>> {
    let close = |code: u16| frame(0x88, &code.to_be_bytes());
    vec![
        Vec::new(),
        vec![0x81],
        (0..=255).rev().collect(),
        b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        frame(0xc1, b"{}"),
        frame(0xf1, b"{}"),
        frame(0x83, b"{}"),
        frame(0x8b, b""),
        vec![0x81, 0x82, 0, 0, 0, 0, b'{', b'}'],
        frame(0x80, b"{}"),
        [frame(0x01, b"{"), frame(0x81, b"{}")].concat(),
        frame(0x09, b""),
        frame(0x89, &[b'x'; 126]),
        frame(0x81, b"\xff\xfe"),
        [frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat(),
        vec![0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255],
        vec![0x81, 127, 0, 0, 0, 0, 0xff, 255, 255, 255],
        frame(0x88, &[3]),
        close(0),
        close(1005),
        close(1000),
    ]
}

impl HostileFeed {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        std::thread::spawn(move || {
            for (index, breach) in breaches().iter().enumerate() {
                let Ok((socket, _)) = listener.accept() else { return };
                if commit(socket, index, breach).is_none() {
                    // The test that this feed belongs to has failed.
                    return;
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            // Ends with the process.
            let quiet: Vec<_> =
                listener.incoming().filter_map(|socket| accept(socket.ok()?).ok()).collect();
            drop(quiet);
        });
        Self { url, done }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until every breach was committed, and says how many there were.
    pub(super) fn await_all(&self) -> usize {
        let count = breaches().len();
        eventually("every breach", || (self.done.load(Ordering::Relaxed) == count).then_some(count))
    }
}

/// Sends a good tick and a breach, and waits until the daemon has left.
fn commit(socket: TcpStream, index: usize, breach: &[u8]) -> Option<()> {
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut socket = accept(socket).ok()?;
    let time = 1_704_067_200_000 + index as u64 * 86_400_000;
    let tick = format!(r#"{{"symbol":"A","time":{time},"close":1.5,"volume":2}}"#);
    let stream = socket.get_mut();
    stream.write_all(&[frame(0x81, tick.as_bytes()), breach.to_vec()].concat()).ok()?;
    stream.shutdown(Shutdown::Write).ok()?;
    // What it answers is covered beside the source; here it has to leave and to come again.
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
        _ => Some(()),
    }
}
