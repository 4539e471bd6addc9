//! Pages set by hand: each letter half an em wide.

use super::super::glyphs::Turn;
use super::*;

const SIZE: f64 = 10.0;

fn set(text: &str, x: f64, baseline: f64, size: f64) -> Vec<Glyph> {
    let place = |(index, c): (usize, char)| {
        #[expect(clippy::cast_precision_loss, reason = "short texts")]
        let x0 = x + index as f64 * size * 0.5;
        Glyph { text: c.to_string(), turn: Turn::None, x0, x1: x0 + size * 0.5, baseline, size }
    };
    text.chars().enumerate().filter(|(_, c)| *c != ' ').map(place).collect()
}

fn texts(glyphs: Vec<Glyph>) -> Vec<String> {
    paragraphs(glyphs).into_iter().map(|paragraph| paragraph.text).collect()
}

#[test]
fn lines_that_run_on_are_joined_and_hyphens_taken_away() {
    let page = ["The lamp of the light-", "house turns all night and", "stops at dawn.", "Then it is cleaned."];
    let glyphs = (0..4).flat_map(|i| set(page[i], 0.0, 12.0 * i as f64, SIZE)).collect();
    assert_eq!(texts(glyphs), ["The lamp of the lighthouse turns all night and stops at dawn.\nThen it is cleaned."]);
}

#[test]
fn columns_are_read_one_after_the_other_below_their_title() {
    let mut glyphs = set("A title that spans the whole width of the two columns", 0.0, 0.0, SIZE);
    for i in 0..6 {
        let y = 40.0 + 12.0 * f64::from(i);
        glyphs.extend(set("left hand column of the text", 0.0, y, SIZE));
        glyphs.extend(set("right hand column of the text", 160.0, y, SIZE));
    }
    glyphs.extend(set("- 1 -", 135.0, 140.0, SIZE));
    let text = texts(glyphs).join("\n");
    assert!(text.starts_with("A title"), "{text}");
    assert!(text.find("right").unwrap() > text.rfind("left").unwrap(), "{text}");
    assert!(text.ends_with("- 1 -"), "{text}");
}

#[test]
fn rows_of_a_table_stay_rows() {
    let mut glyphs = Vec::new();
    for (i, name) in ["wick", "lens", "glass", "pump"].iter().enumerate() {
        let y = 12.0 * i as f64;
        glyphs.extend(set(name, 0.0, y, SIZE));
        glyphs.extend(set("12", 80.0, y, SIZE));
    }
    assert_eq!(texts(glyphs), ["wick   12\nlens   12\nglass   12\npump   12"]);
}

#[test]
fn gaps_and_sizes_part_paragraphs_and_raised_glyphs_stay() {
    let mut glyphs = set("Heading", 0.0, 0.0, 16.0);
    glyphs.extend(set("Some text", 0.0, 20.0, SIZE));
    glyphs.extend(set("2", 45.0, 16.0, 6.0));
    glyphs.extend(set("Apart", 0.0, 60.0, SIZE));
    assert_eq!(texts(glyphs), ["Heading", "Some text2", "Apart"]);
}
