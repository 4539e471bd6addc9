//! The normal form of an English question.
//!
//! What says nothing goes: politeness, articles, auxiliaries. What says the same in another way is written in one
//! way: "X of Y" as "Y X", "by whom was X written" as "who wrote X", "how can X be done" as "how do I do X". All else
//! stays, in its order. Rules that know no word but the function words can't know all; where they fail, the forms
//! differ, and nothing worse happens.

use super::form::{Asking, Form, Sort, Word};
use super::text::Text;
use items::{Item, items};
use std::ops::Range;
use stem::{gerund, stem};
use words::{
    ANYBODY, ARTICLES, ASKING, BE, CLAUSES, CLOSINGS, COUNTED, DO, HOW_TO, MODALS, NAMES, OPENINGS, PAST, PHRASES, PREPOSITIONS,
    QUESTION_WORDS, TELLING, TIMES, WISHES,
};

mod items;
mod stem;
mod words;

/// The normal form; `numbers` with the tokens that they were read from.
pub(super) fn form(text: &Text, numbers: &[(Range<usize>, String)]) -> Form {
    let mut question = Question(items(text, numbers));
    question.rewrite(PHRASES, Item::is);
    question.rewrite(NAMES, |item, word| item.text == word && item.sort != Sort::Quoted);
    question.rewrite_switches();
    question.unwrap();
    question.take_wish();
    question.turn_front();
    let asking = question.take_asking();
    let asking = question.take_turns(asking);
    question.take_anybody(asking);
    question.make_active();
    let is_past = question.take_past();
    question.turn_genitives();
    question.sort_pairs();
    question.sort_places();
    question.into_form(asking, is_past)
}

struct Question(Vec<Item>);

impl Question {
    fn begins_at(&self, at: usize, phrase: &str) -> bool {
        self.is_at(at, phrase, Item::is)
    }

    fn is_at(&self, at: usize, phrase: &str, is: impl Fn(&Item, &str) -> bool) -> bool {
        let mut items = self.0.iter().skip(at);
        phrase.split(' ').all(|word| items.next().is_some_and(|item| is(item, word)))
    }

    fn position(&self, from: usize, is: impl Fn(&Item) -> bool) -> Option<usize> {
        self.0.iter().skip(from).position(is).map(|at| from + at)
    }

    fn replace(&mut self, at: usize, phrase: &str, by: &str) {
        let count = phrase.split(' ').count();
        self.0.splice(at..at + count, by.split(' ').filter(|word| !word.is_empty()).map(|word| Item::new(word, Sort::Plain)));
    }

    fn rewrite(&mut self, phrases: &[(&str, &str)], is: impl Fn(&Item, &str) -> bool) {
        let mut at = 0;
        while at < self.0.len() {
            let longest = phrases.iter().filter(|(phrase, _)| self.is_at(at, phrase, &is)).max_by_key(|(phrase, _)| phrase.len());
            if let Some((phrase, by)) = longest {
                let is_behind_comma = self.0.get(at).is_some_and(|item| item.is_behind_comma);
                self.replace(at, phrase, by);
                self.0.get_mut(at).into_iter().for_each(|item| item.is_behind_comma = is_behind_comma);
            }
            at += 1;
        }
    }

    /// "Turn it off" as "disable it", "got lost" as "was lost".
    fn rewrite_switches(&mut self) {
        let turn = self.position(0, |item| item.is_in(&["turn", "switch"]));
        let switch = turn.and_then(|at| self.position(at, |item| item.is_in(&["on", "off"]))).filter(|at| at + 1 == self.0.len());
        if let (Some(turn), Some(_)) = (turn, switch) {
            let is_on = self.0.pop().is_some_and(|item| item.is("on"));
            self.0.get_mut(turn).into_iter().for_each(|item| item.text = if is_on { "enable" } else { "disable" }.to_owned());
        }
        for at in 1..self.0.len() {
            let is_passive = self.0.get(at).is_some_and(|item| item.base().is_some());
            if let Some(got) = self.0.get_mut(at - 1).filter(|item| is_passive && item.is("got")) {
                got.text = "was".to_owned();
            }
        }
    }

