//! The first time through a document: what each element holds, in the order in which they open.

use super::TITLES;
use super::steps::{Step, walk};
use crate::parse::ParseError;

/// What an element holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// Text of its own that is not white space.
    pub(super) has_text: bool,
    pub(super) has_elements: bool,
    /// One of its elements is a title.
    pub(super) has_title: bool,
}

impl Element {
    /// Whether it mixes text and elements, as a paragraph does.
    pub(super) const fn is_mixed(self) -> bool {
        self.has_text && self.has_elements
    }
}

/// All elements.
#[derive(Debug, Default)]
pub(super) struct Outline {
    elements: Vec<Element>,
    /// Name of the outermost element.
    pub(super) root: String,
}

impl Outline {
    /// Reads the whole document.
    ///
    /// # Errors
    /// As [`walk`].
    pub(super) fn of(xml: &str) -> Result<Self, ParseError> {
        let mut outline = Self::default();
        let mut open: Vec<usize> = Vec::new();
        walk(xml, |step| {
            match step {
                Step::Open { name, .. } => outline.open(&mut open, name),
                Step::Close => drop(open.pop()),
                Step::Text(text) => {
                    let has_text = !text.trim().is_empty();
                    outline.mark(open.last().copied(), |element| element.has_text |= has_text);
                }
            }
            Ok(())
        })?;
        Ok(outline)
    }

    fn open(&mut self, open: &mut Vec<usize>, name: &str) {
        if self.elements.is_empty() {
            self.root = name.to_owned();
        }
        self.mark(open.last().copied(), |element| {
            element.has_elements = true;
            element.has_title |= TITLES.contains(&name);
        });
        open.push(self.elements.len());
        self.elements.push(Element::default());
    }

    fn mark(&mut self, index: Option<usize>, change: impl FnOnce(&mut Element)) {
        if let Some(element) = index.and_then(|index| self.elements.get_mut(index)) {
            change(element);
        }
    }

    /// The element at an index; an empty one behind the last.
    pub(super) fn element(&self, index: usize) -> Element {
        self.elements.get(index).copied().unwrap_or_default()
    }
}
