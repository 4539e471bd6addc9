//! Architectures whose weights can't be had here, with small random ones: written as a model's folder, opened as
//! any other, and compared with a forward pass in plain loops of f64 that shares nothing with the encoders, the
//! names of the tensors and the tokenizers' rules included.

use crate::contract::{check_reranker, check_reranker_closed, cosine};
use crate::encoder::{LocalOptions, OpenError, Requested};
use crate::files::{CONFIG, TOKENIZER, WEIGHTS};
use crate::local::LocalEmbedder;
use crate::manifest::{Family, Kind, ModelEntry, ModelFile, Pooling};
use crate::random::Random;
use crate::reranker::LocalReranker;
use crate::test_model::default_entry;
use candle_core::{Device, Tensor};
use corpus::{EmbedError, Embedder, Errand, Precision, Purpose, Reranker, Waiter};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use tempfile::TempDir;
use tokenizers::processors::template::TemplateProcessing;

const HIDDEN: usize = 64;
const HEADS: usize = 2;
const INTERMEDIATE: usize = 128;
const LAYERS: usize = 2;
const MAX_TOKENS: usize = 24;
const WORDS: [&str; 14] =
    ["granite", "slate", "stone", "roof", "hard", "thin", "sheets", "lasts", "splits", "into", "is", "a", "which", "?"];
const TEXTS: [&str; 5] = ["granite is a hard stone", "slate splits into thin sheets", "a slate roof lasts", "stone", ""];
const QUESTION: &str = "which stone is hard ?";

struct Case {
    family: Family,
    kind: Kind,
    pooling: Pooling,
    tensors: HashMap<String, (Vec<usize>, Vec<f32>)>,
    folder: TempDir,
}

/// An input as the model gets it.
#[derive(Clone)]
struct Input {
    ids: Vec<usize>,
    segments: Vec<usize>,
    first_position: usize,
}

type Rows = Vec<Vec<f64>>;

