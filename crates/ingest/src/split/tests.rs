//! Invariants first, then what is seen of them in examples.

use super::*;
use crate::parse::{InProcess, Parser, markdown_headings};
use corpus::{EmbedError, Embedded, EmbeddingModel, Errand, Purpose};
use proptest::prelude::{Just, ProptestConfig, prop_oneof, proptest};
use proptest::strategy::Strategy as Generator;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Counts words, and four characters of a longer word as one more token; two special tokens.
struct Words {
    model: EmbeddingModel,
    /// How much it was asked to count.
    counted_bytes: AtomicUsize,
}

impl Embedder for Words {
    fn model(&self) -> &EmbeddingModel {
        &self.model
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.counted_bytes.fetch_add(text.len(), Ordering::Relaxed);
        2 + text
            .split_whitespace()
            .map(|word| word.chars().filter(|c| c.is_ascii()).count().div_ceil(4) + word.chars().filter(|c| !c.is_ascii()).count())
            .sum::<usize>()
    }

    fn embed(&self, _: &[&str], _: Purpose, _: &Errand) -> Result<Vec<Embedded>, EmbedError> {
        Err(EmbedError::Closed)
    }
}

fn words() -> Words {
    let model = EmbeddingModel {
        name: "words".into(),
        revision: "0".into(),
        dimension: 1,
        max_tokens: 512,
        languages: vec![],
        precision: corpus::Precision::F32,
    };
    Words { model, counted_bytes: AtomicUsize::new(0) }
}

fn document(text: &str, format: TextFormat) -> ParsedDocument {
    let headings = if format == TextFormat::Markdown { markdown_headings(text) } else { vec![] };
    ParsedDocument {
        media_type: "text/plain".into(),
        format,
        text: text.into(),
        title: None,
        headings,
        pages: vec![],
        page_count: None,
        warnings: vec![],
        attachments: vec![],
    }
}

fn check(text: &str, chunking: &Chunking, format: TextFormat) {
    let embedder = words();
    let chunks = split(&document(text, format), chunking, &embedder).unwrap();
    let mut covered = vec![false; text.len()];
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk.span.slice(text), Some(chunk.text.as_str()));
        assert_eq!(chunk.text.chars().count(), chunk.span.char_end - chunk.span.char_start);
        assert!(!chunk.text.trim().is_empty());
        assert_eq!(chunk.tokens, embedder.count_tokens(&chunk.text));
        assert!(chunk.tokens <= chunking.max_tokens || chunk.text.chars().count() == 1, "{} tokens: {:?}", chunk.tokens, chunk.text);
        covered[chunk.span.bytes()].fill(true);
        if let Some(before) = index.checked_sub(1).map(|before| &chunks[before]) {
            assert!(before.span.byte_start < chunk.span.byte_start && before.span.byte_end < chunk.span.byte_end, "out of order");
        }
    }
    for (at, c) in text.char_indices().filter(|(_, c)| !c.is_whitespace()) {
        assert!(covered[at], "{c:?} at byte {at} of {text:?} is in no chunk");
    }
}

fn chunkings() -> impl Generator<Value = Chunking> {
    (MAX_TOKENS_MIN..64usize, 0.0..=0.5f64, prop_oneof![Just(Strategy::Auto), Just(Strategy::Text), Just(Strategy::Markdown)])
        .prop_map(|(max_tokens, share, strategy)| Chunking { strategy, max_tokens, overlap_tokens: (max_tokens as f64 * share) as usize })
}

const MARKDOWNISH: &str = "((#{1,6} |- |1\\. |> |\\| |```\n|    )?[a-zA-Z*_`|\\[\\]() \u{a0}\t-]{0,40}(\n|\n\n|---\n|\\|\n)){0,40}";
const CHINESE: &str = "[灯塔每夜转动九秒一次油罐在北侧。！？；，、“”ab1 \n\u{3000}]{0,600}";

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "(?s).{0,800}", chunking in chunkings()) {
        check(&text, &chunking, TextFormat::Plain);
    }

    #[test]
    fn markdown(text in MARKDOWNISH, chunking in chunkings()) {
        check(&text, &chunking, TextFormat::Markdown);
    }

    #[test]
    fn chinese(text in CHINESE, chunking in chunkings()) {
        check(&text, &chunking, TextFormat::Markdown);
    }
}

