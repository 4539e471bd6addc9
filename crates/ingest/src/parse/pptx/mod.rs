//! PPTX (ECMA-376 PresentationML) to Markdown: each slide a page that begins with its title as a
//! heading, then its shapes from top to bottom and left to right, then the speaker's notes.
//!
//! Read as a stream of XML events: nothing here recurses, whatever the nesting.

mod chart;
mod slide;

use super::archive::{self, Archive};
use super::blocks::Blocks;
use super::docx::xml::{self, Step};
use super::{ParseError, ParsedDocument, docx};
use slide::{Block, Bullet, Line, Shape, Sheet};
use std::collections::HashMap;

/// Slides that are read; the rest is cut with a warning.
const SLIDES_MAX: usize = 5_000;
const MEDIA_TYPE: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";
const MAIN_PART: &str = "ppt/presentation.xml";
/// Levels of a list (ECMA-376 part 1, 21.1.2.2.7).
const LEVELS_MAX: usize = 9;

/// What a part refers to by an id.
struct Relationship {
    /// The last step of its type's address (`slide`, `notesSlide`, `hyperlink`).
    kind: String,
    /// A part, or the address of something outside.
    target: String,
}

type Relationships = HashMap<String, Relationship>;

pub(super) fn parse(bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
    let mut archive = Archive::open(bytes)?;
    let slides = slide_parts(&mut archive)?;
    let mut deck = Deck { archive, placeholders: HashMap::new(), blocks: Blocks::default() };
    for (number, slide) in (1..).zip(slides.iter().take(SLIDES_MAX)) {
        deck.blocks.page(number);
        deck.read_slide(slide)?;
    }
    let mut document = deck.blocks.finish(MEDIA_TYPE, u32::try_from(slides.len()).ok());
    document.title = docx::own_title(&deck.archive.read("docProps/core.xml")?.unwrap_or_default()).or(document.title);
    if slides.len() > SLIDES_MAX {
        document.warnings.push(format!("only the first {SLIDES_MAX} of {} slides were read", slides.len()));
    }
    Ok(document)
}

/// The parts of all slides, in the order in which they are shown.
fn slide_parts(archive: &mut Archive<'_>) -> Result<Vec<String>, ParseError> {
    let main = archive.read(MAIN_PART)?.ok_or_else(|| ParseError::corrupt(format!("{MAIN_PART} is missing")))?;
    let relationships = relationships(archive, MAIN_PART)?;
    let mut slides = Vec::new();
    xml::walk(&main, |step| {
        if let Step::Open { name: "sldId", element } = step {
            let slide = xml::relationship_id(element).and_then(|id| relationships.get(&id));
            slides.extend(slide.map(|slide| slide.target.clone()));
        }
    })?;
    Ok(slides)
}

fn relationships(archive: &mut Archive<'_>, part: &str) -> Result<Relationships, ParseError> {
    let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
    let xml = archive.read(&format!("{folder}/_rels/{file}.rels"))?.unwrap_or_default();
    let mut found = HashMap::new();
    xml::walk(&xml, |step| {
        if let Step::Open { name: "Relationship", element } = step
            && let Some((id, target)) = xml::attribute(element, "Id").zip(xml::attribute(element, "Target"))
        {
            let is_outside = xml::attribute(element, "TargetMode").as_deref() == Some("External");
            let kind = xml::attribute(element, "Type").unwrap_or_default();
            let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
            found.insert(id, Relationship { kind, target: if is_outside { target } else { archive::resolved(part, &target) } });
        }
    })?;
    Ok(found)
}

fn target_of_kind<'r>(relationships: &'r Relationships, kind: &str) -> Option<&'r str> {
    relationships.values().find(|relationship| relationship.kind == kind).map(|relationship| relationship.target.as_str())
}

/// A presentation being read.
struct Deck<'b> {
    archive: Archive<'b>,
    /// The shapes of layouts and masters by part: a placeholder stands where its layout says.
    placeholders: HashMap<String, Vec<Shape>>,
    blocks: Blocks,
}

