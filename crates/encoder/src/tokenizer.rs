//! Text to token ids.
//!
//! The truncation and padding stored in `tokenizer.json` are switched off: counting needs the
//! true length, and the encoder takes texts of different lengths without padding.

use crate::files::TOKENIZER;
use crate::manifest::ModelEntry;
use corpus::Purpose;
use std::path::Path;
use tokenizers::{Encoding, PostProcessor, Tokenizer, TruncationDirection};

/// A text, or a pair of them, as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// At most `max_tokens` ids; begins with `[CLS]` and ends with `[SEP]`, cut or not.
    pub(crate) ids: Vec<u32>,
    /// Where segment 1 begins: the second of a pair, for models that tell the two apart. If there is none, the end.
    pub(crate) second: usize,
    /// Length of the whole text, special tokens and prefix included.
    pub(crate) whole: usize,
}

impl Tokens {
    /// A text of segment 0.
    pub(crate) const fn single(ids: Vec<u32>, whole: usize) -> Self {
        Self { second: ids.len(), ids, whole }
    }

    /// Whether the text lost its end.
    pub(crate) fn is_truncated(&self) -> bool {
        self.whole > self.ids.len()
    }
}

/// The tokenizer of one model with its prefixes and its length.
pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    query_prefix: String,
    document_prefix: String,
    max_tokens: usize,
}

impl TextTokenizer {
    /// Reads `tokenizer.json` in `folder`; the error is the tokenizer's own text.
    pub(crate) fn read(entry: &ModelEntry, folder: &Path) -> Result<Self, String> {
        let mut tokenizer = Tokenizer::from_file(folder.join(TOKENIZER)).map_err(|error| error.to_string())?;
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        Ok(Self {
            tokenizer,
            query_prefix: entry.query_prefix.clone(),
            document_prefix: entry.document_prefix.clone(),
            max_tokens: entry.max_tokens,
        })
    }

    /// The ids of `text` with the prefix of `purpose`, cut to `max_tokens`.
    pub(crate) fn encode(&self, text: &str, purpose: Purpose) -> Result<Tokens, String> {
        let mut ids = self.all_ids(text, purpose)?;
        let whole = ids.len();
        if let (true, Some(last)) = (whole > self.max_tokens, ids.last().copied()) {
            ids.truncate(self.max_tokens - 1);
            ids.push(last);
        }
        Ok(Tokens::single(ids, whole))
    }

    /// `query` and `text` as one input of at most `max_tokens`. What is too much is cut off the text; off the
    /// query only what it has over half of them.
    pub(crate) fn encode_pair(&self, query: &str, text: &str) -> Result<Tokens, String> {
        let encode = |text: &str| self.tokenizer.encode_fast(text, false).map_err(|error| error.to_string());
        let (mut query, mut text) = (encode(query)?, encode(text)?);
        let special = self.tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(true));
        let (room, whole) = (self.max_tokens.saturating_sub(special), query.len() + text.len() + special);
        cut(&mut query, (room / 2).max(room.saturating_sub(text.len())));
        cut(&mut text, room.saturating_sub(query.len()));
        text.set_type_ids(vec![1; text.len()]);
        let pair = self.tokenizer.post_process(query, Some(text), true).map_err(|error| error.to_string())?;
        let second = pair.get_type_ids().iter().position(|segment| *segment == 1).unwrap_or(pair.len());
        Ok(Tokens { ids: pair.get_ids().to_vec(), second, whole })
    }

    /// Length of a document text, special tokens and prefix included.
    pub(crate) fn count(&self, text: &str) -> Result<usize, String> {
        self.all_ids(text, Purpose::Document).map(|ids| ids.len())
    }

    /// Where the tokens of `text` begin, in bytes; without special tokens and prefix.
    pub(crate) fn starts(&self, text: &str) -> Result<Vec<usize>, String> {
        let encoding = self.tokenizer.encode(text, false).map_err(|error| error.to_string())?;
        Ok(encoding.get_offsets().iter().map(|(start, _)| *start).collect())
    }

    fn all_ids(&self, text: &str, purpose: Purpose) -> Result<Vec<u32>, String> {
        let prefix = match purpose {
            Purpose::Query => &self.query_prefix,
            Purpose::Document => &self.document_prefix,
        };
        let encoding = if prefix.is_empty() {
            self.tokenizer.encode_fast(text, true)
        } else {
            self.tokenizer.encode_fast(format!("{prefix}{text}"), true)
        };
        encoding.map(|encoding| encoding.get_ids().to_vec()).map_err(|error| error.to_string())
    }
}

