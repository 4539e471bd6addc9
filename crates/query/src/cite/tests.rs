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
    let (_, cited) = cite(answer, &sources);
    for citation in &cited.citations {
        assert_eq!(source.text_at(&citation.document_id, citation.span), citation.quote);
    }
    cited.citations.into_iter().map(|citation| (citation.marker, citation.quote, citation.verdict)).collect()
}

#[test]
fn each_marker_gets_the_sentence_it_rests_on() {
    let found = quotes("The bridge opened in 1931 [1]. 420 metres long it is. [1] Rye bread keeps a week[2].");
    let expected = [
        (1, "The bridge was opened in 1931.".to_owned(), Verdict::Supported),
        (1, "It is 420 metres long.".to_owned(), Verdict::Supported),
        (2, "The rye bread keeps for a week.".to_owned(), Verdict::Supported),
    ];
    assert_eq!(found, expected);
}

#[test]
fn lists_and_rows_of_markers_are_read() {
    for answer in [
        "The bridge keeps rye bread [1, 2].",
        "The bridge keeps rye bread [1-2].",
        "The bridge keeps rye bread [1][2].",
        "The bridge keeps rye bread 【1】［2］.",
    ] {
        assert_eq!(quotes(answer).iter().map(|(marker, ..)| *marker).collect::<Vec<_>>(), [1, 2], "{answer}");
    }
    assert!(quotes("See [the docs] and [1](http://x) and a[x], [2-1], [1914-1918] or [1-].").is_empty());
}

#[test]
fn what_no_source_says_is_not_found() {
    assert_eq!(quotes("The bridge opened in 1932 [1].")[0].2, Verdict::NotFound, "a wrong number");
    assert_eq!(quotes("Jupiter has many large moons [2].")[0].2, Verdict::NotFound);
}

#[test]
fn markers_without_a_source_are_reported() {
    let (_, sources) = library();
    let (_, cited) = cite("The bridge opened in 1931 [1][7]. No [0], no [7].", &sources);
    assert_eq!(cited.citations.len(), 1);
    assert_eq!(cited.not_found, [7, 0]);
}

fn reviewed(pieces: &[&str], policy: GatePolicy) -> (String, Cited, Vec<Passed>) {
    let (_, sources) = library();
    let texts: Vec<&str> = sources.iter().map(PackedSource::text).collect();
    let mut reviewer = Reviewer::new(&sources, Gate::new(&texts), policy, "I don't know.");
    let mut said: Vec<Passed> = pieces.iter().flat_map(|piece| reviewer.hear(piece)).collect();
    said.extend(reviewer.finish());
    let (text, cited) = reviewer.done();
    (text, cited, said)
}

fn passed_on(said: &[Passed]) -> String {
    said.iter().map(|said| if let Passed::Text(text) = said { text.as_str() } else { "" }).collect()
}

const MIXED: &str = "The bridge was opened in 1931 [2]. It is 421 metres long [1]. The rye bread keeps for a week [2].";

#[test]
fn a_marker_of_the_wrong_source_is_pointed_at_the_right_one() {
    for policy in [GatePolicy::Flag, GatePolicy::Strip] {
        let (text, cited, _) = reviewed(&["The bridge was opened in 1931 [2]. The rye bread keeps for a week [2]."], policy);
        assert_eq!(text, "The bridge was opened in 1931 [1]. The rye bread keeps for a week [2].");
        let found: Vec<_> = cited.citations.iter().map(|one| (one.marker, one.cited_as, one.verdict)).collect();
        assert_eq!(found, [(1, Some(2), Verdict::Misattributed), (2, None, Verdict::Supported)]);
        assert_eq!((cited.gate.supported, cited.gate.misattributed, cited.gate.not_found), (1, 1, 0));
    }
}