impl Case {
    fn new(family: Family, kind: Kind, pooling: Pooling) -> Self {
        let mut case = Self { family, kind, pooling, tensors: HashMap::new(), folder: tempfile::tempdir().unwrap() };
        case.invent();
        let tensor = |(shape, data): &(Vec<usize>, Vec<f32>)| Tensor::from_slice(data, shape.as_slice(), &Device::Cpu).unwrap();
        let tensors: HashMap<&str, Tensor> = case.tensors.iter().map(|(name, data)| (name.as_str(), tensor(data))).collect();
        candle_core::safetensors::save(&tensors, case.path().join(WEIGHTS)).unwrap();
        std::fs::write(case.path().join(CONFIG), case.config().to_string()).unwrap();
        std::fs::write(case.path().join(TOKENIZER), case.tokenizer().to_string()).unwrap();
        case
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn is_bert(&self) -> bool {
        self.family == Family::Bert
    }

    fn entry(&self) -> ModelEntry {
        let pin = |name: &str| {
            let path = self.path().join(name);
            let (bytes, sha256) = (std::fs::metadata(&path).unwrap().len(), crate::files::sha256_of(&path).unwrap());
            ModelFile { name: name.to_owned(), bytes: Some(bytes), sha256: Some(sha256) }
        };
        let Self { family, kind, pooling, .. } = *self;
        let files = crate::MODEL_FILES.map(pin).to_vec();
        ModelEntry { family, kind, pooling, dimension: HIDDEN, max_tokens: MAX_TOKENS, files, ..default_entry() }
    }

    fn config(&self) -> Value {
        json!({
            "model_type": if self.is_bert() { "bert" } else { "xlm-roberta" },
            "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INTERMEDIATE,
            "max_position_embeddings": if self.is_bert() { MAX_TOKENS } else { MAX_TOKENS + 2 },
            "pad_token_id": usize::from(!self.is_bert()), "layer_norm_eps": 1e-5, "hidden_act": "gelu",
        })
    }

    /// Words, or pieces that begin with a blank, from id 4 on.
    fn tokenizer(&self) -> Value {
        let template = |single: &str, pair: &str, tokens: [(&str, u32); 2]| {
            let template =
                TemplateProcessing::builder().try_single(single).unwrap().try_pair(pair).unwrap().special_tokens(tokens.to_vec()).build();
            serde_json::to_value(template.unwrap()).unwrap()
        };
        if self.is_bert() {
            let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].into_iter().chain(WORDS);
            let vocabulary: HashMap<&str, usize> = words.enumerate().map(|(id, word)| (word, id)).collect();
            return json!({
                "version": "1.0", "added_tokens": [], "pre_tokenizer": { "type": "BertPreTokenizer" },
                "post_processor": template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]),
                "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocabulary },
            });
        }
        let pieces = ["<s>", "<pad>", "</s>", "<unk>"].map(str::to_owned).into_iter().chain(WORDS.map(|word| format!("▁{word}")));
        json!({
            "version": "1.0", "added_tokens": [],
            "pre_tokenizer": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true },
            "post_processor": template("<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)]),
            "model": { "type": "Unigram", "unk_id": 3, "vocab": pieces.map(|piece| (piece, -3.0)).collect::<Vec<_>>() },
        })
    }

    fn prefix(&self) -> &'static str {
        match (self.kind, self.family) {
            (Kind::Embedding, _) => "",
            (Kind::Reranker, Family::Bert) => "bert.",
            (Kind::Reranker, Family::XlmRoberta) => "roberta.",
        }
    }

    fn head(&self) -> [&'static str; 2] {
        if self.is_bert() { ["bert.pooler.dense", "classifier"] } else { ["classifier.dense", "classifier.out_proj"] }
    }

    fn invent(&mut self) {
        let (mut random, prefix, head) = (Random::new(0x5EED), self.prefix(), self.head());
        let mut put = |name: &str, shape: &[usize], middle: f32, width: f32| {
            let data = (0..shape.iter().product()).map(|_| middle + random.float() * width).collect();
            self.tensors.insert(name.to_owned(), (shape.to_vec(), data));
        };
        let (positions, segments) = if self.family == Family::Bert { (MAX_TOKENS, 2) } else { (MAX_TOKENS + 2, 1) };
        for (table, rows) in [("word", 4 + WORDS.len()), ("position", positions), ("token_type", segments)] {
            put(&format!("{prefix}embeddings.{table}_embeddings.weight"), &[rows, HIDDEN], 0.0, 1.0);
        }
        let mut dense = vec![];
        let mut norms = vec![format!("{prefix}embeddings.LayerNorm")];
        for layer in (0..LAYERS).map(|layer| format!("{prefix}encoder.layer.{layer}")) {
            dense.extend(["query", "key", "value"].map(|part| (format!("{layer}.attention.self.{part}"), HIDDEN, HIDDEN)));
            dense.push((format!("{layer}.attention.output.dense"), HIDDEN, HIDDEN));
            dense.push((format!("{layer}.intermediate.dense"), INTERMEDIATE, HIDDEN));
            dense.push((format!("{layer}.output.dense"), HIDDEN, INTERMEDIATE));
            norms.extend([format!("{layer}.attention.output.LayerNorm"), format!("{layer}.output.LayerNorm")]);
        }
        if self.kind == Kind::Reranker {
            let [inner, outer] = head;
            dense.push((inner.to_owned(), HIDDEN, HIDDEN));
            put(&format!("{outer}.weight"), &[1, HIDDEN], 0.0, 1.0);
            put(&format!("{outer}.bias"), &[1], 0.0, 0.1);
        }
        for (name, outputs, inputs) in dense {
            put(&format!("{name}.weight"), &[outputs, inputs], 0.0, 0.25);
            put(&format!("{name}.bias"), &[outputs], 0.0, 0.1);
        }
        for name in norms {
            put(&format!("{name}.weight"), &[HIDDEN], 1.0, 0.2);
            put(&format!("{name}.bias"), &[HIDDEN], 0.0, 0.1);
        }
    }

    fn words(text: &str) -> impl Iterator<Item = usize> {
        text.split_whitespace().map(|word| 4 + WORDS.iter().position(|known| *known == word).unwrap())
    }

    fn single(&self, text: &str) -> Input {
        let (begin, end) = if self.is_bert() { (2, 3) } else { (0, 2) };
        let ids: Vec<usize> = [begin].into_iter().chain(Self::words(text)).chain([end]).collect();
        Input { segments: vec![0; ids.len()], ids, first_position: if self.is_bert() { 0 } else { 2 } }
    }

    fn pair(&self, query: &str, text: &str) -> Input {
        let mut input = self.single(query);
        let first = input.ids.len();
        if self.is_bert() {
            input.ids.extend(Self::words(text).chain([3]));
        } else {
            input.ids.extend([2].into_iter().chain(Self::words(text)).chain([2]));
        }
        input.segments.resize(input.ids.len(), 0);
        if self.is_bert() {
            input.segments[first..].fill(1);
        }
        input
    }

    fn tensor(&self, name: &str) -> &[f32] {
        &self.tensors[name].1
    }

    fn row(&self, table: &str, row: usize) -> &[f32] {
        &self.tensor(&format!("{}embeddings.{table}_embeddings.weight", self.prefix()))[row * HIDDEN..(row + 1) * HIDDEN]
    }

    fn dense(&self, name: &str, rows: &Rows) -> Rows {
        let (weight, bias) = (self.tensor(&format!("{name}.weight")), self.tensor(&format!("{name}.bias")));
        let apply = |row: &Vec<f64>| {
            let outputs = weight.chunks(row.len()).zip(bias);
            outputs.map(|(weights, bias)| f64::from(*bias) + row.iter().zip(weights).map(|(x, w)| x * f64::from(*w)).sum::<f64>()).collect()
        };
        rows.iter().map(apply).collect()
    }

    fn norm(&self, name: &str, rows: Rows) -> Rows {
        let (gain, shift) = (self.tensor(&format!("{name}.weight")), self.tensor(&format!("{name}.bias")));
        let apply = |row: Vec<f64>| {
            let mean = row.iter().sum::<f64>() / HIDDEN as f64;
            let deviation = (row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / HIDDEN as f64 + 1e-5).sqrt();
            row.iter()
                .zip(gain)
                .zip(shift)
                .map(|((x, gain), shift)| (x - mean) / deviation * f64::from(*gain) + f64::from(*shift))
                .collect()
        };
        rows.into_iter().map(apply).collect()
    }

    /// The last layer's states.
    fn states(&self, input: &Input) -> Rows {
        let embed = |(place, (id, segment)): (usize, (&usize, &usize))| {
            let tables = [self.row("word", *id), self.row("position", input.first_position + place), self.row("token_type", *segment)];
            (0..HIDDEN).map(|at| tables.iter().map(|table| f64::from(table[at])).sum()).collect()
        };
        let states = input.ids.iter().zip(&input.segments).enumerate().map(embed).collect();
        let mut states = self.norm(&format!("{}embeddings.LayerNorm", self.prefix()), states);
        for layer in (0..LAYERS).map(|layer| format!("{}encoder.layer.{layer}", self.prefix())) {
            let mixed = self.dense(&format!("{layer}.attention.output.dense"), &self.attend(&layer, &states));
            states = self.norm(&format!("{layer}.attention.output.LayerNorm"), add(mixed, &states));
            let mut wide = self.dense(&format!("{layer}.intermediate.dense"), &states);
            wide.iter_mut().flatten().for_each(|x| *x *= 0.5 * (1.0 + erf(*x / 2f64.sqrt())));
            let out = self.dense(&format!("{layer}.output.dense"), &wide);
            states = self.norm(&format!("{layer}.output.LayerNorm"), add(out, &states));
        }
        states
    }

    fn attend(&self, layer: &str, states: &Rows) -> Rows {
        let [queries, keys, values] = ["query", "key", "value"].map(|part| self.dense(&format!("{layer}.attention.self.{part}"), states));
        let width = HIDDEN / HEADS;
        let mut out = vec![vec![0.0; HIDDEN]; states.len()];
        for (query, out) in queries.iter().zip(&mut out) {
            for head in (0..HEADS).map(|head| head * width..(head + 1) * width) {
                let score = |key: &Vec<f64>| {
                    (query[head.clone()].iter().zip(&key[head.clone()]).map(|(q, k)| q * k).sum::<f64>() / (width as f64).sqrt()).exp()
                };
                let scores: Vec<f64> = keys.iter().map(score).collect();
                let sum: f64 = scores.iter().sum();
                for (score, value) in scores.iter().zip(&values) {
                    out[head.clone()].iter_mut().zip(&value[head.clone()]).for_each(|(x, v)| *x += score / sum * v);
                }
            }
        }
        out
    }

    fn vector(&self, input: &Input) -> Vec<f32> {
        let states = self.states(input);
        let mean = |at: usize| states.iter().map(|state| state[at]).sum::<f64>() / states.len() as f64;
        match self.pooling {
            Pooling::Mean => (0..HIDDEN).map(|at| mean(at) as f32).collect(),
            Pooling::Cls => states[0].iter().map(|x| *x as f32).collect(),
        }
    }

    /// What the head gives, before the sigmoid.
    fn logit(&self, input: &Input) -> f64 {
        let [inner, outer] = self.head();
        let mut row = self.dense(inner, &vec![self.states(input).swap_remove(0)]);
        row[0].iter_mut().for_each(|x| *x = x.tanh());
        self.dense(outer, &row)[0][0]
    }
}

