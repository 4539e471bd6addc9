//! The shapes of a slide, a layout, a master or a page of notes.

use super::Relationships;
use crate::parse::ParseError;
use crate::parse::docx::xml::{self, Step};
use quick_xml::events::BytesStart;

/// Placeholders that frame every slide: what stands in them is not what the slide says.
const FRAMES: &[&str] = &["sldNum", "dt", "ftr", "hdr"];

/// Deeper groups are read as if they stood in the one at this depth: every level moves what is in it.
const GROUP_LEVELS_MAX: usize = 64;

/// Where a shape stands: down, then right, in English Metric Units.
pub(super) type Place = (i64, i64);

/// What a shape stands for in its layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placeholder {
    kind: String,
    index: String,
}

/// What stands before a paragraph.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bullet {
    #[default]
    Inherited,
    None,
    Sign,
    Number,
}

/// A paragraph.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) level: usize,
    pub(super) bullet: Bullet,
}

#[derive(Debug)]
pub(super) enum Block {
    Line(Line),
    Table(Vec<Vec<String>>),
    Picture {
        name: String,
        alt: String,
    },
    /// The id of its part.
    Chart(String),
    /// The id of its data.
    Diagram(String),
}

#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) place: Option<Place>,
    pub(super) placeholder: Option<Placeholder>,
    pub(super) blocks: Vec<Block>,
    name: String,
    alt: String,
    children: Vec<Shape>,
}

impl Shape {
    fn is_kind(&self, kinds: &[&str]) -> bool {
        self.placeholder.as_ref().is_some_and(|placeholder| kinds.contains(&placeholder.kind.as_str()))
    }

    pub(super) fn is_title(&self) -> bool {
        self.is_kind(&["title", "ctrTitle"])
    }

    pub(super) fn is_frame(&self) -> bool {
        self.is_kind(FRAMES)
    }

    /// Whether its paragraphs have bullets where they don't say otherwise.
    pub(super) fn is_list(&self) -> bool {
        self.is_kind(&["body", "obj", ""])
    }

    /// All its running text.
    pub(super) fn words(&self) -> String {
        let lines = self.blocks.iter().filter_map(|block| match block {
            Block::Line(line) => Some(line.text.trim()),
            _ => None,
        });
        lines.collect::<Vec<_>>().join(" ").trim().to_owned()
    }
}

/// From top to bottom, then from left to right; what has no place comes first.
pub(super) fn sort(shapes: &mut [Shape]) {
    shapes.sort_by_key(|shape| shape.place);
}

/// Where a placeholder stands: the layout is asked by index, then the master by kind.
pub(super) fn place_of(placeholders: &[Shape], wanted: &Placeholder) -> Option<Place> {
    let known = || placeholders.iter().filter_map(|shape| Some((shape.placeholder.as_ref()?, shape.place?)));
    let by_index = known().find(|(placeholder, _)| placeholder.index == wanted.index && !wanted.index.is_empty());
    by_index.or_else(|| known().find(|(placeholder, _)| family(placeholder) == family(wanted))).map(|(_, place)| place)
}

fn family(placeholder: &Placeholder) -> &str {
    match placeholder.kind.as_str() {
        "title" | "ctrTitle" => "title",
        frame if FRAMES.contains(&frame) => frame,
        _ => "body",
    }
}

/// The paragraphs of a part that is all drawing text, like the data of a diagram.
pub(super) fn paragraphs(xml: &[u8]) -> Result<Vec<String>, ParseError> {
    let none = Relationships::new();
    let mut sheet = Sheet::new(&none);
    sheet.open.push(Shape::default());
    xml::walk(xml, |step| sheet.step(step))?;
    Ok(sheet.open.first().map(|shape| shape.blocks.iter().map(line_text).collect()).unwrap_or_default())
}

fn line_text(block: &Block) -> String {
    if let Block::Line(line) = block { line.text.clone() } else { String::new() }
}

/// Reads shapes. Groups are flattened as they close, so that depth costs nothing.
pub(super) struct Sheet<'r> {
    relationships: &'r Relationships,
    /// Open shapes, outermost first.
    open: Vec<Shape>,
    done: Vec<Shape>,
    line: Option<Line>,
    /// Where an open run begins and what it links to.
    run: Option<(usize, Option<String>)>,
    table: Option<Vec<Vec<String>>>,
    cell: Option<Vec<String>>,
    is_text: bool,
    /// How deep inside what is said twice.
    skipping: usize,
}

impl<'r> Sheet<'r> {
    /// All shapes outside groups, in the order of the file.
    pub(super) fn read(xml: &[u8], relationships: &'r Relationships) -> Result<Vec<Shape>, ParseError> {
        let mut sheet = Self::new(relationships);
        xml::walk(xml, |step| sheet.step(step))?;
        Ok(sheet.done)
    }