fn cut(encoding: &mut Encoding, tokens: usize) {
    encoding.truncate(tokens, 0, TruncationDirection::Right);
    encoding.take_overflowing();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::{default_entry, default_folder};

    const CLS: u32 = 101;
    const SEP: u32 = 102;

    #[test]
    fn a_long_text_keeps_its_first_and_last_special_token() {
        let tokenizer = TextTokenizer::read(&default_entry(), &default_folder()).unwrap();
        let text = "stone ".repeat(1000);
        let tokens = tokenizer.encode(&text, Purpose::Document).unwrap();
        assert_eq!((tokens.whole, tokens.ids.len()), (1002, 256));
        assert_eq!((tokens.ids[0], tokens.ids[255]), (CLS, SEP));
        assert_eq!(tokenizer.count(&text).unwrap(), 1002);
        assert_eq!(tokenizer.encode("", Purpose::Query).unwrap(), Tokens::single(vec![CLS, SEP], 2));
    }

    #[test]
    fn a_long_pair_loses_the_end_of_its_text() {
        let tokenizer = TextTokenizer::read(&default_entry(), &default_folder()).unwrap();
        let (stone, what) = (tokenizer.encode("stone", Purpose::Document).unwrap().ids[1], "what is granite");
        let query = tokenizer.encode(what, Purpose::Query).unwrap().ids;
        let pair = tokenizer.encode_pair(what, "stone stone").unwrap();
        assert_eq!(pair, Tokens { ids: [query.as_slice(), &[stone, stone, SEP]].concat(), second: query.len(), whole: query.len() + 3 });
        let long = tokenizer.encode_pair(what, &"stone ".repeat(1000)).unwrap();
        assert_eq!((long.ids.len(), long.second, long.whole), (256, query.len(), query.len() + 1001));
        assert_eq!((&long.ids[..query.len()], &long.ids[254..]), (query.as_slice(), [stone, SEP].as_slice()));
    }

    #[test]
    fn a_long_question_keeps_half_of_the_pair_or_what_the_text_leaves() {
        let tokenizer = TextTokenizer::read(&default_entry(), &default_folder()).unwrap();
        let long = "stone ".repeat(1000);
        for (text, second) in [(long.as_str(), 2 + 126), ("granite", 256 - 2), ("", 256 - 1)] {
            let pair = tokenizer.encode_pair(&long, text).unwrap();
            assert_eq!((pair.ids.len(), pair.second, pair.is_truncated()), (256, second, true), "{text:.10}");
            assert_eq!((pair.ids[0], pair.ids[second - 1], pair.ids[255]), (CLS, SEP, SEP));
        }
    }

    #[test]
    fn tokens_begin_where_their_bytes_do() {
        let tokenizer = TextTokenizer::read(&default_entry(), &default_folder()).unwrap();
        assert_eq!(tokenizer.starts("Café  granite, 石头").unwrap(), [0, 7, 14, 16, 19]);
        assert!(tokenizer.starts(" \n").unwrap().is_empty());
    }

    #[test]
    fn each_purpose_has_its_prefix() {
        let entry = ModelEntry { query_prefix: "query: ".into(), document_prefix: "passage: ".into(), ..default_entry() };
        let (plain, prefixed) = (default_entry(), entry);
        let plain = TextTokenizer::read(&plain, &default_folder()).unwrap();
        let prefixed = TextTokenizer::read(&prefixed, &default_folder()).unwrap();
        for (purpose, prefix) in [(Purpose::Query, "query: "), (Purpose::Document, "passage: ")] {
            let expected = plain.encode(&format!("{prefix}granite"), purpose).unwrap();
            assert_eq!(prefixed.encode("granite", purpose).unwrap(), expected);
        }
        assert_eq!(prefixed.count("granite").unwrap(), plain.count("passage: granite").unwrap());
    }
}
