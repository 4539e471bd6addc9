//! What the guard sees, kind by kind, and what it lets through. How often it is right on questions that it was not
//! written for is measured on the labelled ones, in `tests/guard.rs`.

use super::{Difference, QUESTION_CHARS_MAX, guard};
use proptest::prelude::*;

fn kind(a: &str, b: &str) -> &'static str {
    let (there, back) = (guard(a, b), guard(b, a));
    assert_eq!(there.is_ok(), back.is_ok(), "{a} / {b}: it must not matter which question came first: {there:?}, {back:?}");
    there.err().map_or("same", |difference| difference.kind())
}

fn all_are(expected: &str, pairs: &[(&str, &str)]) {
    for (a, b) in pairs {
        assert_eq!(kind(a, b), expected, "{a} / {b}: {:?}", guard(a, b));
    }
}

#[test]
fn other_words_for_the_same_pass() {
    all_are(
        "same",
        &[
            ("How do I reset my password?", "What are the steps to reset my password?"),
            ("HOW DO I RESET MY PASSWORD", "how do i reset my password?"),
            ("Could you please tell me when the office opens?", "When does the office open?"),
            ("Is there a discount for orders over $1,000?", "Is there a discount for orders over 1000 dollars?"),
            ("By whom was the bridge designed?", "Who designed the bridge?"),
            ("Is theft covered by the insurance?", "Does the insurance cover theft?"),
            ("What is the size of the lake?", "How big is the lake?"),
            ("Which gate does the bus leave from?", "From which gate does the bus leave?"),
            ("What is the fare from Rome to Oslo?", "What is the fare to Oslo from Rome?"),
            ("In Spain, can minors rent a car?", "Can minors rent a car in Spain?"),
            ("Which payment methods are accepted?", "What are the accepted payment methods?"),
            ("What does code 7 mean?", "What is the meaning of code 7?"),
            ("How is the chain tightened?", "What is the procedure for tightening the chain?"),
            ("Which risks does the drug have?", "What are the risks of the drug?"),
            ("What changed on 1 March 2024?", "What changed on March 1st, 2024?"),
            ("Why doesn't the app start?", "Why does the app not start?"),
            ("how do i install it on ubuntu", "How do I install it on Ubuntu?"),
            ("Who wrote 'Pride and Prejudice'?", "Who was \"Pride and Prejudice\" written by?"),
            ("How do I turn 2FA off?", "How can I disable 2FA?"),
            ("What is the difference between Redis and Kafka?", "How does Kafka differ from Redis?"),
            ("Which APIs are there?", "Which API is there?"),
            ("What are the wages on day 7?", "Tell me what the wages on day 7 are."),
            ("When was the bridge opened?", "Please tell me when the bridge was opened."),
            ("What is written of topic 7 of flights?", "Please tell me what is written of topic 7 of flights."),
            ("When did World War II start?", "When did WWII begin?"),
            ("Where is the first-aid box?", "Where can I find the first aid box?"),
            ("Why was my claim refused?", "What's the reason my claim got refused?"),
            ("I want to sell my car. How do I do that?", "How do I sell my car?"),
            ("Who is responsible for checking the brakes?", "Who checks the brakes?"),
            ("How does tea differ from coffee?", "What's the difference between coffee and tea?"),
            ("胰岛素是谁发现的？", "谁发现了胰岛素？"),
            ("合同由谁签署？", "谁签署合同？"),
            ("韩国有多少人口？", "韩国的人口是多少？"),
            ("《劳动合同法》第三十九条规定了什么？", "《劳动合同法》第39条规定了什么?"),
            ("怎么重置密码？", "如何重置密码？"),
            ("能不能退款？", "可以退款吗？"),
            ("样本中百分之二十的人反对吗？", "样本中20%的人反对吗？"),
        ],
    );
}

#[test]
fn other_numbers_do_not() {
    all_are(
        "number",
        &[
            ("What was the revenue in 2022?", "What was the revenue in 2023?"),
            ("Can I upload 5 MB?", "Can I upload 5 GB?"),
            ("What does step 3 say?", "What does the step say?"),
            ("How do I use two keys?", "How do I use three keys?"),
            ("三天内可以退货吗？", "七天内可以退货吗？"),
        ],
    );
}

