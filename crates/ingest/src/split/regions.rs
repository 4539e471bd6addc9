//! Large documents are cut in regions first: the time of `text-splitter` grows with the square of
//! what it is given (a megabyte of Markdown lists took it 23 s, in regions under 1 s). Regions
//! begin at headings where there are some, so that hardly a chunk would have crossed the border.

use crate::parse::Heading;
use std::ops::Range;

/// Most bytes of a region, and fewest before a border is looked for.
const BYTES_MAX: usize = 32 * 1024;
const BYTES_MIN: usize = 8 * 1024;

/// Cuts the text at headings, else at paragraphs, lines, words, characters: the last in reach.
pub(super) fn regions(text: &str, headings: &[Heading]) -> Vec<Range<usize>> {
    let mut regions = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let end = if text.len() - start <= BYTES_MAX { text.len() } else { border(text, headings, start) };
        regions.push(start..end);
        start = end;
    }
    regions
}

fn border(text: &str, headings: &[Heading], start: usize) -> usize {
    let (first, last) = (text.ceil_char_boundary(start + BYTES_MIN), text.floor_char_boundary(start + BYTES_MAX));
    let heading = headings.partition_point(|heading| heading.byte_start <= last).checked_sub(1).and_then(|index| headings.get(index));
    if let Some(heading) = heading.filter(|heading| heading.byte_start >= first && text.is_char_boundary(heading.byte_start)) {
        return heading.byte_start;
    }
    let reach = text.get(first..last).unwrap_or_default();
    let after = |mark: &str| reach.rfind(mark).map(|at| first + at + mark.len());
    ["\n\n", "\n", "。", " "].iter().find_map(|mark| after(mark)).unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_cover_the_text_and_begin_at_headings() {
        let part = format!("# H\n\n{}\n\n", "灯塔 word\n".repeat(900));
        let text = part.repeat(40);
        let headings = crate::parse::markdown_headings(&text);
        for (headings, begins) in [(&headings[..], "# H"), (&[], "")] {
            let regions = regions(&text, headings);
            assert!(regions.len() > 10);
            assert_eq!(regions.iter().map(|region| &text[region.clone()]).collect::<String>(), text);
            assert!(regions.iter().all(|region| region.len() <= BYTES_MAX && text[region.clone()].starts_with(begins)));
        }
        assert_eq!(regions(&"灯".repeat(20_000), &[]).iter().map(Range::len).sum::<usize>(), 60_000);
    }
}
