//! What a collection relies on, from the outside.

use super::*;
use std::fs;

fn add(row: Row, text: &str) -> TextChange {
    TextChange::Add { row, text: text.to_owned(), heading: String::new() }
}

fn index_of(texts: &[&str]) -> TextIndex {
    let index = TextIndex::open(None).unwrap();
    index.apply((0..).zip(texts).map(|(row, text)| add(row, text)).collect(), 1).unwrap();
    index
}

/// Asks and searches.
fn ask(index: &TextIndex, query: &str, k: usize, allowed: &RoaringBitmap, beside: Option<Beside<'_>>) -> TextHits {
    index.search(&index.question(query).unwrap(), k, allowed, beside).unwrap()
}

fn narrow(index: &TextIndex, query: &str, allowed: &RoaringBitmap) -> Option<Narrowed> {
    index.narrow(&index.question(query).unwrap(), allowed).unwrap()
}

const NONE: [Row; 0] = [];

fn all() -> RoaringBitmap {
    (0..100_000).collect()
}

fn found(index: &TextIndex, query: &str) -> Vec<Row> {
    ask(index, query, 10, &all(), None).rows.into_iter().map(|hit| hit.row).collect()
}

#[test]
fn english_is_found_by_its_stem_and_ranked_by_rarity() {
    let index = index_of(&["The cats were running", "A dog sleeps", "the the the", "A cat runs after a dog"]);
    assert_eq!(found(&index, "run"), [0, 3]);
    assert_eq!(found(&index, "CATS?"), [0, 3]);
    assert_eq!(found(&index, "the dog sleeping").first(), Some(&1));
}

#[test]
fn words_are_counted_as_they_are_found() {
    let index = index_of(&["The cats were running", "A dog sleeps", "the cat", "向量检索引擎"]);
    assert_eq!(index.occurrences(&["Cat", "dogs", "fox", "检索", "the dog", "?"]).unwrap(), (4, vec![2, 1, 0, 1, 1, 0]));
    let headed = TextChange::Add { row: 9, text: "step one".into(), heading: "Fox".into() };
    index.apply(vec![headed], 2).unwrap();
    assert_eq!(index.occurrences(&["fox"]).unwrap(), (5, vec![1]), "only a heading has it");
}

#[test]
fn chinese_is_found_as_written() {
    let index = index_of(&["向量檢索引擎", "向量检索引擎", "安裝指南：第一步", "mixed 中文 text 2024年"]);
    assert_eq!(found(&index, "檢索"), [0, 1], "a pair before a single character");
    assert_eq!(found(&index, "检索"), [1, 0]);
    assert_eq!(found(&index, "如何安裝？"), [2]);
    assert_eq!(found(&index, "中文 TEXTS"), [3]);
    assert_eq!(found(&index, "2024"), [3]);
}

#[test]
fn a_repeated_query_term_counts_as_often() {
    let index = index_of(&["one two", "two three", "filler"]);
    assert_eq!(found(&index, "one three"), [0, 1]);
    assert_eq!(found(&index, "one three three"), [1, 0]);
}

#[test]
fn headings_count_more_than_text() {
    let index = TextIndex::open(None).unwrap();
    let headed = TextChange::Add { row: 4, text: "step one".into(), heading: "Installation".into() };
    index.apply(vec![add(2, "installation step one"), headed, add(6, "other words here")], 1).unwrap();
    assert_eq!(found(&index, "installing"), [4, 2]);
}

#[test]
fn no_row_scores_more_than_the_most_and_what_it_lacks_is_missing() {
    let index = index_of(&["ice ice ice ice ice ice ice ice ice ice ice ice", "salt melts ice", "a granite quay"]);
    let search = |query: &str| ask(&index, query, 10, &all(), None);
    for query in ["ice", "salt ice", "unheard ice", "\"salt melts\" ice"] {
        let hits = search(query);
        assert!(hits.rows[0].score > 0.0 && hits.rows[0].score <= hits.score_max, "{query}: {hits:?}");
    }
    let share = |query: &str| search(query).rows[0].score / search(query).score_max;
    assert!(share("salt ice") > 1.5 * share("salt ice unheard unseen"));
    assert_eq!(search("?!").score_max, 0.0);
}

