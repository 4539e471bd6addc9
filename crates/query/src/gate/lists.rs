//! The words that the gate knows: those that carry no content, negations, opposites, numbers, months, units.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// Words that may be left out, put in or changed.
pub(super) const FUNCTION: &str = " a about also although an and any are as at be because been being both but by can could did do does \
    doing each either for from had has have having he her here hers him his how however i if in into is it its itself like many may might \
    more most much must my of on once onto or other our over own shall she should since so some such than that the their theirs them \
    themselves then there therefore these they this those though through thus till to too toward towards under until up upon us very was \
    we were what when where whereas whether which while who whom whose why will with within would yet you your among amongst across \
    along around between during per via amid despite except regarding concerning according especially particularly namely moreover \
    furthermore hence one ones one's another again already almost just only even still later approximately roughly nearly order way \
    before after above below out off down against less least few fewer first last former latter old new inside outside all every always \
    sometimes often rarely seldom hardly ";

/// What takes the place of a name.
pub(super) const PRONOUNS: &str = " he she it they him her them his hers its their theirs this these i we who ";

pub(super) const NEGATIONS: &str = " not no never none neither nor nothing nobody nowhere without non ";

pub(super) const NEGATION_HAN: &str = "不没沒未无無非勿否";

pub(super) const FUNCTION_HAN: &str = "的了着著过過是在和与與及或而且并並但也都就於于由因为為之其此这這那该該将將被把对對等所以则則即若如虽雖从從到自至又再还還很们們个個有会會可地得者它他她使让讓则一約约";

/// Longer ones, and words in which a sign of negation denies nothing.
const FUNCTION_HAN_WORDS: &str = "不仅仅 不仅 不僅 不但 不过 不過 不论 不論 不管 不久 不断 不斷 无论 無論 非常 未来 未來 无线 無線 是否 \
    能否 除非 例如 比如 譬如 目前 现在 現在 当前 當前 如果 假如 倘若 因为 因為 由于 由於 以及 而且 并且 並且 但是 然而 位于 位於 其中 \
    同时 同時 此外 另外 因此 所以 因而 已经 已經 可以 能够 能夠 主要 当时 當時 即使 尽管 儘管 虽然 雖然 通过 透过 透過 通過 称为 稱為 叫做 \
    成为 成為 大约 大約 大概 左右 关于 關於 根据 根據 按照 直到 后来 後來 然后 然後 于是 於是 从而 從而 还是 還是 或者 就是 这些 這些 那些 \
    这种 這種 这个 這個 有关 有關 曾经 曾經 曾 便 之后 之後";

/// Those of [`FUNCTION_HAN_WORDS`] that begin with a sign, longest first.
pub(super) fn han_words(sign: char) -> &'static [&'static str] {
    static WORDS: LazyLock<HashMap<char, Vec<&'static str>>> = LazyLock::new(|| {
        let mut words: HashMap<char, Vec<&'static str>> = HashMap::new();
        for word in FUNCTION_HAN_WORDS.split_whitespace() {
            words.entry(word.chars().next().unwrap_or_default()).or_default().push(word);
        }
        words.values_mut().for_each(|words| words.sort_by_key(|word| std::cmp::Reverse(word.len())));
        words
    });
    WORDS.get(&sign).map_or(&[], Vec::as_slice)
}

/// What a numeral before it counts.
pub(super) const CLASSIFIERS: &str = "个個年月日人次种種座位名岁歲天场場条條部只隻本张張家届屆倍世岛島层層件项項区區章支架台臺艘枚颗顆号號分秒时時点點元米里斤吨噸公英国國州省县縣市村代集轮輪队隊艺藝卷卷册冊幅首期级級所篇户戶头頭辆輛";

/// Before a full stop that ends no sentence.
pub(super) const ABBREVIATIONS: &str = " mr mrs ms dr prof st sr jr vs e.g i.e eg ie cf al fig figs no nos vol pp p ch sec eq eqs approx inc \
    ltd co corp dept est u.s u.k gen col capt lt sgt rev hon jan feb mar apr jun jul aug sep sept oct nov dec ca resp ";

