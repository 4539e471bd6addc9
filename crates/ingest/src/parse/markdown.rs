//! Headings of Markdown text. The text itself is kept as it is, front matter included: what a
//! person reads in the file is what is cited.

use super::Heading;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The headings of a Markdown text, in order, found by a CommonMark parser: a `#` inside a code
/// fence is none. Headings without words are left out.
#[must_use]
pub fn markdown_headings(text: &str) -> Vec<Heading> {
    let mut headings = Vec::new();
    let mut open: Option<Heading> = None;
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                open = Some(Heading { byte_start: range.start, level: level as u8, title: String::new() })
            }
            Event::End(TagEnd::Heading(_)) => headings.extend(open.take().and_then(finished)),
            Event::Text(words) | Event::Code(words) => append(&mut open, &words),
            Event::SoftBreak | Event::HardBreak => append(&mut open, " "),
            _ => {}
        }
    }
    headings
}

fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS | Options::ENABLE_STRIKETHROUGH
}

fn append(open: &mut Option<Heading>, words: &str) {
    if let Some(heading) = open {
        heading.title.push_str(words);
    }
}

fn finished(heading: Heading) -> Option<Heading> {
    let title = heading.title.split_whitespace().collect::<Vec<_>>().join(" ");
    (!title.is_empty()).then_some(Heading { title, ..heading })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_those_of_commonmark() {
        let text = "---\ntitle: x\n---\n\n# One *big* `thing`\n\n```sh\n# comment\n```\n\nTwo\n---\n\n#hashtag\n\n### 三\n";
        let found: Vec<_> =
            markdown_headings(text).into_iter().map(|heading| (heading.level, heading.title, &text[heading.byte_start..][..2])).collect();
        assert_eq!(found, [(1, "One big thing".to_owned(), "# "), (2, "Two".to_owned(), "Tw"), (3, "三".to_owned(), "##")]);
    }
}
