//! An echo over the program's own WebSocket connections, for a conformance suite to judge.
//!
//! ```text
//! cargo run --features echo --example echo -- server 127.0.0.1:9001
//! cargo run --features echo --example echo -- client ws://127.0.0.1:9001 NAME
//! ```
//! The server goes through the HTTP server and the upgrade of `/v1/stream`, the client through the
//! dialer and the connection of a feed. `make autobahn` drives both.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it prints is what it is for")]

use std::error::Error;
use std::time::Duration;

use tickcast::adapters::{http, websocket};
use tickcast::net::address::WebSocketUrl;
use tickcast::net::dial::{DialOptions, Dialer, Proxies, TlsFiles};
use tokio::net::TcpListener;

/// Group 9 of the suite sends messages of 16 MiB.
const MESSAGE_BYTES_MAX: usize = 17 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", address] => {
            let listener = TcpListener::bind(address).await?;
            println!("listening on {}", listener.local_addr()?);
            http::echo::echo(listener, MESSAGE_BYTES_MAX).await?;
        }
        ["client", url, name] => be_judged(url, name).await?,
        _ => return Err("usage: echo server ADDRESS | echo client URL NAME".into()),
    }
    Ok(())
}

/// Runs every case that the suite has, then asks it to write its report.
async fn be_judged(url: &str, name: &str) -> Result<(), Box<dyn Error>> {
    let dialer = Dialer::new(
        DialOptions {
            tls: TlsFiles::default(),
            headers: Vec::new(),
            proxies: Proxies::default(),
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            message_bytes_max: MESSAGE_BYTES_MAX,
        },
        false,
    )?;
    let visit = async |path: String| {
        let url: WebSocketUrl = format!("{url}/{path}").parse()?;
        let texts = websocket::echo::echo(&dialer, &url, MESSAGE_BYTES_MAX).await?;
        Ok::<_, Box<dyn Error>>(texts)
    };
    let count = visit("getCaseCount".to_owned()).await?;
    let count: usize =
        count.first().ok_or("the suite does not say how many cases it has")?.parse()?;
    for case in 1..=count {
        if let Err(error) = visit(format!("runCase?case={case}&agent={name}")).await {
            eprintln!("case {case}: {error}");
        }
    }
    visit(format!("updateReports?agent={name}")).await?;
    Ok(())
}