#[test]
fn what_is_not_found_is_told_left_out_or_refused() {
    let (text, cited, _) = reviewed(&[MIXED], GatePolicy::Flag);
    assert_eq!(text, MIXED.replacen("[2]", "[1]", 1));
    let told: Vec<_> = cited.gate.sentences.iter().map(|one| (one.verdict, one.markers.clone())).collect();
    assert_eq!(told, [(Verdict::Misattributed, vec![1]), (Verdict::NotFound, vec![1]), (Verdict::Supported, vec![2])]);
    let last = &cited.gate.sentences[2];
    let shown: String = text.chars().skip(last.sentence_start).take(last.sentence_end - last.sentence_start).collect();
    assert_eq!(shown, "The rye bread keeps for a week [2].");

    let (text, cited, _) = reviewed(&[MIXED], GatePolicy::Strip);
    assert_eq!(text, "The bridge was opened in 1931 [1]. The rye bread keeps for a week [2].");
    assert_eq!((cited.gate.stripped, cited.gate.sentences.len(), cited.citations.len()), (1, 2, 2));

    let (text, cited, said) = reviewed(&[MIXED], GatePolicy::Refuse);
    assert_eq!((text.as_str(), said.len(), cited.citations.len()), ("I don't know.", 1, 0));
    assert_eq!(cited.gate.reason.as_deref(), Some("1 of the answer's sentences stand in no source"));
    let (_, cited, _) = reviewed(&["It is 421 metres long [1]."], GatePolicy::Strip);
    assert!(cited.gate.reason.is_some(), "nothing is left");
}

#[test]
fn a_sentence_without_a_marker_is_judged_by_all_sources() {
    let (_, cited, _) =
        reviewed(&["I think so: yes. The rye bread keeps for a week. The rye bread keeps for a year. I don't know."], GatePolicy::Flag);
    let verdicts: Vec<_> = cited.gate.sentences.iter().map(|one| one.verdict).collect();
    assert_eq!(verdicts.get(verdicts.len() - 2..), Some(&[Verdict::Supported, Verdict::NotFound][..]), "{cited:?}");
    assert_eq!(cited.gate.uncited as usize, verdicts.len());
}

#[test]
fn clauses_with_markers_of_their_own_are_judged_each() {
    let (_, cited, _) = reviewed(&["The bridge was opened in 1931 [1], and the rye bread keeps for a week [2]."], GatePolicy::Flag);
    assert!(cited.citations.iter().all(|one| one.verdict == Verdict::Supported) && cited.gate.supported == 1, "{cited:?}");
    let (_, cited, _) = reviewed(&["The bridge was opened in 1931 [1] keeps for a week [2]."], GatePolicy::Flag);
    assert_eq!(cited.gate.supported, 0, "{cited:?}");
}

