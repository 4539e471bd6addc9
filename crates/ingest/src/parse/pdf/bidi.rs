//! From the order in which a line is seen to the order in which it is read.
//!
//! Glyphs come sorted from left to right. Runs of right-to-left letters are turned round; if most
//! letters of the line are such, the order of the runs is turned round too. This is the reverse of
//! what the Unicode bidirectional algorithm does for one level of embedding; deeper embeddings are
//! rare in print. The characters of one glyph (a ligature) are in reading order already.

/// Puts the glyph texts of one line, left to right as seen, into reading order.
pub(super) fn reading_order(seen: &[&str]) -> String {
    let right_to_left = seen.iter().filter(|text| side(text) == Some(Side::Right)).count();
    let left_to_right = seen.iter().filter(|text| is_letter(text) && side(text) == Some(Side::Left)).count();
    if right_to_left == 0 {
        return seen.concat();
    }
    let base = if right_to_left >= left_to_right { Side::Right } else { Side::Left };
    let mut runs = runs(seen, base);
    if base == Side::Right {
        runs.reverse();
    }
    let read =
        |(side, run): (Side, &[&str])| if side == Side::Right { run.iter().rev().copied().collect::<String>() } else { run.concat() };
    runs.into_iter().map(read).collect()
}

/// Which way a character runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Cuts a line into runs of one side; what has none joins equal neighbours, else the base.
fn runs<'s, 't>(seen: &'s [&'t str], base: Side) -> Vec<(Side, &'s [&'t str])> {
    let own: Vec<Option<Side>> = seen.iter().map(|text| side(text)).collect();
    let before = nearest(own.iter());
    let after = nearest(own.iter().rev());
    let neighbours = before.into_iter().zip(after.into_iter().rev());
    let between = |(before, after): (Option<Side>, Option<Side>)| before.filter(|side| Some(*side) == after);
    let sides: Vec<Side> = own.iter().zip(neighbours).map(|(own, both)| own.or_else(|| between(both)).unwrap_or(base)).collect();
    let mut runs = Vec::new();
    let mut rest = seen;
    for group in sides.chunk_by(|a, b| a == b) {
        let (run, after) = rest.split_at(group.len());
        rest = after;
        runs.extend(group.first().map(|side| (*side, run)));
    }
    runs
}

/// For each place the last side up to there.
fn nearest<'s>(own: impl Iterator<Item = &'s Option<Side>>) -> Vec<Option<Side>> {
    own.scan(None, |last, own| {
        *last = own.or(*last);
        Some(*last)
    })
    .collect()
}

fn side(text: &str) -> Option<Side> {
    text.chars().find_map(|c| match c {
        '\u{0590}'..='\u{08ff}' if c.is_numeric() => Some(Side::Left),
        '\u{0590}'..='\u{08ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}' => Some(Side::Right),
        _ => c.is_alphanumeric().then_some(Side::Left),
    })
}

fn is_letter(text: &str) -> bool {
    text.chars().any(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(seen: &str) -> String {
        let glyphs: Vec<String> = seen.chars().map(String::from).collect();
        reading_order(&glyphs.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn lines_are_read_as_they_run() {
        assert_eq!(read("Latin only 12."), "Latin only 12.");
        assert_eq!(read("םולש"), "שלום");
        assert_eq!(read("the word םולש means peace"), "the word שלום means peace");
        assert_eq!(read(".2024 תנשב םולש"), "שלום בשנת 2024.");
        assert_eq!(read("()"), "()");
    }

    #[test]
    fn a_line_of_dots_is_read_in_one_pass() {
        let line = format!("ש{}", ".".repeat(300_000));
        assert_eq!(read(&line).chars().count(), 300_001);
    }
}
