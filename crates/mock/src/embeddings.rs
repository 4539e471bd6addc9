//! Embeddings by hash: the same text, the same vector, and no meaning in it.

use crate::answer::count_words;
use crate::content::with_field;
use crate::exchange::Ask;
use crate::refusal::Refusal;
use crate::reply::{Fault, Reply};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Largest dimension that is made.
const DIMENSION_MAX: usize = 1 << 16;

/// Most texts of one request: OpenAI's limit.
const TEXTS_MAX: usize = 2048;

/// The unit vector of a text; of a list of tokens, that of its JSON.
#[must_use]
pub fn embedding(text: &str, dimension: usize) -> Vec<f32> {
    let mut state = Sha256::digest(text).iter().take(8).fold(0, |state: u64, byte| (state << 8) | u64::from(*byte));
    let mut vector: Vec<f32> = std::iter::repeat_with(|| next_float(&mut state)).take(dimension).collect();
    let norm = vector.iter().map(|float| float * float).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|float| *float /= norm);
    vector
}

/// SplitMix64, as a float between -1 and 1 that is never 0: 23 bits and a half fit a float exactly.
fn next_float(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let bits = (mixed ^ (mixed >> 31)) >> 41;
    (bits as f32 + 0.5) / (1 << 22) as f32 - 1.0
}

struct Input {
    text: String,
    tokens: u64,
}

/// Answers a request for embeddings.
pub(crate) fn answer(ask: &Ask, reply: &Reply, dimension: usize) -> Result<Value, Refusal> {
    let inputs = inputs(ask.body.get("input")).ok_or_else(|| Refusal::bad_request("'$.input' is invalid"))?;
    let asked = ask.body.get("dimensions").and_then(Value::as_u64).and_then(|asked| usize::try_from(asked).ok());
    let dimension = match reply.fault {
        Some(Fault::WrongDimension(dimension)) => dimension,
        _ => asked.unwrap_or(dimension),
    };
    if !(1..=DIMENSION_MAX).contains(&dimension) || inputs.len() > TEXTS_MAX {
        return Err(Refusal::bad_request(format!("at most {TEXTS_MAX} texts and {DIMENSION_MAX} dimensions")));
    }
    let is_base64 = ask.body.get("encoding_format").and_then(Value::as_str) == Some("base64");
    let item = |(place, input): (usize, &Input)| {
        let vector = embedding(&input.text, dimension);
        let embedding = if is_base64 { json!(to_base64(&vector)) } else { json!(vector) };
        json!({"object": "embedding", "index": place, "embedding": embedding})
    };
    let data: Vec<Value> = inputs.iter().enumerate().map(item).collect();
    let counted = || inputs.iter().map(|input| input.tokens).sum();
    let tokens = reply.usage.map_or_else(counted, |usage| usage.prompt_tokens);
    let usage = (!reply.no_usage).then(|| json!({"prompt_tokens": tokens, "total_tokens": tokens}));
    Ok(with_field(json!({"object": "list", "data": data, "model": ask.model}), "usage", usage))
}

/// One text, one list of tokens, or a list of either.
fn inputs(input: Option<&Value>) -> Option<Vec<Input>> {
    let input = input?;
    match input {
        Value::Array(items) if items.iter().all(Value::is_string) || items.iter().all(Value::is_array) => {
            items.iter().map(self::input).collect::<Option<Vec<Input>>>().filter(|inputs| !inputs.is_empty())
        }
        one => Some(vec![self::input(one)?]),
    }
}

fn input(value: &Value) -> Option<Input> {
    match value {
        Value::String(text) if !text.is_empty() => Some(Input { text: text.clone(), tokens: count_words(text) }),
        Value::Array(tokens) if !tokens.is_empty() && tokens.iter().all(Value::is_u64) => {
            Some(Input { text: value.to_string(), tokens: tokens.len() as u64 })
        }
        _ => None,
    }
}

/// Little-endian 32-bit floats.
fn to_base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|float| float.to_le_bytes()).collect();
    BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_of_length_one_and_as_different_as_their_texts() {
        for dimension in [1, 2, 3, 384, 1536] {
            let vector = embedding("a text", dimension);
            let norm: f32 = vector.iter().map(|float| float * float).sum();
            assert!((norm - 1.0).abs() < 1e-4, "{dimension}: {norm}");
        }
        let cosine: f32 = embedding("a", 384).iter().zip(embedding("b", 384)).map(|(a, b)| a * b).sum();
        assert!(cosine.abs() < 0.2, "{cosine}");
    }

    #[test]
    fn texts_and_tokens_come_in_any_of_four_shapes() {
        let tokens = |input: Value| inputs(Some(&input)).map(|inputs| inputs.iter().map(|input| input.tokens).collect::<Vec<_>>());
        assert_eq!(tokens(json!("one two")), Some(vec![2]));
        assert_eq!(tokens(json!(["one two", "three"])), Some(vec![2, 1]));
        assert_eq!(tokens(json!([1, 2, 3])), Some(vec![3]));
        assert_eq!(tokens(json!([[1, 2, 3], [4]])), Some(vec![3, 1]));
        for wrong in [json!([]), json!(""), json!([""]), json!([[]]), json!(["a", 1]), json!({}), json!(null)] {
            assert_eq!(tokens(wrong.clone()), None, "{wrong}");
        }
    }
}
