//! HTML: the main content as Markdown.
//!
//! Readability finds the article of a page. It is made for articles: on a page that is all tables,
//! lists or short entries it keeps a corner. So its answer stands only if it holds a fair share of
//! the page's text without chrome (scripts, navigation, header, footer); else that text is taken.

use super::decode::Decoded;
use super::{ParseError, ParsedDocument, with_warning};
use dom_query::Document;
use dom_smoothie::{Config, Readability, TextMode};

/// Never content.
const INVISIBLE: &str = "script, style, noscript, template, svg, canvas, iframe, object, embed, img, picture, video, audio, link, meta, [hidden], [aria-hidden='true']";
/// Around the content.
const CHROME: &str =
    "nav, header, footer, aside, form, button, dialog, [role='navigation'], [role='banner'], [role='contentinfo'], [role='search']";
/// Links are kept if they lead somewhere, in at most so many bytes; a retriever reads the rest as noise.
const ADDRESS_BYTES_MAX: usize = 120;
/// Deeper pages are read as bare text: Readability's time grows with the square of the depth, and
/// writing Markdown takes stack for each level. Pages made by people stay under a hundred.
const LEVELS_MAX: usize = 512;
/// The article must hold at least this share of the page's text.
const ARTICLE_SHARE_MIN: f64 = 0.4;

pub(super) fn parse(decoded: Decoded) -> Result<ParsedDocument, ParseError> {
    let page = Document::from(decoded.text.as_str());
    let title = words(&page, "head title");
    remove(&page, INVISIBLE);
    simplify(&page);
    if depth(&page) > LEVELS_MAX {
        return Ok(bare(&page, title, decoded.warning));
    }
    let headline = words(&page, "h1");
    let article = article(page.clone());
    let whole = page.clone();
    remove(&whole, CHROME);
    let text = match article {
        Some(article) if is_enough(&article, &body(&whole)) => article,
        _ => [body(&whole), body(&page)].into_iter().find(|text| letters(text) > 0).unwrap_or_default(),
    };
    let mut document = ParsedDocument::markdown("text/html", readable(&text));
    // Readability takes the headline for a part of the frame
    let is_missing =
        letters(&text) > 0 && document.headings.iter().all(|heading| heading.level > 1 && Some(&heading.title) != headline.as_ref());
    if let Some(headline) = headline.as_ref().filter(|_| is_missing) {
        document = ParsedDocument::markdown("text/html", format!("# {headline}\n\n{}", document.text));
    }
    document.title = title.or(headline);
    Ok(with_warning(document, decoded.warning))
}

/// The whole page, without a search for its main content: a chapter of a book is all content.
pub(super) fn parse_whole(decoded: Decoded) -> ParsedDocument {
    let page = Document::from(decoded.text.as_str());
    let title = words(&page, "head title");
    remove(&page, INVISIBLE);
    simplify(&page);
    if depth(&page) > LEVELS_MAX {
        return bare(&page, title, decoded.warning);
    }
    let document = ParsedDocument::markdown("text/html", readable(&body(&page)));
    with_warning(ParsedDocument { title, ..document }, decoded.warning)
}

fn words(page: &Document, selector: &str) -> Option<String> {
    let words = page.select(selector).nodes().first()?.text().split_whitespace().collect::<Vec<_>>().join(" ");
    (!words.is_empty()).then_some(words)
}

/// Unwraps links that lead nowhere and keeps cells apart that are not shown as a table.
fn simplify(page: &Document) {
    for link in page.select("a").nodes() {
        let address = link.attr_or("href", "");
        let is_kept = (address.starts_with("http://") || address.starts_with("https://")) && address.len() <= ADDRESS_BYTES_MAX;
        link.remove_attr("title");
        if letters(&link.text()) == 0 {
            link.remove_from_parent();
        } else if !is_kept {
            link.rename("span");
            link.remove_all_attrs();
        }
    }
    for cell in page.select("td, th").nodes() {
        cell.append_html(" ");
    }
}

/// Without escapes that nothing needs: an underscore inside a word marks no emphasis, and a quote
/// of `max\_tokens` would not be what the page says.
fn readable(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    let mut is_code = false;
    for line in markdown.split_inclusive('\n') {
        is_code ^= line.trim_start().starts_with("```");
        match is_code {
            true => out.push_str(line),
            false => push_unescaped(&mut out, line),
        }
    }
    out.replace(['\0', '\r', '\u{200b}'], "")
}

