//! Base forms of English words. Only endings that leave a word what it is: plural, third person, and of words known
//! to be verbs past and gerund. "Employ" and "employee" stay two words.

use super::words::{IRREGULAR, PLURALS};

/// Without the s of plural and third person.
pub(super) fn stem(word: &str) -> String {
    if let Some((_, singular)) = PLURALS.iter().find(|(plural, _)| *plural == word) {
        return (*singular).to_owned();
    }
    let is_plural = word.len() > 3 && word.ends_with('s') && !["ss", "us", "is"].iter().any(|ending| word.ends_with(ending));
    match word {
        _ if !is_plural => reduced(word),
        _ if word.len() > 4 && word.ends_with("ies") => format!("{}y", word.trim_end_matches("ies")),
        _ if ["sses", "shes", "ches", "xes", "zzes"].iter().any(|ending| word.ends_with(ending)) => reduced(word.trim_end_matches("es")),
        _ => reduced(word.trim_end_matches('s')),
    }
}

/// The base of a past or a participle, as [`stem`] writes it.
pub(super) fn participle(word: &str) -> Option<String> {
    let irregular = IRREGULAR.iter().find(|(_, forms)| forms.split(' ').any(|form| form == word));
    if let Some((base, _)) = irregular {
        return Some(stem(base));
    }
    if let Some(rest) = word.strip_suffix("ied").filter(|rest| rest.len() > 2) {
        return Some(format!("{rest}y"));
    }
    let rest = word.strip_suffix("ed").filter(|rest| rest.len() > 1 && !rest.ends_with('e') && vowels(rest) > 0)?;
    Some(without_ending(rest))
}

/// The base of a form in -ing.
pub(super) fn gerund(word: &str) -> Option<String> {
    word.strip_suffix("ing").filter(|rest| rest.len() > 1 && vowels(rest) > 0).map(without_ending)
}

/// What is left without an ending, as [`stem`] writes the base: stopp is stop, us is use, approv stays.
fn without_ending(rest: &str) -> String {
    let is_doubled = ["bb", "dd", "gg", "mm", "nn", "pp", "rr", "tt"].iter().any(|end| rest.ends_with(end));
    match rest.get(..rest.len().saturating_sub(1)) {
        Some(single) if is_doubled => single.to_owned(),
        _ if is_short(rest) => format!("{rest}e"),
        _ => reduced(rest),
    }
}

/// Without an e that endings take away, and with one l where spellings differ: approve, cancell.
fn reduced(word: &str) -> String {
    match (word.strip_suffix('e'), word.strip_suffix('l')) {
        (Some(rest), _) if rest.len() > 2 && vowels(rest) > 0 && !is_short(rest) => rest.to_owned(),
        (_, Some(rest)) if rest.ends_with('l') && vowels(rest) > 1 => rest.to_owned(),
        _ => word.to_owned(),
    }
}

/// One vowel and one consonant at the end, as in hop(e) and us(e): the e belongs to the base.
fn is_short(word: &str) -> bool {
    let mut ends = word.chars().rev();
    let last = ends.next().is_some_and(|c| c.is_ascii_lowercase() && !is_vowel(c) && !matches!(c, 'w' | 'x' | 'y'));
    last && vowels(word) == 1 && ends.next().is_some_and(is_vowel) && !ends.next().is_some_and(is_vowel)
}

/// Groups of vowels.
fn vowels(word: &str) -> usize {
    let is_vowels: Vec<bool> = word.chars().map(is_vowel).collect();
    is_vowels.chunk_by(|a, b| a == b).filter(|group| group.first() == Some(&true)).count()
}

const fn is_vowel(c: char) -> bool {
    matches!(c, 'a' | 'e' | 'i' | 'o' | 'u' | 'y')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_verb_have_one_base() {
        let verbs = [
            "approve approved approving",
            "stop stopped stopping",
            "use used using",
            "file filed filing",
            "fill filled filling",
            "install installed installing",
            "cancel cancelled cancelling",
            "cancel canceled canceling",
            "apply applied applying",
            "change changed changing",
            "clean cleaned cleaning",
            "write written writing",
            "access accessed accessing",
            "play played playing",
        ];
        for forms in verbs {
            let [base, past, present] = forms.split(' ').collect::<Vec<_>>().try_into().unwrap();
            assert_eq!((participle(past), gerund(present)), (Some(stem(base)), Some(stem(base))), "{forms}");
        }
        for (one, other) in [("file", "fill"), ("employ", "employee"), ("train", "training"), ("new", "news"), ("universe", "university")] {
            assert_ne!(stem(one), stem(other), "{one} {other}");
        }
    }

    #[test]
    fn plurals_are_the_singular() {
        for (plural, singular) in
            [("users", "user"), ("policies", "policy"), ("boxes", "box"), ("addresses", "address"), ("houses", "house")]
        {
            assert_eq!(stem(plural), stem(singular), "{plural}");
        }
    }
}
