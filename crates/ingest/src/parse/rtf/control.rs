//! What control words and symbols do.

use super::state::Destination;
use super::{Reader, code_page};

/// Groups that hold no text of the document.
const SKIPPED: &[&str] = &[
    "colortbl",
    "filetbl",
    "listtable",
    "listoverridetable",
    "revtbl",
    "rsidtbl",
    "pict",
    "nonshppict",
    "objdata",
    "objclass",
    "header",
    "headerl",
    "headerr",
    "headerf",
    "footer",
    "footerl",
    "footerr",
    "footerf",
    "ftnsep",
    "ftnsepc",
    "ftncn",
    "aftnsep",
    "aftnsepc",
    "aftncn",
    "sp",
    "datafield",
    "bkmkstart",
    "bkmkend",
    "tc",
    "xe",
    "themedata",
    "colorschememapping",
    "latentstyles",
    "datastore",
    "generator",
    "xmlnstbl",
    "mmathPr",
    "wgrffmtfilter",
    "template",
    "operator",
    "author",
    "annotation",
    "atnid",
    "atnauthor",
    "private",
];
/// Destinations that old readers skip and that hold text all the same.
const READ_ALL_THE_SAME: &[&str] = &["shpinst", "shptxt", "shppict", "fldinst", "shpgrp", "do", "dptxbxtext"];

impl Reader {
    pub(super) fn symbol(&mut self, symbol: u8) {
        match symbol {
            b'*' if self.state.is_at_start => self.state.is_skippable = true,
            b'\\' | b'{' | b'}' => self.byte(symbol),
            b'~' => self.text(" "),
            b'_' => self.text("-"),
            b'\r' | b'\n' => self.control("par", None),
            // `\-` is where a word may be parted
            _ => {}
        }
    }

    /// Text that a control stands for; it too may be part of what replaces a `\u`.
    fn text(&mut self, text: &str) {
        if self.to_skip > 0 {
            self.to_skip -= 1;
        } else if self.state.is_read() {
            self.flush();
            self.push(text);
        }
    }

    pub(super) fn control(&mut self, name: &str, number: Option<i32>) {
        if std::mem::take(&mut self.state.is_at_start) && self.begin(name) {
            return;
        }
        match self.state.destination {
            Destination::Skipped | Destination::Info => {}
            Destination::Fonts => self.font_control(name, number),
            Destination::Styles => self.style_control(name, number),
            _ => self.body_control(name, number),
        }
    }

    /// The first control word of a group may say what the group is.
    fn begin(&mut self, name: &str) -> bool {
        let is_skippable = std::mem::take(&mut self.state.is_skippable);
        if self.state.destination == Destination::Skipped {
            return true;
        }
        let destination = match name {
            "fonttbl" => Destination::Fonts,
            "stylesheet" => Destination::Styles,
            "info" => Destination::Info,
            "title" if self.state.destination == Destination::Info => Destination::Title,
            "listtext" | "pntext" => Destination::Marker,
            "fldinst" => Destination::Instruction,
            "fldrslt" => Destination::Result,
            "footnote" => Destination::Note,
            name if SKIPPED.contains(&name) => Destination::Skipped,
            name if is_skippable && !READ_ALL_THE_SAME.contains(&name) && !self.is_style(name) => Destination::Skipped,
            _ => return false,
        };
        self.state.destination = destination;
        match destination {
            Destination::Result => self.writer.begin_link(),
            Destination::Note => self.writer.push(" ("),
            _ => {}
        }
        self.aside.clear();
        true
    }

    /// Character and table styles are marked as skippable inside the style sheet.
    fn is_style(&self, name: &str) -> bool {
        self.state.destination == Destination::Styles && matches!(name, "cs" | "ts" | "ds")
    }

    fn font_control(&mut self, name: &str, number: Option<i32>) {
        match (name, number) {
            ("f", Some(font)) => self.state.font = Some(font),
            ("fcharset", Some(charset)) => {
                if let Some(font) = self.state.font {
                    self.styles.define_font(font, charset);
                }
            }
            _ => {}
        }
    }

    fn style_control(&mut self, name: &str, number: Option<i32>) {
        match (name, number) {
            ("s", Some(style)) => self.style_is(style),
            ("outlinelevel", Some(level)) => {
                let level = u8::try_from(level + 1).ok();
                self.define_level(level);
            }
            _ => {}
        }
    }

    /// A style is defined in a group of its own, which ends with the group's state: it is kept in
    /// the state around it.
    fn style_is(&mut self, style: i32) {
        if let Some(around) = self.around.last_mut() {
            around.styled = Some((style, None));
        }
    }

    fn define_level(&mut self, level: Option<u8>) {
        if let Some((_, known)) = self.around.last_mut().and_then(|around| around.styled.as_mut()) {
            *known = level;
        }
    }

    fn body_control(&mut self, name: &str, number: Option<i32>) {
        // these change how the bytes that follow are read, or where they go
        self.flush();
        let is_on = number != Some(0);
        match name {
            "ansicpg" => self.styles.code_page = code_page::of_number(number.unwrap_or_default()),
            "mac" => self.styles.code_page = code_page::of_number(10_000),
            "deff" => self.styles.default_font = number,
            "f" => self.state.font = number,
            "plain" => (self.state.font, self.state.is_hidden) = (None, false),
            "v" | "deleted" => self.state.is_hidden = is_on,
            "uc" => self.state.replacement_length = number.and_then(|count| usize::try_from(count).ok()).unwrap_or(1).min(16),
            "u" => {
                if let Some(unit) = number.and_then(utf16_unit) {
                    self.unit(unit);
                }
            }
            _ if !self.state.is_read() => {}
            _ => self.shown_control(name, number),
        }
    }

    fn shown_control(&mut self, name: &str, number: Option<i32>) {
        if let Some(character) = character(name) {
            return self.character(character);
        }
        if self.state.destination == Destination::Marker || self.state.destination == Destination::Instruction {
            return;
        }
        match name {
            "par" | "sect" | "page" | "column" => self.writer.end_paragraph(),
            "line" | "lbr" | "softline" => self.writer.break_line(),
            "pard" => self.writer.reset_paragraph(),
            "s" => self.writer.heading(number.and_then(|style| self.styles.heading(style))),
            "outlinelevel" => self.writer.heading(number.and_then(|level| u8::try_from(level + 1).ok()).filter(|level| *level <= 6)),
            "intbl" => self.writer.enter_table(),
            "cell" | "nestcell" => self.writer.end_cell(),
            "row" | "nestrow" => self.writer.end_row(),
            _ => {}
        }
    }
}

/// Numbers above 32767 are written as negative ones, or as they are.
fn utf16_unit(number: i32) -> Option<u16> {
    u16::try_from(number).ok().or_else(|| Some(i16::try_from(number).ok()?.cast_unsigned()))
}

/// The character that a control word stands for.
fn character(name: &str) -> Option<char> {
    Some(match name {
        "tab" => '\t',
        "emdash" => '—',
        "endash" => '–',
        "lquote" => '‘',
        "rquote" => '’',
        "ldblquote" => '“',
        "rdblquote" => '”',
        "bullet" => '•',
        "emspace" | "enspace" | "qmspace" => ' ',
        _ => return None,
    })
}