fn push_unescaped(out: &mut String, line: &str) {
    let mut parts = line.split("\\_");
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let is_inside = out.ends_with(char::is_alphanumeric) && part.starts_with(char::is_alphanumeric);
        out.push_str(if is_inside { "_" } else { "\\_" });
        out.push_str(part);
    }
}

fn bare(page: &Document, title: Option<String>, warning: Option<String>) -> ParsedDocument {
    let text = page.select("body").nodes().first().map(|body| body.text().to_string()).unwrap_or_default();
    let mut document = ParsedDocument::plain("text/html", readable(&text));
    document.title = title;
    document.warnings.push(format!("the page is nested deeper than {LEVELS_MAX} levels; it was read without its structure"));
    with_warning(document, warning)
}

/// Levels of the tree, walked without recursion.
fn depth(page: &Document) -> usize {
    let (mut depth, mut deepest, mut next) = (0usize, 0, Some(page.root()));
    while let Some(node) = next {
        deepest = deepest.max(depth);
        next = if let Some(child) = node.first_child() {
            depth += 1;
            Some(child)
        } else {
            let mut node = Some(node);
            while let Some(up) = node.as_ref().filter(|node| node.next_sibling().is_none()).map(|node| node.parent()) {
                depth = depth.saturating_sub(1);
                node = up;
            }
            node.and_then(|node| node.next_sibling())
        };
    }
    deepest
}

fn remove(page: &Document, selector: &str) {
    page.select(selector).remove();
}

fn article(page: Document) -> Option<String> {
    let config = Config { text_mode: TextMode::Markdown, disable_json_ld: true, ..Config::default() };
    let article = Readability::with_document(page, None, Some(config)).ok()?.parse().ok()?;
    Some(article.text_content.to_string())
}

fn body(page: &Document) -> String {
    page.select("body").nodes().first().map(|body| body.md(None).to_string()).unwrap_or_default()
}

fn is_enough(article: &str, page: &str) -> bool {
    let (article, page) = (letters(article), letters(page));
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    let is_enough = article as f64 >= page as f64 * ARTICLE_SHARE_MIN;
    is_enough && article > 0
}

fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphanumeric()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(html: &str) -> ParsedDocument {
        parse(Decoded { text: html.into(), warning: None }).unwrap()
    }

    #[test]
    fn content_without_chrome() {
        let words = "The lamp turns once in nine seconds and is seen for twenty miles, in fog for two. ".repeat(8);
        let page = parsed(&format!(
            "<html><head><title>The  lamp</title><style>p{{}}</style></head><body><nav><a href=/>Home</a></nav>\
             <article><h1>Lamp</h1><p>{words}</p><h2>Fuel</h2><p>{words}</p></article><script>track()</script><footer>Imprint</footer></body></html>"
        ));
        assert_eq!(page.title.as_deref(), Some("The lamp"));
        assert!(page.text.starts_with("# Lamp\n"));
        assert!(page.text.contains("nine seconds"));
        assert!(page.headings.iter().any(|heading| heading.title == "Fuel"));
        for gone in ["track()", "Home", "Imprint", "p{}"] {
            assert!(!page.text.contains(gone), "{gone} in {}", page.text);
        }
    }

    #[test]
    fn a_bottomless_page_is_read_as_bare_text() {
        let page = parsed(&format!("<title>deep</title>{}core{}", "<div>".repeat(2_000), "</div>".repeat(2_000)));
        assert_eq!((page.text.trim(), page.format, page.warnings.len()), ("core", crate::parse::TextFormat::Plain, 1));
    }

    #[test]
    fn links_and_escapes_that_say_nothing_are_gone() {
        let page = parsed(
            "<h1>See max_tokens<a href='#x'>¶</a></h1><p><a href='/rel' title='t'>here</a> and <a href='https://example.org/'>there</a> <img alt='pixel' src='data:x'></p>",
        );
        assert_eq!(page.text.trim(), "## See max_tokens\n\nhere and [there](https://example.org/)");
    }

    #[test]
    fn a_page_that_is_all_table_keeps_its_text() {
        let rows: String = (0..40).map(|i| format!("<tr><td>part {i}</td><td>{}</td></tr>", i * 7)).collect();
        let page = parsed(&format!("<p>Parts.</p><table><tr><th>name</th><th>weight</th></tr>{rows}</table>"));
        assert!(page.text.contains("| part 39 | 273 |"), "{}", page.text);
        assert!(page.text.contains("| name"));
    }
}
