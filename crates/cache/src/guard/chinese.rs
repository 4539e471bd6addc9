//! The normal form of a Chinese question: its characters, without particles and politeness.
//!
//! There are no spaces, and names look like any word, so every character counts that is in no word known to mean
//! nothing or the same as another.

use super::form::{Asking, Form, Sort, Word};
use super::text::{Kind, Text};
use std::ops::Range;
use words::{CHOICES, CLOSINGS, HOW, MARKS, OPENINGS, WHEN, WHETHER, WHY, WORDS};

mod words;

/// The normal form; `numbers` with the tokens that they were read from.
pub(super) fn form(text: &Text, numbers: &[(Range<usize>, String)]) -> Form {
    let mut words = Vec::new();
    let mut numbers = numbers.iter().peekable();
    for (at, token) in text.tokens.iter().enumerate() {
        while numbers.next_if(|(range, _)| range.end <= at).is_some() {}
        match (numbers.peek(), token.kind) {
            (Some((range, number)), _) if range.start == at => words.push(word(number, Sort::Number)),
            (Some((range, _)), _) if range.contains(&at) => {}
            (_, Kind::Han) if token.is_quoted => words.extend(token.text.chars().map(|c| word(&c.to_string(), Sort::Quoted))),
            (_, Kind::Han) => read(&token.text, at == 0, at + 1 == text.tokens.len(), &mut words),
            (_, Kind::Word) => words.push(word(&token.lower, Sort::Name)),
            (_, Kind::Sign) => words.push(word(&token.lower, Sort::Plain)),
        }
    }
    let asking = take_asking(&mut words);
    Form { asking, frame: Vec::new(), words, is_counted: false }
}

fn word(text: &str, sort: Sort) -> Word {
    Word { text: text.to_owned(), stem: text.to_owned(), sort }
}

/// Turns of phrase with one meaning: 青霉素是谁发现的 is 谁发现了青霉素, 谁 being who did it in both; X由谁审批 is 谁审批X; 日本有多少人口
/// is 日本人口多少, 药有什么副作用 is 药副作用有什么.
fn turned(run: &str) -> String {
    let by_whom = run.strip_suffix('的').and_then(|run| run.split_once("是谁")).map(|parts| (parts, "了"));
    if let Some(((done_to, doing), mark)) = by_whom.or_else(|| run.split_once("由谁").map(|parts| (parts, "")))
        && !done_to.is_empty()
        && !doing.is_empty()
    {
        return format!("谁{doing}{mark}{done_to}");
    }
    for (asked, put) in [("有多少", "多少"), ("有什么", "有什么"), ("有哪些", "有什么")] {
        if let Some((owner, owned)) = run.split_once(asked)
            && !owner.is_empty()
            && !owned.is_empty()
        {
            return format!("{owner}{owned}{put}");
        }
    }
    run.to_owned()
}

/// The words of a run of characters.
fn read(run: &str, is_first: bool, is_last: bool, words: &mut Vec<Word>) {
    let mut rest = run;
    while let Some(opening) = longest(OPENINGS.iter().filter(|_| is_first), rest) {
        rest = rest.get(opening.len()..).unwrap_or_default();
    }
    let mut is_asked = false;
    while let Some(closing) = CLOSINGS.iter().chain(MARKS).find(|closing| is_last && rest.ends_with(**closing) && !rest.ends_with("什么"))
    {
        is_asked |= MARKS.contains(closing);
        rest = rest.strip_suffix(closing).unwrap_or_default();
    }
    let turned = if is_first && is_last { turned(rest) } else { rest.to_owned() };
    rest = &turned;
    while let Some(c) = rest.chars().next() {
        let known = |table: &'static [(&'static str, &'static [&'static str])]| {
            let found = table.iter().filter_map(|(meant, said)| Some((*meant, longest(said.iter(), rest)?)));
            found.max_by_key(|(_, said)| said.len())
        };
        let (choice, known) = (known(CHOICES), known(WORDS));
        is_asked |= choice.is_some();
        let (meant, taken) =
            choice.or(known).map_or((rest.get(..c.len_utf8()).unwrap_or_default(), c.len_utf8()), |(meant, said)| (meant, said.len()));
        match meant {
            WHETHER => is_asked = true,
            mark if mark.starts_with('@') => words.push(word(mark, Sort::Plain)),
            meant => words.extend(meant.chars().map(|c| word(&c.to_string(), Sort::Plain))),
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    if is_asked {
        words.push(word(WHETHER, Sort::Plain));
    }
}

fn longest<'a>(words: impl Iterator<Item = &'a &'a str>, text: &str) -> Option<&'a str> {
    words.copied().filter(|word| text.starts_with(word)).max_by_key(|word| word.len())
}

/// What is asked; "密码怎样重置" becomes "怎样重置密码".
fn take_asking(words: &mut Vec<Word>) -> Asking {
    let is = |word: &Word, mark: &str| word.sort == Sort::Plain && word.text == mark;
    let is_choice = words.iter().any(|word| is(word, WHETHER));
    words.retain(|word| !is(word, WHETHER));
    let marks = [(HOW, Asking::How), (WHY, Asking::Why), (WHEN, Asking::When)];
    let found = words.iter().enumerate().find_map(|(at, word)| Some((at, marks.iter().find(|(mark, _)| is(word, mark))?.1)));
    match found {
        Some((at, asking)) => {
            words.rotate_left(at);
            words.remove(0);
            asking
        }
        None if is_choice => Asking::YesNo,
        None => Asking::What,
    }
}