    const fn new(relationships: &'r Relationships) -> Self {
        Self {
            relationships,
            open: Vec::new(),
            done: Vec::new(),
            line: None,
            run: None,
            table: None,
            cell: None,
            is_text: false,
            skipping: 0,
        }
    }

    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Open { name, .. } if self.skipping > 0 || name == "Fallback" => self.skipping += 1,
            Step::Close { .. } if self.skipping > 0 => self.skipping -= 1,
            Step::Open { name, element } => self.begin(name, element),
            Step::Close { name } => self.end(name),
            Step::Text(text) if self.is_text && self.skipping == 0 => self.push(&text),
            Step::Text(_) => {}
        }
    }

    fn begin(&mut self, name: &str, element: &BytesStart<'_>) {
        match name {
            "sp" | "pic" | "graphicFrame" | "grpSp" | "cxnSp" => self.open.push(Shape::default()),
            "p" => self.line = Some(Line::default()),
            "r" | "fld" => self.run = self.line.as_ref().map(|line| (line.text.len(), None)),
            "t" => self.is_text = true,
            "br" => self.push("\n"),
            "tab" if self.run.is_some() => self.push("\t"),
            "tbl" => self.table = Some(Vec::new()),
            "tr" => self.table.iter_mut().for_each(|rows| rows.push(Vec::new())),
            "tc" => self.cell = Some(Vec::new()),
            "hlinkClick" => self.take_link(element),
            "pPr" | "buNone" | "buChar" | "buBlip" | "buAutoNum" => self.take_bullet(name, element),
            _ => self.take_property(name, element),
        }
    }

    fn take_property(&mut self, name: &str, element: &BytesStart<'_>) {
        let Some(shape) = self.open.last_mut() else { return };
        let attribute = |name| xml::attribute(element, name).unwrap_or_default();
        match name {
            "cNvPr" => (shape.name, shape.alt) = (attribute("name"), attribute("descr")),
            "ph" => shape.placeholder = Some(Placeholder { kind: attribute("type"), index: attribute("idx") }),
            "off" if shape.place.is_none() => shape.place = attribute("y").parse().ok().zip(attribute("x").parse().ok()),
            "chart" => shape.blocks.extend(xml::relationship_id(element).map(Block::Chart)),
            "relIds" => shape.blocks.extend(xml::attribute(element, "dm").map(Block::Diagram)),
            _ => {}
        }
    }

    fn take_bullet(&mut self, name: &str, element: &BytesStart<'_>) {
        let Some(line) = &mut self.line else { return };
        match name {
            "pPr" => line.level = xml::attribute(element, "lvl").and_then(|level| level.parse().ok()).unwrap_or_default(),
            "buNone" => line.bullet = Bullet::None,
            "buAutoNum" => line.bullet = Bullet::Number,
            _ => line.bullet = Bullet::Sign,
        }
    }

    /// A link on a run; one on a whole shape has no words to stand on.
    fn take_link(&mut self, element: &BytesStart<'_>) {
        let Some((_, link)) = &mut self.run else { return };
        let target = xml::relationship_id(element).and_then(|id| self.relationships.get(&id));
        *link = target.map(|target| target.target.clone()).filter(|target| target.contains(':'));
    }

    fn push(&mut self, text: &str) {
        if let Some(line) = &mut self.line {
            line.text.push_str(text);
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "t" => self.is_text = false,
            "r" | "fld" => self.end_run(),
            "p" => self.end_line(),
            "tc" => self.end_cell(),
            "tbl" => {
                if let (Some(shape), Some(rows)) = (self.open.last_mut(), self.table.take()) {
                    shape.blocks.push(Block::Table(rows));
                }
            }
            "sp" | "pic" | "graphicFrame" | "grpSp" | "cxnSp" => self.end_shape(name),
            _ => {}
        }
    }

    fn end_run(&mut self) {
        if let (Some((start, Some(address))), Some(line)) = (self.run.take(), &mut self.line)
            && line.text.get(start..).is_some_and(|words| !words.trim().is_empty() && words.trim() != address)
        {
            line.text.insert(start, '[');
            line.text.push_str(&format!("]({address})"));
        }
    }

    fn end_line(&mut self) {
        let Some(line) = self.line.take().filter(|line| !line.text.trim().is_empty()) else { return };
        match (&mut self.cell, self.open.last_mut()) {
            (Some(cell), _) => cell.push(line.text),
            (None, Some(shape)) => shape.blocks.push(Block::Line(line)),
            (None, None) => {}
        }
    }

    fn end_cell(&mut self) {
        let cell = self.cell.take().unwrap_or_default().join("\n");
        if let Some(row) = self.table.as_mut().and_then(|rows| rows.last_mut()) {
            row.push(cell);
        }
    }

    fn end_shape(&mut self, name: &str) {
        let Some(mut shape) = self.open.pop() else { return };
        if name == "pic" && !shape.alt.trim().is_empty() {
            let name = shape.name.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
            shape.blocks.push(Block::Picture { name, alt: shape.alt.split_whitespace().collect::<Vec<_>>().join(" ") });
        }
        let mut children = std::mem::take(&mut shape.children);
        sort(&mut children);
        shape.blocks.extend(children.into_iter().flat_map(|child| child.blocks));
        let group = self.open.len().min(GROUP_LEVELS_MAX).checked_sub(1);
        match group.and_then(|group| self.open.get_mut(group)) {
            Some(group) => group.children.push(shape),
            None => self.done.push(shape),
        }
    }
}
