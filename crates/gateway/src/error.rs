//! Why a model gave no answer, and whether asking again can help.

use std::fmt;
use std::time::Duration;

/// What was waited for when time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The first token of the answer.
    FirstToken,
    /// The next piece of an answer that had begun.
    BetweenChunks,
    /// The whole answer.
    Total,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstToken => "the first token",
            Self::BetweenChunks => "the next piece",
            Self::Total => "the whole answer",
        })
    }
}

/// Why a call to a model failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// No connection: refused, no such host, TLS, or no answer to connecting in time.
    #[error("can't connect to the model provider: {reason}")]
    Connect {
        /// What the network said.
        reason: String,
    },
    /// The provider refused.
    #[error("the model provider answered {status}: {message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// When the provider wants to be asked again.
        retry_after: Option<Duration>,
        /// The provider's words, shortened, keys blotted out.
        message: String,
    },
    /// Something took too long.
    #[error("waited {limit:?} for {stage} of the model's answer")]
    Timeout {
        /// What was waited for.
        stage: Stage,
        /// How long.
        limit: Duration,
    },
    /// The answer broke off.
    #[error("the model's answer broke off: {reason}")]
    Interrupted {
        /// How.
        reason: String,
    },
    /// The answer is not in the protocol.
    #[error("the model provider's answer can't be read: {reason}")]
    Malformed {
        /// What was met.
        reason: String,
    },
    /// A line or the body is larger than any honest one.
    #[error("the model provider's answer is too large: {what} over {bytes_max} bytes")]
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// The limit.
        bytes_max: usize,
    },
}

/// Statuses that pass by themselves. Others say that the request or the key is wrong.
const PASSING: [u16; 7] = [408, 429, 500, 502, 503, 504, 529];

impl ChatError {
    /// Whether the same call may work in a moment. Holds only for errors of
    /// [`ChatModel::chat`](crate::ChatModel::chat): an error inside a stream is never retried.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Interrupted { .. } => true,
            Self::Status { status, .. } => PASSING.contains(status),
            Self::Timeout { stage, .. } => *stage == Stage::FirstToken,
            Self::Malformed { .. } | Self::TooLarge { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_by_itself_is_tried_again() {
        let status = |status| ChatError::Status { status, retry_after: None, message: String::new() };
        for passing in PASSING {
            assert!(status(passing).is_retryable(), "{passing}");
        }
        for lasting in [400, 401, 403, 404, 413, 422] {
            assert!(!status(lasting).is_retryable(), "{lasting}");
        }
        let timeout = |stage| ChatError::Timeout { stage, limit: Duration::from_secs(1) };
        assert!(timeout(Stage::FirstToken).is_retryable());
        assert!(!timeout(Stage::Total).is_retryable(), "the deadline is past");
    }
}
