//! Prints forecasts as they come, and goes on where it was after a lost connection.
//!
//! ```text
//! cargo run --example subscribe -- ws://127.0.0.1:9630/v1/stream AAPL,MSFT
//! ```
//! The token, where the daemon has one, comes from the variable `TICKCAST_TOKEN`; `COUNT=10` ends
//! after so many forecasts.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it prints is what it is for")]

use std::error::Error;
use std::time::Duration;

use futures_util::StreamExt;
use serde::Deserialize;
use tickcast::engine::wire::forecast::ForecastRecord;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

/// What comes: a forecast in its envelope, or a notice.
#[derive(Deserialize)]
#[serde(untagged)]
enum Heard<'a> {
    Forecast {
        seq: u64,
        #[serde(borrow)]
        forecast: Box<ForecastRecord<'a>>,
    },
    Notice {
        notice: &'a str,
        stream: &'a str,
        records: Option<u64>,
    },
}

/// Where to go on, and how many forecasts are still wanted.
struct Follower {
    url: String,
    token: Option<String>,
    after: Option<String>,
    left: Option<u64>,
}

impl Follower {
    /// One connection, to its end; `true` when there was enough.
    async fn follow(&mut self) -> Result<bool, Box<dyn Error>> {
        let after = self.after.as_ref().map(|after| format!("&after={after}")).unwrap_or_default();
        let mut request = format!("{}{after}", self.url).into_client_request()?;
        if let Some(token) = &self.token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"))?;
            request.headers_mut().insert("authorization", value);
        }
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await?;
        let mut stream = String::new();
        while let Some(message) = socket.next().await {
            let Message::Text(text) = message? else { continue };
            match serde_json::from_str(&text)? {
                Heard::Notice { notice, stream: id, records } => {
                    id.clone_into(&mut stream);
                    if notice == "missed" {
                        eprintln!("missed {} forecasts", records.unwrap_or_default());
                    }
                }
                Heard::Forecast { seq, forecast } => {
                    let ForecastRecord { symbol, as_of, value, signal, .. } = *forecast;
                    println!("{symbol} {as_of} {value} {signal}");
                    self.after = Some(format!("{stream}:{seq}"));
                    if let Some(left) = &mut self.left {
                        *left = left.saturating_sub(1);
                        if *left == 0 {
                            return Ok(true);
                        }
                    }
                }
            }
        }
        Ok(false)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:9630/v1/stream".to_owned());
    let symbols = arguments.next().unwrap_or_default();
    let variable = |name: &str| std::env::var(name).ok();
    let mut follower = Follower {
        url: format!("{url}?envelope=true&snapshot=true&when_slow=conflate&symbols={symbols}"),
        token: variable("TICKCAST_TOKEN"),
        after: None,
        left: variable("COUNT").map(|count| count.parse()).transpose()?,
    };
    let mut wait = Duration::from_millis(250);
    loop {
        match follower.follow().await {
            Ok(true) => return Ok(()),
            Ok(false) => eprintln!("the stream has ended"),
            Err(error) => {
                if let Some(WebSocketError::Http(refusal)) = error.downcast_ref()
                    && refusal.status().is_client_error()
                {
                    return Err(error);
                }
                eprintln!("connection lost: {error}");
            }
        }
        tokio::time::sleep(wait).await;
        wait = (2 * wait).min(Duration::from_secs(30));
    }
}
