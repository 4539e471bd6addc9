//! Bytes to tokens.

/// A piece of an RTF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'b> {
    /// `{`
    Open,
    /// `}`
    Close,
    /// A character of text, written as itself or as `\'hh`.
    Byte(u8),
    /// `\name` or `\nameN`.
    Word { name: &'b str, number: Option<i32> },
    /// `\` and a character that is no letter.
    Symbol(u8),
    /// The end of the file, perhaps in the middle of something.
    End { is_inside: bool },
}

/// Longest control word that is one, in letters.
const WORD_LETTERS_MAX: usize = 32;

/// The tokens of a file; binary data (`\binN`) is passed over.
pub(super) struct Tokens<'b> {
    bytes: &'b [u8],
    has_ended: bool,
}

impl<'b> Tokens<'b> {
    pub(super) const fn of(bytes: &'b [u8]) -> Self {
        Self { bytes, has_ended: false }
    }

    fn skip(&mut self, count: usize) {
        self.bytes = self.bytes.get(count..).unwrap_or_default();
    }

    fn control(&mut self) -> Option<Token<'b>> {
        match *self.bytes.first()? {
            b'\'' => {
                let digits = self.bytes.get(1..3)?;
                self.skip(3);
                let byte = std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
                Some(byte.map_or(Token::Symbol(b'\''), Token::Byte))
            }
            first if first.is_ascii_alphabetic() => self.word(),
            symbol => {
                self.skip(1);
                Some(Token::Symbol(symbol))
            }
        }
    }

    fn word(&mut self) -> Option<Token<'b>> {
        let letters = self.bytes.iter().take(WORD_LETTERS_MAX).take_while(|byte| byte.is_ascii_alphabetic()).count();
        let (name, rest) = self.bytes.split_at_checked(letters)?;
        let name = std::str::from_utf8(name).ok()?;
        let sign = usize::from(rest.first() == Some(&b'-'));
        let digits = rest.iter().skip(sign).take_while(|byte| byte.is_ascii_digit()).count();
        let length = if digits > 0 { sign + digits } else { 0 };
        let number = std::str::from_utf8(rest.get(..length)?).ok().and_then(|number| number.parse().ok());
        // one space belongs to the word
        let space = usize::from(rest.get(length) == Some(&b' '));
        self.bytes = rest.get(length + space..)?;
        if name == "bin" {
            self.skip(number.and_then(|count: i32| usize::try_from(count).ok()).unwrap_or_default());
        }
        Some(Token::Word { name, number })
    }
}

impl<'b> Iterator for Tokens<'b> {
    type Item = Token<'b>;

    fn next(&mut self) -> Option<Token<'b>> {
        let Some((first, rest)) = self.bytes.split_first() else {
            return (!std::mem::replace(&mut self.has_ended, true)).then_some(Token::End { is_inside: false });
        };
        self.bytes = rest;
        Some(match first {
            b'{' => Token::Open,
            b'}' => Token::Close,
            b'\\' => match self.control() {
                Some(token) => token,
                None => {
                    (self.bytes, self.has_ended) = (&[], true);
                    Token::End { is_inside: true }
                }
            },
            // line ends are for people who read the file
            b'\r' | b'\n' => return self.next_after_line_ends(),
            byte => Token::Byte(*byte),
        })
    }
}

impl<'b> Tokens<'b> {
    fn next_after_line_ends(&mut self) -> Option<Token<'b>> {
        let line_ends = self.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.skip(line_ends);
        self.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_token() {
        let tokens: Vec<_> = Tokens::of(b"{\\b0 a\\u-3913?\r\n\n\\'e4\\~\\bin3 }}}\\par}").collect();
        let word = |name, number| Token::Word { name, number };
        let right = [
            Token::Open,
            word("b", Some(0)),
            Token::Byte(b'a'),
            word("u", Some(-3913)),
            Token::Byte(b'?'),
            Token::Byte(0xe4),
            Token::Symbol(b'~'),
            word("bin", Some(3)),
            word("par", None),
            Token::Close,
            Token::End { is_inside: false },
        ];
        assert_eq!(tokens, right);
        assert_eq!(Tokens::of(b"\\").collect::<Vec<_>>(), [Token::End { is_inside: true }]);
        assert_eq!(Tokens::of(b"a\\'e").last(), Some(Token::End { is_inside: true }));
    }

    proptest::proptest! {
        #[test]
        fn every_stream_ends(bytes in proptest::collection::vec(proptest::sample::select(b"{}\\'-ab 019*\n".to_vec()), 0..60)) {
            proptest::prop_assert!(Tokens::of(&bytes).count() <= bytes.len() + 1);
        }
    }
}
