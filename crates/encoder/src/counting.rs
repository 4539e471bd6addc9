//! Counts tokens with a `tokenizer.json` of a model that runs elsewhere.

use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

/// A file that holds no tokenizer.
#[derive(Debug, thiserror::Error)]
#[error("{} holds no tokenizer: {reason}", path.display())]
pub struct TokenizerFileError {
    path: PathBuf,
    reason: String,
}

/// A tokenizer without a model.
pub struct TokenizerFile(Tokenizer);

impl TokenizerFile {
    /// Reads the file. Truncation and padding that it asks for are switched off: they would falsify counts.
    ///
    /// # Errors
    /// It can't be read, or is no `tokenizer.json`.
    pub fn open(path: &Path) -> Result<Self, TokenizerFileError> {
        let failed = |error: tokenizers::Error| TokenizerFileError { path: path.to_owned(), reason: error.to_string() };
        let mut tokenizer = Tokenizer::from_file(path).map_err(failed)?;
        tokenizer.with_truncation(None).map_err(failed)?;
        tokenizer.with_padding(None);
        Ok(Self(tokenizer))
    }

    /// Tokens of a text, without special ones; `None` if the tokenizer refuses it.
    #[must_use]
    pub fn count(&self, text: &str) -> Option<u64> {
        self.0.encode_fast(text, false).ok().map(|encoding| encoding.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::TOKENIZER;
    use crate::test_model::default_folder;

    #[test]
    fn counts_have_no_special_tokens_and_no_end() {
        let file = TokenizerFile::open(&default_folder().join(TOKENIZER)).unwrap();
        assert_eq!((file.count(""), file.count("hello world")), (Some(0), Some(2)));
        assert_eq!(file.count(&"word ".repeat(5_000)), Some(5_000), "the file asks for truncation");
        assert!(TokenizerFile::open(Path::new("/nowhere/tokenizer.json")).is_err());
    }
}