fn add(mut rows: Rows, others: &Rows) -> Rows {
    rows.iter_mut().flatten().zip(others.iter().flatten()).for_each(|(x, other)| *x += other);
    rows
}

/// By its Maclaurin series, good for |x| ≤ 4.
fn erf(x: f64) -> f64 {
    let mut power = x;
    let term = |n: u32| {
        let term = power / f64::from(2 * n + 1);
        power *= -x * x / f64::from(n + 1);
        term
    };
    (0..150).map(term).sum::<f64>() * std::f64::consts::FRAC_2_SQRT_PI
}

fn in_precision(precision: Precision) -> LocalOptions {
    LocalOptions { precision: Requested::Exactly(precision), ..LocalOptions::default() }
}

/// The least likeness of vectors and the largest distance of logits. The second int8 model takes its weights from
/// the file that the first one left.
const TOLERANCES: [(Precision, f64, f64); 3] =
    [(Precision::F32, 0.999_999, 1e-4), (Precision::Int8, 0.999, 0.15), (Precision::Int8, 0.999, 0.15)];

fn check_embedding(family: Family, pooling: Pooling) {
    let case = Case::new(family, Kind::Embedding, pooling);
    let other_places = Input { first_position: 1, ..case.single(TEXTS[0]) };
    let moved = cosine(&case.vector(&case.single(TEXTS[0])), &case.vector(&other_places));
    assert!(moved < 0.98, "a wrong position would go unseen: {moved}");
    for (precision, least, _) in TOLERANCES {
        let embedder = LocalEmbedder::open(&case.entry(), case.path(), in_precision(precision)).unwrap();
        let found = embedder.embed(&TEXTS, Purpose::Document, &Errand::default()).unwrap();
        for (text, found) in TEXTS.iter().zip(&found) {
            let alike = cosine(&case.vector(&case.single(text)), &found.embedding);
            assert!(alike >= least, "{family:?} {pooling:?} {precision:?} {text:?}: {alike}");
        }
    }
}

