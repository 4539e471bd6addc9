//! Spellings, checksums and decoys of each kind.

use super::*;
use proptest::prelude::*;

fn values(text: &str, kind: Kind) -> Vec<&str> {
    find(text, Kinds::ALL).into_iter().filter(|finding| finding.kind == kind).map(|finding| &text[finding.range]).collect()
}

/// Each text holds one value of the kind, between `<` and `>` here, or none.
fn check(kind: Kind, texts: &[&str]) {
    for marked in texts {
        let text = marked.replace(['<', '>'], "");
        let wanted: Vec<&str> =
            marked.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(value, _)| value).into_iter().collect();
        assert_eq!(values(&text, kind), wanted, "{text}");
    }
}

#[test]
fn nothing_is_asked_nothing_is_found() {
    assert!(find("a@b.org", Kinds::NONE).is_empty());
    assert!(find("", Kinds::ALL).is_empty());
}

#[test]
fn phones_in_many_spellings() {
    let sure = [
        "call <+44 20 7946 0958>.",
        "ring <(579) 888-3058> now",
        "at <345-899-3560x4587>",
        "<+1-903-140-4508x769>",
        "bei <0341 8387176> melden",
        "on <01.84.17.61.18>",
    ];
    let named = ["Phone: <467 3395>", "call me on <9472 7916>?", "messages to <699 956 915>", "<416 60 039> office"];
    let none = [
        "order 9498777106",
        "in 2019 2020 and 2021",
        "on 2024-03-05 at noon",
        "1939-1945",
        "zip 75534-030",
        "pages 12 13 14 15 16 17",
        "license number is 6940579",
    ];
    let chinese = [
        "请拨打<13812345678>",
        "电话<010-62345678>转",
        "手机<１３８１２３４５６７８>",
        "<138 1234 5678>可以",
        "订单号13812345678",
        "热线<400-600-1234>",
    ];
    [&sure[..], &named, &none, &chinese].iter().for_each(|texts| check(Kind::Phone, texts));
}

#[test]
fn numbers_with_a_checksum_need_a_right_one() {
    check(Kind::Card, &["card <4111 1111 1111 1111> 12/25", "card 4111111111111112", "<378282246310005>", "id 1234567890123456"]);
    check(Kind::Iban, &["to <DE89 3704 0044 0532 0130 00> today", "to <gb29nwbk60161331926819>.", "to DE88370400440532013000"]);
    check(
        Kind::Id,
        &[
            "号<11010519491231002X>。",
            "号110105194912310021",
            "<A123456(3)>",
            "A123456(4)",
            "<A123456789>",
            "A123456788",
            "SSN <123-45-6789>",
            "000-12-3456",
            "<AB123456C>",
        ],
    );
}

#[test]
fn addresses_of_the_net() {
    check(Kind::Email, &["to <ann.b+c@mail.example.org>.", "邮箱<zhang@example.com.cn>，", "a@b", "@handle", "x @ y.org"]);
    check(
        Kind::Ip,
        &[
            "from <192.0.2.7>.",
            "version 1.2.3.4",
            "v1.2.3.4",
            "<2001:db8::8a2e:370:7334>",
            "at 10:30:45",
            "std::vec",
            "300.1.1.1",
            "1.2.3.4.5",
        ],
    );
    check(
        Kind::Url,
        &[
            "see <https://a.example.org/b(c)?d=e>.",
            "(<http://www.Example.pt/>)",
            "visit <www.example.com>, now",
            "our <example-shop.com> is",
            "main.rs",
            "README.md",
            "e.g. this",
            "end.It",
        ],
    );
}

#[test]
fn secrets_by_mark_and_by_name() {
    let marked =
        ["key <AKIAIOSFODNN7EXAMPLE> here", "<ghp_16C7e42F292c6912E7710c838347Ae178B4a>", "Authorization: Bearer <mF_9.B5f-4.1JqM1xyz>"];
    let named = ["password=<hunter2!x>", "api_key: '<q7RkX9pL2mZ9vT4wB8sY1>'", "密码是<Abc12345>", "postgres://u:<p4ssw0rd>@db"];
    let none = ["password: required", "the secret is patience", "api_key=${API_KEY}", "token: ********", "sk-learn-contrib-estimators"];
    for text in marked.iter().chain(&named).chain(&none) {
        let found = find(&text.replace(['<', '>'], ""), Kinds::from_iter([Kind::Secret]));
        assert_eq!(found.len(), usize::from(text.contains('<')), "{text}: {found:?}");
    }
    let pem = "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb";
    assert_eq!(redact_for_log(pem), "a\n[SECRET]\nb");
}

#[test]
fn time_is_linear() {
    for part in ["1 ", "a@", "1.", "(1", "http://", "::", "A1", "-----BEGIN ", "password=", "12-", "x.y."] {
        let text = part.repeat(200_000 / part.len());
        let started = std::time::Instant::now();
        let _ = find(&text, Kinds::ALL);
        assert!(started.elapsed().as_secs() < 20, "{part}: {:?}", started.elapsed());
    }
}

proptest! {
    #[test]
    fn findings_are_in_order_on_boundaries_and_apart(text in "[a-z0-9０-９@.:/ +()身份证é-]{0,80}") {
        let mut end = 0;
        for finding in find(&text, Kinds::ALL) {
            prop_assert!(finding.range.start >= end && text.get(finding.range.clone()).is_some_and(|value| !value.is_empty()));
            end = finding.range.end;
        }
        let mut vault = crate::Vault::new(Kinds::ALL);
        let redacted = vault.redact(&text);
        prop_assert_eq!(vault.restore(&redacted), text);
    }
}
