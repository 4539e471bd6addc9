//! How many tokens a text has: counted with the model's own tokenizer where it is known, estimated elsewhere.
//!
//! Invariants: a count says how it came about ([`TokenCounter::kind`]), and takes time in proportion to the text,
//! whatever the text is.

mod encodings;
mod estimate;
mod family;
mod prompt;
mod truncate;

pub use encodings::counter_for;
pub use estimate::{Estimate, estimate_tokens};
pub use family::Family;
pub(crate) use prompt::pictures;
pub use prompt::prompt_tokens;
pub use truncate::{Keep, truncate};

/// Counts tokens as one model reads them.
pub trait TokenCounter: Send + Sync {
    /// How it counts: the name of an encoding, `tokenizer.json`, or `estimate`.
    fn kind(&self) -> &'static str;

    /// Tokens of a text, without those that frame a message. 0 for an empty text.
    fn count(&self, text: &str) -> u64;

    /// Whether it is the model's own tokenizer.
    fn is_exact(&self) -> bool {
        true
    }
}