#[test]
fn citations_come_as_soon_as_their_sentence_is_complete() {
    let (_, _, said) = reviewed(&["The bridge was opened in 1931 ", "[", "1", "]. It is", " 420 metres long [1]."], GatePolicy::Flag);
    let kinds: Vec<_> = said.iter().map(|said| matches!(said, Passed::Citation(_))).collect();
    assert_eq!(kinds, [false, false, true, false, false, false, true], "{said:?}");
    let (_, _, said) = reviewed(&["It is 421 metres", " long [1]. The rye", " bread keeps for a week [2]."], GatePolicy::Strip);
    assert_eq!(passed_on(&said), "The rye bread keeps for a week [2].");
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

#[test]
fn items_of_lists_are_judged_without_their_marks_and_headings_not_at_all() {
    let answer = "## The history of Panama\n\nSure! Here is **what I found:**\n\n1. The bridge was opened in 1931 [1].\n2. It is 420 metres long [1].\n3. The rye bread keeps for a week [2].\n";
    let (text, cited, _) = reviewed(&[answer], GatePolicy::Strip);
    assert_eq!((text.as_str(), cited.gate.supported, cited.gate.sentences.len()), (answer, 3, 3), "{cited:?}");
}

#[test]
fn one_moved_marker_leaves_the_others() {
    let (text, ..) = reviewed(&["The bridge was opened in 1931 [2], and the rye bread keeps for a week [2]."], GatePolicy::Flag);
    assert_eq!(text, "The bridge was opened in 1931 [1], and the rye bread keeps for a week [2].");
    let piece = "A [1][2], B [2] [1, 4].";
    let (text, numbers) = rewritten(piece, &markers(piece), &[(0..9, 1, 3), (0..9, 2, 3), (9..piece.len(), 2, 4)]);
    assert_eq!((text.as_str(), numbers), ("A [3], B [4] [1].", vec![3, 4, 1]));
}

#[test]
fn a_marker_that_is_one_too_many_is_not_found() {
    let mut source = FakeSource::new(&[]);
    (0..10).for_each(|at| source.add(&format!("{at}.md"), &format!("The bridge of town {at} was opened in 193{at}.")));
    let request = SearchRequest { top_k: 10, ..SearchRequest::new("bridge opened town") };
    let sources =
        pack(search(&source, &request, &Principals::All, LegWeights::default()).unwrap().hits, 1000, &|_, text| text.len()).sources;
    assert_eq!(sources.len(), 10);
    let said = sources[0].text().trim_end_matches('.').to_owned();
    let (_, cited) = cite(&format!("{said} [1-9]."), &sources);
    let verdicts: Vec<_> = cited.citations.iter().map(|one| one.verdict).collect();
    assert_eq!((verdicts.len(), verdicts[0], verdicts[8]), (9, Verdict::Supported, Verdict::NotFound));
}

#[test]
fn what_only_leads_in_is_no_answer() {
    let (text, cited, said) = reviewed(&["Here is what I found:\n\nIt is 421 metres long [1]."], GatePolicy::Strip);
    assert_eq!((text.as_str(), passed_on(&said).as_str()), ("I don't know.", "I don't know."));
    assert!(cited.gate.reason.is_some());
    for answer in ["I don't know the date, but Napoleon built it [1].", "What Napoleon built there: a bridge, as follows: Waterloo:"] {
        assert_eq!(reviewed(&[answer], GatePolicy::Flag).1.gate.not_found, 1, "{answer}");
    }
}

#[test]
fn a_sentence_without_an_end_is_cut_beside_words_and_markers() {
    let lead = "bread ".repeat(SENTENCE_BYTES_MAX / 6);
    assert_eq!(complete(&format!("{lead}[1, 2] and so on and so on")), Some(lead.len()), "not in the marker");
    assert_eq!(complete(&format!("{lead}sourdough bread keeps. Another.")), Some(lead.len()), "not in a word, nor later");
    assert_eq!(complete(&lead), None);
    let time_of = |size: usize| {
        let answer = "The rye bread keeps for a week [2]. ".repeat(size);
        let times = (0..3).map(|_| {
            let started = std::time::Instant::now();
            assert_eq!(reviewed(&[&answer], GatePolicy::Flag).1.gate.supported as usize, size);
            started.elapsed()
        });
        times.min().unwrap_or_default()
    };
    let (small, large) = (time_of(100), time_of(800));
    assert!(large < 24 * small, "{small:?}, then {large:?}");
}

proptest! {
    #[test]
    fn every_quote_is_the_text_at_its_span(answer in "((bridge|1931|rye|bread|面包|opened|week|[.。] )? ?(\\[[0-3](, ?[1-9])?\\])?|\\PC){0,30}") {
        for policy in [GatePolicy::Flag, GatePolicy::Strip, GatePolicy::Refuse] {
            let (whole, cited, said) = reviewed(&[&answer], policy);
            prop_assert_eq!(passed_on(&said), whole.clone());
            let told: Vec<_> = said.iter().filter_map(|said| if let Passed::Citation(one) = said { Some((**one).clone()) } else { None }).collect();
            prop_assert_eq!(told, cited.citations.clone());
            let chars: Vec<String> = answer.chars().map(String::from).collect();
            let pieces: Vec<&str> = chars.iter().map(String::as_str).collect();
            let (by_char, cited_by_char, said) = reviewed(&pieces, policy);
            prop_assert_eq!(passed_on(&said), by_char.clone());
            prop_assert_eq!((by_char, cited_by_char.citations), (whole, cited.citations));
        }
        let found = quotes(&answer);
        prop_assert!(found.iter().all(|(marker, ..)| (1..=2).contains(marker)));
    }
}
