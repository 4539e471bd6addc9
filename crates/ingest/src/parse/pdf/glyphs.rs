//! The glyphs of a page: which characters, where, how large, running which way.

use hayro_interpret::font::{Glyph as DrawnGlyph, GlyphRun};
use hayro_interpret::hayro_cmap::BfString;
use hayro_interpret::kurbo::{Affine, BezPath, Point, Rect, Vec2};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache, InterpreterSettings, SoftMask,
    interpret_page,
};
use hayro_syntax::page::Page;
use hayro_syntax::xref::XRef;
use unicode_normalization::UnicodeNormalization;

/// Text space units of one em, as hayro scales them.
const UNITS_PER_EM: f64 = 1000.0;
/// Glyphs on one page: a dense one has ten thousand, more is an attack or a drawing.
const GLYPHS_MAX: usize = 200_000;

/// The direction in which the baseline of a glyph runs, in quarter turns clockwise on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    None,
    Right,
    Half,
    Left,
}

/// One glyph. Coordinates are turned so that the baseline runs to the right and y grows downwards,
/// in points.
#[derive(Debug, Clone)]
pub(super) struct Glyph {
    pub(super) text: String,
    pub(super) turn: Turn,
    /// Start and end of the advance.
    pub(super) x0: f64,
    pub(super) x1: f64,
    pub(super) baseline: f64,
    /// Letter size.
    pub(super) size: f64,
}

/// What a page draws, as far as text goes.
pub(super) struct PageGlyphs {
    pub(super) glyphs: Vec<Glyph>,
    /// Glyphs whose characters the font does not tell.
    pub(super) unmapped: usize,
    pub(super) images: usize,
    /// Glyphs beyond what a page may have.
    pub(super) surplus: usize,
    /// What of the page is seen.
    bounds: Rect,
}

impl PageGlyphs {
    /// Runs the page's drawing operators.
    pub(super) fn of<'a>(page: &Page<'a>, xref: &'a XRef, cache: &InterpreterCache<'a>) -> Self {
        let (width, height) = page.render_dimensions();
        let bounds = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
        let view = Affine::new(page.initial_transform(true).as_coeffs());
        let mut found = Self { glyphs: Vec::new(), unmapped: 0, images: 0, surplus: 0, bounds };
        interpret_page(page, &mut Context::new(view, bounds, cache, xref, InterpreterSettings::default()), &mut found);
        found
    }

    fn take(&mut self, glyph: &DrawnGlyph<'_>, transform: Affine) {
        let text = match glyph.as_unicode() {
            Some(BfString::Char(c)) => c.to_string(),
            Some(BfString::String(text)) => text,
            None => String::new(),
        };
        let text: String = text.chars().filter(|c| !c.is_control() && *c != char::REPLACEMENT_CHARACTER).flat_map(plain_form).collect();
        if text.is_empty() {
            self.unmapped += 1;
            return;
        }
        let width = match glyph {
            DrawnGlyph::Outline(outline) => outline.advance_width(),
            DrawnGlyph::Type3(drawn) => drawn.advance_width(),
        };
        let origin = transform * Point::ZERO;
        // What starts off the page nobody reads: a leftover, or words hidden from people.
        if !self.bounds.inflate(1.0, 1.0).contains(origin) {
            return;
        }
        let advance = transform * Point::new(f64::from(width.unwrap_or(500.0)), 0.0) - origin;
        let size = (transform * Point::new(0.0, UNITS_PER_EM) - origin).hypot();
        if [origin.x, origin.y, advance.x, advance.y, size].iter().all(|number| number.is_finite()) && size > 0.0 {
            let direction = transform * Point::new(UNITS_PER_EM, 0.0) - origin;
            self.glyphs.push(placed(text, origin, advance, direction, size));
        }
    }
}

fn placed(text: String, origin: Point, advance: Vec2, direction: Vec2, size: f64) -> Glyph {
    let turn = match (direction.x.abs() >= direction.y.abs(), direction.x >= 0.0, direction.y >= 0.0) {
        (true, true, _) => Turn::None,
        (true, false, _) => Turn::Half,
        (false, _, true) => Turn::Right,
        (false, _, false) => Turn::Left,
    };
    let turned = |x: f64, y: f64| match turn {
        Turn::None => (x, y),
        Turn::Half => (-x, -y),
        Turn::Right => (y, -x),
        Turn::Left => (-y, x),
    };
    let (x0, baseline) = turned(origin.x, origin.y);
    let (along, _) = turned(advance.x, advance.y);
    Glyph { text, turn, x0, x1: x0 + along.max(0.0), baseline, size }
}

/// Ligatures and Arabic presentation forms are how letters look, not what they are.
fn plain_form(c: char) -> impl Iterator<Item = char> {
    let is_form = matches!(c, '\u{fb00}'..='\u{fb4f}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}');
    let plain: String = if is_form { std::iter::once(c).nfkc().collect() } else { c.to_string() };
    plain.chars().collect::<Vec<_>>().into_iter()
}

impl<'a> Device<'a> for PageGlyphs {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, mode: &DrawMode) {
        // filled and stroked text comes twice, once each
        if matches!(mode, DrawMode::Stroke(_)) && self.is_repeat(run, &props) {
            return;
        }
        for glyph in run.glyphs() {
            if self.glyphs.len() < GLYPHS_MAX {
                self.take(glyph, props.transform * glyph.transform());
            } else {
                self.surplus += 1;
            }
        }
    }

    fn draw_image(&mut self, _: Image<'a, '_>, _: ImageDrawProps<'a>) {
        self.images += 1;
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}

impl PageGlyphs {
    fn is_repeat(&self, run: &GlyphRun<'_, '_>, props: &DrawProps<'_>) -> bool {
        let Some((first, last)) =
            run.glyphs().first().zip(self.glyphs.len().checked_sub(run.glyphs().len()).and_then(|index| self.glyphs.get(index)))
        else {
            return false;
        };
        let origin = props.transform * first.transform() * Point::ZERO;
        last.turn == Turn::None && (last.x0 - origin.x).abs() < 0.01 && (last.baseline - origin.y).abs() < 0.01
    }
}
