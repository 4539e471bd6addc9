//! An answer in one piece, in no protocol's words.

use gateway::{ChatEvent, FinishReason, TokenUsage, ToolCall};
use query::GuardDecision;

/// An answer put together from its events.
pub(in crate::http) struct Heard {
    pub(in crate::http) text: String,
    pub(in crate::http) calls: Vec<ToolCall>,
    pub(in crate::http) finish_reason: FinishReason,
    pub(in crate::http) usage: TokenUsage,
    /// What the guards decided about it and what it answers.
    pub(in crate::http) guards: Vec<GuardDecision>,
}

/// Largest answer that is put together, words and arguments, in bytes.
pub(super) const HEARD_BYTES_MAX: usize = 16 << 20;
/// Most calls in one answer.
const CALLS_MAX: usize = 1024;

impl Heard {
    /// Nothing so far.
    pub(super) fn nothing() -> Self {
        let (finish_reason, usage) = (FinishReason::Stop, TokenUsage::default());
        Self { text: String::new(), calls: Vec::new(), finish_reason, usage, guards: Vec::new() }
    }

    /// Takes the next event. False: there is more than can be held.
    pub(super) fn take(&mut self, event: ChatEvent) -> bool {
        match event {
            ChatEvent::Delta(text) => self.text.push_str(&text),
            ChatEvent::ToolCall(piece) => {
                let at = piece.index as usize;
                if at >= CALLS_MAX {
                    return false;
                }
                if self.calls.len() <= at {
                    self.calls.resize(at + 1, ToolCall::default());
                }
                if let Some(call) = self.calls.get_mut(at) {
                    call.id.push_str(piece.id.as_deref().unwrap_or_default());
                    call.name.push_str(piece.name.as_deref().unwrap_or_default());
                    call.arguments.push_str(&piece.arguments);
                }
            }
            ChatEvent::Usage(usage) => self.usage = usage,
            ChatEvent::Done { finish_reason: reason } => self.finish_reason = reason,
        }
        self.text.len() + self.calls.iter().map(|call| call.arguments.len()).sum::<usize>() <= HEARD_BYTES_MAX
    }
}
