//! OpenAI's encodings, and which model reads by which.

use super::{Estimate, TokenCounter};
use bpe_openai::{Tokenizer, cl100k_base, o200k_base};
use std::sync::Arc;

/// Models by the beginning of their names; the longest that fits counts. From the table of OpenAI's `tiktoken`
/// (`tiktoken/model.py`), and for newer models from their predecessors.
const FAMILIES: [(&str, Encoding); 14] = [
    ("gpt-3.5", Encoding::Cl100k),
    ("gpt-35", Encoding::Cl100k),
    ("gpt-4", Encoding::Cl100k),
    ("gpt-4.1", Encoding::O200k),
    ("gpt-4.5", Encoding::O200k),
    ("gpt-4o", Encoding::O200k),
    ("chatgpt-4o", Encoding::O200k),
    ("gpt-5", Encoding::O200k),
    ("gpt-6", Encoding::O200k),
    ("gpt-oss", Encoding::O200k),
    ("o1", Encoding::O200k),
    ("o3", Encoding::O200k),
    ("o4", Encoding::O200k),
    ("text-embedding-", Encoding::Cl100k),
];

/// One of OpenAI's encodings. Its table is read when it is first used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Cl100k,
    O200k,
}

impl Encoding {
    fn of(model: &str) -> Option<Self> {
        let fitting = FAMILIES.iter().filter(|(family, _)| model.starts_with(family));
        fitting.max_by_key(|(family, _)| family.len()).map(|(_, encoding)| *encoding)
    }

    fn tokenizer(self) -> &'static Tokenizer {
        match self {
            Self::Cl100k => cl100k_base(),
            Self::O200k => o200k_base(),
        }
    }
}

impl TokenCounter for Encoding {
    fn kind(&self) -> &'static str {
        match self {
            Self::Cl100k => "cl100k_base",
            Self::O200k => "o200k_base",
        }
    }

    fn count(&self, text: &str) -> u64 {
        self.tokenizer().count(text) as u64
    }
}

/// What counts for a model of this name: its encoding if it is one of OpenAI's, else an estimate. A provider's name
/// before a `/` is left out.
#[must_use]
pub fn counter_for(model: &str) -> Arc<dyn TokenCounter> {
    let name = model.rsplit('/').next().unwrap_or(model);
    match Encoding::of(name) {
        Some(encoding) => Arc::new(encoding),
        None => Arc::new(Estimate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn families_have_their_encodings() {
        for (model, kind) in [
            ("gpt-4", "cl100k_base"),
            ("gpt-4-0613", "cl100k_base"),
            ("gpt-35-turbo", "cl100k_base"),
            ("gpt-4o-mini", "o200k_base"),
            ("gpt-4.1-nano", "o200k_base"),
            ("gpt-5-mini", "o200k_base"),
            ("openai/gpt-4o", "o200k_base"),
            ("text-embedding-3-small", "cl100k_base"),
            ("claude-haiku-4-5", "estimate"),
            ("llama3.2", "estimate"),
        ] {
            assert_eq!(counter_for(model).kind(), kind, "{model}");
        }
    }

    /// Counts of OpenAI's own `tiktoken` 0.14.0: text, cl100k_base, o200k_base.
    const OF_TIKTOKEN: [(&str, u64, u64); 7] = [
        ("", 0, 0),
        ("The lighthouse keeper wound the clock every evening at seven.", 12, 11),
        ("保修期为两年，自购买之日起计算。", 17, 12),
        ("👩‍🚀🚀 to the moon 🌕!", 18, 13),
        ("don't  can't\n\n\n  1234567 ÄÖÜ", 14, 12),
        ("<|endoftext|>", 7, 7),
        ("fn main() {\n    println!(\"{}\", 1 + 2);\n}\n", 14, 14),
    ];

    #[test]
    fn counts_are_those_of_tiktoken() {
        for (text, cl100k, o200k) in OF_TIKTOKEN {
            assert_eq!((Encoding::Cl100k.count(text), Encoding::O200k.count(text)), (cl100k, o200k), "{text:?}");
        }
    }

    #[test]
    fn hostile_texts_take_no_longer_than_others() {
        let long = |unit: &str| unit.repeat(1_000_000 / unit.len());
        Encoding::O200k.count("warm");
        Encoding::Cl100k.count("warm");
        for text in [long("a"), long(" "), long("\n "), long("aA"), long("'"), long("中"), long("\u{301}"), long("1"), long("\r\n\t")] {
            for encoding in [Encoding::Cl100k, Encoding::O200k] {
                let began = Instant::now();
                assert!(encoding.count(&text) > 0);
                let took = began.elapsed();
                assert!(took < Duration::from_secs(2), "{encoding:?} took {took:?} for a megabyte of {:?}", text.chars().next());
            }
        }
    }
}