/// The number that a word is.
pub(super) fn number_word(word: &str) -> Option<u32> {
    const WORDS: [&str; 20] = [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
    ];
    const STEMMED: [(&str, u32); 16] = [
        ("thre", 3),
        ("fiv", 5),
        ("nin", 9),
        ("twelv", 12),
        ("twenti", 20),
        ("thirti", 30),
        ("thirty", 30),
        ("forti", 40),
        ("forty", 40),
        ("fifti", 50),
        ("fifty", 50),
        ("sixti", 60),
        ("seventi", 70),
        ("eighti", 80),
        ("nineti", 90),
        ("eleven", 11),
    ];
    let plain = WORDS.iter().zip(1..).find_map(|(known, value)| (*known == word).then_some(value));
    plain.or_else(|| STEMMED.iter().find_map(|(known, value)| (*known == word).then_some(*value)))
}

/// The place that a word names.
pub(super) fn ordinal(word: &str) -> Option<u32> {
    const WORDS: [&str; 20] = [
        "first",
        "second",
        "third",
        "fourth",
        "fifth",
        "sixth",
        "seventh",
        "eighth",
        "ninth",
        "tenth",
        "eleventh",
        "twelfth",
        "thirteenth",
        "fourteenth",
        "fifteenth",
        "sixteenth",
        "seventeenth",
        "eighteenth",
        "nineteenth",
        "twentieth",
    ];
    WORDS.iter().zip(1..).find_map(|(known, value)| (*known == word).then_some(value))
}

/// The zeros that a word adds to a number.
pub(super) fn scale(word: &str) -> Option<i32> {
    match word {
        "hundr" | "hundred" => Some(2),
        "thousand" => Some(3),
        "million" | "mln" => Some(6),
        "billion" | "bln" => Some(9),
        "trillion" => Some(12),
        _ => None,
    }
}

/// The month, from 1, by its name, stemmed or short.
pub(super) fn month(word: &str) -> Option<u32> {
    const MONTHS: [&[&str]; 12] = [
        &["januari", "january", "jan"],
        &["februari", "february", "feb"],
        &["march", "mar"],
        &["april", "apr"],
        &["may"],
        &["jun", "june"],
        &["juli", "july", "jul"],
        &["august", "aug"],
        &["september", "sept", "sep"],
        &["october", "oct"],
        &["november", "nov"],
        &["december", "dec"],
    ];
    MONTHS.iter().zip(1..).find_map(|(names, value)| names.contains(&word).then_some(value))
}

/// The unit behind a number, in one spelling; words as they are, in the plural or stemmed.
pub(super) fn unit(word: &str) -> Option<&'static str> {
    const UNITS: [(&str, &[&str]); 42] = [
        ("%", &["percent", "pct"]),
        ("km", &["km", "kms", "kilometr", "kilometer", "kilometre"]),
        ("m", &["m", "metr", "meter", "metre"]),
        ("cm", &["cm", "centimetr", "centimeter"]),
        ("mm", &["mm", "millimetr", "millimeter"]),
        ("nm", &["nm", "nanometr", "nanometer"]),
        ("mile", &["mile", "mil", "mi"]),
        ("ft", &["ft", "foot", "feet"]),
        ("in", &["inch", "inche"]),
        ("kg", &["kg", "kilogram"]),
        ("g", &["g", "gram"]),
        ("mg", &["mg", "milligram"]),
        ("t", &["ton", "tonn", "tonne"]),
        ("lb", &["lb", "lbs"]),
        ("pound", &["pound"]),
        ("h", &["hour", "hr", "hrs", "h"]),
        ("min", &["minut", "minute", "min", "mins"]),
        ("s", &["sec", "secs", "second"]),
        ("ms", &["ms", "millisecond"]),
        ("day", &["day"]),
        ("week", &["week"]),
        ("month", &["month"]),
        ("year", &["year", "yr", "yrs"]),
        ("decade", &["decad", "decade"]),
        ("century", &["centuri", "century"]),
        ("$", &["dollar", "usd"]),
        ("€", &["euro", "eur"]),
        ("ml", &["ml", "millilitr", "milliliter"]),
        ("l", &["litr", "liter", "litre"]),
        ("gb", &["gb", "gigabyt", "gigabyte"]),
        ("mb", &["mb", "megabyt", "megabyte"]),
        ("kb", &["kb", "kilobyt", "kilobyte"]),
        ("acre", &["acr", "acre"]),
        ("ha", &["ha", "hectar", "hectare"]),
        ("barrel", &["barrel"]),
        ("¥", &["yen"]),
        ("元", &["yuan", "rmb"]),
        ("w", &["watt"]),
        ("kw", &["kw", "kilowatt"]),
        ("mw", &["mw", "megawatt"]),
        ("kph", &["kph", "kmh"]),
        ("mph", &["mph"]),
    ];
    UNITS.iter().find_map(|(unit, names)| names.contains(&word).then_some(*unit))
}

