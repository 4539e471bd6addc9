//! The words that English questions are built with. All others count.

/// Ways of writing one word or saying one thing; longer ones first where they begin alike.
pub(super) const PHRASES: &[(&str, &str)] = &[
    ("two factor authentication", "2fa"),
    ("two step verification", "2fa"),
    ("united states of america", "us"),
    ("united states", "us"),
    ("united kingdom", "uk"),
    ("usa", "us"),
    ("is it possible to", "can i"),
    ("is it possible for me to", "can i"),
    ("am i able to", "can i"),
    ("allowed to", "can"),
    ("permitted to", "can"),
    ("have to", "must"),
    ("has to", "must"),
    ("had to", "did must"),
    ("need to", "must"),
    ("needs to", "must"),
    ("could", "can"),
    ("wo not", "will not"),
    ("sha not", "shall not"),
    ("ca not", "can not"),
    ("cannot", "can not"),
    ("cant", "can not"),
    ("dont", "do not"),
    ("doesnt", "does not"),
    ("didnt", "did not"),
    ("isnt", "is not"),
    ("arent", "are not"),
    ("wont", "will not"),
    ("whats", "what is"),
    ("log in", "login"),
    ("logging in", "login"),
    ("sign in", "login"),
    ("log out", "logout"),
    ("sign out", "logout"),
    ("set up", "setup"),
    ("e mail", "email"),
    ("wi fi", "wifi"),
    ("web site", "website"),
    ("max", "maximum"),
    ("min", "minimum"),
    ("telephone", "phone"),
    ("at most", "maximum"),
    ("whom", "who"),
    ("frequently", "often"),
    ("big", "large"),
    ("purchase", "buy"),
    ("tyre", "tire"),
    ("tyres", "tires"),
    ("per cent", "percent"),
    ("inside", "in"),
    ("at", "in"),
    ("till", "until"),
    ("needed", "required"),
    ("forbidden", "prohibited"),
    ("mandatory", "required"),
    ("compulsory", "required"),
];

/// What a question may begin with without asking anything else.
pub(super) const OPENINGS: &[(&str, &str)] = &[
    ("hi", ""),
    ("hello", ""),
    ("hey", ""),
    ("please", ""),
    ("kindly", ""),
    ("thanks", ""),
    ("ok", ""),
    ("so", ""),
    ("quick question", ""),
    ("just", ""),
    ("i would like to know", ""),
    ("i want to know", ""),
    ("i must know", ""),
    ("i am wondering", ""),
    ("i was wondering", ""),
    ("do you know", ""),
    ("does anyone know", ""),
    ("tell me", ""),
    ("explain to me", ""),
    ("explain", ""),
    ("show me how", "how"),
    ("list the", "what are the"),
    ("how come", "why"),
    ("for what reason", "why"),
    ("what is the reason why", "why"),
    ("what is the reason that", "why"),
    ("what is the reason", "why"),
    ("in what way", "how"),
    ("what are the steps to", "how to"),
    ("what are the steps for", "how to"),
    ("what steps are required to", "how to"),
    ("what steps do i must take to", "how to"),
    ("what is the way to", "how to"),
    ("what is the best way to", "how to"),
    ("what is the right way to", "how to"),
    ("what is the correct way to", "how to"),
    ("what is the proper way to", "how to"),
    ("what is the process for", "how to"),
    ("what is the process of", "how to"),
    ("what is the process to", "how to"),
    ("what is the procedure for", "how to"),
    ("what is the procedure to", "how to"),
    ("what is the method for", "how to"),
    ("what is the method of", "how to"),
    ("what must i do to", "how to"),
    ("what do i must do to", "how to"),
    ("what can i do to", "how to"),
    ("what should i do to", "how to"),
    ("what number of", "how many"),
    ("what is the number of", "how many"),
    ("what is the height of", "how high is"),
    ("how tall", "how high"),
    ("what is the length of", "how long is"),
    ("what is the depth of", "how deep is"),
    ("what is the width of", "how wide is"),
    ("what is the weight of", "how heavy is"),
    ("what is the age of", "how old is"),
    ("what is the size of", "how large is"),
    ("what is the price of", "what is the cost of"),
    ("what person", "who"),
    ("what people", "who"),
];

