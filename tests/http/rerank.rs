//! Texts judged by a question, in two protocols, by a provider that speaks three or by a model here.

use crate::support::{Server, Setup, program};
use corpus::{Errand, Reranker};
use encoder::{LocalOptions, LocalReranker, Manifest};
use mock::{Mock, Reply, Script};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::Command;

const KINDS: [&str; 3] = ["cohere", "jina", "tei"];

fn server(kind: &str, mock: &Mock, more: &str) -> Server {
    let rerank = format!("[rerank]\nprovider = \"{kind}\"\nbase_url = \"{}\"\nmodel = \"judge\"\ntexts_max = 40\n", mock.url());
    let key = "api_key_env = \"KEY_OF_THE_JUDGE\"\n[rerank.calls.retry]\nbackoff_ms = 1\n";
    Setup::hash().config(&format!("{more}{rerank}{key}")).environment("KEY_OF_THE_JUDGE", "sk-canary-3").start()
}

fn asked(documents: Value) -> Value {
    json!({ "model": "judge", "query": "grey granite", "documents": documents })
}

#[test]
fn both_protocols_rank_texts_by_whatever_provider() {
    for kind in KINDS {
        let mock = Mock::start_on_thread(Script::default());
        let server = server(kind, &mock, "");
        let ranked = server.post("/v1/rerank", asked(json!(["lamps burn oil", { "text": "granite" }, "grey granite"]))).ok();
        assert_eq!(ranked["model"], "judge");
        let expected =
            json!([{ "index": 2, "relevance_score": 1.0 }, { "index": 1, "relevance_score": 0.5 }, { "index": 0, "relevance_score": 0.0 }]);
        assert_eq!(ranked["results"], expected, "{kind}");
        let mut best = asked(json!(["lamps burn oil", "granite"]));
        (best["top_n"], best["return_documents"]) = (json!(1), json!(true));
        let best = server.post("/v1/rerank", best).ok();
        assert_eq!(best["results"], json!([{ "index": 1, "relevance_score": 0.5, "document": { "text": "granite" } }]), "{kind}");
        let tei = json!({ "query": "grey granite", "texts": ["lamps", "granite"], "return_text": true, "truncate": true });
        let tei = server.post("/rerank", tei).ok();
        assert_eq!(tei, json!([{ "index": 1, "score": 0.5, "text": "granite" }, { "index": 0, "score": 0.0, "text": "lamps" }]), "{kind}");
        assert!(mock.calls().iter().all(|call| call.authorization), "{kind}");
    }
}

