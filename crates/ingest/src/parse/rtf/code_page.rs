//! Code pages and font character sets by number.

use encoding_rs::{self as encodings, Encoding, WINDOWS_1252};

/// The encoding of a Windows code page (`\ansicpgN`); Western European if it is not known.
pub(super) fn of_number(number: i32) -> &'static Encoding {
    match number {
        437 | 850 | 858 | 1252 => WINDOWS_1252,
        866 => encodings::IBM866,
        874 => encodings::WINDOWS_874,
        932 => encodings::SHIFT_JIS,
        936 | 54936 => encodings::GB18030,
        949 | 1361 => encodings::EUC_KR,
        950 => encodings::BIG5,
        1250 => encodings::WINDOWS_1250,
        1251 => encodings::WINDOWS_1251,
        1253 => encodings::WINDOWS_1253,
        1254 => encodings::WINDOWS_1254,
        1255 => encodings::WINDOWS_1255,
        1256 => encodings::WINDOWS_1256,
        1257 => encodings::WINDOWS_1257,
        1258 => encodings::WINDOWS_1258,
        10000 => encodings::MACINTOSH,
        10007 => encodings::X_MAC_CYRILLIC,
        20866 => encodings::KOI8_R,
        21866 => encodings::KOI8_U,
        28592 => encodings::ISO_8859_2,
        28595 => encodings::ISO_8859_5,
        65001 => encodings::UTF_8,
        _ => WINDOWS_1252,
    }
}

/// The encoding of a font's character set (`\fcharsetN`); `None` for that of the document.
pub(super) fn of_charset(charset: i32) -> Option<&'static Encoding> {
    let number = match charset {
        77 => 10000,
        128 => 932,
        129 | 130 => 949,
        134 => 936,
        136 => 950,
        161 => 1253,
        162 => 1254,
        163 => 1258,
        177 => 1255,
        178..=180 => 1256,
        186 => 1257,
        204 => 1251,
        222 => 874,
        238 => 1250,
        _ => return None,
    };
    Some(of_number(number))
}
