//! Units behind numbers, each under one name: 5 kilometres, 5km and 5公里 are `5 km`.

/// One name, and the words for it.
const WORDS: &[(&str, &[&str])] = &[
    ("%", &["percent", "pct", "percentage"]),
    ("usd", &["usd", "dollar", "dollars", "bucks"]),
    ("eur", &["eur", "euro", "euros"]),
    ("gbp", &["gbp", "sterling"]),
    ("cny", &["cny", "rmb", "yuan"]),
    ("jpy", &["jpy", "yen"]),
    ("chf", &["chf", "franc", "francs"]),
    ("ms", &["ms", "millisecond", "milliseconds"]),
    ("s", &["s", "sec", "secs", "second", "seconds"]),
    ("minute", &["min", "mins", "minute", "minutes"]),
    ("hour", &["h", "hr", "hrs", "hour", "hours"]),
    ("day", &["d", "day", "days"]),
    ("week", &["week", "weeks"]),
    ("month", &["month", "months"]),
    ("quarter", &["quarter", "quarters"]),
    ("year", &["year", "years", "yr", "yrs"]),
    ("decade", &["decade", "decades"]),
    ("bit", &["bit", "bits"]),
    ("byte", &["byte", "bytes"]),
    ("kb", &["kb", "kilobyte", "kilobytes"]),
    ("mb", &["mb", "megabyte", "megabytes", "meg"]),
    ("gb", &["gb", "gigabyte", "gigabytes", "gig"]),
    ("tb", &["tb", "terabyte", "terabytes"]),
    ("kib", &["kib"]),
    ("mib", &["mib"]),
    ("gib", &["gib"]),
    ("mm", &["mm", "millimetre", "millimetres", "millimeter", "millimeters"]),
    ("cm", &["cm", "centimetre", "centimetres", "centimeter", "centimeters"]),
    ("m", &["m", "metre", "metres", "meter", "meters"]),
    ("km", &["km", "kms", "kilometre", "kilometres", "kilometer", "kilometers"]),
    ("mile", &["mile", "miles", "mi"]),
    ("foot", &["foot", "feet", "ft"]),
    ("inch", &["inch", "inches"]),
    ("mg", &["mg", "milligram", "milligrams"]),
    ("g", &["g", "gram", "grams", "gramme", "grammes"]),
    ("kg", &["kg", "kgs", "kilo", "kilos", "kilogram", "kilograms"]),
    ("tonne", &["tonne", "tonnes", "ton", "tons"]),
    ("lb", &["lb", "lbs", "pound", "pounds"]),
    ("oz", &["oz", "ounce", "ounces"]),
    ("ml", &["ml", "millilitre", "millilitres", "milliliter", "milliliters"]),
    ("l", &["l", "litre", "litres", "liter", "liters"]),
    ("°c", &["celsius", "centigrade"]),
    ("°f", &["fahrenheit"]),
    ("kw", &["kw", "kilowatt", "kilowatts"]),
    ("am", &["am", "a.m"]),
    ("pm", &["pm", "p.m"]),
    ("bar", &["bar", "bars"]),
];

/// Beginnings of Chinese text behind a number, longer ones before those that they begin with.
const RUNS: &[(&str, &str)] = &[
    ("摄氏度", "°c"),
    ("华氏度", "°f"),
    ("个季度", "quarters"),
    ("季度", "quarter"),
    ("个小时", "hour"),
    ("小时", "hour"),
    ("分钟", "minute"),
    ("毫秒", "ms"),
    ("秒", "s"),
    ("个星期", "week"),
    ("星期", "week"),
    ("周", "week"),
    ("个月", "month"),
    ("月", "calendar month"),
    ("天", "day"),
    ("日", "day"),
    ("年", "year"),
    ("岁", "years old"),
    ("美元", "usd"),
    ("欧元", "eur"),
    ("英镑", "gbp"),
    ("日元", "jpy"),
    ("元", "cny"),
    ("块", "cny"),
    ("公里", "km"),
    ("千米", "km"),
    ("厘米", "cm"),
    ("毫米", "mm"),
    ("米", "m"),
    ("公斤", "kg"),
    ("千克", "kg"),
    ("毫克", "mg"),
    ("克", "g"),
    ("斤", "jin"),
    ("吨", "tonne"),
    ("毫升", "ml"),
    ("升", "l"),
    ("度", "°"),
    ("倍", "times"),
    ("亿", "hundred million"),
    ("万", "ten thousand"),
    ("号", "number"),
    ("型", "type"),
    ("版", "version"),
];

/// The unit that a word, in lower case, stands for.
pub(super) fn of_word(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(_, words)| words.contains(&word)).map(|(name, _)| *name)
}

/// The unit that Chinese text begins with.
pub(super) fn of_run(run: &str) -> Option<&'static str> {
    RUNS.iter().find(|(begin, _)| run.starts_with(begin)).map(|(_, name)| *name)
}

/// The unit that a sign stands for.
pub(super) fn of_sign(sign: &str) -> Option<&'static str> {
    match sign {
        "$" => Some("usd"),
        "€" => Some("eur"),
        "£" => Some("gbp"),
        "¥" => Some("cny"),
        "%" => Some("%"),
        "°" => Some("°"),
        _ => None,
    }
}
