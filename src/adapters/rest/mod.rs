//! A venue's history over HTTP: questions in, native ticks out.
//!
//! Owns the requests of one venue, their pace and their retries. `pager` decides what is asked,
//! `core::venue::Rest` says how and what an answer means. Promises that a question ends in bounded
//! time, that the venue's limits are kept over all questions of this process, and that neither an
//! error nor a log line shows more of an address than its host. Never asks unasked, and never
//! names another adapter.

mod client;
mod metrics;
mod pace;
mod pager;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::sleep;

pub use self::metrics::RestMetrics;

use self::client::{Client, Reply};
use self::pace::Pace;
use self::pager::{Page, Pager, Pages, Turn};
use crate::core::domain::{DurationNanos, UnixNanos};
use crate::core::history::{HistoryFrom, RowKind};
use crate::core::venue::{Answer, Paging, Question, Rest, RestProblem, Unread, says_too_often};
use crate::net::address::HttpUrl;
use crate::net::backoff::Backoff;
use crate::net::dial::{DialOptions, Dialer, Header, TlsError, words};
use crate::net::percent::percent_encoded;
use crate::net::secrets::SecretFiles;
use crate::ops::clock::wall_time;
use crate::ports::history::{Failed, HistorySource, Request, Rows, RowsLimit, Want};

/// Requests in a row that may fail before a question is given up.
const FAILURES_MAX: u32 = 3;

/// The longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// The first wait before what is missing is asked for again; each further one is twice as long.
const AGAIN_WAIT: Duration = Duration::from_millis(250);

/// What a source of history is made of.
pub struct RestOptions {
    /// The venue's history.
    pub rest: Arc<Rest>,
    /// How it is reached. Its headers are those of the stream and are not sent.
    pub dial: DialOptions,
    /// Sent with each request.
    pub headers: Vec<Header>,
    /// Where secrets are.
    pub secrets: SecretFiles,
    /// What differs between runs: the jitter.
    pub seed: u64,
}

/// A venue that is asked for history; cloning shares its pace and its connections.
#[derive(Clone)]
pub struct RestSource(Arc<Shared>);

struct Shared {
    rest: Arc<Rest>,
    client: Client,
    pace: Pace,
    metrics: RestMetrics,
    /// The host, for people.
    host: String,
    seed: u64,
}

/// What a request came to.
enum Outcome {
    Answer(Answer, Option<UnixNanos>),
    /// Too much was asked.
    RateLimited(String),
    /// It may succeed later.
    Away(String),
    /// It will never succeed.
    Refused(String),
}

impl RestSource {
    /// Reads certificates where the address asks for them. Asks nothing.
    ///
    /// # Errors
    /// [`TlsError`] for certificates that cannot be used.
    pub fn new(options: RestOptions, metrics: RestMetrics) -> Result<Self, TlsError> {
        let RestOptions { rest, dial, headers, secrets, seed } = options;
        let url = rest.beginning().parse::<HttpUrl>().ok();
        let encrypted = url.as_ref().is_none_or(|url| url.endpoint().encrypted);
        let client = Client {
            body_bytes_max: dial.message_bytes_max,
            dialer: Dialer::new(dial, encrypted)?,
            headers,
            secrets,
            request_max: rest.request_max(),
            idle: Mutex::default(),
        };
        let pace = Pace::new(rest.limits());
        let host = url.map_or_else(String::new, |url| url.to_string());
        Ok(Self(Arc::new(Shared { rest, client, pace, metrics, host, seed })))
    }
}

impl HistorySource for RestSource {
    fn from(&self) -> HistoryFrom {
        HistoryFrom::Rest
    }

    fn serves(&self, kind: RowKind) -> Result<String, String> {
        let Shared { rest, host, .. } = &*self.0;
        let RowKind::Bars(length) = kind else {
            return Err("source.rest has bars and no trades".to_owned());
        };
        let seconds = |length: DurationNanos| length.as_nanos() / 1_000_000_000;
        match rest.intervals().find(|(known, _)| *known == length) {
            Some((_, word)) => {
                let (word, rows) = (words(word), rest.rows_max());
                Ok(format!("bars `{word}` of {host}, {rows} a request"))
            }
            None => {
                let known: Vec<_> =
                    rest.intervals().map(|(known, _)| seconds(known).to_string()).collect();
                let (length, known) = (seconds(length), known.join(", "));
                Err(format!("source.rest.intervals has no bars of {length} s; it has {known} s"))
            }
        }
    }