fn check_scores(family: Family) {
    let case = Case::new(family, Kind::Reranker, Pooling::Cls);
    let expected: Vec<f64> = TEXTS.iter().map(|text| case.logit(&case.pair(QUESTION, text))).collect();
    assert!(expected.iter().any(|logit| (logit - expected[0]).abs() > 0.4), "no text is better than another: {expected:?}");
    if case.is_bert() {
        let pair = case.pair(QUESTION, TEXTS[0]);
        let alone = case.logit(&Input { segments: vec![0; pair.ids.len()], ..pair });
        assert!((alone - expected[0]).abs() > 0.4, "a wrong segment would go unseen: {alone} and {expected:?}");
    }
    for (precision, _, most) in TOLERANCES {
        let reranker = LocalReranker::open(&case.entry(), case.path(), in_precision(precision)).unwrap();
        assert_eq!((reranker.model().precision, reranker.model().max_tokens), (precision, MAX_TOKENS));
        for ((text, expected), score) in TEXTS.iter().zip(&expected).zip(reranker.rerank(QUESTION, &TEXTS, &Errand::default()).unwrap()) {
            let score = f64::from(score);
            let logit = (score / (1.0 - score)).ln();
            assert!((logit - expected).abs() <= most, "{family:?} {precision:?} {text:?}: {logit} instead of {expected}");
        }
        check_reranker(&reranker);
        check_groups(&reranker);
        reranker.close();
        check_reranker_closed(&reranker);
    }
}

