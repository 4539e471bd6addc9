//! What a model is asked before the search: to make a question stand alone, and for what is searched beside it.
//!
//! It is waited for for a short time only, and whatever goes wrong, the question is searched without it and the steps
//! say why. What it used counts with the answer.

use super::{Engine, EngineParams, GuardDecision, QueryRequest, Recalled, Reworded, RewrittenBy, guarded};
use crate::expand::{Expand, REPLY_BYTES_MAX, Rewrite, Task, is_same, passage, standing_alone, wordings};
use crate::prompt::Mark;
use futures::StreamExt;
use gateway::telemetry::request_span;
use gateway::{Account, ChatError, ChatEvent, ChatModel, ChatRequest, FinishReason, Stage, TokenUsage};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// What is done before the search.
#[derive(Debug, Clone)]
pub(super) struct Ahead {
    rewrite: Rewrite,
    pub(super) reworded: Reworded,
    /// What models used; `None`: none was asked.
    pub(super) spent: Option<TokenUsage>,
    /// How long a model was waited for, if one was.
    pub(super) took: Option<Duration>,
}

impl Ahead {
    pub(super) fn new(params: &EngineParams, request: &QueryRequest) -> Self {
        let expand = request.expand.unwrap_or(params.expand);
        let reworded = Reworded { expand, ..Reworded::default() };
        Self { rewrite: request.rewrite.unwrap_or(params.rewrite), reworded, spent: None, took: None }
    }

    /// The request with the question as the rule makes it stand alone, if it leans on its conversation and that is wanted.
    pub(super) fn by_rule(&mut self, request: QueryRequest) -> QueryRequest {
        if self.rewrite == Rewrite::Off {
            return request;
        }
        let request = request.standing_alone();
        self.reworded.rewritten_by = request.rewritten.is_some().then_some(RewrittenBy::Rule);
        request
    }

    pub(super) fn asks_model(&self, request: &QueryRequest) -> bool {
        self.rewrites(request) || self.reworded.expand != Expand::None
    }

    /// Any question that something was said before is put to the model: in which it leans on that is the model's to tell.
    fn rewrites(&self, request: &QueryRequest) -> bool {
        self.rewrite == Rewrite::Model && !request.turns.is_empty()
    }

    fn spend(&mut self, used: Option<TokenUsage>) {
        self.spent = match (self.spent, used) {
            (Some(before), Some(used)) => Some(before.plus(used)),
            (before, used) => before.or(used),
        };
    }
}

impl Engine {
    /// Asks a model what the question shall be searched with, if that is wanted. It waits and computes nothing: whoever
    /// holds a place before the processors gives it back meanwhile. Dropping it cancels the model's call.
    pub async fn expand(&self, mut recalled: Recalled) -> Recalled {
        if !recalled.asks_model() {
            return recalled;
        }
        let began = Instant::now();
        let until = tokio::time::Instant::now() + self.params.expand_time;
        let Recalled { request, asker, on_question, ahead, .. } = &mut recalled;
        let mut asking = Asking { engine: self, account: &asker.account, until, guards: on_question };
        if ahead.rewrites(request) {
            let reply = asking.ask(Task::StandAlone, request, ahead).await;
            let no_question = || "the model gave back no question of this conversation".to_owned();
            match reply.and_then(|reply| standing_alone(&reply, &request.question, &request.turns).ok_or_else(no_question)) {
                Ok(alone) => {
                    request.rewritten = (!is_same(&alone, &request.question)).then_some(alone);
                    ahead.reworded.rewritten_by = Some(RewrittenBy::Model);
                }
                Err(why) => ahead.reworded.rewrite_failure = Some(why),
            }
        }
        let nothing = || "the model gave back nothing to search for".to_owned();
        let added = match ahead.reworded.expand {
            Expand::None => Ok(()),
            Expand::MultiQuery => asking.ask(Task::Wordings, request, ahead).await.and_then(|reply| {
                ahead.reworded.queries = wordings(&reply, request.asked());
                if ahead.reworded.queries.is_empty() { Err(nothing()) } else { Ok(()) }
            }),
            Expand::Hyde => asking.ask(Task::Passage, request, ahead).await.and_then(|reply| {
                ahead.reworded.passage = passage(&reply);
                if ahead.reworded.passage.is_none() { Err(nothing()) } else { Ok(()) }
            }),
        };
        ahead.reworded.expand_failure = added.err();
        let Reworded { rewrite_failure, expand_failure, .. } = &ahead.reworded;
        for why in [rewrite_failure, expand_failure].into_iter().flatten() {
            tracing::warn!(why, "a question is searched without what a model was asked for");
        }
        ahead.took = Some(began.elapsed());
        recalled
    }
}

