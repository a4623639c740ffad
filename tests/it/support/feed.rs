//! A WebSocket feed that says exactly what a test wants.

use std::net::TcpListener;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use tokio_tungstenite::tungstenite::{Message, accept};

/// What a feed does next.
pub(crate) enum Act {
    /// Sends one text message.
    Say(String),
    /// Drops the connection without a goodbye and takes the next one.
    Break,
    /// Reports that everything before it was sent.
    Report(Sender<()>),
}

/// A feed for one subscriber at a time; it acts when it is told to.
pub(crate) struct ScriptedFeed {
    url: String,
    acts: Option<Sender<Act>>,
    server: Option<JoinHandle<()>>,
}

impl ScriptedFeed {
    /// Listens on a free port of loopback.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (acts, script) = channel();
        let server = std::thread::spawn(move || {
            loop {
                let Ok((stream, _)) = listener.accept() else { return };
                let Ok(mut socket) = accept(stream) else { continue };
                loop {
                    match script.recv() {
                        Ok(Act::Say(text)) => {
                            if socket.send(Message::text(text)).is_err() {
                                break;
                            }
                        }
                        Ok(Act::Break) => break,
                        // The test that asked may have failed meanwhile.
                        Ok(Act::Report(said)) => drop(said.send(())),
                        Err(_) => return,
                    }
                }
            }
        });
        Self { url, acts: Some(acts), server: Some(server) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn say(&self, text: impl Into<String>) {
        self.act(Act::Say(text.into()));
    }

    /// Waits until everything was sent to the subscriber of now, so that the next one gets none of
    /// it.
    pub(crate) fn await_said(&self) {
        let (report, said) = channel();
        self.act(Act::Report(report));
        said.recv().unwrap();
    }

    pub(crate) fn act(&self, act: Act) {
        self.acts.as_ref().unwrap().send(act).unwrap();
    }
}

impl Drop for ScriptedFeed {
    fn drop(&mut self) {
        self.acts.take();
        // Wakes a server that waits for a subscriber; it then finds its script ended.
        if let Some(address) = self.url.strip_prefix("ws://") {
            let _ = std::net::TcpStream::connect(address);
        }
        drop(self.server.take());
    }
}
