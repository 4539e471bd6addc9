//! Tests of the module above.

use super::*;
use crate::fake::FakeSource;
use crate::fuse::LegWeights;
use crate::pack::pack;
use crate::search::{SearchRequest, search};
use corpus::Principals;
use proptest::prelude::*;

fn library() -> (FakeSource, Vec<PackedSource>) {
    let mut source = FakeSource::new(&[]);
    source.add("bridge.md", "Préface — naïve. The bridge was opened in 1931. It is 420 metres long.");
    source.add("bread.md", "黑麦面包需要酸面团。The rye bread keeps for a week.");
    let request = SearchRequest::new("bridge opened long rye bread week");
    let mut hits = search(&source, &request, &Principals::All, LegWeights::default()).unwrap().hits;
    hits.sort_by_key(|hit| hit.row);
    let sources = pack(hits, 1000, &|_, text| text.len()).sources;
    assert_eq!(sources.len(), 2);
    (source, sources)
}

fn quotes(answer: &str) -> Vec<(u32, String, Verdict)> {
    let (source, sources) = library();
    let cited = cite(answer, &sources);
    for citation in &cited.citations {
        assert_eq!(source.text_at(&citation.document_id, citation.span), citation.quote);
    }
    cited.citations.into_iter().map(|citation| (citation.marker, citation.quote, citation.verdict)).collect()
}

#[test]
fn each_marker_gets_the_sentence_it_rests_on() {
    let found = quotes("The bridge opened in 1931 [1]. Its length is 420 metres. [1] Rye bread keeps a week[2].");
    let expected = [
        (1, "The bridge was opened in 1931.".to_owned(), Verdict::Supported),
        (1, "It is 420 metres long.".to_owned(), Verdict::Supported),
        (2, "The rye bread keeps for a week.".to_owned(), Verdict::Supported),
    ];
    assert_eq!(found, expected);
}

#[test]
fn lists_and_rows_of_markers_are_read() {
    for answer in ["The bridge keeps rye bread [1, 2].", "The bridge keeps rye bread [1][2]."] {
        assert_eq!(quotes(answer).iter().map(|(marker, ..)| *marker).collect::<Vec<_>>(), [1, 2], "{answer}");
    }
    assert!(quotes("See [the docs] and [1](http://x) and a[x].").is_empty());
}

#[test]
fn what_the_source_does_not_say_is_unsupported() {
    assert_eq!(quotes("The bridge opened in 1932 [1].")[0].2, Verdict::Unsupported, "a wrong number");
    assert_eq!(quotes("Jupiter has many large moons [2].")[0].2, Verdict::Unsupported);
}

#[test]
fn markers_without_a_source_are_reported() {
    let (_, sources) = library();
    let cited = cite("The bridge opened in 1931 [1][7]. No [0], no [7].", &sources);
    assert_eq!(cited.citations.len(), 1);
    assert_eq!(cited.not_found, [7, 0]);
}

#[test]
fn an_extractive_answer_is_its_quotes() {
    let (_, sources) = library();
    let text = sources[0].text();
    let start = text.find("The").unwrap();
    let support = [
        Support { source: 0, range: start..start + 30, score: 1.0 },
        Support { source: 1, range: 0.."黑麦面包需要酸面团。".len(), score: 1.0 },
    ];
    let (pieces, citations) = compose(&support, &sources);
    assert_eq!(pieces.concat(), "The bridge was opened in 1931. [1]黑麦面包需要酸面团。 [2]");
    assert!(citations.iter().all(|citation| citation.verdict == Verdict::Supported));
    assert_eq!(citations[0].span.char_start, text[..start].chars().count());
}

proptest! {
    #[test]
    fn every_quote_is_the_text_at_its_span(answer in "((bridge|1931|rye|bread|面包|opened|week|[.。] )? ?(\\[[0-3](, ?[1-9])?\\])?|\\PC){0,30}") {
        let found = quotes(&answer);
        prop_assert!(found.iter().all(|(marker, ..)| (1..=2).contains(marker)));
    }
}
