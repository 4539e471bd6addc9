//! Paragraph styles: which are headings, which are lists. Style ids are localised
//! (`berschrift1`), but a built-in style's name in `styles.xml` is always English.

use super::ParseError;
use super::xml::{self, Step};
use std::collections::HashMap;

/// How often a style may be based on another; more is a circle.
const BASES_MAX: usize = 16;
/// Outline level that means body text.
const BODY_LEVEL: u8 = 9;

#[derive(Debug, Default, Clone)]
struct Style {
    name: String,
    based_on: Option<String>,
    outline: Option<u8>,
    list: Option<(String, Option<usize>)>,
}

/// All styles by id.
#[derive(Debug, Default)]
pub(super) struct Styles(HashMap<String, Style>);

impl Styles {
    pub(super) fn read(xml: &[u8]) -> Result<Self, ParseError> {
        let mut styles = HashMap::new();
        let mut open: Option<(String, Style)> = None;
        xml::walk(xml, |step| match (step, &mut open) {
            (Step::Open { name: "style", element }, _) => open = xml::attribute(element, "styleId").map(|id| (id, Style::default())),
            (Step::Close { name: "style" }, _) => styles.extend(open.take()),
            (Step::Open { name, element }, Some((_, style))) => style.take(name, element),
            _ => {}
        })?;
        Ok(Self(styles))
    }

    /// The heading level (1 to 6) that a style gives; `None` for body text.
    pub(super) fn heading_level(&self, id: &str) -> Option<u8> {
        let outline = self.first(id, |style| style.outline.or_else(|| level_by_name(&style.name)))?;
        level_of_outline(outline)
    }

    /// The numbering id and level that a style gives.
    pub(super) fn list(&self, id: &str) -> Option<(String, usize)> {
        self.first(id, |style| style.list.clone()).map(|(number, level)| (number, level.unwrap_or_default()))
    }

    /// What the style or the nearest of its bases says.
    fn first<T>(&self, id: &str, says: impl Fn(&Style) -> Option<T>) -> Option<T> {
        let bases = std::iter::successors(self.0.get(id), |style| self.0.get(style.based_on.as_deref()?));
        bases.take(BASES_MAX).find_map(says)
    }
}

impl Style {
    fn take(&mut self, name: &str, element: &quick_xml::events::BytesStart<'_>) {
        match name {
            "name" => self.name = xml::value(element).unwrap_or_default().to_lowercase(),
            "basedOn" => self.based_on = xml::value(element),
            "outlineLvl" => self.outline = xml::number(element),
            "numId" => self.list = xml::value(element).map(|number| (number, self.list.take().and_then(|(_, level)| level))),
            "ilvl" => self.list = Some((self.list.take().map(|(number, _)| number).unwrap_or_default(), xml::number(element))),
            _ => {}
        }
    }
}

/// Outline levels count from 0; Markdown has six levels.
pub(super) fn level_of_outline(outline: u8) -> Option<u8> {
    (outline < BODY_LEVEL).then(|| (outline + 1).min(6))
}

fn level_by_name(name: &str) -> Option<u8> {
    match name {
        "title" => Some(0),
        "subtitle" => Some(1),
        _ => name.strip_prefix("heading ")?.parse::<u8>().ok()?.checked_sub(1),
    }
}