#[test]
fn what_stands_beside_a_row_counts_as_well_and_less() {
    let index = index_of(&["a harbour", "of the ice", "granite rock", "the salt of the sea", "a quay of granite"]);
    let search = |beside: Option<Beside<'_>>| -> Vec<Row> {
        ask(&index, "granite sea", 10, &all(), beside).rows.into_iter().map(|hit| hit.row).collect()
    };
    let of = |row: Row| {
        if row == 3 {
            [None, Some(4)]
        } else if row == 4 {
            [Some(3), None]
        } else {
            [None, None]
        }
    };
    assert_eq!(search(None), [3, 2, 4]);
    assert_eq!(search(Some(Beside { of: &of, mean: 0.4 })), [3, 4, 2], "the sea is beside the granite");
    let alone = Beside { of: &|_| [None, None], mean: 0.0 };
    assert_eq!(search(Some(alone)), search(None));
    let scores = |beside| ask(&index, "granite salt", 9, &all(), beside).rows.into_iter().map(|hit| hit.score).collect::<Vec<_>>();
    assert!(scores(Some(alone)).iter().zip(scores(None)).all(|(a, b)| (a - b).abs() < 1e-5));
    assert_eq!(ask(&index, "granite", 1, &all(), Some(alone)).rows.len(), 1);
}

#[test]
fn a_chunk_is_stemmed_by_its_language_and_a_question_by_all_of_them() {
    let index = index_of(&[
        "Die Leuchttürme an der Küste werden jeden Morgen von den Wärtern gereinigt.",
        "The lighthouses at the coast are cleaned by their keepers every morning.",
        "Маяки на побережье каждое утро чистят смотрители, которые живут рядом.",
    ]);
    assert_eq!(found(&index, "Leuchtturm"), [0]);
    assert_eq!(found(&index, "cleaning a lighthouse"), [1]);
    assert_eq!(found(&index, "маяк"), [2]);
    assert_eq!(index.languages(&index.reader.searcher()).unwrap().main.len(), 3);
}

#[test]
fn a_rare_language_is_read_in_its_own_rows_only() {
    let mut texts = vec!["mad dogs bark"; 200];
    texts.push("Die Leuchttürme an der Küste werden jeden Morgen von den Wärtern gereinigt.");
    texts.push("Il guardiano del faro scrive ogni mattina l'altezza della marea nel suo quaderno.");
    let index = index_of(&texts);
    let languages = index.languages(&index.reader.searcher()).unwrap();
    assert_eq!(languages.rare.iter().map(|language| language.code).collect::<Vec<_>>(), ["ita", "deu"]);
    assert_eq!((found(&index, "Leuchtturm"), found(&index, "gereinigt")), (vec![200], vec![200]));
    assert_eq!(found(&index, "quaderni"), [201]);
    assert_eq!(found(&index, "made"), NONE, "its Italian stem is an English word");
    assert_eq!(index.occurrences(&["made", "Leuchtturm"]).unwrap().1, [0, 1]);
    let left = |query: &str| narrow(&index, query, &all()).unwrap().rows.contains(200);
    assert!(left("\"der Küste\"") && !left("mad -Leuchtturm"));
    assert!(narrow(&index, "dogs -made", &all()).unwrap().rows.contains(0));
}

/// Few rows are looked at one by one, many by going through the postings.
#[test]
fn rows_score_the_same_among_few_and_among_many() {
    let texts: Vec<String> = (0..600).map(|n| format!("alpha {} {} {n}", "beta ".repeat(n % 5), "gamma ".repeat(n % 7))).collect();
    let index = TextIndex::open(None).unwrap();
    for (batch, texts) in texts.chunks(150).enumerate() {
        let first = batch as Row * 150;
        index.apply((first..).zip(texts).map(|(row, text)| add(row, text)).collect(), batch as u64 + 1).unwrap();
    }
    index.apply(vec![TextChange::Remove { row: 7 }, add(11, "beta anew")], 9).unwrap();
    let few: RoaringBitmap = (0..40).collect();
    let of = |row: Row| [row.checked_sub(1), Some(row + 1)];
    for beside in [None, Some(Beside { of: &of, mean: 1.9 })] {
        for query in ["beta", "\"beta gamma\" 30", "gamma \"alpha beta\" 12 13"] {
            let many = ask(&index, query, 600, &all(), beside).rows.into_iter().filter(|hit| few.contains(hit.row));
            let many: Vec<(Row, f32)> = many.map(|hit| (hit.row, hit.score)).collect();
            let few: Vec<(Row, f32)> = ask(&index, query, 40, &few, beside).rows.into_iter().map(|hit| (hit.row, hit.score)).collect();
            assert!(!few.is_empty() && few.iter().all(|(row, _)| *row != 7), "{query}");
            assert_eq!(few, many, "{query}");
        }
    }
}

