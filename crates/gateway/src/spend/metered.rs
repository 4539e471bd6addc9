//! Around a deployment's client: nothing goes out that isn't reserved, nothing comes back that isn't settled.

use super::ledger::Ledger;
use super::reservation::{ANSWER_TOKENS, Planned, Reservation};
use super::{Money, Price};
use crate::tokens::{Family, TokenCounter, prompt_tokens};
use crate::{Account, ChatError, ChatEvent, ChatModel, ChatReply, ChatRequest, ChatStream, TokenUsage, Unheard};
use async_trait::async_trait;
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How a deployment's tokens are counted and what they cost.
#[derive(Clone)]
pub struct Meter {
    /// The deployment.
    pub deployment: String,
    /// The model's name at the provider.
    pub model: String,
    /// `None`: nobody knows.
    pub price: Option<Price>,
    /// Counts as its tokenizer does, or estimates.
    pub counter: Arc<dyn TokenCounter>,
}

impl Meter {
    /// Tokens of an answer that is not limited, where a budget needs a limit.
    pub const ANSWER_TOKENS: u32 = ANSWER_TOKENS;

    /// What the model reads of a request, by our count.
    #[must_use]
    pub fn prompt_tokens(&self, request: &ChatRequest) -> u64 {
        prompt_tokens(request, &*self.counter, Family::of(&self.model))
    }

    /// Whether the model thinks on this request without saying so.
    fn thinks(&self, request: &ChatRequest) -> bool {
        match request.passed_on.get("reasoning_effort").and_then(serde_json::Value::as_str) {
            Some(effort) => effort != "none",
            None => Family::of(&self.model).thinks,
        }
    }

    /// Tokens that a provider may count where we counted so many: an estimate gets a quarter on top.
    #[must_use]
    pub fn tokens_most(&self, counted: u64) -> u64 {
        if self.counter.is_exact() { counted } else { counted + counted.div_ceil(4) }
    }

    /// What it costs to read and write so many tokens.
    #[must_use]
    pub fn cost(&self, prompt_tokens: u64, completion_tokens: u64) -> Option<Money> {
        let usage = TokenUsage { prompt_tokens, completion_tokens, ..TokenUsage::default() };
        self.price.map(|price| price.cost(&usage))
    }

    /// All of these requests as one call, at the prices of the provider's batch API.
    #[must_use]
    pub fn plan_batch(&self, account: Arc<Account>, requests: &[ChatRequest]) -> Planned {
        let written = requests.iter().map(|request| u64::from(request.max_tokens.unwrap_or(ANSWER_TOKENS))).sum::<u64>();
        Planned {
            account,
            deployment: self.deployment.clone(),
            model: self.model.clone(),
            price: self.price.map(|price| price.in_batches()),
            prompt_tokens: requests.iter().map(|request| self.tokens_most(self.prompt_tokens(request))).sum(),
            searches: 0,
            max_tokens: Some(u32::try_from(written).unwrap_or(u32::MAX)),
        }
    }

    fn plan(&self, request: &ChatRequest, counted: u64) -> Planned {
        Planned {
            account: Arc::clone(&request.account),
            deployment: self.deployment.clone(),
            model: self.model.clone(),
            price: self.price,
            prompt_tokens: self.tokens_most(counted),
            searches: 0,
            max_tokens: request.max_tokens,
        }
    }
}

/// See the module.
pub struct Metered {
    inner: Arc<dyn ChatModel>,
    meter: Meter,
    ledger: Arc<Ledger>,
}

impl Metered {
    /// Around `inner`, on this ledger.
    #[must_use]
    pub fn new(inner: Arc<dyn ChatModel>, meter: Meter, ledger: Arc<Ledger>) -> Self {
        Self { inner, meter, ledger }
    }
}

/// Bytes from which on a prompt is counted off the async threads.
const COUNTED_HERE_BYTES: usize = 16 * 1024;

impl Metered {
    /// The request and the tokens of its prompt.
    async fn count(&self, request: ChatRequest) -> Result<(ChatRequest, u64), ChatError> {
        let meter = self.meter.clone();
        let bytes: usize = request.messages.iter().map(|message| message.content.text().len()).sum();
        let count = move || {
            let read = meter.prompt_tokens(&request);
            (request, read)
        };
        if bytes < COUNTED_HERE_BYTES {
            return Ok(count());
        }
        let counted = tokio::task::spawn_blocking(count).await;
        counted.map_err(|error| ChatError::Unavailable { reason: error.to_string(), retry_after: None })
    }
}

#[async_trait]
impl ChatModel for Metered {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn ready_in(&self) -> Duration {
        self.inner.ready_in()
    }

    fn is_full(&self) -> bool {
        self.inner.is_full()
    }