#[test]
fn what_can_not_be_ranked_is_said() {
    let mock = Mock::start_on_thread(Script::default());
    let server = server("jina", &mock, "");
    let refused = |path: &str, body: Value| {
        let reply = server.post(path, body);
        (reply.status, reply.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    let bad = (400, "bad_rerank".to_owned());
    assert_eq!(refused("/v1/rerank", asked(json!([]))), bad);
    assert_eq!(refused("/v1/rerank", asked(json!(vec!["x"; 41]))), bad);
    assert_eq!(refused("/rerank", json!({ "query": "q", "texts": [] })), bad);
    assert_eq!(refused("/rerank", json!({ "query": "q", "texts": ["a"], "raw_scores": true })), bad);
    assert_eq!(refused("/v1/rerank", json!({ "model": "judge", "query": "q", "documents": ["a"], "top_n": 0 })), bad);
    assert_eq!(refused("/v1/rerank", json!({ "model": "other", "query": "q", "documents": ["a"] })), (404, "model_not_found".to_owned()));
    assert_eq!(refused("/v1/rerank", json!({ "model": "judge", "documents": ["a"] })), (400, "bad_body".to_owned()));
    assert_eq!(refused("/v1/rerank", asked(json!([{ "title": "a" }]))), (400, "bad_body".to_owned()));
    assert_eq!(mock.call_count(), 0);
    let without = Setup::hash().start();
    for (path, body) in [("/v1/rerank", asked(json!(["a"]))), ("/rerank", json!({ "query": "q", "texts": ["a"] }))] {
        let reply = without.post(path, body);
        assert_eq!((reply.status, reply.json()["code"].clone()), (404, json!("no_reranker")), "{path}");
    }
}

#[test]
fn a_provider_that_fails_is_tried_again_and_then_said_to_fail_in_words_of_our_own() {
    for (reply, calls, status, code) in [
        (Reply::status(500), 3, 503, "rerank_unavailable"),
        (Reply::status(401), 1, 503, "rerank_unavailable"),
        (Reply::status(429).header("retry-after", "20"), 1, 503, "rerank_busy"),
        (Reply::status(400), 1, 502, "rerank_failed"),
        (Reply::raw("{}"), 1, 502, "rerank_failed"),
    ] {
        let mock = Mock::start_on_thread(Script::always(reply.clone()));
        let server = server("cohere", &mock, "");
        let answer = server.post("/v1/rerank", asked(json!(["a"])));
        assert_eq!((answer.status, answer.json()["code"].as_str(), mock.call_count()), (status, Some(code), calls), "{reply:?}");
        assert_eq!(answer.header("retry-after").is_some(), status == 503);
        assert!(!answer.text().contains("canary"));
    }
}

#[test]
fn its_tokens_count_against_the_limit() {
    let mock = Mock::start_on_thread(Script::default());
    let server = server("cohere", &mock, "[limits.tenant]\ntokens_per_minute = 100\n");
    let long = || asked(json!(["grey ".repeat(90)]));
    let first = server.post("/v1/rerank", long());
    assert_eq!((first.status, first.header("x-ratelimit-limit-tokens")), (200, Some("100")), "{}", first.text());
    assert_eq!(server.post("/v1/rerank", long()).json()["code"], "rate_limited");
    assert_eq!(mock.call_count(), 1);
}

const WORDS: [&str; 10] = ["granite", "slate", "stone", "roof", "hard", "thin", "lasts", "is", "a", "which"];
const TEXTS: [&str; 4] = ["granite is a hard stone", "a slate roof lasts", "a thin stone lasts", "which roof is hard"];
const HIDDEN: usize = 64;

/// A cross-encoder of one layer with small random weights, as a model's folder in a folder of models.
fn write_models(models: &Path) {
    let folder = models.join("tiny");
    std::fs::create_dir_all(&folder).unwrap();
    let special = |name: &str, id: u32| json!({ "id": name, "ids": [id], "tokens": [name] });
    let begin = json!({ "SpecialToken": { "id": "[CLS]", "type_id": 0 } });
    let end = |part: u32| json!({ "SpecialToken": { "id": "[SEP]", "type_id": part } });
    let text = |name: &str, part: u32| json!({ "Sequence": { "id": name, "type_id": part } });
    let vocabulary: serde_json::Map<String, Value> =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].into_iter().chain(WORDS).enumerate().map(|(id, word)| (word.to_owned(), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing", "single": [begin, text("A", 0), end(0)], "pair": [begin, text("A", 0), end(0), text("B", 1), end(1)],
            "special_tokens": { "[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3) },
        },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocabulary },
    });
    let config = json!({
        "model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 128,
        "max_position_embeddings": 32, "layer_norm_eps": 1e-5, "hidden_act": "gelu",
    });
    let files =
        [("model.safetensors", weights()), ("tokenizer.json", tokenizer.to_string().into()), ("config.json", config.to_string().into())];
    let mut pins = Vec::new();
    for (name, bytes) in files {
        let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        pins.push(format!("{{ name = \"{name}\", bytes = {}, sha256 = \"{sha256}\" }}", bytes.len()));
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let model = |name: &str, kind: &str, more: &str| {
        format!(
            "[[model]]\nname = \"{name}\"\nkind = \"{kind}\"\nfamily = \"bert\"\ndimension = {HIDDEN}\nmax_tokens = 32\npooling = \"cls\"\n\
             languages = [\"en\"]\nlicence = \"MIT\"\nsource.hub = {{ repository = \"a/{name}\", revision = \"main\" }}\n{more}\n"
        )
    };
    let pins = format!("files = [{}]", pins.join(", "));
    let entries = [model("base", "embedding", ""), model("tiny", "reranker", &pins), model("absent", "reranker", "")].concat();
    std::fs::write(models.join("manifest.toml"), format!("default = \"base\"\n{entries}")).unwrap();
}

/// Tensors in safetensors: the header's length, the header, the numbers.
fn weights() -> Vec<u8> {
    let mut tensors: Vec<(String, Vec<usize>, f32, f32)> = Vec::new();
    for (table, rows) in [("word", 4 + WORDS.len()), ("position", 32), ("token_type", 2)] {
        tensors.push((format!("bert.embeddings.{table}_embeddings.weight"), vec![rows, HIDDEN], 0.0, 1.0));
    }
    let layer = "bert.encoder.layer.0";
    let mut dense = vec![("bert.pooler.dense".to_owned(), HIDDEN, HIDDEN), ("classifier".to_owned(), 1, HIDDEN)];
    for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
        dense.push((format!("{layer}.{part}"), HIDDEN, HIDDEN));
    }
    dense.extend([(format!("{layer}.intermediate.dense"), 128, HIDDEN), (format!("{layer}.output.dense"), HIDDEN, 128)]);
    for (name, outputs, inputs) in dense {
        tensors.push((format!("{name}.weight"), vec![outputs, inputs], 0.0, 0.5));
        tensors.push((format!("{name}.bias"), vec![outputs], 0.0, 0.1));
    }
    for name in ["bert.embeddings.LayerNorm".to_owned(), format!("{layer}.attention.output.LayerNorm"), format!("{layer}.output.LayerNorm")]
    {
        tensors.push((format!("{name}.weight"), vec![HIDDEN], 1.0, 0.2));
        tensors.push((format!("{name}.bias"), vec![HIDDEN], 0.0, 0.1));
    }
    let (mut header, mut data, mut state) = (serde_json::Map::new(), Vec::<u8>::new(), 0x5EED_u64);
    for (name, shape, middle, width) in tensors {
        let start = data.len();
        for _ in 0..shape.iter().product::<usize>() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let chance = f32::from(u16::try_from(state >> 48).unwrap()) / 32_768.0 - 1.0;
            data.extend((middle + chance * width).to_le_bytes());
        }
        header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] }));
    }
    let header = Value::Object(header).to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

