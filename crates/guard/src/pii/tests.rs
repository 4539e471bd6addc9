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
fn three_numbers_in_a_row_are_a_phone_only_where_nothing_speaks_against_it() {
    check(
        Kind::Phone,
        &[
            "order 256 512 1024",
            "invoice 1 256 512 1024",
            "订单 400 600 1234",
            "at <345 899 3560> now",
            "<212-555-1234>",
            "sizes 128 256 512 1024 2048",
        ],
    );
    let table = "220 340 1200 230 350 1300 240 360 1400 250 370 1500 ".repeat(4);
    assert!(values(&table, Kind::Phone).is_empty());
}

#[test]
fn lists_of_phone_numbers_are_found_however_long() {
    let numbers = |separator: &str| (0..40).map(|n| format!("555{separator}123{separator}45{n:02}")).collect::<Vec<_>>();
    for numbers in [numbers("-"), numbers("."), (0..40).map(|n| format!("138123456{n:02}")).collect()] {
        assert_eq!(values(&numbers.join(" "), Kind::Phone), numbers);
    }
    let spaced = numbers(" ");
    assert_eq!(values(&format!("Phones: {}", spaced.join(" ")), Kind::Phone), spaced);
    assert!(values(&spaced.join(" "), Kind::Phone).is_empty(), "a table, unless it is called something else");
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
            "sfz<11010519491231002X>",
            "1,<110101195001010009>,a",
            "x110101195001010001",
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
fn ranges_and_labels_hide_no_address_and_sections_are_none() {
    for (text, wanted) in [
        ("allow 10.0.0.1-10.0.0.9", &["10.0.0.1", "10.0.0.9"][..]),
        ("放行地址10.0.0.1-10.0.0.9", &["10.0.0.1", "10.0.0.9"]),
        ("IPv6:2001:db8::1", &["2001:db8::1"]),
        ("from:2001:db8::1, to:2001:db8::2.", &["2001:db8::1", "2001:db8::2"]),
        ("4.1.2.3 Requirements", &[]),
        ("Intro\n## 4.1.2.3. Requirements", &[]),
        ("clause 5.4.3.2 applies", &[]),
        ("第 4.1.2.3 条", &[]),
        ("10.1.2.3 gateway\n192.168.1.1 router", &["10.1.2.3", "192.168.1.1"]),
        ("tool-1.2.3.4-beta", &[]),
        ("foo:1::bar and add::x", &[]),
    ] {
        assert_eq!(values(text, Kind::Ip), wanted, "{text}");
    }
}

#[test]
fn brackets_behind_a_url_are_counted_once() {
    check(Kind::Url, &["([see <https://a.example.org/b_(c)>])!), then", "<https://a.example.org/(a)(b)>)."]);
    let text = |behind: &str| format!("https://a.example.org/{} ", behind.repeat(2_000)).repeat(20);
    assert!(takes_less(&text(")"), Kinds::ALL, 20.0, &text("q"), Kinds::ALL));
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

/// A key of this many lines.
fn key(lines: usize, end_of_line: &str) -> String {
    let line = |at: usize| (0..64).map(|n| char::from(b"Zb3Kc+7dQe/9fWgT1h"[(n * n + at * 7 + n) % 18])).collect::<String>();
    let body: String = (0..lines).map(|at| line(at) + end_of_line).collect();
    format!("-----BEGIN RSA PRIVATE KEY-----{end_of_line}{body}Qw8=={end_of_line}-----END RSA PRIVATE KEY-----")
}

#[test]
fn of_a_key_that_is_cut_every_part_is_a_secret_and_nothing_beside_it() {
    let key = key(12, "\n");
    let lines: Vec<&str> = key.lines().collect();
    let begun = format!("# Access\n\nThe key:\n{}", lines[..5].join("\n"));
    assert_eq!(redact_for_log(&begun), "# Access\n\nThe key:\n[SECRET]");
    assert_eq!(redact_for_log(&lines[5..9].join("\n")), "[SECRET]");
    // Cut within a line.
    assert_eq!(redact_for_log(&lines[5..9].join("\n")[60..]), "[SECRET]");
    assert_eq!(redact_for_log(&format!("{}\n\nKeep it well.", lines[9..].join("\n"))), "[SECRET]\n\nKeep it well.");
    // The next source and the question stand behind a cut key.
    let followed = format!("{}\nRequirements of the lamp, and then more.", lines[..5].join("\n"));
    assert_eq!(redact_for_log(&followed), "[SECRET]\nRequirements of the lamp, and then more.");
    // Sentences were left out between.
    let compressed = format!("The key: […] {} […] Keep it well.", lines[5..9].join("\n"));
    assert_eq!(redact_for_log(&compressed), "The key: […] [SECRET] […] Keep it well.");
}

#[test]
fn private_keys_in_many_spellings() {
    let armoured = "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\nComment: of the lamp\n\nlQOYBF1x\n=aB3d\n-----END PGP PRIVATE KEY BLOCK-----";
    let encrypted = key(3, "\n").replacen("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0F\n\n", 1);
    let ssh = "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nP2/56wAAAi4AAAA3\n---- END SSH2 ENCRYPTED PRIVATE KEY ----";
    for key in [armoured, &encrypted, ssh, &key(3, "\\n"), &key(3, " "), &key(3, "\r\n"), &key(300, "\n")] {
        assert_eq!(redact_for_log(&format!("{{\"key\": \"{key}\"}} of the lamp")), "{\"key\": \"[SECRET]\"} of the lamp");
    }
    let cut = encrypted.lines().take(5).collect::<Vec<_>>().join("\n");
    assert_eq!(redact_for_log(&format!("{cut}\nThe lamp burns.")), "[SECRET]\nThe lamp burns.");
}

#[test]
fn what_only_speaks_of_keys_stays() {
    let certificate = key(3, "\n").replace("RSA PRIVATE KEY", "CERTIFICATE");
    let digests = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n".repeat(3);
    for text in [
        "A file that begins with -----BEGIN PRIVATE KEY----- must stay at home.",
        "It stands between `-----BEGIN PRIVATE KEY-----` and `-----END PRIVATE KEY-----` in base64.",
        "Look for\n-----BEGIN OPENSSH PRIVATE KEY-----\nin the folder\n-----END OPENSSH PRIVATE KEY-----\nand tell us.",
        "以 -----BEGIN PRIVATE KEY----- 开头，以 -----END PRIVATE KEY----- 结尾。",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        &certificate,
        &digests,
    ] {
        assert_eq!(redact_for_log(text), text);
    }
}

#[test]
fn words_that_look_like_credentials_are_none() {
    for text in [
        "Basic Responsibilities",
        "Basic Electromagnetism",
        "basic self-determination",
        "Bearer instrumentation/2024",
        "see co-operative-housing-in-berlin-2019-report",
        "at /sk-bratislava-hotel-2024-booking-now",
        "fw-weekly-newsletter-number-42-of-2023-final",
    ] {
        assert!(find(text, Kinds::from_iter([Kind::Secret])).is_empty(), "{text}");
    }
    let long = format!("eyJhbGciOiJSUzI1NiJ9.eyJ{}.c2lnbmF0dXJl", "zdWIiOiIx".repeat(1000));
    let encrypted = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..QR1Owv2ug2WyPBnb.5eym8TW_c8SuK0lt.zMDuqbS4fmvLaPwb";
    for (before, value) in [
        ("Authorization: Basic ", "QWxhZGRpbjpvcGVuc2VzYW1l"),
        ("curl with Bearer ", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"),
        ("key ", "sk-proj-Ab3dEf6hIj9lMn2pQr5tUv8x"),
        ("key ", "co_Ab3dEf6hIj9lMn2pQr5tUv8xYz1bCd4f"),
        ("token ", long.as_str()),
        ("token ", encrypted),
    ] {
        assert_eq!(values(&format!("{before}{value}."), Kind::Secret), [value]);
    }
}

/// Whether the one takes less than so many times the other. The least of some measurements counts: the machine may have
/// other work.
fn takes_less(text: &str, kinds: Kinds, times: f64, other: &str, other_kinds: Kinds) -> bool {
    let time = |text: &str, kinds: Kinds| {
        let started = std::time::Instant::now();
        let _ = find(text, kinds);
        started.elapsed().as_secs_f64()
    };
    let mut least = (f64::MAX, f64::MAX);
    (0..10).any(|_| {
        least = (least.0.min(time(text, kinds)), least.1.min(time(other, other_kinds)));
        least.0 < times * least.1
    })
}

#[test]
fn time_is_linear() {
    let parts = [
        "1 ",
        "a@",
        "1.",
        "(1",
        "http://",
        "::",
        "A1",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "eyJ",
        "eyJ.eyJ",
        "password=",
        "12-",
        "x.y.",
        "555 1234 ",
    ];
    for part in parts {
        let text = |bytes: usize| part.repeat(bytes / part.len());
        // 16 times as much text: 256 times, were it its square.
        assert!(takes_less(&text(160_000), Kinds::ALL, 50.0, &text(10_000), Kinds::ALL), "{part}");
    }
}

#[test]
fn secrets_alone_are_read_alone() {
    let text = "(345) 899-3560 and 4111 1111 1111 1111, ann@example.org ".repeat(400);
    assert!(takes_less(&text, Kinds::from_iter([Kind::Secret]), 0.4, &text, Kinds::ALL));
}

proptest! {
    #[test]
    fn a_kind_is_found_alone_as_beside_others(text in "[a-z0-9@.:/ +()-]{0,60}", n in 0..Kind::ALL.len()) {
        let kind = Kind::ALL[n];
        let alone: Vec<Finding> = find(&text, Kinds::from_iter([kind]));
        let beside: Vec<Finding> = find(&text, Kinds::ALL).into_iter().filter(|finding| finding.kind == kind).collect();
        prop_assert!(beside.iter().all(|one| alone.iter().any(|other| other.overlaps(&one.range))), "{:?} {:?}", alone, beside);
    }

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