#[test]
fn other_names_do_not() {
    all_are(
        "name",
        &[
            ("Who runs Siemens?", "Who runs Bosch?"),
            ("What was Apple's revenue?", "What was Google's revenue?"),
            ("What does the --force flag do?", "What does the --dry-run flag do?"),
            ("What is top_k?", "What is top_p?"),
            ("Is C++ supported?", "Is C# supported?"),
            ("谁写了《红楼梦》？", "谁写了《西游记》？"),
            ("如何在Windows上安装？", "如何在Linux上安装？"),
        ],
    );
}

#[test]
fn other_signs_of_denial_do_not() {
    all_are(
        "negation",
        &[
            ("What is covered?", "What isn't covered?"),
            ("Which fields are required?", "Which fields are not required?"),
            ("Can I pay with a card?", "Can I pay without a card?"),
            ("保修包括哪些部分？", "保修不包括哪些部分？"),
        ],
    );
}

#[test]
fn other_directions_do_not() {
    all_are(
        "subject",
        &[
            ("How do I increase the limit?", "How do I decrease the limit?"),
            ("How long are backups kept?", "How often are backups kept?"),
            ("Which plan costs more?", "Which plan costs less?"),
            ("May I eat before the test?", "May I eat after the test?"),
            ("How do I turn on 2FA?", "How do I turn off 2FA?"),
            ("What are the tenant's duties?", "What are the landlord's duties?"),
            ("Who is on duty this month?", "Who is on duty next month?"),
            ("What is the fee per day?", "What is the fee per week?"),
            ("What happens if the test passes?", "What happens if the test refuses to pass?"),
            ("Who is the owner?", "Who was the owner?"),
            ("Can I park here?", "Must I park here?"),
            ("密码最大长度是多少？", "密码最小长度是多少？"),
            ("如何导入数据？", "如何导出数据？"),
        ],
    );
}

#[test]
fn other_kinds_of_question_do_not() {
    all_are(
        "question",
        &[
            ("Who signed the treaty?", "When was the treaty signed?"),
            ("How do I export data?", "Can I export data?"),
            ("Why is the index rebuilt?", "How is the index rebuilt?"),
            ("条约在哪里签署？", "条约何时签署？"),
        ],
    );
}

#[test]
fn things_that_change_places_do_not() {
    all_are(
        "order",
        &[
            ("How do I convert JSON to YAML?", "How do I convert YAML to JSON?"),
            ("How do I upgrade from 2.3 to 2.4?", "How do I upgrade from 2.4 to 2.3?"),
            ("How do I convert euros to dollars?", "How do I convert dollars to euros?"),
            ("Which firm did Acme buy?", "Which firm was Acme bought by?"),
            ("Who works for Smith?", "Who does Smith work for?"),
            ("Which users who can not log in can edit?", "Which users who can log in can not edit?"),
        ],
    );
}

#[test]
fn a_word_for_another_does_not() {
    all_are(
        "subject",
        &[
            ("How do I delete a user?", "How do I delete a group?"),
            ("how do i install it on windows", "how do i install it on linux"),
            ("日本的人口是多少？", "韩国的人口是多少？"),
        ],
    );
}

#[test]
fn nothing_is_cut_off_before_it_is_compared() {
    let long = "why ".repeat(QUESTION_CHARS_MAX / 4);
    assert_eq!(guard(&long, &long), Ok(()));
    let longer = format!("{long}?");
    assert_eq!(guard(&longer, &longer), Err(Difference::TooLong));
}

proptest! {
    #[test]
    fn any_text_is_taken_and_is_the_same_as_itself(text in "\\PC{0,60}") {
        prop_assert_eq!(guard(&text, &text), Ok(()));
    }

    #[test]
    fn no_text_breaks_it(a in "[a-zA-Z0-9一三十百千万亿第《》“”'’、，。？$%.:/ +#_-]{0,40}", b in "\\PC{0,40}") {
        prop_assert_eq!(guard(&a, &a), Ok(()));
        prop_assert_eq!(guard(&a, &b).is_ok(), guard(&b, &a).is_ok());
    }

    #[test]
    fn a_number_is_never_taken_for_another(a in 0_u32..100_000, b in 0_u32..100_000) {
        let ask = |n: u32| format!("What does rule {n} say?");
        prop_assert_eq!(guard(&ask(a), &ask(b)).is_ok(), a == b);
        let ask = |n: u32| format!("第{n}条规定了什么？");
        prop_assert_eq!(guard(&ask(a), &ask(b)).is_ok(), a == b);
    }
}
