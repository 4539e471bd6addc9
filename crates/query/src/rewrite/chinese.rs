//! Whether a Chinese question leans on what was said before, and what a Chinese text is about.

use crate::script::is_cjk;

/// Words that name what was said before, wherever they stand.
const NAMING: [&str; 34] = [
    "它", "他们", "她", "这个", "这些", "这种", "这件", "这本", "这位", "这家", "这里", "这样", "这是", "这会", "这要", "那个", "那些",
    "那种", "那件", "那本", "那位", "那家", "那里", "那样", "其中", "前者", "后者", "上述", "此人", "此事", "此书", "此地", "同样", "两者",
];
/// Words with the same characters that name nothing: taken out before looking.
const HARMLESS: [&str; 16] = [
    "其他",
    "吉他",
    "他国",
    "他人",
    "应该",
    "活该",
    "那不勒斯",
    "印第安那",
    "维也那",
    "这几年",
    "这一年",
    "这个月",
    "这个世纪",
    "不该",
    "本该",
    "刹那",
];
/// What a question that goes on begins with.
const OPENINGS: [&str; 18] = [
    "那么",
    "那之后",
    "那以后",
    "那是",
    "那为什么",
    "那谁",
    "那怎么",
    "那有",
    "那在",
    "那时",
    "还有",
    "另外",
    "此外",
    "然后",
    "接着",
    "以及",
    "而且",
    "之后",
];
/// Behind these stands a noun for what was named: `该公司`.
const NOUNS_BEHIND_GAI: [&str; 22] = [
    "公司", "国", "书", "人", "项目", "产品", "药", "地", "城市", "作品", "组织", "机构", "系统", "部门", "法", "条", "企业", "学校",
    "大学", "文", "方法", "协议",
];
/// Words that ask, longest first.
const ASKING: [&str; 31] = [
    "为什么",
    "什么时候",
    "什么地方",
    "什么样",
    "怎么样",
    "怎么办",
    "是什么",
    "有什么",
    "哪一个",
    "哪一年",
    "哪国人",
    "多少钱",
    "请问",
    "什么",
    "哪些",
    "哪个",
    "哪里",
    "哪年",
    "哪国",
    "如何",
    "怎么",
    "怎样",
    "多少",
    "多久",
    "多长",
    "多大",
    "多高",
    "多远",
    "是谁",
    "是否",
    "时候",
];
/// What else says nothing of what a question is about, longest first.
const EMPTY: [&str; 47] = [
    "原因",
    "价格",
    "时间",
    "地点",
    "名字",
    "例子",
    "一下",
    "介绍",
    "解释",
    "告诉",
    "具体",
    "详细",
    "可以",
    "能否",
    "需要",
    "有没有",
    "谁",
    "哪",
    "几",
    "吗",
    "呢",
    "的",
    "了",
    "和",
    "与",
    "是",
    "有",
    "在",
    "会",
    "要",
    "能",
    "做",
    "请",
    "我",
    "你",
    "您",
    "还",
    "都",
    "也",
    "又",
    "就",
    "被",
    "把",
    "为",
    "到",
    "从",
    "用",
];

/// What else stands between the words that a text is about, longest first. Fewer than above: `都` alone says nothing, but is
/// half of `首都`.
const BETWEEN: [&str; 13] = ["介绍一下", "告诉我", "可以", "能否", "需要", "有没有", "谁", "哪", "吗", "呢", "的", "了", "是"];

/// Whether the question names too little to stand alone.
pub(super) fn leans(question: &str) -> bool {
    let question = question.trim();
    let plain = without(question, &HARMLESS, "□");
    let opening = OPENINGS.iter().any(|opening| plain.starts_with(opening));
    opening || has_open_name(&plain) || asks_of_another(&plain) || says_nothing(&plain)
}

/// A pronoun for which no clause before it names anything.
fn has_open_name(question: &str) -> bool {
    let places = NAMING.iter().flat_map(|word| question.match_indices(word).map(|(at, _)| at));
    let of_him = question.match_indices('他').map(|(at, _)| at);
    let gai = question.match_indices('该').filter(|(at, gai)| {
        let rest = question.get(at + gai.len()..).unwrap_or_default();
        NOUNS_BEHIND_GAI.iter().any(|noun| rest.starts_with(noun))
    });
    let all = places.chain(of_him).chain(gai.map(|(at, _)| at));
    all.into_iter().any(|at| !is_named_before(question.get(..at).unwrap_or_default()))
}

/// Characters of a clause that names something.
const CLAUSE_CHARS_MIN: usize = 4;

fn is_named_before(before: &str) -> bool {
    let clause = before.rsplit_once(['，', ',', '。', '；', ';', '、']).map(|(clause, _)| clause);
    clause.is_some_and(|clause| clause.chars().filter(|c| is_cjk(*c)).count() >= CLAUSE_CHARS_MIN && !says_nothing(clause))
}

/// `意大利呢？`: another one, and nothing of what is asked.
fn asks_of_another(question: &str) -> bool {
    let bare = question.trim_end_matches(['？', '?', '！', ' ']);
    let Some(rest) = bare.strip_suffix('呢') else { return false };
    const ASKING: [&str; 10] = ["什么", "哪", "谁", "几", "多", "如何", "怎", "为何", "吗", "是否"];
    !ASKING.iter().any(|word| rest.contains(word))
}

/// Only words that every question has.
fn says_nothing(question: &str) -> bool {
    let rest = without(&without(question, &ASKING, ""), &EMPTY, "");
    question.chars().any(is_cjk) && !rest.chars().any(char::is_alphanumeric)
}

fn without(text: &str, words: &[&str], instead: &str) -> String {
    words.iter().fold(text.to_owned(), |text, word| text.replace(word, instead))
}

/// What a text is about: its runs of characters without the words that every question has. Single characters say too
/// little, unless there is nothing else.
pub(super) fn content_runs(text: &str) -> Vec<String> {
    let kept = without(&without(&without(text, &ASKING, " "), &BETWEEN, " "), &NAMING, " ");
    let runs: Vec<String> = kept.split(|c| !is_cjk(c)).filter(|run| !run.is_empty()).map(str::to_owned).collect();
    let long: Vec<String> = runs.iter().filter(|run| run.chars().count() > 1).cloned().collect();
    if long.is_empty() { runs } else { long }
}
