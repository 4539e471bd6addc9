//! A chat model that plays a script, for the tests of everything that talks to one.

use crate::{ChatError, ChatEvent, ChatModel, ChatReply, ChatRequest, ChatStream, FinishReason, TokenUsage};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// One step of a scripted answer. An answer that doesn't fail or stall ends with `Done`.
#[derive(Debug, Clone)]
pub enum Step {
    /// Says something.
    Delta(String),
    /// Reports its use.
    Usage(TokenUsage),
    /// Fails; what follows is never reached.
    Fail(ChatError),
    /// Says nothing more, for ever.
    Stall,
}

impl Step {
    /// Says `text`.
    #[must_use]
    pub fn delta(text: impl Into<String>) -> Self {
        Self::Delta(text.into())
    }
}

/// Plays one list of steps per call, in the order given; after the last, calls fail to connect.
pub struct ScriptedChat {
    name: String,
    answers: Mutex<VecDeque<Vec<Step>>>,
    requests: Mutex<Vec<ChatRequest>>,
}

impl ScriptedChat {
    /// A model called `name` with one script per call.
    #[must_use]
    pub fn new(name: impl Into<String>, answers: Vec<Vec<Step>>) -> Self {
        Self { name: name.into(), answers: Mutex::new(answers.into()), requests: Mutex::default() }
    }

    /// What it was asked so far.
    #[must_use]
    pub fn requests(&self) -> Vec<ChatRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl ChatModel for ScriptedChat {
    fn name(&self) -> &str {
        &self.name
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let steps = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let steps = steps.ok_or_else(|| ChatError::Connect { reason: "the script is over".to_owned() })?;
        // As the seam demands: a failure or stall before the first token happens in here.
        match steps.first() {
            Some(Step::Fail(error)) => Err(error.clone()),
            Some(Step::Stall) => std::future::pending().await,
            _ => Ok(ChatReply::from(&self.name, &self.name, play(steps))),
        }
    }
}

fn play(steps: Vec<Step>) -> ChatStream {
    let stops = |step: &Step| matches!(step, Step::Fail(_) | Step::Stall);
    let end = steps.iter().position(stops).map_or(steps.len(), |at| at + 1);
    let done =
        (end == steps.len() && !steps.last().is_some_and(stops)).then_some(Ok(ChatEvent::Done { finish_reason: FinishReason::Stop }));
    let events = stream::iter(steps.into_iter().take(end)).then(|step| async {
        match step {
            Step::Delta(text) => Ok(ChatEvent::Delta(text)),
            Step::Usage(usage) => Ok(ChatEvent::Usage(usage)),
            Step::Fail(error) => Err(error),
            Step::Stall => std::future::pending().await,
        }
    });
    events.chain(stream::iter(done)).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(model: &ScriptedChat) -> Result<Vec<Result<ChatEvent, ChatError>>, ChatError> {
        Ok(model.chat(ChatRequest::new(Vec::new())).await?.events.collect().await)
    }

    #[tokio::test]
    async fn a_failure_comes_from_the_call_first_and_from_the_stream_later() {
        let broken = ChatError::Interrupted { reason: "cut".to_owned() };
        let late = vec![Step::delta("a"), Step::Fail(broken.clone()), Step::delta("never")];
        let model = ScriptedChat::new("m", vec![vec![Step::Fail(broken.clone())], late, vec![]]);
        assert_eq!(ask(&model).await, Err(broken.clone()));
        assert_eq!(ask(&model).await, Ok(vec![Ok(ChatEvent::Delta("a".to_owned())), Err(broken)]));
        assert_eq!(ask(&model).await, Ok(vec![Ok(ChatEvent::Done { finish_reason: FinishReason::Stop })]));
        assert!(ask(&model).await.is_err(), "the script is over");
        assert_eq!(model.requests().len(), 4);
    }
}