#[test]
fn identifiers_are_found_whole_before_their_words() {
    let index = index_of(&["parse the query", "call parse_query here", "the HttpClient waits", "COVID 19 and 2019", "since COVID-19 came"]);
    assert_eq!(found(&index, "parse_query"), [1, 0]);
    assert_eq!(found(&index, "http client"), [2]);
    assert_eq!(found(&index, "covid-19"), [4, 3]);
}

#[test]
fn quoted_words_are_required_and_excluded_ones_are_gone() {
    let index =
        index_of(&["the neap tide is low", "tide tables, neap and spring", "a neap of another tide", "潮汐表在港口", "港口的潮水表"]);
    let left = |query: &str| narrow(&index, query, &all()).map(|narrowed| narrowed.rows.iter().filter(|row| *row < 5).collect::<Vec<_>>());
    assert_eq!(left("\"neap tide\" tables"), Some(vec![0]));
    assert_eq!(left("\"tides are\""), Some(vec![0, 1, 2, 3, 4]), "nobody has it: not required");
    assert_eq!(left("tide -tables"), Some(vec![0, 2, 3, 4]));
    assert_eq!(left("tide -\"neap tide\" -another"), Some(vec![1, 3, 4]));
    assert_eq!(left("「潮汐表」"), Some(vec![3]));
    for plain in ["tide", "neap-tide", "What is a \"neap tide\" -tables?", "tide -5 - x", "\"\" tide"] {
        assert_eq!(left(plain), None, "{plain}");
    }
    assert_eq!(found(&index, "what is \"neap tide\"?").first(), Some(&0));
    assert_eq!(found(&index, "-tide"), NONE);
    let narrowed = narrow(&index, "\"spring\"", &[0, 2].into_iter().collect()).unwrap();
    assert_eq!((narrowed.rows.len(), narrowed.requires_quoted, narrowed.excludes), (2, false, false), "only allowed rows count");
    let allowed: RoaringBitmap = [0, 1].into_iter().collect();
    let kept = narrow(&index, "neap -tide", &allowed).unwrap();
    assert_eq!((kept.rows, kept.excludes), (allowed, false), "all allowed rows have it: not excluded");
    assert!(narrow(&index, "neap -tables", &all()).unwrap().excludes);
}

#[test]
fn no_query_is_an_error_and_no_word_means_no_hit() {
    let index = index_of(&["a AND b", "title:x"]);
    for nothing in ["", "?!", "  \n", "\"", "( [ { + - ^ ~"] {
        assert_eq!(found(&index, nothing), NONE, "{nothing:?}");
    }
    assert_eq!(found(&index, "title:\"x\" AND (b"), [1, 0]);
    assert_eq!(found(&index, &"word ".repeat(10_000)), NONE);
    let many: String = (0..2_000).map(|n| format!("w{n} ")).chain(["title".into()]).collect();
    assert_eq!(found(&index, &many), NONE, "terms past the limit are ignored");
    assert_eq!(ask(&index, "title", 0, &all(), None), TextHits::default());
}

#[test]
fn changes_apply_in_order_and_replays_do_no_harm() {
    let index = TextIndex::open(None).unwrap();
    let changes = vec![add(1, "old words"), add(2, "other words"), add(1, "new words"), TextChange::Remove { row: 2 }, add(3, "words")];
    for round in 0..3 {
        index.apply(changes.clone(), 5).unwrap();
        assert_eq!(index.stats().rows, 2, "round {round}");
        assert_eq!(found(&index, "old other"), NONE, "round {round}");
        assert_eq!(found(&index, "new"), [1], "round {round}");
    }
    index.apply(vec![TextChange::Remove { row: 1 }, TextChange::Remove { row: 99 }], 6).unwrap();
    assert_eq!((found(&index, "new"), found(&index, "words"), index.checkpoint()), (vec![], vec![3], 6));
}