    fn lengths(&self) -> Vec<DurationNanos> {
        self.0.rest.intervals().map(|(length, _)| length).collect()
    }

    fn has_field(&self, name: &str) -> bool {
        self.0.rest.has_field(name)
    }

    fn at_once(&self) -> usize {
        self.0.rest.limits().at_once.max(1) as usize
    }

    fn settle(&self) -> Duration {
        self.0.rest.settle()
    }

    fn rows_limit(&self) -> Option<RowsLimit> {
        let rest = &self.0.rest;
        let of_answer = u64::from(rest.rows_max());
        Some(match rest.paging() {
            Paging::Latest => RowsLimit { rows: of_answer, key: None },
            Paging::Range | Paging::Cursor => RowsLimit {
                rows: of_answer * u64::from(rest.pages_max()),
                key: Some("source.rest.pages_max"),
            },
        })
    }

    fn fetch(&self, request: Request) -> BoxFuture<'static, Result<Rows, Failed>> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { shared.fetch(&request).await })
    }
}

impl Shared {
    async fn fetch(&self, request: &Request) -> Result<Rows, Failed> {
        let RowKind::Bars(length) = request.kind else {
            return Err(Failed::Refused("source.rest has bars and no trades".to_owned()));
        };
        let pages = Pages {
            paging: self.rest.paging(),
            rows_max: self.rest.rows_max(),
            pages_max: self.rest.pages_max(),
            omits_empty: self.rest.omits_empty(),
            are_parts: request.are_parts,
            length,
        };
        let finished = self.wait_to_settle(&request.want).await;
        let finished = finished.interval_start(length, DurationNanos::ZERO).unwrap_or(finished);
        let pager = Pager::new(pages, request.want, finished);
        let mut pager = pager.map_err(|error| Failed::Refused(error.to_string()))?;
        let mut backoff = Backoff::new(BACKOFF_MAX, self.seed ^ seed_of(request));
        loop {
            match pager.turn() {
                Turn::Done(rows) => return Ok(rows),
                Turn::Ask(page) => {
                    if let Some(doublings) = page.again.checked_sub(1) {
                        sleep(AGAIN_WAIT.saturating_mul(1 << doublings.min(8))).await;
                    }
                    let (answer, date) = self.ask(request, length, &page, &mut backoff).await?;
                    pager.answered(&page, answer, date);
                }
            }
        }
    }

    /// Waits until a stretch that has just ended has settled, and gives the first instant that no
    /// finished row reaches beyond, by our clock.
    async fn wait_to_settle(&self, want: &Want) -> UnixNanos {
        let settle = self.rest.settle();
        let now = wall_time().unwrap_or(UnixNanos::from_nanos(i64::MAX));
        let end = match want {
            Want::Between(span) => Some(span.to),
            Want::Newest { before, .. } => *before,
        };
        if let Some(end) = end {
            let since = Duration::from_nanos(now.since(end).map_or(0, |since| {
                // The end may be ahead of our clock.
                since.as_nanos().max(0).unsigned_abs()
            }));
            sleep(settle.saturating_sub(since)).await;
        }
        let settle = i64::try_from(settle.as_nanos()).unwrap_or(i64::MAX);
        UnixNanos::from_nanos(now.as_nanos().saturating_sub(settle))
    }

