//! A deployment that answers in one piece: what embedders and rerankers have in common.
//!
//! Invariants: each try is paid, or it was not sent or was refused; a call that nobody waits for any more ends at the
//! provider.

use crate::blocking::Blocking;
use crate::endpoint::{self, Endpoint, EndpointError};
use crate::resilience::Figures;
use crate::spend::Till;
use crate::telemetry::note_retry;
use crate::{CallParams, ChatError, Guarded, Ledger, Price, Stage, TokenUsage};
use corpus::{EmbedError, Errand};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use tracing::Instrument;

/// A deployment that answers in one piece, and all that stands around its calls.
pub(crate) struct Remote {
    operation: Operation,
    endpoint: Endpoint,
    guard: Guarded,
    try_timeout: Duration,
    figures: Arc<Figures>,
    till: Option<Till>,
    blocking: Blocking,
}

/// What is asked for, and of whom.
pub(crate) struct Operation {
    /// As the conventions for telemetry call it.
    pub(crate) name: &'static str,
    pub(crate) provider: &'static str,
    pub(crate) deployment: String,
    /// Its name at the provider.
    pub(crate) model: String,
}

impl Remote {
    /// Starts its thread, under this name.
    pub(crate) fn start(operation: Operation, endpoint: Endpoint, calls: CallParams, thread_name: &str) -> Result<Self, EndpointError> {
        let Operation { name, provider, deployment, model } = &operation;
        let figures = Arc::new(Figures::new(name, provider, model, deployment));
        // A try has its time from when it is sent: see `send`.
        let guard = Guarded::new(model, CallParams { try_timeout: calls.total_timeout, ..calls });
        let blocking = Blocking::start(thread_name)?;
        Ok(Self { endpoint, guard, try_timeout: calls.try_timeout, figures, till: None, blocking, operation })
    }

    /// Has calls paid at this price; `None`: nobody knows it.
    pub(crate) fn charge(&mut self, ledger: Arc<Ledger>, price: Option<Price>) {
        let Operation { deployment, model, .. } = &self.operation;
        self.till = Some(Till { ledger, deployment: deployment.clone(), model: model.clone(), price });
    }

    /// What is under way and every later call is [`EmbedError::Closed`].
    pub(crate) fn close(&self) {
        self.blocking.close();
    }

    /// Blocks until the work is done, or over: closed, or nobody waits for it.
    pub(crate) fn run<T>(&self, errand: &Errand, work: impl Future<Output = Result<T, EmbedError>>) -> Result<T, EmbedError> {
        self.blocking.run(&errand.wanted, work)
    }

    /// Asks, as often as it is allowed, and reads the answer and what it took.
    pub(crate) async fn ask<T>(
        &self,
        exchange: &Exchange<'_>,
        errand: &Errand,
        read: impl Fn(&[u8]) -> Result<(T, Told), ChatError>,
    ) -> Result<T, EmbedError> {
        let last = Mutex::new(None);
        let ask = || async {
            let answer = self.once(exchange, errand, &last, &read).await;
            *last.lock().unwrap_or_else(PoisonError::into_inner) = answer.as_ref().err().cloned();
            answer
        };
        self.guard.call(exchange.most.prompt_tokens, ask).await.map_err(|error| embed_error(&error))
    }

    /// One try: reserved, measured and settled.
    async fn once<T>(
        &self,
        exchange: &Exchange<'_>,
        errand: &Errand,
        last: &Mutex<Option<ChatError>>,
        read: impl Fn(&[u8]) -> Result<(T, Told), ChatError>,
    ) -> Result<T, ChatError> {
        let charge = match &self.till {
            Some(till) => Some(till.charge(&errand.account, exchange.most).await?),
            None => None,
        };
        if let Some(error) = &*last.lock().unwrap_or_else(PoisonError::into_inner) {
            note_retry(&self.operation.model, error);
        }
        // Both are settled also if they are dropped with this.
        let mut call = self.figures.begin();
        match self.send(exchange, read).instrument(call.span()).await {
            Ok((answer, told)) => {
                if let Some(tokens) = told.tokens {
                    call.use_tokens(TokenUsage { prompt_tokens: tokens, ..TokenUsage::default() });
                }
                call.answer();
                charge.into_iter().for_each(|charge| charge.settle(told.or(exchange.most)));
                Ok(answer)
            }
            Err(error) => {
                call.fail(&error);
                charge.into_iter().for_each(|charge| charge.fail(&error));
                Err(error)
            }
        }
    }

