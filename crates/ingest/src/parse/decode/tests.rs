//! Sentences of many languages through the encodings they were once written in.

use super::*;
use encoding_rs::*;

const SENTENCES: [(&str, &[&Encoding], &str); 17] = [
    (
        "中文",
        &[GBK, GB18030],
        "灯塔每九秒闪一次，晴天二十海里外都能看见。守塔人说，雾天只能听见雾号的声音，船长们因此把每一次鸣响记在航海日志里。",
    ),
    ("正體", &[BIG5], "燈塔每九秒閃一次，晴天二十海里外都能看見。守塔人說，霧天只能聽見霧號的聲音，船長們因此把每一次鳴響記在航海日誌裡。"),
    (
        "日本語",
        &[SHIFT_JIS, EUC_JP, ISO_2022_JP],
        "灯台は九秒ごとに光り、晴れた日には二十海里先からも見える。霧の日には霧笛の音だけが頼りだと、灯台守は言った。",
    ),
    (
        "한국어",
        &[EUC_KR],
        "등대는 구 초마다 한 번씩 빛나며 맑은 날에는 이십 해리 밖에서도 보인다. 안개 낀 날에는 무적 소리만 들린다고 등대지기가 말했다.",
    ),
    (
        "русский",
        &[KOI8_R, WINDOWS_1251, ISO_8859_5],
        "Маяк вспыхивает каждые девять секунд и виден за двадцать миль. В туман слышна только сирена, и капитаны записывают каждый её сигнал.",
    ),
    (
        "українська",
        &[KOI8_U, WINDOWS_1251],
        "Маяк спалахує кожні дев'ять секунд, і його видно за двадцять миль. У тумані чути лише сирену, її чує кожний їхній капітан.",
    ),
    (
        "ελληνικά",
        &[WINDOWS_1253, ISO_8859_7],
        "Ο φάρος αναβοσβήνει κάθε εννέα δευτερόλεπτα και φαίνεται από είκοσι μίλια. Στην ομίχλη ακούγεται μόνο η σειρήνα.",
    ),
    ("עברית", &[WINDOWS_1255], "המגדלור מהבהב כל תשע שניות ונראה ממרחק של עשרים מייל. בערפל שומעים רק את הצופר, כך אמר השומר."),
    (
        "العربية",
        &[WINDOWS_1256, ISO_8859_6],
        "تومض المنارة كل تسع ثوان وترى من مسافة عشرين ميلا. في الضباب لا يسمع إلا صوت البوق كما قال الحارس.",
    ),
    ("ไทย", &[WINDOWS_874], "ประภาคารกะพริบทุกเก้าวินาทีและมองเห็นได้ไกลถึงยี่สิบไมล์ในวันที่อากาศดี"),
    (
        "polski",
        &[WINDOWS_1250, ISO_8859_2],
        "Latarnia błyska co dziewięć sekund i widać ją z dwudziestu mil. We mgle słychać tylko syrenę, mówił latarnik łódzki, żeglując wśród źródeł.",
    ),
    (
        "čeština",
        &[WINDOWS_1250, ISO_8859_2],
        "Maják bliká každých devět sekund a je vidět na dvacet mil. V mlze je slyšet jen siréna, řekl příliš žluťoučký strážce.",
    ),
    (
        "Türkçe",
        &[WINDOWS_1254],
        "Deniz feneri dokuz saniyede bir yanıp söner ve yirmi milden görülür. Siste yalnızca düdüğün sesi işitilir, dedi bekçi; ışığı ağır ağır döndü.",
    ),
    (
        "deutsch",
        &[WINDOWS_1252],
        "Das Feuer blinkt alle neun Sekunden und ist zwanzig Meilen weit zu sehen. Bei Nebel hört man nur das Horn, sagte der Wärter – „größer“ wird's nicht.",
    ),
    (
        "français",
        &[WINDOWS_1252],
        "Le phare clignote toutes les neuf secondes ; on le voit à vingt milles. Par brume, on n'entend que la corne, disait le gardien âgé, très étonné.",
    ),
    (
        "latviešu",
        &[WINDOWS_1257],
        "Bāka mirgo ik pēc deviņām sekundēm, un to var redzēt divdesmit jūdžu attālumā. Miglā dzirdama tikai sirēna, teica bākas uzraugs, ļoti noguris.",
    ),
    (
        "lietuvių",
        &[WINDOWS_1257],
        "Švyturys mirksi kas devynias sekundes ir matomas už dvidešimties mylių. Per rūką girdėti tik sirena, sakė prižiūrėtojas, žiūrėdamas į jūrą.",
    ),
];

#[test]
fn what_old_programs_wrote_is_read() {
    for (language, encodings, sentence) in SENTENCES.iter() {
        for encoding in *encodings {
            let (bytes, _, has_lost) = encoding.encode(sentence);
            assert!(!has_lost, "{language} can be written in {}", encoding.name());
            let decoded = decode(&bytes).unwrap();
            assert_eq!(decoded.text, *sentence, "{language} in {}: {:?}", encoding.name(), decoded.warning);
            assert!(decoded.warning.unwrap().starts_with("the text is not UTF-8"));
        }
    }
}