    /// The answer to one page, after as many attempts as it takes and is allowed.
    async fn ask(
        &self,
        request: &Request,
        length: DurationNanos,
        page: &Page,
        backoff: &mut Backoff,
    ) -> Result<(Answer, Option<UnixNanos>), Failed> {
        let symbol = request.symbol.as_str();
        let question = Question { symbol, length, span: page.span, cursor: page.cursor.as_deref() };
        let Some(address) = self.rest.address(&question, percent_encoded) else {
            let refusal = self.serves_none(length);
            return Err(Failed::Refused(refusal));
        };
        let mut failures = 0;
        let mut why = format!("{} wants to be left alone", self.host);
        loop {
            let Some(turn) = self.pace.turn(self.rest.request_max()).await else {
                return Err(Failed::Away(why));
            };
            let outcome = self.outcome(symbol, &address).await;
            drop(turn);
            why = match outcome {
                Outcome::Answer(answer, date) => {
                    backoff.reset();
                    return Ok((answer, date));
                }
                Outcome::Refused(why) => return Err(Failed::Refused(why)),
                // The pace makes the next attempt wait.
                Outcome::RateLimited(why) | Outcome::Away(why) => why,
            };
            failures += 1;
            if failures >= FAILURES_MAX {
                return Err(Failed::Away(why));
            }
            sleep(backoff.next_wait()).await;
        }
    }

    fn serves_none(&self, length: DurationNanos) -> String {
        let seconds = length.as_nanos() / 1_000_000_000;
        format!("source.rest.intervals has no bars of {seconds} s")
    }

    /// Sends one request and counts how it ends.
    async fn outcome(&self, symbol: &str, address: &str) -> Outcome {
        let (metrics, host) = (&self.metrics, &self.host);
        let reply = match self.client.get(address).await {
            Ok(reply) => reply,
            Err(why) => {
                metrics.failed.inc();
                return Outcome::Away(format!("{host}: {why}"));
            }
        };
        let outcome = self.meaning(symbol, &reply);
        let (counter, outcome) = match outcome {
            Outcome::Answer(answer, date) => (&metrics.ok, Outcome::Answer(answer, date)),
            Outcome::RateLimited(why) => {
                let wait = self.pace.complained(reply.retry_after).as_secs_f64();
                let why = format!("{host} wants to be left alone for {wait} s: {why}");
                (&metrics.rate_limited, Outcome::RateLimited(why))
            }
            Outcome::Away(why) => {
                if let Some(wait) = reply.retry_after {
                    self.pace.rest(wait);
                }
                (&metrics.failed, Outcome::Away(format!("{host}: {why}")))
            }
            Outcome::Refused(why) => (&metrics.refused, Outcome::Refused(format!("{host}: {why}"))),
        };
        if !matches!(outcome, Outcome::RateLimited(_)) {
            self.pace.is_well();
        }
        counter.inc();
        outcome
    }

    /// What an answer means, by its status and its body.
    fn meaning(&self, symbol: &str, reply: &Reply) -> Outcome {
        let Reply { status, date, ref body, .. } = *reply;
        if (200..300).contains(&status) {
            return match self.rest.read(body, symbol) {
                Ok(answer) => Outcome::Answer(answer, date),
                Err(Unread::Refused(refusal)) => {
                    let is_often = says_too_often(&refusal.text);
                    let why = reply.hidden(refusal.text);
                    match refusal.problem {
                        RestProblem::RateLimited => Outcome::RateLimited(why),
                        RestProblem::Refused if is_often => Outcome::RateLimited(why),
                        RestProblem::Away => Outcome::Away(why),
                        RestProblem::Refused => Outcome::Refused(why),
                    }
                }
                Err(other) => Outcome::Away(reply.hidden(other.to_string())),
            };
        }
        let refusal = self.rest.refusal(body);
        let text = match &refusal {
            Some(refusal) => refusal.text.clone(),
            None => words(String::from_utf8_lossy(&body[..body.len().min(4096)]).trim()),
        };
        let problem = refusal.map(|refusal| refusal.problem);
        let why = reply.hidden(format!("{status} {text}").trim_end().to_owned());
        match (status, problem) {
            (418 | 429, _) | (_, Some(RestProblem::RateLimited)) => Outcome::RateLimited(why),
            _ if says_too_often(&text) => Outcome::RateLimited(why),
            (408 | 425 | 500..=599, _) | (_, Some(RestProblem::Away)) => Outcome::Away(why),
            (300..=399, _) => Outcome::Refused(format!("{status}: redirects are not followed")),
            _ => Outcome::Refused(why),
        }
    }
}

/// What differs between questions, for jitter.
fn seed_of(request: &Request) -> u64 {
    let bytes = request.symbol.as_str().bytes();
    bytes.fold(0, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)))
}