fn texts(text: &str, max_tokens: usize, overlap_tokens: usize) -> Vec<String> {
    let chunking = Chunking { max_tokens, overlap_tokens, strategy: Strategy::Auto };
    split(&document(text, TextFormat::Plain), &chunking, &words()).unwrap().into_iter().map(|chunk| chunk.text).collect()
}

#[test]
fn chinese_sentences_end_where_their_marks_stand() {
    assert_eq!(
        texts("油罐在北侧，泵在南侧；灯每夜转动九秒。谁来换灯芯？", 16, 0),
        ["油罐在北侧，泵在南侧；", "灯每夜转动九秒。谁来换灯芯？"]
    );
    assert_eq!(texts("油罐在北侧泵在南侧！灯每夜转动九秒一次呢", 16, 0), ["油罐在北侧泵在南侧！", "灯每夜转动九秒一次呢"]);
}

#[test]
fn chunks_overlap_by_what_was_asked() {
    let text: String = (0..60).map(|i| format!("w{i:02} ")).collect();
    let chunks = texts(&text, 20, 8);
    assert!(chunks.len() > 3);
    for pair in chunks.windows(2) {
        let shared = pair[0].split(' ').filter(|word| pair[1].split(' ').any(|other| other == *word)).count();
        assert!((1..=6).contains(&shared), "{shared} words shared by {pair:?}");
    }
}

#[test]
fn pages_and_headings_go_with_the_chunk() {
    let mut document = document("# Lamp\n\nalpha beta\n\n## Oil\n\ngamma delta\n", TextFormat::Markdown);
    document.pages = vec![crate::parse::PageStart { byte_start: 0, number: 3 }, crate::parse::PageStart { byte_start: 20, number: 4 }];
    let chunking = Chunking { max_tokens: 16, overlap_tokens: 0, strategy: Strategy::Auto };
    let chunks = split(&document, &chunking, &words()).unwrap();
    let seen: Vec<_> = chunks.iter().map(|chunk| (chunk.page, chunk.heading_path.join("/"))).collect();
    assert_eq!(seen.first(), Some(&(Some(3), "Lamp".into())));
    assert_eq!(texts("", 16, 0), Vec::<String>::new());
}

#[test]
fn chunkings_that_do_not_suit_the_model_are_refused() {
    let chunking = |max_tokens, overlap_tokens| Chunking { max_tokens, overlap_tokens, strategy: Strategy::Auto };
    assert_eq!(Chunking::default().validate(256), Ok(()));
    assert_eq!(Chunking::default().validate(128), Err(SplitError::MaxTokens { given: 256, model_max: 128 }));
    assert_eq!(chunking(15, 0).validate(512), Err(SplitError::MaxTokens { given: 15, model_max: 512 }));
    assert_eq!(chunking(20, 11).validate(512), Err(SplitError::Overlap { given: 11, max: 10 }));
    assert!(serde_json::from_str::<Chunking>("{\"max_tokens\": 64, \"size\": 1}").is_err());
    assert_eq!(
        serde_json::from_str::<Chunking>("{\"strategy\": \"markdown\"}").unwrap(),
        Chunking { strategy: Strategy::Markdown, ..Chunking::default() }
    );
}