#[test]
fn declarations_decide_where_a_guess_would_not() {
    for (encoding, head) in [
        (KOI8_R, "<meta charset=koi8-r>"),
        (ISO_8859_5, "<?xml version='1.0' encoding='ISO-8859-5'?>"),
        (WINDOWS_1251, "# -*- coding: cp1251 -*-\n"),
        (IBM866, "<html><meta http-equiv=x content='text/html;charset=cp866'>"),
        (MACINTOSH, "# vim: fileencoding=macintosh\n"),
    ] {
        let word = if encoding == MACINTOSH { "äöü" } else { "да" };
        let text = format!("{head}{word}");
        let (bytes, _, _) = encoding.encode(&text);
        assert_eq!(decode(&bytes).unwrap().text, text, "{}", encoding.name());
    }
    let lie = WINDOWS_1251.encode(&format!("<meta charset=utf-8>{}", SENTENCES[4].2)).0.into_owned();
    assert!(decode(&lie).unwrap().text.ends_with(SENTENCES[4].2), "bytes that can't be what they declare are guessed");
    let true_utf8 = "<meta charset=koi8-r>да".as_bytes();
    assert_eq!(decode(true_utf8).unwrap(), Decoded { text: "<meta charset=koi8-r>да".into(), warning: None });
}

#[test]
fn wide_encodings_are_read_with_and_without_a_mark() {
    let chinese = SENTENCES[0].2;
    for text in ["häß\nno mark here", "UTF-16 little endian", SENTENCES[4].2, SENTENCES[6].2, SENTENCES[7].2, SENTENCES[3].2, chinese] {
        for mark in ["\u{feff}", ""] {
            let marked = format!("{mark}{text}\r\n");
            let units: Vec<u16> = marked.encode_utf16().collect();
            let wide: [(Vec<u8>, &str); 4] = [
                (units.iter().copied().flat_map(u16::to_le_bytes).collect(), "UTF-16LE"),
                (units.iter().copied().flat_map(u16::to_be_bytes).collect(), "UTF-16BE"),
                (marked.chars().map(u32::from).flat_map(u32::to_le_bytes).collect(), "UTF-32LE"),
                (marked.chars().map(u32::from).flat_map(u32::to_be_bytes).collect(), "UTF-32BE"),
            ];
            for (bytes, name) in wide {
                let decoded = decode(&bytes).unwrap_or_else(|| panic!("{text} as {name}, mark {mark:?}"));
                assert_eq!(decoded.text, format!("{text}\n"), "{name}, mark {mark:?}: {:?}", decoded.warning);
                assert_eq!(decoded.warning.is_some(), mark.is_empty(), "{name}: {:?}", decoded.warning);
            }
        }
    }
}

#[test]
fn a_few_nul_bytes_are_left_out_and_said() {
    let decoded = decode(&b"before\0after needle-nul\n".repeat(10)).unwrap();
    assert_eq!(decoded.text, "beforeafter needle-nul\n".repeat(10));
    assert_eq!(decoded.warning.as_deref(), Some("10 NUL characters were left out"));
    assert_eq!(decode(b"a,b\0c\n1,\0\n").unwrap().text, "a,bc\n1,\n");
    let (german, _, _) = WINDOWS_1252.encode("Wärter und Türen, größer als\0 zuvor, sagte der Wärter");
    assert!(decode(&german).unwrap().text.contains("größer als zuvor"));
}

#[test]
fn damaged_utf8_stays_utf8() {
    let mut bytes = "守塔人说，雾天只能听见雾号的声音".as_bytes().to_vec();
    bytes.truncate(bytes.len() - 1);
    let decoded = decode(&bytes).unwrap();
    assert!(decoded.text.starts_with("守塔人说"), "{decoded:?}");
    assert_eq!(decoded.warning.as_deref(), Some("1 characters could not be read as UTF-8"));
    assert!(decode(b"good start \xff\xfe\xfa\xc3\x28 needle \xe2\x82 end\n").unwrap().text.contains("needle"));
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert_eq!(decode(&noise), None);
    assert_eq!(decode(&[0; 64]), None);
    let numbers: Vec<u8> = (0..4096u32).flat_map(|i| (i % 700).to_le_bytes()).collect();
    assert_eq!(decode(&numbers), None, "small integers are no UTF-32");
    let samples: Vec<u8> = (0..4096i16).flat_map(|i| (i.wrapping_mul(31) % 900).to_le_bytes()).collect();
    assert_eq!(decode(&samples), None, "small integers are no UTF-16");
}

proptest::proptest! {
    #[test]
    fn nothing_makes_it_panic_and_text_is_in_our_form(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        if let Some(decoded) = decode(&bytes) {
            proptest::prop_assert!(!decoded.text.contains(['\0', '\r']));
        }
    }
}