/// More texts than are judged together, and a client that left.
fn check_groups(reranker: &LocalReranker) {
    let some = reranker.rerank(QUESTION, &TEXTS, &Errand::default()).unwrap();
    let many = reranker.rerank(QUESTION, &TEXTS.repeat(30), &Errand::default()).unwrap();
    assert!(many.len() == 150 && many.iter().zip(some.iter().cycle()).all(|(a, b)| (a - b).abs() < 1e-4));
    let waiter = Waiter::default();
    let errand = Errand { wanted: waiter.wanted(), ..Errand::default() };
    drop(waiter);
    let passes = reranker.statistics().texts;
    assert!(matches!(reranker.rerank(QUESTION, &TEXTS, &errand), Err(EmbedError::Unwanted)));
    assert_eq!(reranker.statistics().texts, passes);
}

#[test]
fn bert_by_the_mean() {
    check_embedding(Family::Bert, Pooling::Mean);
}

#[test]
fn bert_by_the_first_token() {
    check_embedding(Family::Bert, Pooling::Cls);
}

#[test]
fn xlm_roberta_by_the_mean() {
    check_embedding(Family::XlmRoberta, Pooling::Mean);
}

#[test]
fn xlm_roberta_by_the_first_token() {
    check_embedding(Family::XlmRoberta, Pooling::Cls);
}

#[test]
fn a_bert_reranker() {
    check_scores(Family::Bert);
}

#[test]
fn an_xlm_roberta_reranker() {
    check_scores(Family::XlmRoberta);
}

#[test]
fn a_model_is_opened_only_for_what_it_is() {
    let case = Case::new(Family::Bert, Kind::Reranker, Pooling::Cls);
    let refusal = |opened: Result<(), OpenError>| opened.unwrap_err().to_string();
    let open = |entry: &ModelEntry| LocalReranker::open(entry, case.path(), LocalOptions::default()).map(drop);
    let embedder = LocalEmbedder::open(&case.entry(), case.path(), LocalOptions::default()).map(drop);
    assert!(refusal(embedder).contains("it reranks and can't embed"));
    assert!(refusal(open(&ModelEntry { kind: Kind::Embedding, ..case.entry() })).contains("it embeds texts and can't rerank"));
    assert!(refusal(open(&ModelEntry { family: Family::XlmRoberta, ..case.entry() })).contains("model_type is Bert"));
    let headless = Case::new(Family::Bert, Kind::Embedding, Pooling::Cls);
    let entry = ModelEntry { kind: Kind::Reranker, ..headless.entry() };
    let error = refusal(LocalReranker::open(&entry, headless.path(), LocalOptions::default()).map(drop));
    assert!(error.contains("there is no tensor bert.pooler.dense.weight"), "{error}");
}
