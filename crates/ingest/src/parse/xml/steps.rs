//! XML as plain steps: names without their prefix, references resolved, depth counted, no
//! entities but XML's own.

use crate::parse::ParseError;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Deepest nesting that is read. Nothing here recurses; deeper files were made to break readers.
pub(super) const LEVELS_MAX: usize = 4_096;

/// One step through a document.
pub(super) enum Step<'s> {
    /// An element begins; its attributes with their values unescaped.
    Open { name: &'s str, attributes: Vec<(String, String)> },
    /// The innermost element ends.
    Close,
    /// Characters.
    Text(String),
}

/// Calls `visit` for every step, until it fails.
///
/// # Errors
/// [`ParseError`] for what is not well formed, too deep, or declares entities, and those of `visit`.
pub(super) fn walk(xml: &str, mut visit: impl FnMut(Step<'_>) -> Result<(), ParseError>) -> Result<(), ParseError> {
    let mut reader = Reader::from_str(xml);
    let mut depth = 0usize;
    loop {
        let event =
            reader.read_event().map_err(|error| ParseError::corrupt(format!("XML at byte {}: {error}", reader.error_position())))?;
        match event {
            Event::Start(element) => {
                depth = deeper(depth)?;
                visit(open(element.local_name().as_ref(), &element))?;
            }
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                visit(Step::Close)?;
            }
            Event::Empty(element) => {
                visit(open(element.local_name().as_ref(), &element))?;
                visit(Step::Close)?;
            }
            Event::Text(text) => visit(Step::Text(text.into_inner().into_owned()))?,
            Event::CData(text) => visit(Step::Text(text.into_inner().into_owned()))?,
            Event::GeneralRef(reference) => visit(Step::Text(resolved(&reference)))?,
            Event::DocType(declaration) => refuse_entities(&declaration.into_inner())?,
            Event::Eof if depth > 0 => return Err(ParseError::corrupt(format!("XML ends inside {depth} open elements"))),
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

fn refuse_entities(declaration: &str) -> Result<(), ParseError> {
    let refused = || ParseError::unsupported("XML that declares entities of its own, which are not expanded");
    if declaration.contains("<!ENTITY") { Err(refused()) } else { Ok(()) }
}

fn deeper(depth: usize) -> Result<usize, ParseError> {
    if depth < LEVELS_MAX { Ok(depth + 1) } else { Err(ParseError::unsupported(format!("XML nested deeper than {LEVELS_MAX} levels"))) }
}

fn open<'s>(name: &'s str, element: &BytesStart<'_>) -> Step<'s> {
    let attributes = element.attributes().flatten();
    let pair = |attribute: quick_xml::events::attributes::Attribute<'_>| {
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
        Some((attribute.key.as_ref().to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    Step::Open { name, attributes: attributes.filter_map(pair).collect() }
}

/// What a reference stands for; itself if that is not known (`&nbsp;` without a DTD) or no character of XML (`&#0;`).
fn resolved(reference: &BytesRef<'_>) -> String {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => character.to_string(),
        _ => resolve_predefined_entity(reference).map_or_else(|| format!("&{};", &**reference), str::to_owned),
    }
}
