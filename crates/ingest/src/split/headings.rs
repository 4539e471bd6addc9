//! Which headings a place in the text stands under.

use crate::parse::Heading;
use std::ops::Range;

/// The headings of a document, each with the one above it.
pub(super) struct HeadingTree<'d> {
    headings: &'d [Heading],
    parents: Vec<Option<usize>>,
}

impl<'d> HeadingTree<'d> {
    pub(super) fn new(headings: &'d [Heading]) -> Self {
        let mut parents = Vec::with_capacity(headings.len());
        let mut open: Vec<(u8, usize)> = Vec::new();
        for (index, heading) in headings.iter().enumerate() {
            while open.pop_if(|(level, _)| *level >= heading.level).is_some() {}
            parents.push(open.last().map(|(_, parent)| *parent));
            open.push((heading.level, index));
        }
        Self { headings, parents }
    }

    /// The titles above the first character of a chunk that is not itself a heading's, outermost
    /// first. A chunk that begins with its heading stands under it.
    pub(super) fn path_of(&self, text: &str, chunk: Range<usize>) -> Vec<String> {
        let mut next = self.headings.partition_point(|heading| heading.byte_start <= chunk.start);
        let mut place = chunk.start;
        if next.checked_sub(1).and_then(|index| self.headings.get(index)).is_some_and(|heading| heading.byte_start == place) {
            place = after_heading(text, place);
        }
        while let Some(heading) = self.headings.get(next).filter(|heading| heading.byte_start < chunk.end && heading.byte_start <= place) {
            place = after_heading(text, heading.byte_start);
            next += 1;
        }
        let mut path: Vec<String> = std::iter::successors(next.checked_sub(1), |index| self.parents.get(*index).copied().flatten())
            .filter_map(|index| Some(self.headings.get(index)?.title.clone()))
            .collect();
        path.reverse();
        path
    }
}

/// The first character after a heading's line, its underline and white space.
fn after_heading(text: &str, heading: usize) -> usize {
    let rest = text.get(heading..).unwrap_or_default();
    let mut after = rest.split_once('\n').map_or("", |(_, after)| after);
    let underline = after.lines().next().unwrap_or_default().trim_end();
    if !underline.is_empty() && (underline.bytes().all(|byte| byte == b'=') || underline.bytes().all(|byte| byte == b'-')) {
        after = after.split_once('\n').map_or("", |(_, after)| after);
    }
    text.len() - after.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::markdown_headings;

    #[test]
    fn a_chunk_stands_under_what_is_above_its_first_words() {
        let text = "intro\n\n# A\n\n## B\n\nunder b\n\n### D\n\nd\n\nC\n---\n\nunder c\n\n# E\n";
        let headings = markdown_headings(text);
        let tree = HeadingTree::new(&headings);
        let path = |from: &str| tree.path_of(text, text.find(from).unwrap()..text.len()).join("/");
        assert_eq!(path("intro"), "");
        assert_eq!(path("# A"), "A/B", "headings at the start of a chunk are passed over");
        assert_eq!(path("under b"), "A/B");
        assert_eq!(path("d\n\nC"), "A/B/D");
        assert_eq!(path("C\n"), "A/C");
        assert_eq!(path("under c"), "A/C");
        assert_eq!(path("# E"), "E");
        assert_eq!(tree.path_of(text, 7..10), ["A"], "a chunk that is only a heading");
    }
}