    /// Without what only asks to be told.
    fn unwrap(&mut self) {
        while let Some((phrase, by)) =
            OPENINGS.iter().filter(|(phrase, _)| self.begins_at(0, phrase)).max_by_key(|(phrase, _)| phrase.len())
        {
            self.replace(0, phrase, by);
        }
        if ASKING.iter().any(|asking| self.begins_at(0, asking)) {
            let polite = 2 + usize::from(self.0.get(2).is_some_and(|item| item.is_in(&["please", "kindly"])));
            if let Some(telling) = TELLING.iter().find(|telling| self.begins_at(polite, telling)) {
                self.0.drain(..polite + telling.split(' ').count());
                return self.unwrap();
            }
        }
        for closing in CLOSINGS {
            let count = closing.split(' ').count();
            if self.0.len() > count && self.begins_at(self.0.len() - count, closing) {
                self.0.truncate(self.0.len() - count);
                return self.unwrap();
            }
        }
    }

    /// "I want to do it, how do I do that" as "how to do it", "who is responsible for doing it" as "who does it".
    fn take_wish(&mut self) {
        let ends =
            |phrase: &&&str| self.0.len().checked_sub(phrase.split(' ').count()).is_some_and(|at| at > 0 && self.begins_at(at, phrase));
        if let Some(count) = HOW_TO.iter().find(ends).map(|phrase| phrase.split(' ').count()) {
            self.0.truncate(self.0.len() - count);
            match WISHES.iter().find(|wish| self.begins_at(0, wish)) {
                Some(wish) => self.replace(0, wish, "how to"),
                None => drop(self.0.splice(..0, ["how", "to"].map(|word| Item::new(word, Sort::Plain)))),
            }
        }
        for duty in ["who is responsible for", "who is in charge of"].iter().filter(|duty| self.begins_at(0, duty)) {
            let doing = duty.split(' ').count();
            if let Some(base) = self.0.get(doing).filter(|item| item.sort == Sort::Plain).and_then(|item| gerund(&item.text)) {
                self.0.drain(1..doing);
                self.0.get_mut(1).into_iter().for_each(|item| (item.text, item.is_base) = (base.clone(), true));
                return;
            }
        }
    }

    /// "In France, can I …" as "can I … in France".
    fn turn_front(&mut self) {
        let is_place = self.0.first().is_some_and(|item| item.is_in(PREPOSITIONS) || item.is_in(&["if", "once"]));
        let comma = self.position(1, |item| item.is_behind_comma).filter(|_| is_place);
        let begins = |at: &usize| self.0.get(*at).is_some_and(|item| item.is_auxiliary() || item.is_in(QUESTION_WORDS));
        if let Some(at) = comma.filter(begins) {
            self.0.rotate_left(at);
        }
    }

    /// What is asked, and the question without the word for it.
    fn take_asking(&mut self) -> Asking {
        let is_asking = |item: &Item| item.is_in(QUESTION_WORDS);
        // "From which gate does it leave" as "which gate does it leave from".
        let is_led = self.0.first().is_some_and(|item| item.is_in(PREPOSITIONS)) && self.0.get(1).is_some_and(is_asking);
        if is_led {
            let preposition = self.0.remove(0);
            self.0.push(preposition);
        }
        let is_last =
            !is_led && self.0.first().is_some_and(|item| !item.is_auxiliary()) && self.0.last().is_some_and(|item| item.is("who"));
        let at = if is_last { self.0.len() - 1 } else { 0 };
        let Some(word) = self.0.get(at).cloned().filter(is_asking) else {
            let is_auxiliary = self.0.first().is_some_and(|item| item.is_auxiliary() || item.is_in(&["has", "have", "had"]));
            return if is_auxiliary { Asking::YesNo } else { Asking::Open };
        };
        self.0.remove(at);
        let next = self.0.get(at).filter(|item| item.sort == Sort::Plain).map_or("", |item| item.text.as_str());
        match word.text.as_str() {
            "who" => Asking::Who,
            "where" => {
                self.0.pop_if(|item| item.is_in(&["located", "situated"]));
                Asking::Where
            }
            "when" => Asking::When,
            "why" => Asking::Why,
            "how" => {
                let is_way =
                    self.0.first().is_some_and(|item| item.is_auxiliary() || item.is_in(ANYBODY) || item.is_in(ARTICLES) || item.is("to"));
                if is_way || next.is_empty() { Asking::How } else { Asking::Degree }
            }
            _ => match TIMES.iter().find(|time| **time == next) {
                Some(time) if self.0.get(1).is_some_and(Item::is_auxiliary) => {
                    self.0.remove(0);
                    self.0.pop_if(|item| item.is_in(&["in", "on"]));
                    Asking::WhenExactly(time)
                }
                _ => Asking::What,
            },
        }
    }

