//! What every [`Embedder`] and [`Reranker`] must do; each implementation's tests run it.

use corpus::{EmbedError, Embedder, Errand, Purpose, Reranker};

const TEXTS: [&str; 5] = [
    "Granite is an intrusive igneous rock.",
    "",
    "Slate splits into thin sheets and was long used for roofs; a good roof of it lasts a century or more.",
    "石头很硬。",
    "Basalt",
];

/// Inner product over both lengths.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The open embedder's part.
pub(crate) fn check(embedder: &dyn Embedder) {
    for purpose in [Purpose::Query, Purpose::Document] {
        assert_eq!(embedder.embed(&[], purpose, &Errand::default()).unwrap(), [], "no texts, no vectors");
        check_batch(embedder, purpose);
    }
    check_truncation(embedder);
    check_meaning(embedder);
}

/// After shut-down every call is refused.
pub(crate) fn check_closed(embedder: &dyn Embedder) {
    for purpose in [Purpose::Query, Purpose::Document] {
        for texts in [&TEXTS[..0], &TEXTS[..1]] {
            assert!(matches!(embedder.embed(texts, purpose, &Errand::default()), Err(EmbedError::Closed)));
        }
    }
}

fn check_batch(embedder: &dyn Embedder, purpose: Purpose) {
    let batch = embedder.embed(&TEXTS, purpose, &Errand::default()).unwrap();
    assert_eq!(batch, embedder.embed(&TEXTS, purpose, &Errand::default()).unwrap(), "the same texts give the same bits");
    assert_eq!(batch.len(), TEXTS.len());
    for (text, embedded) in TEXTS.iter().zip(&batch) {
        let norm = embedded.embedding.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        assert!((norm - 1.0).abs() < 1e-5, "length {norm}");
        assert_eq!(embedded.embedding.len(), embedder.model().dimension);
        assert!(!embedded.truncated);
        let alone = embedder.embed(&[text], purpose, &Errand::default()).unwrap();
        assert!(cosine(&alone[0].embedding, &embedded.embedding) > 1.0 - 1e-4, "{text:?} alone and in a batch");
    }
    for (text, embedded) in TEXTS.iter().zip(&embedder.embed(&TEXTS, Purpose::Document, &Errand::default()).unwrap()) {
        assert_eq!(embedded.tokens, embedder.count_tokens(text));
    }
}

fn check_truncation(embedder: &dyn Embedder) {
    let most = embedder.model().max_tokens;
    let long = "stone ".repeat(2 * most);
    let embedded = embedder.embed(&[&long, "stone"], Purpose::Document, &Errand::default()).unwrap();
    assert!(embedded[0].truncated && embedded[0].tokens > most);
    assert!(!embedded[1].truncated && embedded[1].tokens <= most);
    let other_end = format!("{long} something else altogether");
    let same = embedder.embed(&[&other_end], Purpose::Document, &Errand::default()).unwrap();
    assert!(cosine(&same[0].embedding, &embedded[0].embedding) > 1.0 - 1e-6, "what was cut off doesn't count");
}

fn check_meaning(embedder: &dyn Embedder) {
    let question = &embedder.embed(&["igneous rock granite"], Purpose::Query, &Errand::default()).unwrap()[0].embedding;
    let documents = embedder.embed(&TEXTS, Purpose::Document, &Errand::default()).unwrap();
    let scores: Vec<f64> = documents.iter().map(|document| cosine(question, &document.embedding)).collect();
    assert!(scores[1..].iter().all(|score| *score < scores[0]), "{scores:?}");
}

/// The open reranker's part.
pub(crate) fn check_reranker(reranker: &dyn Reranker) {
    let question = "which stone is hard ?";
    assert!(reranker.rerank(question, &[], &Errand::default()).unwrap().is_empty(), "no texts, no scores");
    let scores = reranker.rerank(question, &TEXTS, &Errand::default()).unwrap();
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{scores:?}");
    for (text, score) in TEXTS.iter().zip(&scores) {
        let alone = reranker.rerank(question, &[text], &Errand::default()).unwrap();
        assert!(alone.len() == 1 && (alone[0] - score).abs() < 1e-4, "{text:?} alone and in a batch: {alone:?}, {score}");
    }
    check_long_pairs(reranker, question);
}

fn check_long_pairs(reranker: &dyn Reranker, question: &str) {
    let long = "stone ".repeat(2 * reranker.model().max_tokens);
    let other_end = format!("{long} slate");
    let score = |question: &str, text: &str| reranker.rerank(question, &[text], &Errand::default()).unwrap()[0];
    let is_same = |a: f32, b: f32| (a - b).abs() < 1e-6;
    assert!(is_same(score(question, &long), score(question, &other_end)), "what was cut off doesn't count");
    assert!(!is_same(score(question, &long), score("slate", &long)), "the question is not cut off");
    assert!(is_same(score(&long, "slate"), score(&other_end, "slate")), "unless it is too long itself");
    assert!(!is_same(score(&long, "slate"), score(&long, "roof")), "which leaves room for the text");
}

/// After shut-down every call is refused.
pub(crate) fn check_reranker_closed(reranker: &dyn Reranker) {
    for texts in [&TEXTS[..0], &TEXTS[..1]] {
        assert!(matches!(reranker.rerank("stone", texts, &Errand::default()), Err(EmbedError::Closed)));
    }
}