#[test]
fn only_allowed_rows_and_ties_by_row_also_at_the_cut() {
    let index = TextIndex::open(None).unwrap();
    for batch in [[9, 4], [7, 2], [8, 1]] {
        index.apply(batch.map(|row| add(row, "same text")).to_vec(), 1).unwrap();
    }
    let hits = |k, allowed: &[Row]| -> Vec<Row> {
        let allowed = allowed.iter().copied().collect();
        ask(&index, "same", k, &allowed, None).rows.into_iter().map(|hit| hit.row).collect()
    };
    assert_eq!(hits(3, &[1, 2, 4, 7, 8, 9]), [1, 2, 4]);
    assert_eq!(hits(2, &[9, 8, 4]), [4, 8]);
    assert_eq!(hits(9, &[1_000]), NONE);
}

#[test]
fn merging_changes_neither_order_nor_score() {
    let texts: Vec<String> = (0..60).map(|n| format!("alpha {} {}", "beta ".repeat(n % 5), "gamma ".repeat(n % 7))).collect();
    let whole = index_of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let pieces = TextIndex::open(None).unwrap();
    for (row, text) in (0..).zip(&texts) {
        pieces.apply(vec![add(row, text)], u64::from(row)).unwrap();
    }
    assert_eq!(whole.stats().segments, 1);
    for query in ["alpha", "beta gamma", "gamma beta alpha"] {
        let (a, b) = (ask(&whole, query, 20, &all(), None).rows, ask(&pieces, query, 20, &all(), None).rows);
        assert_eq!(a.iter().map(|hit| hit.row).collect::<Vec<_>>(), b.iter().map(|hit| hit.row).collect::<Vec<_>>(), "{query}");
        assert!(a.iter().zip(&b).all(|(a, b)| (a.score - b.score).abs() < 1e-5), "{query}");
    }
}

#[test]
fn thousands_of_tiny_commits_stay_few_segments() {
    let index = TextIndex::open(None).unwrap();
    let mut most = 0;
    for row in 0..2_000 {
        index.apply(vec![add(row, &format!("needle{row} hay"))], u64::from(row)).unwrap();
        most = most.max(index.stats().segments);
    }
    // Size classes: up to 64, to 512, to 4,096 rows; fewer than eight segments in each.
    assert!(most <= 24, "{most} segments");
    assert_eq!(index.stats().rows, 2_000);
    assert_eq!(found(&index, "needle7 needle1999"), [7, 1999]);
}

#[test]
fn removed_rows_are_merged_away() {
    let index = index_of(&["gone"; 100]);
    index.apply((0..90).map(|row| TextChange::Remove { row }).collect(), 2).unwrap();
    let searcher = index.reader.searcher();
    assert_eq!(searcher.segment_readers().iter().map(|segment| segment.num_deleted_docs()).sum::<u32>(), 0);
    assert_eq!(index.stats().rows, 10);
}

/// A kill between a commit and its merges leaves them to the next writer, which does them before it commits.
#[test]
fn the_first_removal_is_not_lost_in_a_merge_that_a_kill_put_off() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("text");
    let index = TextIndex::open(Some(&dir)).unwrap();
    let unmerged = |changes: Vec<TextChange>, checkpoint| {
        let mut writer = index.writer().unwrap();
        writer.set_merge_policy(Box::new(tantivy::indexer::NoMergePolicy));
        changes.into_iter().for_each(|change| index.write(&writer, change).unwrap());
        let mut commit = writer.prepare_commit().unwrap();
        commit.set_payload(&payload(checkpoint));
        commit.commit().unwrap();
        writer.wait_merging_threads().unwrap();
    };
    // The second segment is half dead: it is merged into the first.
    unmerged((0..10).map(|row| add(row, "words")).collect(), 1);
    unmerged((10..14).map(|row| add(row, "words")).collect(), 2);
    unmerged(vec![TextChange::Remove { row: 12 }, TextChange::Remove { row: 13 }], 3);
    drop(index);
    let index = TextIndex::open(Some(&dir)).unwrap();
    index.apply(vec![TextChange::Remove { row: 10 }, add(20, "words")], 4).unwrap();
    assert_eq!(index.rows(), 12);
    assert_eq!(index.count(&[10].into_iter().collect()).unwrap(), 0);
}

