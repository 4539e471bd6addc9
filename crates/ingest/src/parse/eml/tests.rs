//! Mails that are made here, the hostile ones too.

use super::super::TextFormat;
use super::*;
use encoding_rs::{EUC_KR, ISO_2022_JP, SHIFT_JIS, WINDOWS_1252};

fn parsed(mail: &str) -> ParsedDocument {
    parse(mail.replace('\n', "\r\n").as_bytes()).unwrap()
}

fn names(document: &ParsedDocument) -> Vec<&str> {
    document.attachments.iter().map(|file| file.name.as_str()).collect()
}

#[test]
fn head_and_plain_text_are_the_text() {
    let mail = parsed(
        "From: =?utf-8?Q?Ren=C3=A9e?= <renee@example.org>\nTo: a@example.org, \"B, C\" <b@example.org>\nCc: c@example.org\n\
         Subject: =?iso-8859-1?Q?Lampen=F6l?=\n  for the tower\nDate: Thu, 27 Aug 2009 22:24:00 +0200\nX-Spam: no\n\n# not a heading\n\nTwo barrels.\n",
    );
    assert_eq!(
        mail.text,
        "# Lampenöl for the tower\n\nFrom: Renée <renee@example.org>\nTo: a@example.org, B, C <b@example.org>\nCc: c@example.org\n\
         Date: Thu, 27 Aug 2009 22:24:00 +0200\n\n# not a heading\n\nTwo barrels.\n"
    );
    assert_eq!((mail.format, mail.media_type.as_str(), mail.headings.len()), (TextFormat::Plain, MEDIA_TYPE, 1));
    assert_eq!(mail.title.as_deref(), Some("Lampenöl for the tower"));
}

#[test]
fn plain_text_goes_before_html_and_html_before_nothing() {
    let both = "Subject: x\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\nPLAIN\n\
                --b\nContent-Type: text/html\n\n<h2>Oil</h2><p>rich</p>\n--b--\n";
    assert!(parsed(&both.replace("PLAIN", "plain words")).text.ends_with("\nplain words\n"));
    let html = parsed(&both.replace("PLAIN", " "));
    assert!(html.text.contains("## Oil") && html.text.contains("rich") && html.attachments.is_empty(), "{}", html.text);
    assert_eq!((html.format, html.headings.last().map(|heading| heading.title.as_str())), (TextFormat::Markdown, Some("Oil")));
}

#[test]
fn texts_come_in_their_encodings() {
    let words = "灯台の油は二樽";
    let (jis, _, _) = ISO_2022_JP.encode(words);
    let (shift, _, _) = SHIFT_JIS.encode(words);
    let korean = "등대의 기름";
    let (euc, _, _) = EUC_KR.encode(korean);
    let (latin, _, _) = WINDOWS_1252.encode("Größe und Maß, fünf Fässer");
    for (charset, bytes, expected) in [
        ("iso-2022-jp", jis.as_ref(), words),
        ("Shift_JIS", shift.as_ref(), words),
        ("ks_c_5601-1987", euc.as_ref(), korean),
        ("does-not-exist", latin.as_ref(), "fünf Fässer"),
        ("utf-7", b"Hi Mom -+Jjo--!", "Hi Mom -☺-!"),
    ] {
        let head = format!("Subject: x\nContent-Type: text/plain; charset={charset}\n\n");
        let mail = parse(&[head.as_bytes(), bytes].concat()).unwrap();
        assert!(mail.text.contains(expected), "{charset}: {}", mail.text);
    }
    let subject = parse(b"Subject: Stra\xdfe nach M\xfcnchen und K\xf6ln\n\nx").unwrap();
    assert_eq!(subject.title.as_deref(), Some("Straße nach München und Köln"));
}

#[test]
fn what_hangs_on_a_mail_comes_along() {
    let mail = parsed(
        "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nSee below.\n\
         --b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename=\"=?utf-8?B?Li4vw6QucGRm?=\"\nContent-Transfer-Encoding: base64\n\nJVBERi0=\n\
         --b\nContent-Type: image/png; name=logo.png\nContent-ID: <logo>\nContent-Transfer-Encoding: base64\n\niVBORw0K\n\
         --b\nContent-Type: message/rfc822\n\nSubject: inner/mail\nFrom: a@b\n\nforwarded words\n\
         --b\nContent-Type: text/csv\nContent-Disposition: attachment\n\na,b\n1,2\n\
         --b\nContent-Type: application/pgp-signature; name=signature.asc\n\nxyz\n--b--\n",
    );
    assert!(mail.text.ends_with("\nSee below.\n"), "{}", mail.text);
    assert_eq!(names(&mail), ["ä.pdf", "inner-mail.eml", "attachment-3.csv"]);
    assert_eq!(mail.attachments[0].bytes, b"%PDF-");
    let inner = parse(&mail.attachments[1].bytes).unwrap();
    assert_eq!((inner.title.as_deref(), inner.text.ends_with("forwarded words\n")), (Some("inner/mail"), true), "{}", inner.text);
    assert!(mail.attachments[2].bytes.starts_with(b"a,b"));
}

#[test]
fn an_encrypted_mail_says_so() {
    let mail = "Subject: x\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nMIAG\n";
    assert_eq!(parse(mail.as_bytes()), Err(ParseError::Encrypted));
}

#[test]
fn deep_and_wide_mails_end() {
    let multiparts: String = (0..3_000).map(|i| format!("Content-Type: multipart/mixed; boundary=\"b{i}\"\n\n--b{i}\n")).collect();
    let deep = parsed(&format!("Subject: deep\n{multiparts}Content-Type: text/plain\n\nneedle-deep-mime\n"));
    assert!(deep.text.contains("needle-deep-mime"), "{}", deep.text);
    let wide = parsed(&format!("From: a@b\n{}\nbody\n", "X-H: y\n".repeat(200_000)));
    assert_eq!(wide.text, "From: a@b\n\nbody\n");
    let to = parsed(&format!("To: {}\n\nbody\n", "a@b, ".repeat(100_000)));
    assert!(to.text.len() < 2_000 && to.text.contains("and others"));
}

/// A mail in a mail in a mail: reading them is a loop, dropping them is not.
#[test]
fn mails_within_mails_are_bounded() {
    let nested = |levels: usize| format!("Subject: x\n{}Subject: core\n\ncore\n", "Content-Type: message/rfc822\n\n".repeat(levels));
    let error = parse(nested(PARTS_MAX + 1).as_bytes()).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), ("too_large", "there are more than 10000 parts in the mail"));
    // The stack of the parsing child.
    let parsing = std::thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(move || parse(nested(PARTS_MAX).as_bytes()).map(|mail| mail.attachments.len()));
    assert_eq!(parsing.unwrap().join().unwrap(), Ok(1));
}

#[test]
fn no_cut_or_flipped_mail_does_more_than_fail() {
    let mail = "Subject: =?utf-8?B?w6Q=?=\nContent-Type: multipart/mixed; boundary=\"b\"\n\n--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n\
                U3ViamVjdDogeA0KDQp5\n--b\nContent-Type: text/html; charset=utf-7\n\n<p>+Jjo-\n--b--\n";
    for at in 0..mail.len() {
        drop(parse(&mail.as_bytes()[..at]));
        for flip in [1, 0x20, 0x80] {
            let mut flipped = mail.as_bytes().to_vec();
            flipped[at] ^= flip;
            drop(parse(&flipped));
        }
    }
}