/// Who asks a model before the search.
struct Asking<'a> {
    engine: &'a Engine,
    account: &'a Arc<Account>,
    until: tokio::time::Instant,
    guards: &'a mut Vec<GuardDecision>,
}

impl Asking<'_> {
    fn is_late(&self) -> bool {
        tokio::time::Instant::now() >= self.until
    }

    /// What a model says to it, or why nothing.
    async fn ask(&mut self, task: Task, request: &QueryRequest, ahead: &mut Ahead) -> Result<String, String> {
        let params = &self.engine.params;
        let model = self.engine.models.get(request.model.as_deref()).ok_or("no model is configured")?;
        let mark = Mark::draw().map_err(|error| error.to_string())?;
        // What makes it stand alone begins from what was asked, not from what the rule made of it.
        let question = if task == Task::StandAlone { &request.question } else { request.asked() };
        let mut sealed = guarded::Sealed::new(&params.guards);
        let messages = task.messages(question, &request.turns, &mark, &mut |text, source| sealed.redact(text, source));
        let messages = messages.ok_or("the question is too long to ask a model about it")?;
        let request = ChatRequest {
            max_tokens: Some(task.tokens_max()),
            temperature: Some(0.0),
            deadline: Some(self.until),
            account: Arc::clone(self.account),
            ..ChatRequest::new(messages)
        };
        let late = ChatError::Timeout { stage: Stage::Total, limit: params.expand_time };
        if self.is_late() {
            return Err(late.to_string());
        }
        let mut used = None;
        let heard = tokio::time::timeout_at(self.until, hear_out(&**model, request, &mut used)).await;
        let heard = match heard {
            // A deadline further in tells its own limit.
            Ok(Err(ChatError::Timeout { .. })) if self.is_late() => Err(late),
            heard => heard.unwrap_or(Err(late)),
        };
        if heard.as_ref().is_err_and(ChatError::was_sent) {
            used.get_or_insert_default();
        }
        ahead.spend(used);
        let heard = heard.map(|heard| Heard { text: sealed.restored(&heard.text), ..heard });
        for decision in sealed.decisions(Vec::new()) {
            if !self.guards.contains(&decision) {
                self.guards.push(decision);
            }
        }
        match heard {
            // Half a question may ask for something else; half a passage is one.
            Ok(heard) if heard.is_cut && task != Task::Passage => Err("the model's reply was cut off".to_owned()),
            Ok(heard) => Ok(heard.text),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A reply.
struct Heard {
    text: String,
    is_cut: bool,
}

/// The whole reply. `used` is set once it has begun, at an unknown cost until that is told.
async fn hear_out(model: &dyn ChatModel, request: ChatRequest, used: &mut Option<TokenUsage>) -> Result<Heard, ChatError> {
    let mut reply = model.chat(request).instrument(request_span(model.name())).await?;
    *used = Some(TokenUsage::default());
    let mut heard = Heard { text: String::new(), is_cut: false };
    while let Some(event) = reply.events.next().await {
        match event? {
            ChatEvent::Delta(piece) => heard.text.push_str(&piece),
            ChatEvent::Usage(usage) => *used = Some(usage),
            // None was offered.
            ChatEvent::ToolCall(_) => {}
            ChatEvent::Done { finish_reason } => {
                heard.is_cut = matches!(finish_reason, FinishReason::Length | FinishReason::ContentFilter);
                break;
            }
        }
        if heard.text.len() > REPLY_BYTES_MAX {
            return Err(ChatError::TooLarge { what: "the reply", bytes_max: REPLY_BYTES_MAX });
        }
    }
    Ok(heard)
}

#[cfg(test)]
mod tests;
