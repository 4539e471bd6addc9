//! Reads on around the chunks that were found: what answers may stand beside what was searched for.

use crate::retrieve::ChunkSource;
use crate::search::{Hit, SearchError};
use std::collections::HashSet;

/// `hits`, and behind them the chunks up to `distance` beside each, the best hit's first. They were not ranked: their
/// score is 0, and they fill what the hits leave of a context. Blocking.
///
/// # Errors
/// [`SearchError`].
pub(crate) fn with_neighbours(mut hits: Vec<Hit>, distance: usize, source: &dyn ChunkSource) -> Result<Vec<Hit>, SearchError> {
    if distance == 0 {
        return Ok(hits);
    }
    let mut known: HashSet<_> = hits.iter().map(|hit| hit.row).collect();
    let mut beside = Vec::new();
    for hit in &hits {
        let (before, after) = source.neighbours(hit.row, distance)?;
        let rows: Vec<_> = before.into_iter().chain(after).filter(|row| known.insert(*row)).collect();
        let stored = rows.iter().zip(source.chunks(&rows)?).filter_map(|(row, stored)| Some(Hit::of(*row, 0.0, stored?)));
        beside.extend(stored.filter(|other| (&other.document_id, other.version) == (&hit.document_id, hit.version)));
    }
    hits.append(&mut beside);
    Ok(hits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeSource;
    use crate::fuse::LegWeights;
    use crate::search::{SearchRequest, search};
    use corpus::Principals;

    #[test]
    fn what_stands_beside_a_hit_follows_the_hits_once_each() {
        let mut source = FakeSource::new(&["en"]);
        source.add("keeper.md", "The keeper lit the lamp.\n\nIt burned colza oil.\n\nThe bill came in May.\n\nNobody paid.");
        source.add("other.md", "A keel is a part of a ship.");
        let request = SearchRequest { top_k: 1, ..SearchRequest::new("colza oil") };
        let hits = || search(&source, &request, &Principals::All, LegWeights::default()).unwrap().hits;
        let texts = |hits: Vec<Hit>| hits.into_iter().map(|hit| (hit.text, hit.score > 0.0)).collect::<Vec<_>>();
        let oil = ("It burned colza oil.".to_owned(), true);
        assert_eq!(texts(with_neighbours(hits(), 0, &source).unwrap()), std::slice::from_ref(&oil));
        let beside = [oil.clone(), ("The keeper lit the lamp.".to_owned(), false), ("The bill came in May.".to_owned(), false)];
        assert_eq!(texts(with_neighbours(hits(), 1, &source).unwrap()), beside);
        let twice = [hits(), hits()].concat();
        assert_eq!(texts(with_neighbours(twice, 1, &source).unwrap()), [&[oil], &beside[..]].concat());
    }
}
