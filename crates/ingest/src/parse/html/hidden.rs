//! What a page holds and no reader sees: text in it is either machinery or meant for machines only,
//! such as instructions to a language model. Style sheets are not evaluated; inline styles are.

use dom_query::Document;

/// Removes elements that are hidden by an attribute or by their own style.
pub(super) fn remove_hidden(page: &Document) {
    page.select("[hidden], [aria-hidden='true']").remove();
    for element in page.select("[style]").nodes() {
        if element.attr("style").is_some_and(|style| hides(&style)) {
            element.remove_from_parent();
        }
    }
}

/// Whether the attributes of a tag, as they are written, hide its content.
pub(super) fn is_hidden_tag(attributes: &str) -> bool {
    let lower = attributes.to_ascii_lowercase();
    let unquoted: Vec<&str> = lower.split(['"', '\'']).step_by(2).collect();
    let has_hidden =
        unquoted.iter().flat_map(|part| part.split([' ', '\t', '\n', '/'])).any(|part| part.split('=').next() == Some("hidden"));
    let is_aria_hidden = ["aria-hidden=\"true", "aria-hidden='true", "aria-hidden=true"].iter().any(|hidden| lower.contains(hidden));
    let style = lower.split_once("style=").map_or("", |(_, style)| style);
    let style = match style.strip_prefix('"') {
        Some(style) => style.split('"').next(),
        None => style.trim_start_matches('\'').split(['\'', '>']).next(),
    };
    let style = style.unwrap_or_default();
    has_hidden || is_aria_hidden || hides(style)
}

fn hides(style: &str) -> bool {
    style.split(';').filter_map(|declaration| declaration.split_once(':')).any(|(property, value)| {
        let value = value.to_ascii_lowercase().replace("!important", "");
        match property.trim().to_ascii_lowercase().as_str() {
            "display" => value.trim() == "none",
            "visibility" => matches!(value.trim(), "hidden" | "collapse"),
            "font-size" | "opacity" => is_zero(value.trim()),
            _ => false,
        }
    })
}

/// `0`, `0.0`, `0px`, `0%`.
fn is_zero(value: &str) -> bool {
    let number = value.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%');
    number.parse::<f64>().is_ok_and(|number| number == 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_that_hide() {
        for style in [
            "display:none",
            "color:red; DISPLAY : None !important",
            "visibility:hidden",
            "font-size:0;color:#fff",
            "font-size: 0.0em",
            "opacity:0",
        ] {
            assert!(hides(style), "{style}");
        }
        for style in ["display:block", "font-size:10px", "opacity:0.5", "none", "background:url(display:none)", "font-size:small"] {
            assert!(!hides(style), "{style}");
        }
    }

    #[test]
    fn tags_that_hide() {
        for tag in [
            " hidden",
            " class=x hidden=''",
            " aria-hidden=\"true\" id=a",
            " style='font-size:0'",
            " style=\"font-family:'x';display:none\"",
        ] {
            assert!(is_hidden_tag(tag), "{tag}");
        }
        for tag in ["", " class='hidden-xs'", " aria-hidden=false", " style=\"color:red\"", " title='the hidden one'"] {
            assert!(!is_hidden_tag(tag), "{tag}");
        }
    }
}