/// Parts of the compass and the like: without them a name is another name.
pub(super) const DIRECTIONS: &str = " north south east west northern southern eastern western central new upper lower ";

/// What makes of a statement something that was only said, or did not happen.
pub(super) const NOT_SO: &str =
    " deni deny denied fail failed refus refuse refused reject rejected myth rumour rumor alleg allege alleged claim claimed ";

/// What leads over to the contrary.
pub(super) const CONTRASTS: &str = " but while whereas ";

/// Small words of which one may not stand where another did, each line one class of them.
const CLASSES: [&[&[&str]]; 7] = [
    &[&["from"], &["to", "into"]],
    &[&["because", "due"], &["despite", "although", "though"]],
    &[&["before"], &["after"], &["since"], &["until", "till"]],
    &[&["more", "over", "above", "least"], &["up", "most"], &["less", "fewer", "under", "below"], &["exactly"]],
    &[&["all", "every", "each"], &["most", "majority", "mostli"], &["some", "several", "few", "many", "half"]],
    &[&["may", "might", "can", "could"], &["must", "shall"], &["should"]],
    &[&["always"], &["often", "usually", "frequent"], &["sometimes", "occasion"], &["rarely", "seldom", "hardly"]],
];

/// Whether two small words of one class say different things.
pub(super) fn differ(a: &str, b: &str) -> bool {
    CLASSES.iter().any(|class| {
        let of = |word: &str| class.iter().position(|group| group.contains(&word));
        of(a).zip(of(b)).is_some_and(|(a, b)| a != b)
    })
}

/// Quantities in signs, each under the word that its class has.
pub(super) const QUANTITIES_HAN: [(&str, &str); 20] = [
    ("大多数", "most"),
    ("大多數", "most"),
    ("大部分", "most"),
    ("绝大多数", "most"),
    ("絕大多數", "most"),
    ("多数", "most"),
    ("多數", "most"),
    ("全部", "all"),
    ("全体", "all"),
    ("全體", "all"),
    ("所有", "all"),
    ("一切", "all"),
    ("部分", "some"),
    ("有些", "some"),
    ("一些", "some"),
    ("某些", "some"),
    ("少数", "some"),
    ("少數", "some"),
    ("若干", "some"),
    ("许多", "some"),
];

/// Units in signs, longer ones first.
pub(super) const UNITS_HAN: [(&str, &str); 46] = [
    ("平方公里", "km²"),
    ("平方千米", "km²"),
    ("平方米", "m²"),
    ("立方米", "m³"),
    ("小时", "h"),
    ("小時", "h"),
    ("分钟", "min"),
    ("分鐘", "min"),
    ("秒钟", "s"),
    ("个月", "month"),
    ("個月", "month"),
    ("星期", "week"),
    ("世纪", "century"),
    ("世紀", "century"),
    ("公里", "km"),
    ("千米", "km"),
    ("厘米", "cm"),
    ("公分", "cm"),
    ("毫米", "mm"),
    ("纳米", "nm"),
    ("英里", "mile"),
    ("英尺", "ft"),
    ("公斤", "kg"),
    ("千克", "kg"),
    ("毫克", "mg"),
    ("公顷", "ha"),
    ("公頃", "ha"),
    ("美元", "$"),
    ("欧元", "€"),
    ("歐元", "€"),
    ("英镑", "£"),
    ("英鎊", "£"),
    ("日元", "¥"),
    ("千瓦", "kw"),
    ("兆瓦", "mw"),
    ("天", "day"),
    ("周", "week"),
    ("週", "week"),
    ("秒", "s"),
    ("米", "m"),
    ("克", "g"),
    ("吨", "t"),
    ("噸", "t"),
    ("元", "元"),
    ("亩", "亩"),
    ("升", "l"),
];

