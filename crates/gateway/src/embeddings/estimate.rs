//! How many tokens a text has, without the model's tokenizer.
//!
//! Tokenizers differ; this errs on the high side of those in use (WordPiece, SentencePiece, byte-pair
//! encodings), so that a chunk of so many estimated tokens fits the model. It is no bound: long runs
//! of lower-case letters that are no words, such as gene sequences, may take more.

/// What models put around a text: a start and an end.
pub(super) const SPECIAL_TOKENS: usize = 2;

/// Letters of an English word that a token holds at least, as a rule; common words are one token
/// of any length.
const LETTERS_IN_TOKEN: usize = 3;

/// Where the estimated tokens of `text` begin, in bytes, ascending:
/// - ASCII letters: one token for every three of a word, and each capital begins one;
/// - a space: none;
/// - other ASCII (digits, punctuation, line breaks): one each;
/// - any other character: one less than its bytes in UTF-8, as byte-pair encodings take one token
///   a byte and merge at least once. So é and я count 1, 石 and か count 2, an emoji 3.
pub(super) fn token_starts(text: &str) -> impl Iterator<Item = usize> + '_ {
    let mut letters = 0;
    text.char_indices().flat_map(move |(at, c)| {
        letters = match c {
            'a'..='z' if (1..LETTERS_IN_TOKEN).contains(&letters) => letters + 1,
            'a'..='z' | 'A'..='Z' => 1,
            _ => 0,
        };
        let tokens = match c {
            ' ' => 0,
            'a'..='z' | 'A'..='Z' => usize::from(letters == 1),
            _ => (c.len_utf8() - 1).max(1),
        };
        std::iter::repeat_n(at, tokens)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        text: String,
        tokens: usize,
    }

    #[test]
    fn the_estimate_is_at_least_what_wordpiece_counts_and_at_most_twice_that() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/minilm_goldens.json"));
        let goldens: Vec<Golden> = serde_json::from_str(text).unwrap();
        for Golden { text, tokens } in goldens {
            let estimate = SPECIAL_TOKENS + token_starts(&text).count();
            assert!((tokens..=2 * tokens).contains(&estimate), "{estimate} for {text:?}, which has {tokens}");
        }
    }

    #[test]
    fn tokens_begin_on_char_boundaries_in_order() {
        let starts = |text| token_starts(text).collect::<Vec<_>>();
        assert_eq!(starts("stone Wall é石🪨1,"), [0, 3, 6, 9, 11, 13, 13, 16, 16, 16, 20, 21]);
        assert_eq!(starts("getURL\n"), [0, 3, 4, 5, 6]);
    }
}