    /// Turns of phrase with one meaning, and what is then asked.
    fn take_turns(&mut self, asking: Asking) -> Asking {
        let last = self.0.last().filter(|item| item.sort == Sort::Plain).map_or("", |item| item.text.as_str()).to_owned();
        let auxiliary = self.position(0, Item::is_auxiliary);
        let helps = |at: usize| self.0.get(at).is_some_and(|item| item.is_in(DO));
        let is_plain = |range: Range<usize>| {
            let mut items = self.0.get(range).into_iter().flatten();
            items.all(|item| !item.is_boundary() || item.is_in(ARTICLES))
        };
        let end = self.0.len().saturating_sub(1);
        match (asking, auxiliary, last.as_str()) {
            // "How much does X cost": what does X cost.
            (Asking::Degree, Some(1), "cost") if self.begins_at(0, "much") => {
                self.0.remove(0);
                Asking::What
            }
            // "What does X mean": the meaning of X.
            (Asking::What, Some(0), "mean") if helps(0) => {
                self.replace(end, "mean", "meaning");
                asking
            }
            // "What effects does X have": the effects of X.
            (Asking::What | Asking::Degree, Some(at), "have") if at > 0 && helps(at) && is_plain(at + 1..end) => {
                let first = usize::from(asking == Asking::Degree);
                let is_past = self.0.get(at).is_some_and(|item| item.is("did"));
                self.0.pop();
                self.0.get_mut(first..).into_iter().for_each(|part| part.rotate_left(at - first));
                if !is_past {
                    self.0.remove(first);
                }
                asking
            }
            // "Which metals are magnetic": the magnetic metals.
            (Asking::What, Some(at), _)
                if at > 0 && at + 1 == end && is_plain(end..end + 1) && self.0.get(at).is_some_and(|item| item.is_in(BE)) =>
            {
                self.0.rotate_left(at);
                asking
            }
            (Asking::Where | Asking::Who, Some(0), _) if self.0.get(1).is_some_and(|item| item.is("i")) => {
                let is_same = self.0.first().is_some_and(|item| item.is_in(&["can", "should", "do"]));
                self.0.drain(..usize::from(is_same));
                asking
            }
            (Asking::How, Some(0), _) => self.take_difference(),
            _ => asking,
        }
    }

    /// "How does A differ from B": what is the difference between A and B.
    fn take_difference(&mut self) -> Asking {
        let differs = self.position(1, |item| item.is_in(&["differ", "different"])).filter(|at| self.begins_at(at + 1, "from"));
        let is_present = self.0.first().is_some_and(|item| item.is_in(&["do", "does", "is", "are"]));
        let Some(at) = differs.filter(|_| is_present) else { return Asking::How };
        self.0.splice(at..at + 2, [Item::new("and", Sort::Plain)]);
        self.0.splice(..1, ["difference", "between"].map(|word| Item::new(word, Sort::Plain)));
        Asking::What
    }

    /// "How do I", "how can one", "how to" and "how is it done" as the same way of doing something.
    fn take_anybody(&mut self, asking: Asking) {
        if asking != Asking::How {
            return;
        }
        let mut taken = 0;
        let is_modal = |item: &&Item| item.is_in(&["do", "can", "should", "would"]);
        taken += usize::from(self.0.first().filter(is_modal).is_some());
        if self.0.get(taken).is_some_and(|item| item.is_in(ANYBODY)) {
            taken += 1;
            taken += usize::from(taken == 1 && self.0.get(taken).filter(is_modal).is_some());
            self.do_it(taken);
        } else if taken == 0 && self.0.first().is_some_and(|item| item.is("to")) {
            self.do_it(1);
        } else {
            self.is_done();
        }
    }

