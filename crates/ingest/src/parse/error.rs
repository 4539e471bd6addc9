//! Why a document has no text: one variant for each reason that a person can act on.

use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why parsing gave no document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum ParseError {
    /// A format that is not read (yet).
    #[error("this kind of file is not supported: {detected}")]
    Unsupported {
        /// What the bytes are, in words.
        detected: String,
    },
    /// No bytes, or nothing but white space.
    #[error("the document holds no text")]
    Empty,
    /// A password is needed to read it.
    #[error("the document is encrypted and needs a password")]
    Encrypted,
    /// Pages that are pictures of text.
    #[error("the document holds only images, no text; it needs text recognition (OCR) first")]
    ImageOnly,
    /// Text is drawn, but the fonts keep to themselves which characters it is.
    #[error("the document draws text, but its fonts don't say which characters it is")]
    Unmapped,
    /// The bytes break the rules of their format.
    #[error("the document is damaged: {reason}")]
    Corrupt {
        /// What is wrong, and where if that is known.
        reason: String,
    },
    /// Larger than a limit.
    #[error("{what} is larger than {bytes_max} bytes")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// More of something than a limit.
    #[error("there are more than {count_max} {what}")]
    TooMany {
        /// What there are too many of.
        what: String,
        /// The limit.
        count_max: u64,
    },
    /// Parsing took longer than allowed and was stopped.
    #[error("parsing took longer than {timeout_ms} ms and was stopped")]
    Timeout {
        /// The limit, in milliseconds.
        timeout_ms: u64,
    },
    /// Parsing needed more memory than allowed and was stopped.
    #[error("parsing needed more than {bytes_max} bytes of memory and was stopped")]
    OutOfMemory {
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// The parser itself failed.
    #[error("the parser crashed on this document ({how})")]
    Crashed {
        /// Exit code or signal.
        how: String,
        /// The last words of the parser: for the log, not for people.
        stderr: String,
    },
    /// No parser could be started; another try may work.
    #[error("the parser could not be started: {reason}")]
    Unavailable {
        /// What the system said.
        reason: String,
    },
}

impl ParseError {
    /// A stable name for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unsupported { .. } => "unsupported",
            Self::Empty => "empty",
            Self::Encrypted => "encrypted",
            Self::ImageOnly => "image_only",
            Self::Unmapped => "unmapped",
            Self::Corrupt { .. } => "corrupt",
            Self::TooLarge { .. } | Self::TooMany { .. } => "too_large",
            Self::Timeout { .. } => "timeout",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::Crashed { .. } => "crashed",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    pub(super) fn corrupt(reason: impl ToString) -> Self {
        Self::Corrupt { reason: reason.to_string() }
    }

    /// Calls a parser whose library panics on broken files: such a file is corrupt, for this reason.
    pub(super) fn for_panic<T>(reason: &str, parse: impl FnOnce() -> Result<T, Self>) -> Result<T, Self> {
        catch_unwind(AssertUnwindSafe(parse)).unwrap_or_else(|_| Err(Self::corrupt(reason)))
    }

    pub(super) fn unsupported(detected: impl ToString) -> Self {
        Self::Unsupported { detected: detected.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_serialised_tag() {
        let all = [
            ParseError::unsupported("x"),
            ParseError::Empty,
            ParseError::Encrypted,
            ParseError::ImageOnly,
            ParseError::Unmapped,
            ParseError::corrupt("x"),
            ParseError::TooLarge { what: "x".into(), bytes_max: 1 },
            ParseError::Timeout { timeout_ms: 1 },
            ParseError::OutOfMemory { bytes_max: 1 },
            ParseError::Crashed { how: "x".into(), stderr: String::new() },
            ParseError::Unavailable { reason: "x".into() },
        ];
        for error in all {
            let json = serde_json::to_value(&error).unwrap();
            assert_eq!(json["code"], error.code());
            assert_eq!(serde_json::from_value::<ParseError>(json).unwrap(), error);
        }
    }

    #[test]
    fn too_many_is_too_large_for_programs() {
        let error = ParseError::TooMany { what: "x".into(), count_max: 1 };
        let json = serde_json::to_value(&error).unwrap();
        assert_eq!((serde_json::from_value::<ParseError>(json).unwrap(), error.code()), (error.clone(), "too_large"));
    }
}