#[test]
fn an_index_reopens_with_its_checkpoint_and_rows() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("deep/text");
    {
        let index = TextIndex::open(Some(&dir)).unwrap();
        assert_eq!(index.checkpoint(), 0);
        index.apply(vec![add(3, "kept text")], 41).unwrap();
        index.apply(vec![], 42).unwrap();
    }
    let index = TextIndex::open(Some(&dir)).unwrap();
    assert_eq!((index.checkpoint(), found(&index, "kept")), (42, vec![3]));
    // The checkpoint outlives a merge, which writes its own commit.
    for row in 10..30 {
        index.apply(vec![add(row, "more text")], 43 + u64::from(row)).unwrap();
    }
    drop(index);
    assert_eq!(TextIndex::open(Some(&dir)).unwrap().checkpoint(), 72);
}

/// Every file of an index, one after the other: shortened, altered, emptied, removed.
#[test]
fn a_damaged_index_is_whole_or_empty() {
    let original = tempfile::tempdir().unwrap();
    let index = TextIndex::open(Some(original.path())).unwrap();
    index.apply((0..50).map(|row| add(row, "some text to damage")).collect(), 7).unwrap();
    index.apply(vec![TextChange::Remove { row: 3 }], 8).unwrap();
    drop(index);
    let mut replaced = 0;
    let names: Vec<_> = fs::read_dir(original.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for name in &names {
        for damage in 0..4 {
            let copy = tempfile::tempdir().unwrap();
            for file in &names {
                fs::copy(original.path().join(file), copy.path().join(file)).unwrap();
            }
            let path = copy.path().join(name);
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            match damage {
                0 => bytes.truncate(middle),
                1 => bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 0x55),
                2 => bytes.clear(),
                _ => fs::remove_file(&path).unwrap(),
            }
            if damage < 3 {
                fs::write(&path, bytes).unwrap();
            }
            let index = TextIndex::open(Some(copy.path())).unwrap();
            let state = (index.checkpoint(), index.stats().rows, found(&index, "damage").len());
            assert!(state == (8, 49, 10) || state == (0, 0, 0), "{name:?} damaged by {damage}: {state:?}");
            replaced += usize::from(state.0 == 0);
            index.apply(vec![add(5, "works again")], 9).unwrap();
            assert_eq!(found(&index, "again"), [5], "{name:?} damaged by {damage}");
        }
    }
    assert!(replaced > names.len(), "{replaced} of {} damages noticed", names.len() * 4);
}

#[test]
fn another_version_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let index = TextIndex::open(Some(dir.path())).unwrap();
    index.apply(vec![add(1, "text")], 8).unwrap();
    drop(index);
    let path = dir.path().join("meta.json");
    let meta = fs::read_to_string(&path).unwrap();
    let ours = format!("\"payload\":\"{} 8\"", analyzer::VERSION);
    let foreign = meta.replace(&ours, "\"payload\":\"999 8\"").replace(&ours.replace(':', ": "), "\"payload\": \"999 8\"");
    assert_ne!(meta, foreign);
    fs::write(&path, foreign).unwrap();
    let index = TextIndex::open(Some(dir.path())).unwrap();
    assert_eq!((index.checkpoint(), index.stats().rows), (0, 0));
}

/// Rows come, are replaced and go, in batches of all sizes; after each the index holds exactly those that there are.
#[test]
fn random_changes_leave_exactly_the_rows_that_there_are() {
    let seed = std::env::var("RAGSTONE_SEED").map_or(20_261_123, |seed| seed.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("text");
    let mut index = TextIndex::open(Some(&dir)).unwrap();
    let mut known = std::collections::BTreeSet::new();
    let rounds = std::env::var("RAGSTONE_ROUNDS").map_or(150, |rounds| rounds.parse().unwrap());
    for round in 1..=rounds {
        let changes = (0..random.usize(1..12)).map(|_| {
            let row = random.u32(0..300);
            if random.u8(0..3) == 0 {
                known.remove(&row);
                TextChange::Remove { row }
            } else {
                known.insert(row);
                add(row, &format!("row {row} of round {round} {}", "word ".repeat(random.usize(0..200))))
            }
        });
        let changes: Vec<TextChange> = changes.collect();
        index.apply(changes, round).unwrap();
        if random.u8(0..10) == 0 {
            drop(index);
            index = TextIndex::open(Some(&dir)).unwrap();
        }
        assert_eq!((index.rows(), index.checkpoint()), (known.len() as u64, round), "seed {seed}, round {round}");
        let rows: RoaringBitmap = known.iter().copied().collect();
        assert_eq!(index.count(&rows).unwrap(), known.len() as u64, "seed {seed}, round {round}");
    }
}