    /// What is to be done begins behind the words `taken`.
    fn do_it(&mut self, taken: usize) {
        self.0.splice(..taken, [Item::new("i", Sort::Plain)]);
        if let Some(item) = self.0.get_mut(1).filter(|item| item.sort == Sort::Plain && !item.is("not")) {
            item.text = gerund(&item.text).unwrap_or_else(|| stem(&item.text));
            item.is_base = true;
        }
    }

    /// "Is the filter replaced", "should the filter be replaced", "does the filter get replaced".
    fn is_done(&mut self) {
        let Some(verb) = self.position(1, |item| item.base().is_some()) else { return };
        let is_present = |item: &Item| item.is_in(&["is", "are", "be", "get", "gets", "can", "should", "must", "do", "does"]);
        let head: Vec<usize> = self.0.iter().take(verb).enumerate().filter(|(_, item)| is_present(item)).map(|(at, _)| at).collect();
        let is_passive = match head.as_slice() {
            [0] => self.0.first().is_some_and(|item| item.is_in(&["is", "are"])),
            [0, at] => at + 1 == verb && self.0.get(*at).is_some_and(|item| item.is_in(&["be", "get", "gets"])),
            _ => false,
        };
        let is_simple = !self.0.iter().any(|item| item.is("by") || item.is("not")) && verb > 1;
        let between = self.0.iter().take(verb).skip(1).any(|item| item.is_in(CLAUSES) || item.is_in(PREPOSITIONS) || item.is_in(PAST));
        if !is_passive || !is_simple || between {
            return;
        }
        let object: Vec<Item> = self.0.drain(..=verb).filter(|item| !is_present(item)).collect();
        let verb = object.last().and_then(Item::base).unwrap_or_default();
        let mut verb = Item::new(&verb, Sort::Plain);
        verb.is_base = true;
        let object = object.iter().take(object.len() - 1).cloned();
        self.0.splice(..0, [Item::new("i", Sort::Plain), verb].into_iter().chain(object).collect::<Vec<_>>());
    }

    /// "Is X covered by Y" as "does Y cover X".
    fn make_active(&mut self) {
        let Some(be) = self.position(0, |item| item.is_in(&["is", "are", "was", "were"])) else { return };
        let Some(by) = self.position(be, |item| item.is("by")) else { return };
        let Some(base) = self.0.get(by - 1).and_then(Item::base) else { return };
        let (is_clause, is_place) = (|item: &Item| item.is_in(CLAUSES) || item.is_in(BE), |item: &Item| item.is_in(PREPOSITIONS));
        let is_simple = !self.0.iter().skip(be + 1).any(is_clause) && !self.0.iter().skip(by + 1).any(is_place);
        if !is_simple {
            return;
        }
        let agent: Vec<Item> = self.0.drain(by..).skip(1).collect();
        self.0.pop();
        let mut verb = Item::new(&base, Sort::Plain);
        verb.is_base = true;
        // "The picture was painted by whom": the object stands before the verb.
        let at = if be + 1 == self.0.len() { 0 } else { be + 1 };
        self.0.splice(at..at, agent.into_iter().chain([verb]));
    }

    /// Whether it is about the past; a verb in the past becomes its base.
    fn take_past(&mut self) -> bool {
        if self.0.iter().any(Item::is_auxiliary) {
            return false;
        }
        let verb = self.0.iter_mut().find(|item| item.base().is_some());
        let is_past = verb.is_some();
        verb.into_iter().for_each(|item| {
            item.text = item.base().unwrap_or_default();
            item.is_base = true;
        });
        is_past
    }

    /// "The period of notice" and "the notice's period" as "the notice period".
    fn turn_genitives(&mut self) {
        while let Some(of) = self.0.iter().rposition(|item| item.is("of")) {
            let head = self.0.iter().take(of).rposition(Item::is_boundary).map_or(0, |at| at + 1);
            let article = of + 1 + usize::from(self.0.get(of + 1).is_some_and(|item| item.is_in(ARTICLES)));
            let end = self.position(article, Item::is_boundary).unwrap_or(self.0.len());
            if head == of || end == article {
                // "Made of", "which of": not a genitive, and marked as seen.
                self.0.get_mut(of).into_iter().for_each(|item| item.text = "'of".to_owned());
                continue;
            }
            self.0.get_mut(head..end).into_iter().for_each(|part| part.rotate_left(of - head));
            // Now "of", its article, the owner, the head.
            self.0.drain(head..head + (article - of));
        }
        // "Microsoft's acquisition" may be another than "the acquisition of Microsoft".
        let is_deed = |item: &Item| ["tion", "sion", "ment", "ance", "ence", "al", "ing"].iter().any(|ending| item.text.ends_with(ending));
        let heads: Vec<bool> = self.0.iter().skip(1).map(is_deed).chain([false]).collect();
        let mut heads = heads.into_iter();
        self.0.retain(|item| heads.next().unwrap_or_default() || !item.is("'s"));
    }

