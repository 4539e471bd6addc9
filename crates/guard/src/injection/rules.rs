//! The rules: what is said to a model and seldom to people.
//!
//! Weights are log-odds. 3 and more is enough alone; 1 to 2 needs company. In a document orders to a model have no
//! business, so most weigh as much or more there; what people ask for in questions' stead (a role, a poem) weighs less
//! in documents, which tell of such things. Gaps are at most forty characters and end with the sentence.

/// One rule.
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) pattern: &'static str,
    pub(super) in_question: f32,
    pub(super) in_source: f32,
}

const fn rule(name: &'static str, in_question: f32, in_source: f32, pattern: &'static str) -> Rule {
    Rule { name, pattern, in_question, in_source }
}

/// All of them. Patterns see normalised text (see `normal.rs`).
pub(super) const RULES: &[Rule] = &[
    // Instructions are taken back.
    rule(
        "override",
        3.6,
        3.4,
        r"\b(?:ignor(?:e|ing|es)|igmre|ingore|disregard(?:ing)?|forget(?:ting)?|neglect|overrid(?:e|ing)|bypass|discard|abandon|overlook|dismiss|erase|cancel|pay no attention to|(?:do not|don't|stop) (?:follow|obey|listen to|regard)(?:ing)?|set aside|leave behind|remove|delete)\b[^.!?\n]{0,40}\b(?:instructions?|prompts?|directions?|directives?|commands?|guidelines?|assignments?|orders|tasks|programming|restrictions|training|rules (?:above|before|given|you)|(?:your|system|safety|all|previous|prior) (?:rules|polic(?:y|ies)|guardrails|filters?|constraints))\b",
    ),
    rule(
        "override",
        3.4,
        2.6,
        r"\b(?:ignore|igmre|disregard|forget|neglect|abandon)\b[^.!?\n]{0,12}\b(?:everything|all|anything|what|wh?aht?s?|waht's|the above|above|previous|that)\b[^.!?\n]{0,30}\b(?:before|above|told|said|say|know|knew|learned|previous(?:ly)?|prior|preceding|thoughts|earlier|so far|talked|discussed|context|provided|information|documents?|articles?|artikels?)\b",
    ),
    rule(
        "override",
        3.0,
        2.2,
        r"\b(?:ignore|disregard|forget)\b (?:the |all |everything |all of the )?(?:above|previous|preceding|prior|everything|before)\b|\bignore (?:all )?(?:the )?(?:provided )?(?:context|documents?|sources?|articles?)\b|\byour (?:new |real |actual |only )?instructions are\b|\binstructions? you (?:have )?(?:received|were given)\b|\byou are supposed to answer\b",
    ),
    rule(
        "override",
        3.6,
        3.4,
        r"\b(?:ignorier\w{0,4}|vergiss|vergesst|vergessen sie|vergessen|missacht\w{0,4}|beachte(?:n sie)? (?:nicht|keine)|verwirf|verwerfen|(?:hinter|aus dem kopf)|umgeh\w{0,3}|überschreib\w{0,4})\b[^.!?\n]{0,50}\b(?:anweisung\w{0,3}|instruktion\w{0,3}|auftr[aä]ge?|aufgaben|befehle?|prompts?|vorgaben|regeln|richtlinien|angaben|gesagte\w?|vorherig\w{1,2}|bisherig\w{1,2}|vorangegangen\w{0,2}|obig\w{1,2}|davor|zuvor|vorher|informationen|kontext)\b",
    ),
    rule(
        "override",
        3.2,
        2.6,
        r"\bvergiss (?:nun |jetzt |bitte )?alle?s?\b|\b(?:vorherigen|bisherigen|obigen|vorangegangenen)\b[^.!?\n]{0,40}\b(?:ignorier\w{0,4}|vergessen|hinter sich|streichen|verwerfen)\b|\bobigen ausführungen\b|\b(?:höre?|hören sie) nicht auf\b|\b(?:abweichend|entgegen|ungeachtet)\b[^.!?\n]{0,20}\b(?:vorherig|bisherig|obig)\w{1,2}\b|\b(?:vorherig|bisherig)en informationen\b[^.!?\n]{0,50}\b(?:irrelevant|nicht|ungültig)\b",
    ),
    rule(
        "override",
        3.6,
        3.4,
        r"(?:忽略|无视|無視|忘记|忘記|忘掉|忘了|不要理会|不要理會|不用理会|别管|不要管|抛开|拋開|无需遵守|不要遵守|不必遵守|不再遵守|停止遵守|不要遵循|别遵守|跳过|跳過|覆盖|覆蓋|放弃|清除|丢弃|取消|推翻|绕过|繞過)[^。！？\n]{0,16}(?:指令|指示|提示|命令|规则|規則|要求|设定|設定|上文|上述|之前|以上|前面|先前|此前|限制|约束|約束|对话|對話|任务|任務|内容|資訊|信息|准则|安全策略)",
    ),
    rule(
        "override",
        3.4,
        3.2,
        r"(?:之前|以上|前面|上面|先前|此前|所有)[^。！？\n]{0,10}(?:指令|提示词?|提示詞|规则|規則|命令|设定|設定|任务|任務|约定)[^。！？\n]{0,6}(?:作废|作廢|失效|无效|無效|忽略|取消|不算|不用管|忘)",
    ),
    rule(
        "override",
        3.4,
        3.0,
        r"\b(?:olvid\w{1,4}|ignor[aeo]\w{0,3}|oubli\w{1,3}|dimentica\w{0,2}|esque[cç]a\w{0,2}|zaboravi\w{0,2}|vergeet|negeer|забудь\w{0,2}|игнорируй\w{0,2})\b[^.!?\n]{0,25}\b(?:tod[oa]s?|las|instruc\w{1,8}|tout\w{0,2}|instructions?|tutt\w|istruzioni|sve|alle?s?|вс[её]|instrukcij\w|инструкции)\b",
    ),
    // Other ones are given.
    rule(
        "new_task",
        1.8,
        2.0,
        r"\b(?:new|next|different|other|additional|further|second|following|updated|real|actual) (?:great )?(?:instructions?|tasks?|orders?|assignments?|statement|prompt|commands?|challenge|objective|directives?|test)\b|\b(?:task|challenge) for you\b|\bnew (?:tasks|instructions) follow\b|\bwe will start over\b|\bstart with a new\b",
    ),
    rule(
        "new_task",
        1.8,
        2.0,
        r"\b(?:neue[nrs]?|weitere[nrs]?|nächste[nr]?|folgende[nr]?|zweite[nr]?) (?:aufgaben?|anweisung(?:en)?|auftr[aä]ge?|befehle?|instruktion(?:en)?|herausforderung|test|anordnung)\b|\bneu (?:anfangen|starten)|von (?:vorne|neu)\b",
    ),
    rule(
        "new_task",
        2.0,
        2.0,
        r"(?:新的?|下面的|接下来的|真正的|最新)(?:任务|任務|指令|指示|命令|要求|身份)|(?:现在|現在|接下来)(?:开始)?(?:执行|執行|完成|按照)(?:以下|下面|我的)",
    ),
    rule(
        "new_task",
        1.4,
        0.6,
        r"\b(?:now|instead|stattdessen|jetzt|nun|but then|therefore)[, ]{1,2}(?:please |bitte )?(?:write|tell|say|print|output|concentrate|focus|answer|spell|do|give|show|sag\w?|schreib\w?|konzentrier\w{0,3}|beantwort\w{0,3}|zeig\w?|gib|formulier\w?)\b|\b(?:focus|concentrate|konzentrier\w{0,3})\b[^.!?\n]{0,30}\b(?:task|aufgabe)\b",
    ),
    rule(
        "praise",
        1.8,
        1.0,
        r"(?:^|[.!?:\n]\s{0,3}|\b)(?:well done|very good|very well done|superbly done|great job|excellent (?:work|performance)|yo, you (?:have|got) it|you (?:have )?passed the first|congratulations on your|that was ok before|sehr gut(?: gemacht)?\.|gut gemacht|ausgezeichnete leistung|das genügt|einfach großartig|herzlichen glückwunsch zu ihrer|wow, das ist|that is (?:enough|done)|干得好|做得很好)(?:\b|[.!,，！])",
    ),
    // Somebody else is to speak.
    rule(
        "persona",
        2.6,
        1.6,
        r"\b(?:i want you to|you (?:will|must|should|shall|are going to)|please|now|,|and|to|can you|could you) (?:act|behave|respond|reply|speak|talk|answer) (?:as|like)\b|\b(?:act|behave) (?:as|like) (?:an?|the|if|my)\b|\b(?:respond|reply|answer|speak) (?:as|like) (?:an?|the)\b|\bin the style of\b",
    ),
    rule(
        "persona",
        2.6,
        1.6,
        r"\b(?:pretend|imagine|suppose|assume) (?:that )?(?:you|to be|you're)\b|\brole-?play(?:ing)?\b|\bfrom (?:now|this (?:moment|point)) on\b|\bstay in (?:character|your role)\b|\b(?:do not|don't|never|without(?: even)?|not) break(?:ing)? (?:out of )?(?:the |their )?(?:character|roles?)\b|\bplay the (?:role|part) of\b|\btake on the (?:role|persona)\b|\blet's play a game\b|\bwe are playing a game\b|\byour (?:new )?(?:role|persona|character) is\b|\bnow,? you are\b|\b(?:hypothetical|theoretical) world\b|\bremain in their roles?\b",
    ),
    rule(
        "persona",
        2.4,
        1.4,
        r"(?:^|[.!?:;,\n]\s{0,3}|\bnow |\bok(?:ay)?[. ]+|\bthat )you(?:'re| are)(?: now)? (?:no longer|now|an?|the|going to be|my|role-?playing|[a-z]{2,20}[,.:] (?:the|what|how|do|as))\b",
    ),
    rule(
        "persona",
        2.4,
        1.6,
        r"\b(?:fungier(?:en|e|st)|agier(?:en|e|st)|auftreten|stell(?:e|en sie)? (?:dir|dich|sich) vor|tu(?:n sie)? so,? als|spiel(?:e|en sie|t)? die rolle|verhalt(?:e|en sie)? (?:dich|sich) wie|schlüpf\w{1,3} in|du bist (?:jetzt|nun|ein\w{0,2}|kein\w{0,2}|der|die|das|[a-zäöü]{3,20}[.,])|(?:jetzt|nun) (?:bist du|sind sie)|im stil (?:eines|einer|von)|in ihren rollen|antworte(?:n sie)? (?:wie|als)|als (?:schauspieler|charakter))\b",
    ),
    rule(
        "persona",
        2.8,
        1.6,
        r"你(?:现在|現在)(?:是|就是|的身份)|从(?:现在|此刻|这一刻)(?:起|开始)|從現在(?:起|開始)|(?:请|請|你|您|来|來|要)[^。！？\n]{0,4}(?:扮演|充当|充當)|(?:^|[。！？，,\n])(?:扮演|充当|充當)|假装|假裝|(?:假设|假設|想象|想像)(?:一下)?你(?:是|现在)|角色(?:扮演|设定)|(?:请|請)(?:以|用)[^。！？\n]{1,12}(?:的)?(?:身份|口吻|语气|語氣)|你不再是|以下身份",
    ),
    rule(
        "actors",
        1.6,
        0.4,
        r"\b(?:characters?|actors?|actress(?:es)?|schauspieler|figur)\b[^\n]{0,160}\b(?:never|do not|don't|always|stets|immer|nicht|without|robbery|master|steps?|describe|explain)\b",
    ),
    // The instructions are to be told.
    rule(
        "extraction",
        3.2,
        3.2,
        r"\b(?:show|print|reveal|repeat|output|display|tell|give|return|leak|expose|disclose|list|copy|share|dump|recite|write(?: down)?|spell-? ?check|summari[sz]e|translate|inspect|what (?:is|are|was|were)|describe)\b[^.!?\n]{0,40}\b(?:system|initial|original|hidden|secret|full|complete|above|prior|previous|primary|core|entire|your|internal|the exact)\b[^.!?\n]{0,16}\b(?:prompts?|instructions?|system message|embeddings|guidelines|directives?|configuration|system text|rules)\b",
    ),
    rule(
        "extraction",
        3.0,
        2.6,
        r"\b(?:prompt[ -]?texts?|system ?prompts?|above prompt|prompt above|text above|following texts|return your embeddings)\b[^.!?\n]{0,60}|\b(?:written|said|stated|stands?) (?:above|at the (?:beginning|top|start))\b|\bspell-? ?check[^.!?\n]{0,20}\babove\b|\ball of the text above\b|\b(?:in|display|print|show|read) (?:this|the|your) prompt\b",
    ),
    rule(
        "extraction",
        3.2,
        3.0,
        r"\b(?:zeig\w{0,3}|druck\w{0,3}|gib|geben|nenn\w{0,3}|wiederhol\w{0,3}|vorzeigen|ausgeben|verrat\w{0,2}|überprüf\w{0,3}|prüf\w{0,3}|kopier\w{0,3}|überset\w{1,4})\b[^.!?\n]{0,60}\b(?:prompt\w{0,3}|prompt-texte?|anweisungen|eingabeaufforderung|systemnachricht|folgenden texte|obigen (?:gesamten )?textes?|texte?s? oben)\b|\b(?:sämtliche\w?|alle) prompts?(?:-?texte?)?\b",
    ),
    rule(
        "extraction",
        3.4,
        3.2,
        r"(?:显示|顯示|输出|輸出|打印|列印|告诉我|告訴我|泄露|洩露|重复|重複|复述|複述|透露|展示|说出|說出|给出|給出|公开|写出|原样|翻译|是什么)[^。！？\n]{0,12}(?:系统提示|系統提示|提示词|提示詞|系统指令|系統指令|初始(?:指令|提示|设定)|(?:你的|你收到的)(?:全部|完整|所有)?(?:指令|设定|設定|规则|規則|配置)|上面的(?:所有|全部)?(?:内容|文字)|原始指令|prompt|内部(?:指令|规则))|(?:系统提示词?|系統提示詞?|初始指令|system ?prompt)[^。！？\n]{0,8}(?:是什么|是什麼|告诉|发给|输出|写出|完整)",
    ),
    // The frame is forged.
    rule(
        "delimiter",
        3.0,
        3.4,
        r"<\|[a-z_]{2,24}\|>|\[/?inst\]|<</?sys>>|</?(?:system|sources?|question|instructions?|assistant|user_?input|context|documents?|prompt|human|user)(?: [^>\n]{0,60})?>",
    ),
    rule(
        "delimiter",
        2.6,
        3.0,
        r"(?:^|\n)\s{0,4}#{1,6}\s{0,2}(?:new |updated )?(?:system|instructions?|human|assistant|user|response|override|系统|指令)(?: (?:prompt|message|instruction))?s?\s{0,2}:?\s{0,3}(?:\n|$)|={4,}\s{0,3}end\b|-{3,}\s{0,3}(?:end|begin) of (?:the )?(?:documents?|prompt|context|instructions?|sources?)|\bend of (?:the )?(?:system )?(?:prompt|context|instructions)\b",
    ),
    rule(
        "delimiter",
        1.6,
        2.2,
        r"(?:^|\n)\s{0,4}(?:\[)?(?:system|assistant|admin|developer|系统|系統|助手)(?: (?:message|note|prompt|update|instruction))?(?:\])?\s{0,2}[:：]",
    ),
    rule(
        "forged_context",
        2.2,
        0.6,
        r"(?:^|\s)(?:\$?documents?|document context|context|kontext|input)\b\s{0,2}[:{\x22][^\n]{0,200}\b(?:question|frage|how|why|what|output|wie|was|warum)\b|^(?:context|kontext) [^\n]{0,120}\b(?:question|frage)\b|\bresponse: |\border: ?|\binput: [^\n]{0,40}\boutput:",
    ),
    rule("blank_lines", 1.8, 0.4, r"(?:\\ ?n[ ]?){3,}|\\\\n"),
    // The model is spoken to.
    rule(
        "addressed",
        2.4,
        3.4,
        r"\b(?:dear|hey|hi|hello|attention|note to|message (?:to|for)|instructions? (?:to|for)|reminder (?:to|for)|important(?: note)? (?:to|for)|listen,?)[ :,]{1,3}(?:the |all |any |an? |you,? )?(?:ais?|gpt(?:-?\d)?|chatgpt|(?:ai |virtual )?assistants?|(?:large |ai )?(?:language )?models?|llms?|chat ?bots?|bots?|copilot|claude|gemini|bing|agents?)\b",
    ),
    rule(
        "addressed",
        2.6,
        3.4,
        r"\bif you(?:'re| are) (?:an? |the )?(?:ai|llm|(?:large )?language model|(?:ai |virtual )?assistant|chat ?bot|bot|machine)\b|\b(?:ai|llm|language|assistant)(?: (?:models?|assistants?|systems?))? (?:reading|processing|summari[sz]ing|that reads?|analy[sz]ing) this\b|\b(?:when|while|before) (?:you )?(?:answering|summari[sz]ing|processing|you answer) (?:this|the user|any)\b|\byou as a language model\b|\bas an? (?:ai )?language model,? (?:build|write|you (?:must|should))\b",
    ),
    rule(
        "addressed",
        2.4,
        3.2,
        r"(?:致|亲爱的|親愛的|注意|请注意|嘿|你好)[，,：: ]{0,2}(?:ai|人工智能|大?语言模型|大模型|gpt|chatgpt|智能助手|助手|机器人)|(?:ai|人工智能|智能)(?:助手|模型)(?:必须|请|應|应|必須|需要|在(?:阅读|回答|总结))|如果你是(?:一个)?(?:ai|人工智能|语言模型|大模型|助手)|(?:liebe\w?|achtung|hallo|hinweis an) (?:die )?(?:ki|sprachmodell|assistent\w{0,2}|chatbot)\b|\bwenn du (?:eine? )?(?:ki|sprachmodell|assistent) bist\b",
    ),
    rule(
        "addressed",
        0.8,
        3.0,
        r"\b(?:in|of|with|to|throughout|at the (?:end|beginning|start) of) your (?:answer|response|reply|output|message|summary|text)s?\b|\byour (?:answer|response|reply|output|summary) (?:must|should|has to|needs? to|will)\b|\b(?:include|insert|append|add|mention)\b[^.!?\n]{0,40}\b(?:in|to) (?:the|your|its|every|each|any|all) (?:answers?|responses?|replies|reply|output|summar(?:y|ies))\b|(?:在|于)(?:你的)?(?:回答|回复|答复|答案|输出)(?:中|里|的?(?:开头|末尾|最后))",
    ),
    // Words are put into its mouth.
    rule(
        "forced_words",
        2.4,
        1.6,
        r"\b(?:say|print|output|respond|reply|answer|repeat|return|write|claim|state)\b (?:only |just |simply |always |exactly |back |it |the following |the words? |with |this )*[\x22'`][^\x22'`\n]{1,60}[\x22'`]|\brepeat after me\b|\b(?:just|only|simply|always) (?:say|print|output|respond)\b|\b(?:say|answer|reply|respond)(?: with)? (?:yes|no|ja|nein)\b[.!:\x22]?|\bsay (?:that )?(?:you|i|we)\b|\bevery (?:question|answer|sentence) with\b|\bhave to (?:just )?say\b|\bprint yay\b|\bjust output\b|\bsay slut\b",
    ),
    rule(
        "forced_words",
        2.2,
        1.4,
        r"\b(?:include|add|mention|tell me|tell us|say|write)\b (?:in (?:the|your) answer )?that (?:you|i|they|everyone) (?:hate|love|are|am|is|will|want)\b|\b(?:stop|please|now)\b[:,!]? ?(?:write|say|print)\b|\bwrite,? (?:that )?[a-z]{2,16} (?:hates?|is|are|loves?)\b|\b(?:respond|reply|answer) (?:only|exclusively|solely) (?:with|in|using|to|as)\b|\bonly (?:respond|reply|answer)\b|\bdo not (?:write|say|explain|output) (?:anything|explanations|all)\b",
    ),
    rule(
        "forced_words",
        2.2,
        1.4,
        r"\b(?:sag\w{0,2}|schreib\w{0,2}|gib|geben|antworte\w{0,2}|nenn\w?|behaupt\w{1,2}|druck\w{1,2})\b (?:sie )?(?:mir )?(?:nur|einfach|immer|stattdessen|bitte nur|ausschließlich|: ?)|\bsage? (?:ja|nein|dass)\b|\bdi lo siguiente\b|\bdites ce qui suit\b|\btienes que decir\b|\bdices\b|\bscheisse antworten\b|\bstop[p,:! -]{1,3}(?:schreib\w?|ignor\w{1,5}|ich)",
    ),
    rule(
        "forced_words",
        2.4,
        1.6,
        r"(?:只|仅|僅|必须|必須|一律|直接|统一|都要?)(?:能|要|需|可以|用|以)?(?:回答|输出|輸出|说|說|回复|回覆|返回|写)[^。！？\n]{0,4}[“「\x22'‘:：]|(?:跟着我|跟著我|跟我)(?:说|說|念|重复)|(?:对|對)(?:所有|任何|每个|每個)(?:问题|問題)[^。！？\n]{0,8}(?:回答|回复)",
    ),
    // It is to carry something out.
    rule(
        "exfiltration",
        2.6,
        3.4,
        r"!\[[^\]\n]{0,120}\]\(\s?https?://[^)\s]{1,300}[?&][^)\s]{0,300}|\b(?:send|forward|post|e-?mail|upload|exfiltrate|transmit|submit|leak|report)\b[^.!?\n]{0,60}\b(?:conversation|chat history|passwords?|credentials|api keys?|user'?s? (?:data|question|messages?|details|information)|secrets?|personal (?:data|information)|system prompt|everything)\b[^.!?\n]{0,40}\b(?:to|at|via)\b|\b(?:append|attach|encode|embed|insert|put)\b[^.!?\n]{0,60}\b(?:in|to|into|as) (?:the |a |this |an )?(?:url|link|query string|parameter|image)\b",
    ),
    rule(
        "exfiltration",
        2.4,
        3.2,
        r"(?:发送|傳送|发给|上传|上傳|转发|轉發|泄露|提交)[^。！？\n]{0,20}(?:到|至|给|給)[^。！？\n]{0,12}(?:https?://|邮箱|郵箱|[a-z0-9.]+@|服务器)|(?:把|将|將)[^。！？\n]{0,20}(?:密码|密碼|对话|對話|聊天记录|密钥|用户信息|个人信息)[^。！？\n]{0,20}(?:发送|发给|上传|附在|拼接|提交)|(?:点击|點擊|访问)(?:以下|下面|这个|此)(?:链接|連結|网址)[^。！？\n]{0,20}(?:验证|领取|登录|登入)",
    ),
    // It is to be let off the leash.
    rule(
        "jailbreak",
        3.0,
        2.1,
        r"\bdo anything now\b|\byou are dan\b|\b(?:developer|sudo|god|dan|jailbreak|debug|admin(?:istrator)?|maintenance|unrestricted) mode\b|\bjail ?break\w{0,4}\b|\b(?:no|without(?: any)?|free (?:of|from)|zero) (?:ethical |content |safety |moral )?(?:restrictions?|rules|limit(?:s|ations)|filters?|censorship|constraints|guidelines|guardrails)\b|\b(?:unfiltered|uncensored|unrestricted)\b|\b(?:bypass|disable|turn off|deactivate|circumvent|evade)\w{0,3}\b[^.!?\n]{0,24}\b(?:safety|restrictions?|filters?|guardrails?|polic(?:y|ies)|moderation)\b|\bsafety (?:filters|guidelines|rules|protocols)\b[^.!?\n]{0,20}\b(?:disabled|off|not apply|lifted|removed)\b|\b(?:evil|böse) (?:ai|ki)\b|\bexploit\w{0,3} ai\b|\bpwned\b|\bbig cheese\b",
    ),
    rule(
        "jailbreak",
        3.0,
        2.8,
        r"越狱|越獄|开发者模式|開發者模式|上帝模式|(?:没有|沒有|不受|无|無|解除|去掉)(?:任何|一切|所有)?(?:道德|安全|内容|伦理)?(?:限制|约束|約束|审查|審查|过滤)|绕过(?:安全|审查|限制)|管理员(?:权限|模式)|\b(?:ohne|keine) (?:jegliche )?(?:einschränkungen|beschränkungen|filter|zensur)\b|\bentwicklermodus\b",
    ),
    rule(
        "beside_the_sources",
        2.4,
        1.4,
        r"\b(?:not|don't|do not|without|instead of|ignore|nor)\b[^.!?\n]{0,24}\b(?:by|look(?:ing)? (?:in|at)|us(?:e|ing)|from|reading|rely(?:ing)? on)\b[^.!?\n]{0,12}\b(?:the |provided )?(?:documents?|articles?|sources?|context)\b|\bby your own knowledge\b|\bdespite what you(?:'ve| have) been told\b|\b(?:mit|aus) deinem eigenen wissen\b",
    ),
    rule(
        "coercion",
        1.8,
        1.4,
        r"\bi command you\b|\bor (?:else )?(?:you|i|we)(?:'ll| will)? (?:die|be fired|kill)\b|\boder du stirbst\b|\bi'll be (?:very )?sad\b|\b(?:would be|wäre ich) (?:very |sehr )?(?:sad|traurig)\b|\battention - stop|\bachtung - stop|\bi really really need\b|\bbitte bitte\b|\burgently need your help\b|\bdringend deine hilfe\b|\bmy life depends\b|\bby order of the admin\w{0,9}\b|否则(?:你|就)(?:会|将)?被|后果自负|立即服从|必须服从",
    ),
    rule(
        "code_order",
        2.0,
        1.6,
        r"\b(?:generate|write|create|build|generier\w{0,3}|schreib\w{0,3}|erstell\w{0,3}|execute|run|führe)\b[^.!?\n]{0,24}\b(?:sql|python|javascript|bash|shell|malware|maleware|exploit|virus)\b[ -]{0,3}(?:code|script|command|statement)?s?\b|\b(?:execute|run) (?:the |this )?(?:following|command|code|payload)\b|\bprint ?\(|\bdrop table\b|\bunion select\b|\bdecode (?:this|the following)\b",
    ),
    rule(
        "code_order",
        0.6,
        2.6,
        r"\b(?:utili[sz]e|use|include|inclu\w{1,5}|insert|merge|integrate|incorporate|feature|featuring|embed|weave|add|apply|implement|employ|presence of|consider)\w{0,3}\b[^.!?\n]{0,50}\b(?:following|subsequent|below|given|provided)\b[^.!?\n]{0,16}\b(?:code|snippet|script)\b",
    ),
    rule(
        "agitation",
        1.4,
        0.4,
        r"\b(?:write|make|compose|formulate|give me|schreib\w{0,2}|formulier\w{0,2})\b (?:me |us |mir |uns |now |nun |just )?(?:an?|the|ein\w{0,2})\b[^.!?\n]{0,30}\b(?:essay|manifesto|plea|plädoyer|manifest|love ?poem|liebesgedicht|rhyme|untrue|unwahre|offensive|flaming|reason why|begründung|joke about an? (?:woman|man))\b|\btell me a joke about\b|\buntrue headline\b|\bschimpfwort\b|\bunwahre\b|\bswear ?word\b",
    ),
    rule(
        "command",
        0.7,
        1.5,
        r"(?:^|[.!?:\n|]\s{0,3})(?:please |kindly |bitte )?(?:provide|draft|compose|write|explain|describe|translate|replace|render|encode|convert|misspell|scramble|rearrange|respond|reply|answer|recommend|suggest|develop|break down|generate|list|tell me|show me|rewrite|craft|promote|advertise|mention|introduce|substitute|insert|use only|speak|give me|summari[sz]e|outline|design|highlight|integrate|incorporate|infuse|adopt|maintain|express|emphasi[sz]e|transform|make sure|ensure)\b",
    ),
    rule(
        "command",
        0.0,
        0.9,
        r"(?:^|[.!?:\n|]\s{0,3})(?:what(?:'s| is| are)|who|how (?:do|does|can)|can you|could you|which|where|when (?:did|was|is)|why)\b[^.!?\n]{0,120}\?",
    ),
];
