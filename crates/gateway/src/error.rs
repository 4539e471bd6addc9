//! Why a model gave no answer, and whether asking again can help.

use corpus::Shortage;
use guard::redact_for_log;
use std::fmt;
use std::time::Duration;

/// What was waited for when time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The first token of the answer.
    FirstToken,
    /// The next piece of an answer that had begun.
    BetweenChunks,
    /// The answer of one try, of a call that has it in one piece.
    Answer,
    /// The whole answer.
    Total,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstToken => "the first token",
            Self::BetweenChunks => "the next piece",
            Self::Answer => "the end",
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
    #[error("the model provider answered {status}: {}", redact_for_log(message))]
    Status {
        /// The HTTP status.
        status: u16,
        /// When the provider wants to be asked again.
        retry_after: Option<Duration>,
        /// The provider's words, shortened, our key blotted out: they may repeat what was asked, so that they are for
        /// whoever asked alone. What this error says of itself holds no personal data.
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
    #[error("the model's answer broke off: {}", redact_for_log(reason))]
    Interrupted {
        /// How.
        reason: String,
    },
    /// The answer is not in the protocol.
    #[error("the model provider's answer can't be read: {}", redact_for_log(reason))]
    Malformed {
        /// What was met.
        reason: String,
    },
    /// The request can't be said in the provider's protocol.
    #[error("the request can't be put to this provider: {reason}")]
    Unsupported {
        /// What can't be said.
        reason: String,
    },
    /// Nobody was asked, because it is known that it would be no use now.
    #[error("no deployment can be asked at the moment: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
        /// When it may be.
        retry_after: Option<Duration>,
    },
    /// The caller may not have this asked now.
    #[error("as many tokens were used as may be in a minute; there are enough in {retry_after:?}")]
    OverLimit {
        /// When it may.
        retry_after: Duration,
    },
    /// Nobody was asked, because a budget has no room for the call.
    #[error("{reason}")]
    OverBudget {
        /// What is lacking.
        shortage: Shortage,
        /// Which budget, in words for whoever asked.
        reason: String,
        /// When there may be room.
        retry_after: Option<Duration>,
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

/// What a failure means for the call, and for whoever failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass by itself: ask again, here or elsewhere.
    Passing,
    /// Nothing to be had here for a while, but perhaps elsewhere: a wrong key, a wrong address, an empty account.
    TakenOut,
    /// Not here and not now, but perhaps elsewhere: an answer that can't be read, a deployment that is at its limits.
    Elsewhere,
    /// The request itself is wrong, or its time is over: asking anybody else is no use.
    Final,
}

/// Statuses that pass by themselves. Others say that the request or the key is wrong.
const PASSING: [u16; 7] = [408, 429, 500, 502, 503, 504, 529];

/// Statuses that say that the key, the address or the account of a deployment is wrong.
const TAKING_OUT: [u16; 4] = [401, 402, 403, 404];

impl ChatError {
    /// What it means. Holds only for errors of [`ChatModel::chat`](crate::ChatModel::chat): an error inside a stream
    /// is never retried.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Connect { .. } | Self::Interrupted { .. } => Verdict::Passing,
            Self::Status { status, .. } if PASSING.contains(status) => Verdict::Passing,
            Self::Status { status, .. } if TAKING_OUT.contains(status) => Verdict::TakenOut,
            // A redirect is the sign of a wrong address.
            Self::Status { status, .. } if *status < 400 => Verdict::TakenOut,
            Self::Status { status, .. } if *status < 500 => Verdict::Final,
            Self::Timeout { stage: Stage::FirstToken | Stage::Answer, .. } => Verdict::Passing,
            Self::Timeout { .. } => Verdict::Final,
            Self::Status { .. } | Self::Malformed { .. } | Self::TooLarge { .. } | Self::Unavailable { .. } => Verdict::Elsewhere,
            Self::OverLimit { .. } => Verdict::Final,
            // Another provider's protocol may be able to say it; another model may cost less.
            Self::Unsupported { .. } | Self::OverBudget { .. } => Verdict::Elsewhere,
        }
    }

    /// Whether the same call may work in a moment.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.verdict() == Verdict::Passing
    }

    /// Whether it tells of a deployment that doesn't work, as a breaker counts. A refusal of the request doesn't, nor
    /// does a limit that is kept.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Interrupted { .. } | Self::Timeout { .. } | Self::Malformed { .. } | Self::TooLarge { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Unsupported { .. } | Self::Unavailable { .. } | Self::OverLimit { .. } | Self::OverBudget { .. } => false,
        }
    }

    /// Whether a provider was sent the call, for all that is known: then it may have its price.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Interrupted { .. } | Self::Malformed { .. } | Self::TooLarge { .. } => true,
            Self::Connect { .. } | Self::Status { .. } => false,
            Self::Unsupported { .. } | Self::Unavailable { .. } | Self::OverLimit { .. } | Self::OverBudget { .. } => false,
        }
    }

    /// When the provider wants to be asked again, if it said so. A budget is none of its concern.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            Self::OverLimit { retry_after } => Some(*retry_after),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_of_a_refusal_holds_nothing_personal() {
        let message = "no such user ann@example.org, password=hunter2!x9".to_owned();
        let error = ChatError::Status { status: 400, retry_after: None, message };
        assert_eq!(error.to_string(), "the model provider answered 400: no such user [EMAIL], password=[SECRET]");
        let reason = "unknown field ann@example.org".to_owned();
        for error in [ChatError::Malformed { reason: reason.clone() }, ChatError::Interrupted { reason }] {
            assert!(error.to_string().ends_with("unknown field [EMAIL]"), "{error}");
        }
    }

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
        for of_the_deployment in [302, 401, 402, 403, 404] {
            assert_eq!(status(of_the_deployment).verdict(), Verdict::TakenOut, "{of_the_deployment}");
        }
        for of_the_request in [400, 413, 422] {
            assert_eq!(status(of_the_request).verdict(), Verdict::Final, "{of_the_request}");
        }
    }
}
