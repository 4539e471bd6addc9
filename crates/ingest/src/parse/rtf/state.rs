//! What a group restores at its end, and what the tables at the head of a file define.

use super::code_page;
use encoding_rs::{Encoding, WINDOWS_1252};
use std::collections::HashMap;

/// Most fonts and styles that are remembered; numbers above are fine, more of them are not.
const DEFINITIONS_MAX: usize = 65_536;

/// Where text goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Destination {
    #[default]
    Body,
    /// Nowhere.
    Skipped,
    /// The font table.
    Fonts,
    /// The style sheet.
    Styles,
    /// Facts about the document; only the title is read.
    Info,
    Title,
    /// A list item's bullet or number, for readers that don't know lists.
    Marker,
    /// What a field does.
    Instruction,
    /// What a field shows.
    Result,
    /// A footnote, which stands where it is called.
    Note,
}

/// The settings of a group.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) destination: Destination,
    /// No token of the group but `\*` has come: a control word may name its destination.
    pub(super) is_at_start: bool,
    /// `\*` stands before a destination that old readers are to skip.
    pub(super) is_skippable: bool,
    /// Characters that replace a `\u` for old readers.
    pub(super) replacement_length: usize,
    pub(super) font: Option<i32>,
    pub(super) is_hidden: bool,
    /// The style that a group of the style sheet defines, and its level as a heading.
    pub(super) styled: Option<(i32, Option<u8>)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            destination: Destination::Body,
            is_at_start: false,
            is_skippable: false,
            replacement_length: 1,
            font: None,
            is_hidden: false,
            styled: None,
        }
    }
}

impl State {
    /// Whether text in this state is kept, to show or to look at.
    pub(super) fn is_read(&self) -> bool {
        !matches!(self.destination, Destination::Skipped | Destination::Fonts | Destination::Info) && !self.is_hidden
    }
}

/// Fonts and paragraph styles.
pub(super) struct Styles {
    pub(super) code_page: &'static Encoding,
    pub(super) default_font: Option<i32>,
    fonts: HashMap<i32, &'static Encoding>,
    headings: HashMap<i32, u8>,
}

impl Default for Styles {
    fn default() -> Self {
        Self { code_page: WINDOWS_1252, default_font: None, fonts: HashMap::new(), headings: HashMap::new() }
    }
}

impl Styles {
    /// The font being defined has this character set.
    pub(super) fn define_font(&mut self, font: i32, charset: i32) {
        if let Some(encoding) = code_page::of_charset(charset).filter(|_| self.fonts.len() < DEFINITIONS_MAX) {
            self.fonts.insert(font, encoding);
        }
    }

    /// A style is a heading if it says so or is called so.
    pub(super) fn define(&mut self, styled: Option<(i32, Option<u8>)>, name: &str) {
        let Some((style, level)) = styled.filter(|_| self.headings.len() < DEFINITIONS_MAX) else { return };
        let name = name.to_ascii_lowercase();
        let called = name.strip_prefix("heading ").and_then(|number| number.trim().parse().ok()).or_else(|| (name == "title").then_some(1));
        if let Some(level) = level.or(called).filter(|level| (1..=9).contains(level)) {
            self.headings.insert(style, level.min(6));
        }
    }

    /// The level of a paragraph style, if it is a heading.
    pub(super) fn heading(&self, style: i32) -> Option<u8> {
        self.headings.get(&style).copied()
    }

    /// What bytes of text are to be read as.
    pub(super) fn encoding(&self, state: &State) -> &'static Encoding {
        let font = state.font.or(self.default_font);
        font.and_then(|font| self.fonts.get(&font).copied()).unwrap_or(self.code_page)
    }
}
