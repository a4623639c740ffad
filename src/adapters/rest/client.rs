//! One request over HTTP 1.1 at a time: connections, limits and what a server answers.
//!
//! Owns the connections that stay open between requests. Promises that a request ends within its
//! time limit, that neither its head nor its body grows beyond theirs, that no redirect is
//! followed, and that an error shows the host alone and no secret. Never retries by itself, except
//! where an open connection turns out to be closed: a server may close one at any time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, DATE, HOST, HeaderName, HeaderValue, RETRY_AFTER,
    USER_AGENT,
};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::core::domain::UnixNanos;
use crate::net::address::{Endpoint, HttpUrl};
use crate::net::dial::{Dialer, Header, basic, retry_after_of};
use crate::net::secrets::{SecretFiles, Secrets};
use crate::ops::clock::wall_seconds;

/// The largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What asks a venue.
pub(super) struct Client {
    pub(super) dialer: Dialer,
    /// Sent with each request; their values may hold `{secret:NAME}`.
    pub(super) headers: Vec<Header>,
    pub(super) secrets: SecretFiles,
    pub(super) request_max: Duration,
    pub(super) body_bytes_max: usize,
    /// Connections that are open and not in use.
    pub(super) idle: Mutex<Vec<Link>>,
}

/// One open connection, with the secrets that were read for it.
pub(super) struct Link {
    sender: SendRequest<Empty<Bytes>>,
    secrets: Arc<Secrets>,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// How long the server wants to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// The time of the server, to the second.
    pub(super) date: Option<UnixNanos>,
    pub(super) body: Bytes,
    secrets: Arc<Secrets>,
}

impl Reply {
    /// The server's words as they may be shown.
    pub(super) fn hidden(&self, text: String) -> String {
        self.secrets.hidden(text)
    }
}

/// What went wrong before there was an answer.
enum Broken {
    /// The connection was closed while nothing was asked.
    Stale,
    /// In words.
    Failed(String),
}

impl Client {
    /// Asks for an address, in which secrets are not filled in yet.
    ///
    /// # Errors
    /// Why there is no answer, in words that can be shown.
    pub(super) async fn get(&self, address: &str) -> Result<Reply, String> {
        let limit = self.request_max;
        let late = || Err(format!("no answer within {} s", limit.as_secs_f64()));
        timeout(limit, self.get_unlimited(address)).await.unwrap_or_else(|_| late())
    }

    async fn get_unlimited(&self, address: &str) -> Result<Reply, String> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(link) = idle {
            match self.ask(link, address).await {
                Ok(reply) => return Ok(reply),
                Err(Broken::Failed(why)) => return Err(why),
                Err(Broken::Stale) => {}
            }
        }
        let link = self.open(address).await?;
        self.ask(link, address).await.map_err(|broken| match broken {
            Broken::Stale => "the server hung up".to_owned(),
            Broken::Failed(why) => why,
        })
    }

    /// Opens a connection to where an address leads.
    async fn open(&self, address: &str) -> Result<Link, String> {
        let secrets = self.secrets.clone().values().await.map_err(|error| error.to_string())?;
        let url = url_of(address, &secrets)?;
        let transport = self.dialer.connect(&url.endpoint()).await;
        let transport = transport.map_err(|error| secrets.hidden(error.to_string()))?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX);
        let (sender, connection) = builder
            .handshake(TokioIo::new(transport))
            .await
            .map_err(|error| format!("the connection failed: {error}"))?;
        // Ends with the sender, or when the server closes it; how, the request says.
        drop(tokio::spawn(connection));
        Ok(Link { sender, secrets: Arc::new(secrets) })
    }

    async fn ask(&self, mut link: Link, address: &str) -> Result<Reply, Broken> {
        let secrets = Arc::clone(&link.secrets);
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Broken::Failed(secrets.hidden(format!("{what}: {error}")))
        };
        let request = self.request(address, &secrets).map_err(Broken::Failed)?;
        if link.sender.ready().await.is_err() {
            return Err(Broken::Stale);
        }
        let response = link.sender.send_request(request).await.map_err(|error| {
            let is_stale = error.is_closed() || error.is_canceled();
            match is_stale || error.is_incomplete_message() {
                true => Broken::Stale,
                false => failed("the answer is no HTTP", &error),
            }
        })?;
        let (parts, body) = Response::<Incoming>::into_parts(response);
        let text = |name: HeaderName| parts.headers.get(name).and_then(|it| it.to_str().ok());
        let (retry_after, date) = (text(RETRY_AFTER), text(DATE));
        let body = Limited::new(body, self.body_bytes_max).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<hyper::Error>() {
            Some(error) => failed("the answer broke off", error),
            None => {
                let limit = self.body_bytes_max;
                let why = format!("the answer is larger than message_bytes_max = {limit}");
                Broken::Failed(why)
            }
        })?;
        let reply = Reply {
            status: parts.status.as_u16(),
            retry_after: retry_after.and_then(|text| retry_after_of(text, wall_seconds())),
            date: date.and_then(date_of),
            body: body.to_bytes(),
            secrets: Arc::clone(&secrets),
        };
        if !link.sender.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        }
        Ok(reply)
    }

    fn request(&self, address: &str, secrets: &Secrets) -> Result<Request<Empty<Bytes>>, String> {
        let url = url_of(address, secrets)?;
        let endpoint = url.endpoint();
        let mut request = Request::get(url.target())
            .body(Empty::new())
            .map_err(|_| "the address is none that can be sent".to_owned())?;
        let headers = request.headers_mut();
        let agent = concat!("tickcast/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        add(headers, HOST.as_str(), &host_of(&endpoint))?;
        if let Some(user) = endpoint.user {
            add(headers, AUTHORIZATION.as_str(), &basic(user))?;
        }
        for Header { name, value } in &self.headers {
            add(headers, name, &secrets.in_header(value.reveal()))?;
        }
        // An answer is read as it comes.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(request)
    }
}

fn add(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let bad = || format!("the header {name} cannot be sent");
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
    let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// Where an address leads to, with its secrets.
fn url_of(address: &str, secrets: &Secrets) -> Result<HttpUrl, String> {
    // The error would show nothing of the address, but says that it is one of the configuration.
    secrets.in_address(address).parse().map_err(|_| "rest.url makes no address".to_owned())
}

/// The host as a request names it: with the port where that is not the usual one.
fn host_of(endpoint: &Endpoint<'_>) -> String {
    let usual = if endpoint.encrypted { 443 } else { 80 };
    let authority = endpoint.authority();
    match authority.strip_suffix(&format!(":{usual}")) {
        Some(host) if endpoint.port == usual => host.to_owned(),
        _ => authority,
    }
}

/// The time of a header `Date`.
fn date_of(text: &str) -> Option<UnixNanos> {
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    i64::try_from(date.timestamp().as_nanosecond()).ok().map(UnixNanos::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_with_a_port_that_is_not_the_usual_one() {
        for (url, host) in [
            ("https://h/x", "h"),
            ("https://h:443/x", "h"),
            ("https://h:80/x", "h:80"),
            ("http://h", "h"),
            ("http://[::1]:80", "[::1]"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            let url: HttpUrl = url.parse().unwrap();
            assert_eq!(host_of(&url.endpoint()), host);
        }
    }

    #[test]
    fn a_date_is_read_to_the_second() {
        let time = date_of("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(time, Some(UnixNanos::from_nanos(784_111_777_000_000_000)));
        assert_eq!(date_of("yesterday"), None);
    }
}
