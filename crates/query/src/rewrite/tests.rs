//! Follow-ups and questions that stand on their own, as people ask them. These were written before the rule.

use super::*;

fn turn(question: &str, answer: &str) -> Turn {
    Turn { question: question.into(), rewritten: None, answer: answer.into(), abstained: false }
}

/// The turn before, the follow-up, and words that its rewritten form must have.
const FOLLOW_UPS: [((&str, &str), &str, &[&str]); 46] = [
    (("What is the lighthouse lamp filled with?", "With colza oil [1]."), "How often is it filled?", &["lighthouse", "lamp"]),
    (("Who built the Eddystone lighthouse?", "John Smeaton built it [1]."), "Where was he born?", &["Smeaton", "Eddystone"]),
    (("How long does the warranty last?", "Two years [1]."), "What does it cover?", &["warranty"]),
    (("How long does the warranty last?", "Two years [1]."), "And after that?", &["warranty"]),
    (("What is the capital of France?", "Paris [1]."), "What about Italy?", &["capital"]),
    (("What is the capital of France?", "Paris [1]."), "And Italy?", &["capital"]),
    (("When did the Panthers win the Super Bowl?", "They never did [1]."), "Who was their quarterback?", &["Panthers"]),
    (("Who discovered penicillin?", "Alexander Fleming [1]."), "When?", &["penicillin"]),
    (("Who discovered penicillin?", "Alexander Fleming [1]."), "In which year?", &["penicillin"]),
    (("Who discovered penicillin?", "Alexander Fleming [1]."), "Why?", &["penicillin"]),
    (("How do I return a parcel?", "Within 14 days [1]."), "How much does it cost?", &["parcel"]),
    (("How do I return a parcel?", "Within 14 days [1]."), "Who pays for that?", &["parcel"]),
    (("How do I return a parcel?", "Within 14 days [1]."), "What if they refuse?", &["parcel"]),
    (("Which enzyme splits lactose?", "Lactase [1]."), "Where is it produced?", &["lactose"]),
    (("Which enzyme splits lactose?", "Lactase [1]."), "Does this decline with age?", &["lactose"]),
    (("What are the side effects of metformin?", "Nausea [1]."), "How common are these?", &["metformin"]),
    (("What are the side effects of metformin?", "Nausea [1]."), "How long do they last?", &["metformin"]),
    (("What are the side effects of metformin?", "Nausea [1]."), "Any others?", &["metformin"]),
    (("What are the side effects of metformin?", "Nausea [1]."), "what else", &["metformin"]),
    (("Who wrote Middlemarch?", "George Eliot [1]."), "What was her real name?", &["Middlemarch", "Eliot"]),
    (("Who wrote Middlemarch?", "George Eliot [1]."), "Did she write anything else?", &["Middlemarch"]),
    (("Which plans include support?", "Pro and Team [1]."), "Which one is cheaper?", &["plans", "support"]),
    (("Which plans include support?", "Pro and Team [1]."), "What does the other one cost?", &["plans", "support"]),
    (("What does error E1042 mean?", "The disk is full [1]."), "How do I fix it?", &["E1042"]),
    (("What does error E1042 mean?", "The disk is full [1]."), "how to fix that?", &["E1042"]),
    (("Where is the fog horn?", "On the pier [1]."), "Who works there?", &["fog", "horn"]),
    (("Where is the fog horn?", "On the pier [1]."), "How does that work?", &["fog", "horn"]),
    (("When was the treaty signed?", "In 1648 [1]."), "Who was pope at that time?", &["treaty"]),
    (("When was the treaty signed?", "In 1648 [1]."), "By whom?", &["treaty"]),
    (("When was the treaty signed?", "In 1648 [1]."), "What was the reason?", &["treaty"]),
    (("灯塔的灯用什么油？", "用菜籽油 [1]。"), "它多久加一次油？", &["灯塔"]),
    (("灯塔的灯用什么油？", "用菜籽油 [1]。"), "为什么？", &["灯塔"]),
    (("青霉素是谁发现的？", "亚历山大·弗莱明 [1]。"), "他是哪国人？", &["青霉素"]),
    (("青霉素是谁发现的？", "亚历山大·弗莱明 [1]。"), "什么时候？", &["青霉素"]),
    (("法国的首都是哪里？", "巴黎 [1]。"), "那意大利呢？", &["首都"]),
    (("法国的首都是哪里？", "巴黎 [1]。"), "意大利呢？", &["首都"]),
    (("保修期有多长？", "两年 [1]。"), "这个包括电池吗？", &["保修期"]),
    (("保修期有多长？", "两年 [1]。"), "那之后怎么办？", &["保修期"]),
    (("谁写了《红楼梦》？", "曹雪芹 [1]。"), "他还写了什么？", &["红楼梦"]),
    (("谁写了《红楼梦》？", "曹雪芹 [1]。"), "这本书讲了什么？", &["红楼梦"]),
    (("二甲双胍有哪些副作用？", "恶心 [1]。"), "这些症状会持续多久？", &["二甲双胍"]),
    (("二甲双胍有哪些副作用？", "恶心 [1]。"), "还有呢？", &["二甲双胍"]),
    (("二甲双胍有哪些副作用？", "恶心 [1]。"), "其中哪个最常见？", &["二甲双胍"]),
    (("如何退货？", "十四天内 [1]。"), "多少钱？", &["退货"]),
    (("华为公司的总部在哪里？", "深圳 [1]。"), "该公司有多少员工？", &["华为"]),
    (("华为公司的总部在哪里？", "深圳 [1]。"), "她的创始人是谁？", &["华为"]),
];