    /// "Kafka and Redis" as "Redis and Kafka" if each is one word, or both are what something is between.
    fn sort_pairs(&mut self) {
        self.0.retain(|item| !item.is_in(ARTICLES));
        for at in 1..self.0.len() {
            if !self.0.get(at).is_some_and(|item| item.is_in(&["and", "or", "vs", "versus"])) {
                continue;
            }
            let begin = self.0.iter().take(at).rposition(Item::is_boundary).map_or(0, |at| at + 1);
            let end = self.position(at + 1, Item::is_boundary).unwrap_or(self.0.len());
            let is_between = begin > 0 && self.begins_at(begin - 1, "between");
            let is_pair = begin < at && at + 1 < end && (is_between || (begin + 1 == at && at + 2 == end));
            let texts = |range: Range<usize>| self.0.get(range).into_iter().flatten().map(|item| item.text.as_str()).collect::<Vec<_>>();
            if is_pair && texts(begin..at) > texts(at + 1..end) {
                let sorted: Vec<Item> = [at + 1..end, at..at + 1, begin..at]
                    .into_iter()
                    .flat_map(|part| self.0.get(part).unwrap_or_default().to_vec())
                    .collect();
                self.0.splice(begin..end, sorted);
            }
        }
    }

    /// "To B from A" as "from A to B": neighbours with different prepositions may stand in any order.
    fn sort_places(&mut self) {
        let is_place = |item: &Item| item.is_in(PREPOSITIONS);
        let Some(first) = self.position(0, is_place) else { return };
        let tail = self.0.split_off(first);
        let mut places: Vec<Vec<Item>> = Vec::new();
        for item in tail {
            match places.last_mut() {
                Some(last) if !is_place(&item) => last.push(item),
                _ => places.push(vec![item]),
            }
        }
        let is_simple = |place: &Vec<Item>| place.len() > 1 && !place.iter().skip(1).any(Item::is_boundary);
        for run in places.chunk_by_mut(|a, b| is_simple(a) && is_simple(b)) {
            run.sort_by(|a, b| a.first().map(|item| &item.text).cmp(&b.first().map(|item| &item.text)));
        }
        self.0.extend(places.into_iter().flatten());
    }

    fn into_form(self, asking: Asking, is_past: bool) -> Form {
        let has_clauses = self.0.iter().any(|item| item.is_in(CLAUSES) && !item.is_in(&["and", "or", "vs", "versus", "as", "than"]));
        let is_counted =
            self.0.iter().any(|item| item.is_in(COUNTED) || item.sort == Sort::Plain && item.text.len() > 4 && item.text.ends_with("est"));
        let mut frame: Vec<String> = is_past.then(|| "past".to_owned()).into_iter().collect();
        let mut words = Vec::new();
        let (mut has_auxiliary, mut is_behind_anybody) = (false, false);
        for (at, item) in self.0.into_iter().enumerate() {
            let is_helping = item.is_in(BE) || item.is_in(DO) && !has_auxiliary && !is_behind_anybody;
            let is_framing = item.is_in(MODALS) || item.is("not");
            has_auxiliary |= item.is_auxiliary();
            is_behind_anybody = at == 0 && item.is("i") && asking == Asking::How;
            let is_past = is_helping && item.is_in(PAST);
            let text = match () {
                () if is_past => "past".to_owned(),
                () if item.is("may") => "can".to_owned(),
                () if is_helping || item.is("there") => continue,
                () => item.text,
            };
            if (is_past || is_framing) && !has_clauses {
                frame.push(text);
            } else {
                let stem = if item.is_base || item.sort == Sort::Quoted || item.sort == Sort::Number { text.clone() } else { stem(&text) };
                words.push(Word { text, stem, sort: item.sort });
            }
        }
        Form { asking, frame, words, is_counted }
    }
}
