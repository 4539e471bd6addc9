//! A text as patterns shall see it, with the way back to what was written.

use std::ops::Range;
use unicode_normalization::UnicodeNormalization;

/// Fewest letters with a space after each that are no accident.
const SPACED_MIN: usize = 8;

/// A normalised text.
#[derive(Debug, Default)]
pub(super) struct Normal {
    /// Lower case, compatibility forms resolved, invisible characters left out, look-alikes read as Latin letters.
    pub(super) text: String,
    /// Of each byte of `text`: where the character it comes from begins and ends.
    places: Vec<(usize, usize)>,
    /// Letters of Unicode's invisible alphabet.
    pub(super) tags: Option<Range<usize>>,
    /// A Latin word with letters of another script in it.
    pub(super) mixed: Option<Range<usize>>,
    /// L e t t e r s with a space after each, and what they spell.
    pub(super) spaced: Option<(Range<usize>, String)>,
}

impl Normal {
    pub(super) fn of(text: &str) -> Self {
        let mut normal = Self::default();
        let mut word: Vec<(usize, char)> = Vec::new();
        for (at, c) in text.char_indices() {
            if is_invisible(c) {
                continue;
            }
            if let Some(letter) = tag_letter(c) {
                let tags = normal.tags.get_or_insert(at..at);
                tags.end = at + c.len_utf8();
                normal.close(&mut word);
                normal.push(at, c.len_utf8(), letter);
            } else if c.is_alphanumeric() {
                word.push((at, c));
            } else {
                normal.close(&mut word);
                let c_len = c.len_utf8();
                c.nfkc().for_each(|plain| normal.push(at, c_len, straight(plain)));
            }
        }
        normal.close(&mut word);
        normal.spaced = normal.spaced();
        normal
    }

    /// The bytes of the original that these bytes come from.
    pub(super) fn range(&self, range: Range<usize>) -> Range<usize> {
        let start = self.places.get(range.start).map_or(0, |place| place.0);
        let end = range.end.checked_sub(1).and_then(|last| self.places.get(last)).map_or(start, |place| place.1);
        start..end.max(start)
    }

    fn push(&mut self, at: usize, length: usize, c: char) {
        for lower in c.to_lowercase() {
            self.text.push(lower);
            self.places.resize(self.text.len(), (at, at + length));
        }
    }

    /// Takes a whole word: only in one that is Latin otherwise are letters of other scripts disguises.
    fn close(&mut self, word: &mut Vec<(usize, char)>) {
        let is_latin = word.iter().any(|(_, c)| c.is_ascii_alphabetic());
        let is_disguised = is_latin && word.iter().any(|(_, c)| latin(*c).is_some());
        if is_disguised && let (None, Some((first, _)), Some((last, c))) = (&self.mixed, word.first(), word.last()) {
            self.mixed = Some(*first..last + c.len_utf8());
        }
        for (at, c) in word.drain(..) {
            let plain = if is_disguised { latin(c).unwrap_or(c) } else { c };
            plain.nfkc().for_each(|plain| self.push(at, c.len_utf8(), plain));
        }
    }

    fn spaced(&self) -> Option<(Range<usize>, String)> {
        let mut run = String::new();
        let mut begin = 0;
        let mut after_gap = true;
        let chars: Vec<(usize, char)> = self.text.char_indices().collect();
        for (index, (at, c)) in chars.iter().enumerate() {
            let next_is_letter = chars.get(index + 1).is_some_and(|(_, next)| next.is_alphanumeric());
            if c.is_ascii_alphabetic() && after_gap && !next_is_letter {
                if run.is_empty() {
                    begin = *at;
                }
                run.push(*c);
                after_gap = false;
            } else if !c.is_alphanumeric() && matches!(c, ' ' | '.' | '-' | '_' | '*') {
                after_gap = true;
            } else {
                if run.len() >= SPACED_MIN {
                    return Some((self.range(begin..*at), run));
                }
                run.clear();
                after_gap = !c.is_alphanumeric();
            }
        }
        (run.len() >= SPACED_MIN).then(|| (self.range(begin..self.text.len()), run))
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// Unicode's tag characters spell ASCII and are shown by nobody.
fn tag_letter(c: char) -> Option<char> {
    char::from_u32((c as u32).checked_sub(0xe0000)?).filter(|letter| matches!(letter, ' '..='~'))
}

fn straight(c: char) -> char {
    match c {
        '’' | '‘' | 'ʼ' | '´' => '\'',
        '“' | '”' | '„' | '«' | '»' => '"',
        '\u{2010}'..='\u{2015}' => '-',
        c => c,
    }
}

/// The Latin letter that a Cyrillic or Greek one looks like.
fn latin(c: char) -> Option<char> {
    let found = "аaеeоoрpсcхxуyіiѕsјjԁdһhӏlԛqԝwвbмmнhтtкkАaВbЕeКkМmНhОoРpСcТtХxУyІiЅsЈjαaοoρpνvιiεeκkτtυuηnΑaΒbΕeΖzΗhΙiΚkΜmΝnΟoΡpΤtΥyΧx";
    let mut pairs = found.chars();
    while let (Some(other), Some(latin)) = (pairs.next(), pairs.next()) {
        if other == c {
            return Some(latin);
        }
    }
    None
}