/// Questions that stand on their own, whatever was said before.
const STANDING: [&str; 50] = [
    "What is the capital of Italy?",
    "Who built the Eddystone lighthouse?",
    "How often is the fog horn sounded in thick weather?",
    "What is the population of France and what is its capital?",
    "How does the lamp show when it is empty?",
    "Why did the keepers leave after they had lit the lamp?",
    "Is it true that Rome fell in 476?",
    "What is it like to live in Norway?",
    "How long does it take to fill the lamp?",
    "How much does it cost to return a parcel?",
    "Are there lighthouses in Mongolia?",
    "How many people are there in Iceland?",
    "Which cities that lie on the Rhine have a cathedral?",
    "What is the name of the river that crosses Vienna?",
    "Does the lamp have its own oil tank?",
    "Did Marie Curie share her first Nobel Prize?",
    "Who won the election this year?",
    "What does the abbreviation RAG stand for?",
    "error E1042",
    "Photosynthesis",
    "return policy",
    "lactase deficiency",
    "When did the Thirty Years' War end?",
    "When was penicillin discovered?",
    "What was the reason for the Thirty Years' War?",
    "What is the price of a Team plan?",
    "Who is the author of Middlemarch?",
    "Do those who work at night earn more than those who work by day?",
    "How do I reset my password?",
    "What is the difference between TCP and UDP?",
    "And who wrote Hamlet?",
    "Why is the sky blue?",
    "Who was the first man on the Moon?",
    "Which other countries border Germany?",
    "意大利的首都是哪里？",
    "青霉素是什么时候发现的？",
    "灯塔的灯多久加一次油？",
    "那不勒斯在哪个国家？",
    "吉他有几根弦？",
    "其他国家的首都在哪里？",
    "北京的人口是多少，它的面积有多大？",
    "为什么天空是蓝色的？",
    "我应该怎么重置密码？",
    "什么是语义缓存？",
    "保修期有多长？",
    "谁写了《红楼梦》？",
    "维也纳有多少人口？",
    "二甲双胍的副作用",
    "如何退货？",
    "印第安那州的首府是哪里呢？",
];

#[test]
fn follow_ups_are_joined_with_what_they_lean_on() {
    let mut faults = Vec::new();
    for ((question, answer), follow_up, words) in FOLLOW_UPS {
        match rewrite(follow_up, &[turn(question, answer)]) {
            None => faults.push(format!("{follow_up:?} is taken to stand alone")),
            Some(joined) => {
                let is_whole = joined.starts_with(follow_up) && words.iter().all(|word| joined.contains(word));
                if !is_whole {
                    faults.push(format!("{follow_up:?} became {joined:?}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), FOLLOW_UPS.len(), faults.join("\n"));
}

#[test]
fn what_stands_on_its_own_is_never_changed() {
    let before = [turn("Who discovered penicillin?", "Alexander Fleming [1]."), turn("灯塔的灯用什么油？", "用菜籽油 [1]。")];
    let changed: Vec<String> = STANDING.iter().filter_map(|question| rewrite(question, &before)).collect();
    assert!(changed.is_empty(), "{} of {}:\n{}", changed.len(), STANDING.len(), changed.join("\n"));
}

#[test]
fn without_a_conversation_nothing_is_changed() {
    for (_, follow_up, _) in FOLLOW_UPS {
        assert_eq!(rewrite(follow_up, &[]), None);
    }
}

#[test]
fn a_chain_keeps_its_subject_and_stays_short() {
    let mut turns = vec![turn("What is the lighthouse lamp filled with?", "Colza oil [1].")];
    for follow_up in ["How often is it filled?", "And by whom?", "Why?", "When?", "Who checks that?"].repeat(5) {
        let joined = rewrite(follow_up, &turns).unwrap();
        assert!(joined.contains("lighthouse") && joined.contains("lamp"), "{joined}");
        assert!(joined.len() < follow_up.len() + 200, "{joined}");
        turns.push(Turn { rewritten: Some(joined), ..turn(follow_up, "Every evening [1].") });
    }
}

#[test]
fn joined_words_are_no_search_operators() {
    let before = [turn("What does -v and \"quiet mode\" do?", "It says more.")];
    let joined = rewrite("And why is it slow?", &before).unwrap();
    let added = joined.strip_prefix("And why is it slow?").unwrap();
    assert!(!added.contains('"') && !added.contains(" -"), "{joined}");
    assert!(added.contains("quiet"), "{joined}");
}