/// Words that deny each other. Those of one group of the left deny those of the right.
const OPPOSITES: &str =
    "increase rise grow gain up upward ascend|decrease fall decline drop reduce lower down downward diminish descend shrink
    increase raise improve enhance|reduce worsen impair lower
    high higher highest|low lower lowest
    large larger largest big bigger biggest great greater greatest|small smaller smallest little tiny
    more most many much majority|less least fewer few fewest minority
    before prior precede previous earlier early earliest|after follow subsequent next later late latest
    above over exceed upper|below under beneath lower
    positive|negative
    first|last final
    strong stronger strongest|weak weaker weakest
    better best good|worse worst bad poor
    major|minor
    maximum maximal max maximize|minimum minimal min minimize
    young younger youngest new newer newest modern|old older oldest ancient
    win won victory victor|lose lost loss defeat
    male man men boy|female woman women girl
    king|queen
    father son brother husband|mother daughter sister wife
    long longer longest|short shorter shortest brief
    with|without
    include inclusion|exclude exclusion
    begin began start open opened|end ended finish close closed stop
    success succeed successful|failure fail failed
    accept accepted approve|reject rejected refuse deny
    allow permit enable|forbid prohibit prevent ban block
    support favor favour|oppose opposition against
    agree|disagree
    present presence|absent absence
    all every always everyone|none never no some sometimes
    often frequent frequently common usually|rare rarely seldom
    public|private
    north northern|south southern
    east eastern|west western
    left|right
    inside inner internal interior indoor|outside outer external exterior outdoor
    hot hotter warm|cold cooler cool
    fast faster fastest quick rapid|slow slower slowest gradual
    rich richer wealthy|poor poorer
    heavy heavier thick|light lighter thin
    wide wider broad|narrow narrower
    deep deeper|shallow
    hard difficult|easy soft simple
    safe|dangerous unsafe
    true|false
    same similar identical|different distinct
    simple|complex complicated
    add added|remove removed subtract
    buy bought purchase|sell sold
    import|export
    enter|leave exit
    arrive|depart
    create build built construct|destroy demolish
    love like|hate dislike
    alive live living|dead
    born birth|died death
    attack|defend
    friend ally|enemy
    urban|rural
    day|night
    summer|winter
    active|passive
    acute|chronic
    benign|malignant
    upstream|downstream
    horizontal|vertical
    parallel|perpendicular
    odd|even
    forward|backward
    front|back rear
    top|bottom
    full|empty
    dry|wet
    dark|bright
    expand expansion|contract contraction compress
    accelerate|decelerate
    advantage benefit|disadvantage drawback
    cause|prevent
    rise rising|set setting
    supersonic|subsonic
    laminar|turbulent
    finite|infinite
    linear|nonlinear
    local|global
    direct|indirect
    formal|informal
    legal|illegal
    formerly past|currently present future
    superior|inferior
    senior|junior
    ancestor|descendant
    teacher|student
    employer|employee
    cheap cheaper|expensive
    demand|supply
    profit|loss
    war|peace
    both|neither
    activate activation|inhibit inhibition
    promote|inhibit suppress
    upregulate|downregulate
    sufficient adequate|insufficient inadequate
    significant|insignificant nonsignificant
    primary|secondary
    proximal|distal
    anterior|posterior
    optimistic|pessimistic
    inc|dec";

static OPPOSED: LazyLock<HashSet<(String, String)>> = LazyLock::new(|| {
    let key = |word: &str| crate::terms::stem(word);
    let mut pairs = HashSet::new();
    for line in OPPOSITES.lines() {
        let Some((left, right)) = line.split_once('|') else { continue };
        for a in left.split_whitespace() {
            for b in right.split_whitespace() {
                for (a, b) in [(key(a), key(b)), (a.to_owned(), b.to_owned()), (key(a), b.to_owned()), (a.to_owned(), key(b))] {
                    pairs.insert((a.clone(), b.clone()));
                    pairs.insert((b, a));
                }
            }
        }
    }
    pairs.insert(("o1".to_owned(), "last".to_owned()));
    pairs.insert(("last".to_owned(), "o1".to_owned()));
    pairs
});

/// Whether one word (as a key) denies the other.
pub(super) fn are_opposed(a: &str, b: &str) -> bool {
    const PREFIXES: [&str; 9] = ["un", "in", "im", "ir", "il", "dis", "non", "mis", "anti"];
    let negates = |long: &str, short: &str| short.len() >= 3 && PREFIXES.iter().any(|prefix| long.strip_prefix(prefix) == Some(short));
    negates(a, b) || negates(b, a) || OPPOSED.contains(&(a.to_owned(), b.to_owned()))
}