impl Deck<'_> {
    fn read_slide(&mut self, part: &str) -> Result<(), ParseError> {
        let Some(xml) = self.archive.read(part)? else { return Ok(()) };
        let relationships = relationships(&mut self.archive, part)?;
        let mut shapes = Sheet::read(&xml, &relationships)?;
        self.place(&mut shapes, &relationships)?;
        slide::sort(&mut shapes);
        if let Some(title) = shapes.iter().find(|shape| shape.is_title()) {
            self.blocks.heading(1, &title.words());
        }
        for shape in shapes.iter().filter(|shape| !shape.is_title() && !shape.is_frame()) {
            self.write(shape, shape.is_list(), &relationships)?;
        }
        if let Some(notes) = target_of_kind(&relationships, "notesSlide") {
            self.read_notes(notes)?;
        }
        Ok(())
    }

    fn read_notes(&mut self, part: &str) -> Result<(), ParseError> {
        let Some(xml) = self.archive.read(part)? else { return Ok(()) };
        let relationships = relationships(&mut self.archive, part)?;
        let shapes = Sheet::read(&xml, &relationships)?;
        let notes: Vec<&Shape> = shapes.iter().filter(|shape| shape.is_list() && !shape.words().is_empty()).collect();
        if !notes.is_empty() {
            self.blocks.heading(2, "Notes");
        }
        notes.into_iter().try_for_each(|shape| self.write(shape, false, &relationships))
    }

    /// Gives shapes without a place of their own the place of their placeholder.
    fn place(&mut self, shapes: &mut [Shape], relationships: &Relationships) -> Result<(), ParseError> {
        let Some(layout) = target_of_kind(relationships, "slideLayout") else { return Ok(()) };
        self.learn_placeholders(layout)?;
        let Some(placeholders) = self.placeholders.get(layout) else { return Ok(()) };
        for shape in shapes.iter_mut().filter(|shape| shape.place.is_none()) {
            shape.place = shape.placeholder.as_ref().and_then(|wanted| slide::place_of(placeholders, wanted));
        }
        Ok(())
    }

    fn learn_placeholders(&mut self, layout: &str) -> Result<(), ParseError> {
        if self.placeholders.contains_key(layout) {
            return Ok(());
        }
        let mut shapes = Sheet::read(&self.archive.read(layout)?.unwrap_or_default(), &Relationships::new())?;
        let to_master = relationships(&mut self.archive, layout)?;
        if let Some(master) = target_of_kind(&to_master, "slideMaster") {
            shapes.extend(Sheet::read(&self.archive.read(master)?.unwrap_or_default(), &Relationships::new())?);
        }
        self.placeholders.insert(layout.to_owned(), shapes);
        Ok(())
    }

    fn write(&mut self, shape: &Shape, is_list: bool, relationships: &Relationships) -> Result<(), ParseError> {
        let mut numbers = [0; LEVELS_MAX];
        for block in &shape.blocks {
            match block {
                Block::Line(line) => self.write_line(line, is_list, &mut numbers),
                Block::Table(rows) => self.blocks.table(rows),
                Block::Picture { name, alt } => self.blocks.paragraph(&format!("![{alt}]({name}.jpg)")),
                Block::Chart(id) => self.write_chart(relationships.get(id))?,
                Block::Diagram(id) => self.write_diagram(relationships.get(id))?,
            }
        }
        Ok(())
    }

    /// A paragraph, or an item: in an outline every paragraph is one unless it says otherwise.
    fn write_line(&mut self, line: &Line, is_list: bool, numbers: &mut [u32; LEVELS_MAX]) {
        let level = line.level.min(LEVELS_MAX - 1);
        let is_number = line.bullet == Bullet::Number;
        numbers.iter_mut().skip(level + usize::from(is_number)).for_each(|number| *number = 0);
        match line.bullet {
            Bullet::None => self.blocks.paragraph(&line.text),
            Bullet::Inherited if !is_list && level == 0 => self.blocks.paragraph(&line.text),
            Bullet::Inherited | Bullet::Sign => self.blocks.item(level, None, &line.text),
            Bullet::Number => {
                numbers.iter_mut().skip(level).take(1).for_each(|number| *number += 1);
                self.blocks.item(level, numbers.get(level).copied(), &line.text);
            }
        }
    }

    fn write_chart(&mut self, relationship: Option<&Relationship>) -> Result<(), ParseError> {
        let Some(relationship) = relationship else { return Ok(()) };
        let chart = chart::Chart::read(&self.archive.read(&relationship.target)?.unwrap_or_default())?;
        self.blocks.paragraph(format!("Chart: {}", chart.title).trim_end_matches([':', ' ']));
        self.blocks.table(&chart.rows());
        Ok(())
    }

    fn write_diagram(&mut self, relationship: Option<&Relationship>) -> Result<(), ParseError> {
        let Some(relationship) = relationship else { return Ok(()) };
        for line in slide::paragraphs(&self.archive.read(&relationship.target)?.unwrap_or_default())? {
            self.blocks.item(0, None, &line);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