    async fn send<T>(&self, exchange: &Exchange<'_>, read: impl Fn(&[u8]) -> Result<T, ChatError>) -> Result<T, ChatError> {
        let limit = self.try_timeout;
        let body = timeout(limit, exchange.body(&self.endpoint)).await;
        read(&body.unwrap_or(Err(ChatError::Timeout { stage: Stage::Answer, limit }))?)
    }
}

/// A request with one answer of up to so many bytes.
pub(crate) struct Exchange<'a> {
    pub(crate) request: &'a Value,
    /// What it takes at the provider, by a rough count.
    pub(crate) most: TokenUsage,
    /// The largest honest answer, and what it is.
    pub(crate) bytes_max: usize,
    pub(crate) what: &'static str,
}

/// What a provider says that a call took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) tokens: Option<u64>,
    pub(crate) searches: Option<u64>,
}

impl Told {
    /// Our own count where it says nothing. No call takes nothing: who says so doesn't count.
    fn or(self, counted: TokenUsage) -> TokenUsage {
        let or = |told: Option<u64>, counted| told.filter(|told| *told > 0).unwrap_or(counted);
        TokenUsage { prompt_tokens: or(self.tokens, counted.prompt_tokens), searches: or(self.searches, counted.searches), ..counted }
    }
}

/// A count as providers write it: some as `7.0`. What is no count is as good as nothing said.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = Value::deserialize(deserializer)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within these bounds it is exact but for a fraction")]
    let rounded = number.as_f64().filter(|number| (0.0..1e15).contains(number)).map(|number| number.ceil() as u64);
    Ok(number.as_u64().or(rounded))
}

impl Exchange<'_> {
    async fn body(&self, endpoint: &Endpoint) -> Result<Vec<u8>, ChatError> {
        let answer = endpoint.post(self.request).await?;
        let mut body = Vec::new();
        endpoint::read(answer.body, self.bytes_max, &mut body).await?;
        if body.len() > self.bytes_max {
            return Err(ChatError::TooLarge { what: self.what, bytes_max: self.bytes_max });
        }
        // JSON is UTF-8, also where nobody looks.
        match std::str::from_utf8(&body) {
            Ok(_) => Ok(body),
            Err(error) => Err(ChatError::Malformed { reason: format!("the answer is no UTF-8: {error}") }),
        }
    }
}

/// Shortest that a caller is asked to wait.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Where the provider says nothing.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest: it looks again whether the work is still wanted.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A provider that says when to come back is busy. What is wrong with the texts or the answer stays wrong;
/// everything else (nobody there, a key that ran out, no such model yet) can be put right meanwhile.
fn embed_error(error: &ChatError) -> EmbedError {
    let wait = error.retry_after().map(|wait| wait.clamp(PAUSE_MIN, PAUSE_MAX));
    match (error, wait) {
        (ChatError::OverBudget { shortage, reason, retry_after }, _) => {
            EmbedError::OverBudget { shortage: *shortage, reason: reason.clone(), retry_after: *retry_after }
        }
        (ChatError::Status { status: 429 | 503, .. }, Some(retry_after)) => EmbedError::Busy { retry_after },
        (ChatError::Status { status: 400 | 413 | 422, .. } | ChatError::Malformed { .. } | ChatError::TooLarge { .. }, _) => {
            EmbedError::Provider { reason: error.to_string(), retry_after: None }
        }
        (error, wait) => EmbedError::Provider { reason: error.to_string(), retry_after: Some(wait.unwrap_or(PAUSE)) },
    }
}