#[test]
fn a_cross_encoder_of_this_machine_judges_searches_and_texts() {
    let models = tempfile::tempdir().unwrap();
    write_models(models.path());
    let manifest = Manifest::read(&models.path().join("manifest.toml")).unwrap();
    let reranker = LocalReranker::open(manifest.get("tiny").unwrap(), &models.path().join("tiny"), LocalOptions::default()).unwrap();
    let question = "which stone is hard";
    let expected = reranker.rerank(question, &TEXTS, &Errand::default()).unwrap();
    let is_near = |a: f64, b: f32| (a - f64::from(b)).abs() < 1e-4;
    let folder = models.path().display().to_string();
    let server = Setup::hash().config("[rerank]\nlocal = \"tiny\"\ntexts_max = 9\n").environment("RAGSTONE_MODELS_DIR", &folder).start();
    let judged = server.post("/v1/rerank", json!({ "model": "tiny", "query": question, "documents": TEXTS })).ok();
    let mut best: Vec<usize> = (0..TEXTS.len()).collect();
    best.sort_by(|a, b| expected[*b].total_cmp(&expected[*a]));
    for (place, index) in best.iter().enumerate() {
        let result = &judged["results"][place];
        assert_eq!(result["index"], json!(index), "{judged} and {expected:?}");
        assert!(is_near(result["relevance_score"].as_f64().unwrap(), expected[*index]), "{judged} and {expected:?}");
    }
    let many = json!({ "model": "tiny", "query": question, "documents": vec!["slate"; 10] });
    assert_eq!(server.post("/v1/rerank", many).status, 400, "texts_max holds here too");
    for (number, text) in TEXTS.iter().enumerate() {
        server.add_text("default", &number.to_string(), text);
    }
    let search = |rerank: bool| {
        let asked = json!({ "query": question, "rerank": rerank, "explain": true, "top_k": 4 });
        server.post("/v1/collections/default/search", asked).ok()
    };
    let order = |found: &Value| -> Vec<String> {
        found["hits"].as_array().unwrap().iter().map(|hit| hit["text"].as_str().unwrap().trim().to_owned()).collect()
    };
    let (plain, reranked) = (search(false), search(true));
    assert_eq!(order(&reranked), best.iter().map(|index| TEXTS[*index].to_owned()).collect::<Vec<_>>(), "{reranked}");
    assert_ne!(order(&plain), order(&reranked), "the model changes nothing: try other weights");
    assert_eq!((&reranked["explain"]["reranker"], plain["explain"].get("reranker")), (&json!("tiny"), None));
    for (hit, index) in reranked["hits"].as_array().unwrap().iter().zip(&best) {
        assert!(is_near(hit["explain"]["rerank"].as_f64().unwrap(), expected[*index]), "{hit} and {expected:?}");
    }
}

#[test]
fn without_its_weights_the_server_says_how_to_get_them() {
    let models = tempfile::tempdir().unwrap();
    write_models(models.path());
    for (name, said) in [("absent", "ragstone models pull absent"), ("nobody", "\"nobody\" is not in"), ("base", "can't rerank")] {
        let data = models.path().join("data");
        let config = models.path().join("ragstone.toml");
        std::fs::write(&config, format!("[embedding]\nmodel = \"test-hash\"\n[rerank]\nlocal = \"{name}\"\n")).unwrap();
        let mut serve = Command::new(program());
        serve.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&config).arg("--data-dir").arg(&data);
        let ended = serve.env("RAGSTONE_MODELS_DIR", models.path()).output().unwrap();
        let words = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && words.contains("rerank.local") && words.contains(said), "{name}: {words}");
        assert!(!data.join("store").exists(), "nothing is begun before");
    }
}
