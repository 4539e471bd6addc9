//! Pages that are nested too deeply: how deep a page is, found out before a tree is built, and the
//! text of such a page.
//!
//! A tree builder asks for every `<div>` whether a paragraph is open, and looks through all open
//! elements for it: a hundred thousand nested ones take a minute.

use super::LEVELS_MAX;
use super::hidden::is_hidden_tag;
use super::tags::{Piece, Pieces};

/// Elements without an end tag.
const VOID: &[&str] = &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];
/// Elements that are not counted: a paragraph holds no other, and of these there is one.
const FLAT: &[&str] = &["p", "html", "body", "head"];
/// Elements that end where the next of their group begins, unless the element named last is between them.
const IMPLIED_ENDS: &[(&[&str], &str)] = &[
    (&["li"], "ul ol menu"),
    (&["dt", "dd"], "dl"),
    (&["td", "th"], "table"),
    (&["tr"], "table"),
    (&["thead", "tbody", "tfoot", "caption", "colgroup"], "table"),
    (&["option", "optgroup"], "select"),
    (&["a"], ""),
    (&["h1", "h2", "h3", "h4", "h5", "h6"], "div section article"),
];
/// Elements inside a line of text.
const INLINE: &[&str] = &[
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "em", "font", "i", "ins", "kbd", "label", "mark", "q", "s", "samp", "small",
    "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
];

/// Whether elements are open inside each other to more than [`LEVELS_MAX`] levels.
pub(super) fn is_too_deep(html: &str) -> bool {
    let mut open: Vec<&str> = Vec::new();
    for piece in Pieces::of(html) {
        match piece {
            Piece::Open { name, attributes } if !is_one_of(VOID, name) && !is_one_of(FLAT, name) && !attributes.ends_with('/') => {
                end_implied(&mut open, name);
                open.push(name);
            }
            // an element may be closed before those inside it; one that isn't open closes nothing
            Piece::Close { name } => truncate_at(&mut open, |known| known.eq_ignore_ascii_case(name), |_| false),
            Piece::Open { .. } | Piece::Text(_) => {}
        }
        if open.len() > LEVELS_MAX {
            return true;
        }
    }
    false
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn end_implied(open: &mut Vec<&str>, name: &str) {
    let Some((group, barriers)) = IMPLIED_ENDS.iter().find(|(group, _)| is_one_of(group, name)) else { return };
    let is_barrier = |known: &str| barriers.split(' ').any(|barrier| barrier.eq_ignore_ascii_case(known));
    truncate_at(open, |known| is_one_of(group, known), is_barrier);
}

/// Closes the innermost element that is looked for, with all inside it, unless a barrier is in between.
fn truncate_at(open: &mut Vec<&str>, is_it: impl Fn(&str) -> bool, is_barrier: impl Fn(&str) -> bool) {
    let innermost = open.iter().rposition(|known| is_it(known) || is_barrier(known));
    if let Some(index) = innermost.filter(|index| open.get(*index).is_some_and(|known| is_it(known))) {
        open.truncate(index);
    }
}

/// The text of a page with a line for each block, without what is hidden.
pub(super) fn bare_text(html: &str) -> String {
    let mut reader = Reader { out: String::new(), hidden: None };
    for piece in Pieces::of(html) {
        match piece {
            Piece::Open { name, attributes } => reader.open(name, attributes),
            Piece::Close { name } => reader.close(name),
            Piece::Text(text) if reader.hidden.is_none() => push_words(&mut reader.out, text),
            Piece::Text(_) => {}
        }
    }
    reader.out
}

struct Reader<'h> {
    out: String,
    /// The element that hides, and how many of its name are open from there on.
    hidden: Option<(&'h str, usize)>,
}

impl<'h> Reader<'h> {
    fn open(&mut self, name: &'h str, attributes: &str) {
        match &mut self.hidden {
            // a paragraph ends where the next one begins
            Some((hiding, _)) if hiding.eq_ignore_ascii_case("p") && name.eq_ignore_ascii_case("p") => self.hidden = None,
            Some((hiding, depth)) => {
                *depth += usize::from(name.eq_ignore_ascii_case(hiding));
                return;
            }
            None => {}
        }
        break_line(&mut self.out, name);
        if is_hidden_tag(attributes) && !is_one_of(VOID, name) {
            self.hidden = Some((name, 1));
        }
    }

    fn close(&mut self, name: &str) {
        let Some((hiding, depth)) = &mut self.hidden else { return break_line(&mut self.out, name) };
        *depth -= usize::from(name.eq_ignore_ascii_case(hiding));
        if *depth == 0 {
            self.hidden = None;
        }
    }
}

/// What a page calls itself.
pub(super) fn title(html: &str) -> Option<String> {
    let (title, _) = html.split_once("<title>")?.1.split_once("</title>")?;
    let title = resolved(title).split_whitespace().collect::<Vec<_>>().join(" ");
    (!title.is_empty()).then_some(title)
}

fn break_line(out: &mut String, name: &str) {
    if !is_one_of(INLINE, name) && !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}

fn push_words(out: &mut String, text: &str) {
    let is_apart = text.starts_with(char::is_whitespace) && !out.is_empty() && !out.ends_with([' ', '\n']);
    if is_apart {
        out.push(' ');
    }
    let words = resolved(text).split_whitespace().collect::<Vec<_>>().join(" ");
    out.push_str(&words);
    if !words.is_empty() && text.ends_with(char::is_whitespace) {
        out.push(' ');
    }
}

/// With the references resolved that prose can't do without.
fn resolved(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let name = after.split(';').next().unwrap_or_default();
        match character(name).filter(|_| after.len() > name.len()) {
            Some(character) => {
                out.push(character);
                rest = after.get(name.len() + 1..).unwrap_or_default();
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    if name.len() > 8 {
        return None;
    }
    if let Some(number) = name.strip_prefix('#') {
        let hexadecimal = number.strip_prefix(['x', 'X']).map(|digits| u32::from_str_radix(digits, 16).ok());
        return char::from_u32(hexadecimal.unwrap_or_else(|| number.parse().ok())?).filter(|c| !matches!(c, '\0' | '\r'));
    }
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_open_counts() {
        let times = LEVELS_MAX + 1;
        assert!(is_too_deep(&"<div>".repeat(times)));
        assert!(is_too_deep(&"<div></x>".repeat(times)), "an end tag of nothing closes nothing");
        assert!(is_too_deep(&"<ul><li>".repeat(times)));
        for flat in ["<p>x", "<div>x</div>", "<br>", "<li>x", "<table><tr><td><font>x<tr><td>y</table>", "<a name=x>", "<div><span></div>"]
        {
            assert!(!is_too_deep(&flat.repeat(times)), "{flat}");
        }
    }

    #[test]
    fn the_text_without_what_is_hidden() {
        let html = "<title>t</title><div>A&amp;B <b>bold</b>ly &lt;&#x32;&gt; &unknown; 5 & 6<div>two</div><p style='display: none'>no<p>one</p>\
            three<div hidden>no<div>no</div></div><br>four</div>";
        assert_eq!(title(html).as_deref(), Some("t"));
        assert_eq!(bare_text(html), "A&B boldly <2> &unknown; 5 & 6\ntwo\none\nthree\nfour\n");
    }
}