    async fn chat(&self, mut request: ChatRequest) -> Result<ChatReply, ChatError> {
        let read;
        (request, read) = self.count(request).await?;
        let planned = self.meter.plan(&request, read);
        let silent = if self.meter.thinks(&request) { planned.usage().completion_tokens } else { 0 };
        let reservation = self.ledger.reserve(planned).await?;
        request.max_tokens = request.max_tokens.or(reservation.max_tokens());
        let above = std::mem::take(&mut request.unheard);
        let heard = Heard::new(read, silent, request.unheard.clone(), Arc::clone(&self.meter.counter));
        // From here on whoever leaves pays.
        let mut call = Call { reservation: Some(reservation), heard };
        match self.inner.chat(request).await {
            Ok(reply) => {
                let events = Settling { events: reply.events, call, held_back: None }.boxed();
                Ok(ChatReply { events, ..reply })
            }
            Err(error) => {
                match error.was_sent() {
                    true => above.add(call.settle().map_or(0, |used| used.prompt_tokens + used.completion_tokens)),
                    false => call.release(),
                }
                Err(error)
            }
        }
    }
}

/// Bytes of an answer that are held to be counted in one piece.
const HELD_BYTES: usize = 64 * 1024;

/// What was heard of an answer, and what it has used.
struct Heard {
    prompt_tokens: u64,
    /// Tokens that may have been written unheard, if the provider doesn't say how many there were.
    silent: u64,
    /// What was thought aloud.
    thoughts: Unheard,
    counter: Arc<dyn TokenCounter>,
    text: String,
    /// Tokens of what was said before `text`.
    counted: u64,
    /// What the provider says.
    told: Option<TokenUsage>,
}

impl Heard {
    fn new(prompt_tokens: u64, silent: u64, thoughts: Unheard, counter: Arc<dyn TokenCounter>) -> Self {
        Self { prompt_tokens, silent, thoughts, counter, text: String::new(), counted: 0, told: None }
    }

    fn hear(&mut self, text: &str) {
        self.text.push_str(text);
        if self.text.len() > HELD_BYTES {
            self.counted += self.counter.count(&self.text);
            self.text.clear();
        }
    }

    fn note(&mut self, event: &ChatEvent) {
        match event {
            ChatEvent::Delta(text) => self.hear(text),
            ChatEvent::ToolCall(piece) => {
                self.hear(piece.name.as_deref().unwrap_or_default());
                self.hear(&piece.arguments);
            }
            // No call takes no tokens: who says so doesn't count.
            ChatEvent::Usage(usage) => self.told = Some(*usage).filter(|usage| usage.prompt_tokens + usage.completion_tokens > 0),
            ChatEvent::Done { .. } => {}
        }
    }

    /// The provider's figures, or else our own: what was heard, thoughts among it, and of a model that thinks unheard
    /// no less than it was given.
    fn usage(&self) -> TokenUsage {
        self.told.unwrap_or_else(|| {
            let heard = self.counted + self.counter.count(&self.text) + self.thoughts.tokens();
            TokenUsage { prompt_tokens: self.prompt_tokens, completion_tokens: heard.max(self.silent), ..TokenUsage::default() }
        })
    }
}

/// A call under way: whatever becomes of it is settled, even if nobody waits for it any more.
struct Call {
    reservation: Option<Reservation>,
    heard: Heard,
}

impl Call {
    fn release(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            reservation.release();
        }
    }

    /// Books what was used; with its cost, the first time.
    fn settle(&mut self) -> Option<TokenUsage> {
        let reservation = self.reservation.take()?;
        let usage = self.heard.usage();
        let cost = reservation.cost(&usage);
        reservation.settle(usage);
        Some(TokenUsage { cost, ..usage })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.settle();
    }
}

/// The events of an answer; before `Done` comes what it has used, whether or not the provider says so.
struct Settling {
    events: ChatStream,
    call: Call,
    /// `Done`, while the usage goes first.
    held_back: Option<ChatEvent>,
}

impl Stream for Settling {
    type Item = Result<ChatEvent, ChatError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(done) = self.held_back.take() {
            return Poll::Ready(Some(Ok(done)));
        }
        loop {
            let event = match std::task::ready!(self.events.poll_next_unpin(context)) {
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    self.call.settle();
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(None),
            };
            self.call.heard.note(&event);
            match event {
                // Said again at the end, with its cost.
                ChatEvent::Usage(_) => {}
                ChatEvent::Done { .. } => {
                    let Some(usage) = self.call.settle() else { return Poll::Ready(Some(Ok(event))) };
                    self.held_back = Some(event);
                    return Poll::Ready(Some(Ok(ChatEvent::Usage(usage))));
                }
                event => return Poll::Ready(Some(Ok(event))),
            }
        }
    }
}
