//! HTML as a stream of tags and text, in one pass and without a tree: for pages that no tree should
//! be built of. It knows comments, quotes in tags, and elements whose content is no markup.

/// A piece of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'h> {
    /// A start tag: its name as written, and what stands behind the name.
    Open { name: &'h str, attributes: &'h str },
    /// An end tag.
    Close { name: &'h str },
    /// Text, references not resolved.
    Text(&'h str),
}

/// Elements whose content runs to their end tag, whatever is in it, and is never shown.
const RAW: &[&str] = &["script", "style", "noscript", "template", "iframe", "noembed", "noframes", "xmp", "svg", "math", "object", "title"];

/// The pieces of a page in order; comments, declarations and raw elements are left out.
pub(super) struct Pieces<'h> {
    rest: &'h str,
}

impl<'h> Pieces<'h> {
    pub(super) const fn of(html: &'h str) -> Self {
        Self { rest: html }
    }

    /// Takes so many bytes.
    fn take(&mut self, bytes: usize) -> &'h str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Takes up to and with `end`, or everything.
    fn skip_past(&mut self, end: &str) {
        self.rest = self.rest.split_once(end).map_or("", |(_, rest)| rest);
    }

    fn tag(&mut self) -> Option<Piece<'h>> {
        let end = tag_end(self.rest);
        let tag = self.take(end);
        let tag = tag.strip_prefix('<')?.trim_end_matches('>');
        let (is_close, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
        let length = tag.find(|c: char| c.is_ascii_whitespace() || c == '/').unwrap_or(tag.len());
        let (name, attributes) = tag.split_at(length);
        if is_close {
            return Some(Piece::Close { name });
        }
        if RAW.iter().any(|raw| raw.eq_ignore_ascii_case(name)) {
            self.skip_raw(name);
            return None;
        }
        Some(Piece::Open { name, attributes })
    }

    fn skip_raw(&mut self, name: &str) {
        while let Some((_, rest)) = self.rest.split_once("</") {
            self.rest = rest;
            if rest.split_at_checked(name.len()).is_some_and(|(start, _)| start.eq_ignore_ascii_case(name)) {
                self.skip_past(">");
                return;
            }
        }
        self.rest = "";
    }
}

impl<'h> Iterator for Pieces<'h> {
    type Item = Piece<'h>;

    fn next(&mut self) -> Option<Piece<'h>> {
        while !self.rest.is_empty() {
            if self.rest.starts_with("<!--") {
                self.skip_past("-->");
            } else if self.rest.starts_with("<!") || self.rest.starts_with("<?") {
                self.skip_past(">");
            } else if is_tag(self.rest) {
                if let Some(piece) = self.tag() {
                    return Some(piece);
                }
            } else {
                // a `<` that begins no tag is text
                let end = self.rest.char_indices().skip(1).find(|(_, c)| *c == '<').map_or(self.rest.len(), |(end, _)| end);
                return Some(Piece::Text(self.take(end)));
            }
        }
        None
    }
}

fn is_tag(rest: &str) -> bool {
    let name = rest.strip_prefix("</").or_else(|| rest.strip_prefix('<'));
    name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Bytes up to and with the `>` that ends a tag: one in quotes doesn't.
fn tag_end(tag: &str) -> usize {
    let mut quote = None;
    for (index, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return index + 1,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    tag.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_text_and_what_is_neither() {
        let html = "<!doctype html>灯 < 9<!-- <b> --><DIV title='a>b'>x</div ><script>if (a</b>) '<p>'</SCRIPT>y<br/>";
        let pieces: Vec<_> = Pieces::of(html).collect();
        let right = [
            Piece::Text("灯 "),
            Piece::Text("< 9"),
            Piece::Open { name: "DIV", attributes: " title='a>b'" },
            Piece::Text("x"),
            Piece::Close { name: "div" },
            Piece::Text("y"),
            Piece::Open { name: "br", attributes: "/" },
        ];
        assert_eq!(pieces, right);
    }

    proptest::proptest! {
        #[test]
        fn every_text_comes_to_an_end(html in "[<>/!'\"a-c 灯-]{0,60}") {
            proptest::prop_assert!(Pieces::of(&html).count() <= html.len());
        }
    }
}
