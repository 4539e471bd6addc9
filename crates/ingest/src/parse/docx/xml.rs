//! XML as plain steps: names without their prefix, character and entity references resolved,
//! an empty element as one that opens and closes. Entities of the document's own are not expanded.

use super::ParseError;
use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::QName;

/// One step through a document.
pub(in crate::parse) enum Step<'s> {
    /// An element begins.
    Open { name: &'s str, element: &'s BytesStart<'s> },
    /// An element ends.
    Close { name: &'s str },
    /// Characters.
    Text(String),
}

/// Calls `visit` for every step. No bytes at all are an absent part: no step.
pub(in crate::parse) fn walk(xml: &[u8], mut visit: impl FnMut(Step<'_>)) -> Result<(), ParseError> {
    let text = super::super::decode::decode(xml).map(|decoded| decoded.text).unwrap_or_default();
    let mut reader = Reader::from_str(&text);
    loop {
        let event =
            reader.read_event().map_err(|error| ParseError::corrupt(format!("XML at byte {}: {error}", reader.error_position())))?;
        match event {
            Event::Start(element) => visit(Step::Open { name: element.local_name().as_ref(), element: &element }),
            Event::End(element) => visit(Step::Close { name: element.local_name().as_ref() }),
            Event::Empty(element) => {
                visit(Step::Open { name: element.local_name().as_ref(), element: &element });
                visit(Step::Close { name: element.local_name().as_ref() });
            }
            Event::Text(text) => visit(Step::Text(text.into_inner().into_owned())),
            Event::CData(text) => visit(Step::Text(text.into_inner().into_owned())),
            Event::GeneralRef(reference) => visit(Step::Text(resolved(&reference))),
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

fn resolved(reference: &BytesRef<'_>) -> String {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => character.to_string(),
        _ => resolve_predefined_entity(reference).unwrap_or_default().to_owned(),
    }
}

/// The value of an attribute, whatever its prefix.
pub(in crate::parse) fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    found(element, |key| key.local_name().as_ref() == name)
}

/// The `id` attribute that has a prefix (`r:id`): what a relationship is named by.
pub(in crate::parse) fn relationship_id(element: &BytesStart<'_>) -> Option<String> {
    found(element, |key| key.as_ref().ends_with(":id"))
}

fn found(element: &BytesStart<'_>, is_meant: impl Fn(QName<'_>) -> bool) -> Option<String> {
    // the check for duplicates takes time that grows with the square of their number
    let attribute = element.attributes().with_checks(false).flatten().find(|attribute| is_meant(attribute.key))?;
    Some(attribute.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned())
}

/// The `val` attribute, where WordprocessingML keeps most values.
pub(in crate::parse) fn value(element: &BytesStart<'_>) -> Option<String> {
    attribute(element, "val")
}

/// A number in `val`.
pub(in crate::parse) fn number<N: std::str::FromStr>(element: &BytesStart<'_>) -> Option<N> {
    value(element)?.parse().ok()
}