#[test]
fn a_megabyte_is_quick_in_any_shape() {
    let prose = "The lamp turns once in nine seconds. Its oil is in the north tank; the pump is south.\n\n".repeat(12_000);
    let lists = "## Part\n\n- a *wick* of `cotton`\n- a [lens](x)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n".repeat(12_000);
    let one_word = "x".repeat(1 << 20);
    for (text, format) in
        [(&prose, TextFormat::Plain), (&prose, TextFormat::Markdown), (&lists, TextFormat::Markdown), (&one_word, TextFormat::Plain)]
    {
        let started = Instant::now();
        let chunks = split(&document(text, format), &Chunking::default(), &words()).unwrap();
        eprintln!("{} chunks of {} bytes in {:?}", chunks.len(), text.len(), started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
}

/// A real tokenizer reads two million bytes a second: what it is given to count is what splitting costs.
#[test]
fn nesting_without_end_is_counted_in_proportion_to_its_length() {
    let levels = 100_000;
    let brackets = format!("{}\"needle\"{}", "[".repeat(levels), "]".repeat(levels));
    let laid_out = InProcess.parse("a.json", brackets.as_bytes()).unwrap().text;
    let lists: String = (0..1500).map(|level| format!("{}- item {level}\n", "  ".repeat(level))).collect();
    let quotes = format!("{} needle\n\n{}", ">".repeat(20_000), "- ".repeat(20_000));
    for (text, format) in [
        (&laid_out, TextFormat::Plain),
        (&laid_out, TextFormat::Markdown),
        (&lists, TextFormat::Markdown),
        (&lists, TextFormat::Plain),
        (&quotes, TextFormat::Markdown),
    ] {
        let (embedder, started) = (words(), Instant::now());
        let chunks = split(&document(text, format), &Chunking::default(), &embedder).unwrap();
        let counted_bytes = embedder.counted_bytes.load(Ordering::Relaxed);
        eprintln!("{} chunks of {} bytes, {counted_bytes} counted, in {:?}", chunks.len(), text.len(), started.elapsed());
        assert!(counted_bytes < text.len() * 32, "{counted_bytes} bytes counted for {}", text.len());
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
}

#[test]
fn white_space_that_a_tokenizer_counts_is_counted_in_the_end() {
    /// Every byte is a token.
    struct Bytes(EmbeddingModel);
    impl Embedder for Bytes {
        fn model(&self) -> &EmbeddingModel {
            &self.0
        }
        fn count_tokens(&self, text: &str) -> usize {
            text.len()
        }
        fn embed(&self, _: &[&str], _: Purpose, _: &Errand) -> Result<Vec<Embedded>, EmbedError> {
            Err(EmbedError::Closed)
        }
    }
    let text = format!("a{}b\n", " ".repeat(40)).repeat(20);
    let chunking = Chunking { max_tokens: 32, overlap_tokens: 0, strategy: Strategy::Auto };
    let chunks = split(&document(&text, TextFormat::Plain), &chunking, &Bytes(words().model)).unwrap();
    assert!(chunks.iter().all(|chunk| chunk.tokens <= 32 && chunk.tokens == chunk.text.len()));
    assert_eq!(chunks.iter().flat_map(|chunk| chunk.text.chars()).filter(|c| !c.is_whitespace()).count(), 40);
}

/// Any word, however long, is one token.
struct WholeWords(Words);

impl Embedder for WholeWords {
    fn model(&self) -> &EmbeddingModel {
        self.0.model()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.0.counted_bytes.fetch_add(text.len(), Ordering::Relaxed);
        2 + text.split_whitespace().count()
    }

    fn embed(&self, _: &[&str], _: Purpose, _: &Errand) -> Result<Vec<Embedded>, EmbedError> {
        Err(EmbedError::Closed)
    }
}

#[test]
fn a_word_of_a_megabyte_does_not_overlap_itself_all_the_way() {
    let text = "9".repeat(1 << 20);
    let embedder = WholeWords(words());
    let chunking = Chunking { max_tokens: 256, overlap_tokens: 32, ..Chunking::default() };
    let chunks = split(&document(&text, TextFormat::Plain), &chunking, &embedder).unwrap();
    assert!(chunks.len() < 100, "{} chunks", chunks.len());
    let counted = embedder.0.counted_bytes.load(Ordering::Relaxed);
    assert!(counted < 100 * text.len(), "{} times its length", counted / text.len());
}
