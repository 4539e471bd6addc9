//! Ways of saying the same in Chinese; characters in none of these words count as they stand.

/// How, why and when: adverbs that may stand before what is done or behind what it is done to.
pub(super) const HOW: &str = "@how";
pub(super) const WHY: &str = "@why";
pub(super) const WHEN: &str = "@when";
/// A mark of a question for yes or no.
pub(super) const WHETHER: &str = "@whether";

/// Words and what is taken for them; words that hold others and mean something else stand for themselves.
pub(super) const WORDS: &[(&str, &[&str])] = &[
    (HOW, &["怎么", "如何", "怎样", "咋", "该怎么", "应该怎么", "应该如何", "应如何", "要怎么", "该如何"]),
    (WHY, &["为什么", "为何", "为啥", "怎么会", "什么原因"]),
    (WHEN, &["什么时候", "何时", "啥时候", "什么时间"]),
    (WHETHER, &["是否", "是不是"]),
    ("怎么样", &["怎么样"]),
    ("怎么办", &["怎么办", "要怎么处理", "怎么处理", "了怎么办", "了要怎么处理"]),
    ("多久", &["多久", "多长时间"]),
    ("多少钱", &["的价格是多少", "价格是多少", "要多少钱", "需要多少钱"]),
    ("多高", &["有多高", "的高度是多少"]),
    ("多长", &["有多长", "的长度是多少"]),
    ("多大", &["有多大"]),
    ("多少天", &["几天"]),
    ("多少年", &["几年"]),
    ("多少个", &["几个"]),
    ("多少次", &["几次"]),
    ("多少人", &["几人"]),
    ("多少小时", &["几小时", "几个小时", "多少个小时"]),
    ("什么", &["什么", "哪些", "啥"]),
    ("哪里", &["哪里", "哪儿", "何处", "什么地方"]),
    ("哪年", &["哪年", "哪一年", "哪1年"]),
    ("谁", &["哪位"]),
    ("能", &["可以", "能够"]),
    ("要", &["需要"]),
    ("账号", &["账户", "帐户", "帐号"]),
    ("登录", &["登陆", "登入"]),
    ("修改", &["更改"]),
    ("成人", &["成年人"]),
    ("里", &["里面"]),
    ("内", &["以内", "之内"]),
    ("前", &["之前"]),
    ("后", &["之后"]),
    ("由谁", &["由谁"]),
    ("目的", &["目的"]),
    ("还是", &["还是"]),
    ("不是", &["不是"]),
    ("把", &["将"]),
    ("和", &["与", "跟"]),
    ("开启", &["启用"]),
    ("停用", &["禁用"]),
    ("换", &["更换"]),
    ("查", &["查询"]),
    ("算", &["计算"]),
    ("通知", &["告知"]),
    ("抽烟", &["吸烟"]),
    ("有什么区别", &["的区别是什么"]),
    ("从事", &["从事"]),
    ("从业", &["从业"]),
    ("将来", &["将来"]),
    ("参与", &["参与"]),
    ("", &["的", "是", "从"]),
];
/// Words that ask whether by being turned round: 能不能.
pub(super) const CHOICES: &[(&str, &[&str])] = &[
    ("能", &["能不能", "能否", "可不可以", "可否", "可以不可以"]),
    ("有", &["有没有"]),
    ("会", &["会不会"]),
    ("要", &["要不要", "需不需要"]),
];
/// What a question may begin with.
pub(super) const OPENINGS: &[&str] = &["请问", "请", "你好", "您好", "麻烦", "我想知道", "想知道", "我想问", "告诉我", "我想了解"];
/// What it may end with, and what only marks a question.
pub(super) const CLOSINGS: &[&str] = &["呢", "啊", "呀", "吧", "谢谢"];
pub(super) const MARKS: &[&str] = &["吗", "嘛", "么"];
