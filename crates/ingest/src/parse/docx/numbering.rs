//! Lists: what stands before an item. Numbers are counted here, as Word counts them; formats other
//! than bullets are all shown as Arabic numbers, which is what Markdown has.

use super::ParseError;
use super::xml::{self, Step};
use std::collections::HashMap;

/// Levels that a list may have (ECMA-376 part 1, 17.9.6).
const LEVELS_MAX: usize = 9;

/// All lists of a document and where their counters stand.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// List id to the id of its definition.
    definitions: HashMap<String, String>,
    /// Definition id and level to number format.
    formats: HashMap<(String, usize), String>,
    counters: HashMap<String, [u32; LEVELS_MAX]>,
}

impl Numbering {
    pub(super) fn read(xml: &[u8]) -> Result<Self, ParseError> {
        let mut numbering = Self::default();
        let (mut list, mut definition, mut level) = (None, None, 0);
        xml::walk(xml, |step| {
            let Step::Open { name, element } = step else { return };
            match name {
                "abstractNum" => definition = xml::attribute(element, "abstractNumId"),
                "lvl" => level = xml::attribute(element, "ilvl").and_then(|level| level.parse().ok()).unwrap_or_default(),
                "numFmt" => numbering.formats.extend(definition.clone().zip(xml::value(element)).map(|(id, format)| ((id, level), format))),
                "num" => list = xml::attribute(element, "numId"),
                "abstractNumId" => numbering.definitions.extend(list.clone().zip(xml::value(element))),
                _ => {}
            }
        })?;
        Ok(numbering)
    }

    /// What stands before the next item of a list, indented; empty for list 0, which is none.
    pub(super) fn next_marker(&mut self, list: &str, level: usize) -> String {
        if list == "0" || list.is_empty() {
            return String::new();
        }
        let level = level.min(LEVELS_MAX - 1);
        let definition = self.definitions.get(list).cloned().unwrap_or_default();
        let format = self.formats.get(&(definition, level)).map_or("bullet", String::as_str);
        let indent = "   ".repeat(level);
        if matches!(format, "bullet" | "none") {
            return format!("{indent}- ");
        }
        let counters = self.counters.entry(list.to_owned()).or_default();
        for (index, counter) in counters.iter_mut().enumerate().skip(level) {
            *counter = if index == level { *counter + 1 } else { 0 };
        }
        format!("{indent}{}. ", counters.get(level).copied().unwrap_or(1))
    }
}