/// "Can you please", before one of [`TELLING`].
pub(super) const ASKING: &[&str] = &["can you", "can someone", "can anyone", "can anybody", "would you", "will you"];
pub(super) const TELLING: &[&str] = &["tell me", "explain to me", "explain", "show me", "let me know", "help me understand"];

/// What it may end with.
pub(super) const CLOSINGS: &[&str] = &["please", "thanks", "thank you", "exactly"];

pub(super) const ARTICLES: &[&str] = &["a", "an", "the"];
pub(super) const BE: &[&str] = &["is", "are", "am", "be", "been", "being", "was", "were"];
pub(super) const DO: &[&str] = &["do", "does", "did"];
pub(super) const PAST: &[&str] = &["was", "were", "did"];
pub(super) const MODALS: &[&str] = &["can", "may", "might", "must", "shall", "should", "will", "would"];
/// Whoever does it, where it is asked how to do something.
pub(super) const ANYBODY: &[&str] = &["i", "you", "we", "one", "someone"];
pub(super) const QUESTION_WORDS: &[&str] = &["who", "what", "which", "where", "when", "why", "how"];
/// What begins a clause, joins two or compares: what stands on either side of it stays there.
pub(super) const CLAUSES: &[&str] = &[
    "who", "what", "which", "whose", "where", "when", "why", "how", "that", "if", "unless", "because", "while", "once", "whether", "as", "than",
    "and", "or", "but", "vs", "versus",
];
pub(super) const PREPOSITIONS: &[&str] = &[
    "in", "on", "for", "from", "to", "with", "by", "into", "onto", "about", "during", "under", "over", "between", "before", "after", "within",
    "through", "via", "per", "without", "against", "since", "until", "like", "near", "upon", "behind", "beyond", "above", "below", "across",
    "along", "around", "despite", "except", "regarding",
];
/// Times that `what` asks for, and the kind of answer.
pub(super) const TIMES: &[&str] = &["time", "date", "day", "month", "year", "century", "week"];
/// One of many: behind these a plural is another question than the singular.
pub(super) const COUNTED: &[&str] = &["most", "least", "first", "last", "only", "best", "worst", "next", "top", "each", "every"];
/// Past and participle of irregular verbs.
pub(super) const IRREGULAR: &[(&str, &str)] = &[
    ("write", "wrote written"),
    ("buy", "bought"),
    ("pay", "paid"),
    ("sell", "sold"),
    ("make", "made"),
    ("build", "built"),
    ("take", "took taken"),
    ("give", "gave given"),
    ("send", "sent"),
    ("find", "found"),
    ("lead", "led"),
    ("lose", "lost"),
    ("win", "won"),
    ("hold", "held"),
    ("keep", "kept"),
    ("choose", "chose chosen"),
    ("break", "broke broken"),
    ("speak", "spoke spoken"),
    ("know", "knew known"),
    ("grow", "grew grown"),
    ("draw", "drew drawn"),
    ("drive", "drove driven"),
    ("begin", "began begun"),
    ("run", "ran"),
    ("sing", "sang sung"),
    ("teach", "taught"),
    ("bring", "brought"),
    ("say", "said"),
    ("tell", "told"),
    ("mean", "meant"),
    ("leave", "left"),
    ("hide", "hid hidden"),
    ("eat", "ate eaten"),
    ("fall", "fell fallen"),
    ("steal", "stole stolen"),
];
/// Plurals that don't end in s, and words that do and aren't.
pub(super) const PLURALS: &[(&str, &str)] = &[
    ("children", "child"), ("men", "man"), ("women", "woman"), ("feet", "foot"), ("people", "person"), ("criteria", "criterion"),
    ("bacteria", "bacterium"), ("news", "news"), ("goods", "goods"), ("customs", "customs"), ("arms", "arms"), ("means", "means"),
    ("savings", "savings"), ("glasses", "glasses"), ("species", "species"), ("series", "series"), ("contents", "contents"), ("works", "works"),
];
