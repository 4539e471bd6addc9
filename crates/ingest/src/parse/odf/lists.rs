//! Lists: which levels of which style are numbered, and where the counters of open lists stand.

use crate::parse::ParseError;
use crate::parse::docx::xml::{self, Step};
use std::collections::HashSet;

/// Longest name of a style, in bytes: each list inside another keeps a copy.
const STYLE_BYTES_MAX: usize = 256;

/// Levels of numbered lists, by style and level from 1.
#[derive(Debug, Default)]
pub(super) struct ListStyles(HashSet<(String, usize)>);

impl ListStyles {
    /// Learns the list styles of a part.
    pub(super) fn read(&mut self, xml: &[u8]) -> Result<(), ParseError> {
        let mut style = None;
        xml::walk(xml, |step| match step {
            Step::Open { name: "list-style", element } => style = xml::attribute(element, "name"),
            Step::Close { name: "list-style" } => style = None,
            Step::Open { name: "list-level-style-number", element } => {
                let level = xml::attribute(element, "level").and_then(|level| level.parse().ok());
                // a number without a format is not shown
                let is_shown = xml::attribute(element, "num-format").is_some_and(|format| !format.is_empty());
                self.0.extend(style.clone().zip(level).filter(|_| is_shown));
            }
            _ => {}
        })
    }

    fn is_numbered(&self, style: &str, level: usize) -> bool {
        self.0.contains(&(style.to_owned(), level))
    }
}

#[derive(Debug)]
struct List {
    style: String,
    items: u32,
}

/// The lists that are open, outermost first.
#[derive(Debug, Default)]
pub(super) struct OpenLists {
    lists: Vec<List>,
    /// Whether the next paragraph is the first of its item.
    is_item_new: bool,
}

impl OpenLists {
    /// A list begins; one inside another has its style unless it names its own.
    pub(super) fn begin(&mut self, style: Option<String>) {
        let inherited = || self.lists.last().map(|list| list.style.clone()).unwrap_or_default();
        let style = style.filter(|style| style.len() <= STYLE_BYTES_MAX).unwrap_or_else(inherited);
        self.lists.push(List { style, items: 0 });
    }

    pub(super) fn end(&mut self) {
        self.lists.pop();
    }

    pub(super) fn begin_item(&mut self) {
        self.is_item_new = true;
        self.lists.last_mut().into_iter().for_each(|list| list.items = list.items.saturating_add(1));
    }

    /// Level from 0 and number of the item that a paragraph begins; `None` if it begins none.
    pub(super) fn take_item(&mut self, styles: &ListStyles) -> Option<(usize, Option<u32>)> {
        let list = self.lists.last().filter(|_| self.is_item_new)?;
        self.is_item_new = false;
        let level = self.lists.len();
        Some((level - 1, styles.is_numbered(&list.style, level).then_some(list.items)))
    }
}
