//! XHTML for a parser of HTML, to which `<title/>` begins a title that never ends.

/// Elements of HTML that have no end tag (WHATWG HTML, 13.1.2).
const VOID: &[&str] = &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];

/// Elements inside more others than this lose their tags: time and stack of a parser grow with depth.
const LEVELS_MAX: usize = 256;

/// Gives every element that ends itself an end tag, unless HTML knows none for it.
pub(super) fn as_html(xhtml: &str) -> String {
    let mut html = Html { text: String::with_capacity(xhtml.len()), level: 0 };
    let mut rest = xhtml;
    while let Some(start) = rest.find('<') {
        let (before, tag) = rest.split_at(start);
        let (tag, after) = tag.split_at(tag_end(tag));
        html.text.push_str(before);
        html.push_tag(tag);
        rest = after;
    }
    html.text.push_str(rest);
    html.text
}

struct Html {
    text: String,
    /// Elements that are open.
    level: usize,
}

impl Html {
    fn push_tag(&mut self, tag: &str) {
        let name = name_of(tag.get(1..).unwrap_or_default());
        let is_void = VOID.contains(&name.to_ascii_lowercase().as_str());
        match tag.strip_suffix("/>") {
            _ if tag.starts_with("</") => {
                self.push(tag);
                self.level = self.level.saturating_sub(1);
            }
            _ if name.is_empty() || is_void => self.push(tag),
            Some(inner) => self.push(&format!("{inner}></{name}>")),
            None => {
                self.level += 1;
                self.push(tag);
            }
        }
    }

    fn push(&mut self, tag: &str) {
        if self.level <= LEVELS_MAX {
            self.text.push_str(tag);
        }
    }
}

fn name_of(tag: &str) -> &str {
    tag.split(|c: char| !c.is_alphanumeric() && c != '-' && c != ':').next().unwrap_or_default()
}

/// Length of the tag or comment that `text` begins with; one that does not end reaches to the end.
fn tag_end(text: &str) -> usize {
    if text.starts_with("<!--") {
        return text.find("-->").map_or(text.len(), |end| end + 3);
    }
    let mut quote = None;
    for (index, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return index + 1,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if byte == open => quote = None,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_that_end_themselves_get_an_end() {
        let xhtml = "<title/><p>a<br/><a id='x/>'/>b</p><!-- <i/> --><svg:g /><img alt=\"1 > 0\"/>< 3 <b";
        let html = "<title></title><p>a<br/><a id='x/>'></a>b</p><!-- <i/> --><svg:g ></svg:g><img alt=\"1 > 0\"/>< 3 <b";
        assert_eq!(as_html(xhtml), html);
    }

    #[test]
    fn depth_is_cut_and_text_stays() {
        let deep = format!("{}core{}<p>end</p>", "<div>".repeat(90_000), "</div>".repeat(90_000));
        let html = as_html(&deep);
        assert_eq!((html.matches("<div>").count(), html.matches("</div>").count()), (LEVELS_MAX, LEVELS_MAX));
        assert!(html.contains("core") && html.ends_with("<p>end</p>"));
    }
}
