//! Chinese questions: the question word stands where the answer would, so all are looked for, the telling ones first.

use super::{Amount, Asking};

/// In this order: 为什么 holds 什么, and 什么时候 does too.
const SIGNS: &[(Asking, &[&str])] = &[
    (Asking::Open, &["会怎样", "会怎么样"]),
    (Asking::Why, &["为什么", "为何", "为啥", "什么原因", "原因", "怎么会"]),
    (Asking::When, &["什么时候", "何时", "几点", "哪年", "哪一年", "哪1年", "哪天", "哪一天", "何日", "哪个月", "什么时间"]),
    (Asking::Amount(Amount::Duration), &["多久", "多长时间"]),
    (Asking::Where, &["哪里", "哪儿", "何处", "什么地方", "在哪", "哪个目录", "哪个城市", "哪个国家"]),
    (Asking::Who, &["谁", "哪位", "什么人"]),
    (Asking::Amount(Amount::Distance), &["多远", "距离"]),
    (Asking::Amount(Amount::Frequency), &["多久一次", "频率"]),
    (Asking::How, &["怎么", "如何", "怎样", "怎么办", "咋", "过程", "步骤", "流程", "方法"]),
    (Asking::Amount(Amount::Any), &["多少", "几个", "几次", "几天", "几年", "几种", "几", "多大", "多高", "多长", "多快", "多重"]),
    (Asking::Open, &["什么", "哪些", "哪个", "哪种", "哪", "何", "解释", "介绍", "列出", "说明"]),
    (Asking::YesNo, &["吗", "是否", "能否", "可否", "能不能", "可不可以", "是不是", "有没有", "会不会", "要不要", "嘛"]),
];

/// What a question in Chinese asks.
pub(super) fn asking(text: &str) -> Asking {
    let found = SIGNS.iter().find(|(_, signs)| signs.iter().any(|sign| text.contains(sign)));
    found.map_or(Asking::Open, |(asking, _)| *asking)
}
