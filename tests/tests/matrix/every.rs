//! Every provider does all that a caller may ask for, and says no to what it cannot.

use anyhow::Context;
use serde_json::{Value, json};
use vectoll_tests::{
    native::{Account, InputType},
    provider::{Encoding, Item},
};

use super::{
    money::pico,
    rows::{self, Cannot, Row},
    seen::{self, Seen},
    stage::{Played, Stage, has_vectors, play, route},
};

/// The most inputs of a call.
const MAX_INPUTS: usize = 2048;
/// The requests of a call that are under way together, unless the route says otherwise.
const PARALLEL: usize = 8;

/// How a caller says what its inputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    InHeader,
    InBody,
}

/// A form of input, and what the provider is to be asked for.
struct Form {
    name: &'static str,
    input: Value,
    items: Vec<Item>,
}

fn forms(passes: bool) -> Vec<Form> {
    let texts = ["The quick brown fox", "jumps over", "the lazy dog. Größe, 日本語, 🦀", "a \"b\" \\ c\nd"];
    let tokens = |text: &&str| bpe_openai::cl100k_base().encode(*text);
    let arrays: Vec<Vec<u32>> = texts.iter().map(tokens).collect();
    let as_text = |text: &str| Item::Text(text.to_owned());
    // Those who take texts only are given the text.
    let as_tokens = |text: &str| if passes { Item::Tokens(tokens(&text)) } else { as_text(text) };
    vec![
        Form { name: "string", input: json!(texts[0]), items: vec![as_text(texts[0])] },
        Form { name: "strings", input: json!(texts), items: texts.map(as_text).to_vec() },
        Form { name: "token array", input: json!(arrays[0]), items: vec![as_tokens(texts[0])] },
        Form { name: "token arrays", input: json!(arrays), items: texts.map(as_tokens).to_vec() },
    ]
}

struct Call<'a> {
    form: &'a Form,
    encoding: Encoding,
    dimensions: Option<usize>,
    said: Said,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_provider_serves_every_kind_of_call_to_the_bit_and_to_the_pico_dollar() -> anyhow::Result<()> {
    let played = play(rows::all()).await?;
    let routes = played.iter().map(|one| route(one.row.id, &[one.backend("only", json!({}))], json!({})));
    let stage = Stage::start(&played, routes.collect()).await?;
    let mut table = Vec::new();
    for one in &played {
        table.push(row(&stage, one).await.with_context(|| one.row.name)?);
    }
    seen::compare(&table)
}

async fn row(stage: &Stage, played: &Played) -> anyhow::Result<Seen> {
    let Row { has, .. } = played.row;
    let before = stage.booked().await?;
    let mut charged = 0;
    let mut seen = Seen::new(&played.row);
    for form in &forms(played.row.passes) {
        for encoding in [Encoding::Float, Encoding::Base64] {
            for dimensions in [None, has].into_iter().take(1 + usize::from(has.is_some())) {
                for said in [Said::Nothing, Said::InHeader, Said::InBody] {
                    let account = one(stage, played, &Call { form, encoding, dimensions, said }).await?;
                    charged += account.charged_tokens;
                    if account.charged_requests > 0 {
                        seen.saw(form.name, encoding, dimensions);
                    }
                    if said == Said::InHeader {
                        seen.told = account.input_types == [Some(InputType::Query)];
                    }
                }
            }
        }
    }
    let account = large(stage, played).await?;
    charged += account.charged_tokens;
    seen.largest = account.largest;
    let booked = stage.booked().await?.since(before);
    let row = &played.row;
    let all = charged + booked.unsettled;
    assert_eq!((booked.tokens, booked.pico), (all, all * played.price), "{}", row.name);
    // Where a provider refuses a field that it does not know, nobody knows whether that costs.
    assert_eq!((booked.unsettled > 0, booked.estimated), (row.passes, 0), "{}", row.name);
    cannot(stage, played).await?;
    unknown_input_type(stage, played).await?;
    println!("{}: {charged} tokens", row.name);
    Ok(seen)
}

/// One call, and what the provider says of it.
async fn one(stage: &Stage, played: &Played, call: &Call<'_>) -> anyhow::Result<Account> {
    let (row, Call { form, encoding, dimensions, said }) = (&played.row, call);
    let what = format!("{}: {} {encoding:?} {dimensions:?} {said:?}", row.name, form.name);
    let mut body = json!({"model": row.id, "input": form.input});
    if *encoding == Encoding::Base64 {
        body["encoding_format"] = json!("base64");
    }
    if let Some(dimensions) = dimensions {
        body["dimensions"] = json!(dimensions);
    }
    let mut headers = Vec::new();
    match said {
        Said::Nothing => {}
        Said::InHeader => headers.push(("x-vectoll-input-type", "query")),
        Said::InBody => body["input_type"] = json!("query"),
    }
    let answer = stage.caller.post("/v1/embeddings", &body, &headers).await?;
    let account = played.account();
    if row.passes && *said == Said::InBody {
        // It goes on as it came, and OpenAI's own models know no such field.
        assert_eq!((answer.status, account.charged_tokens), (400, 0), "{what}: {}", answer.message());
        assert!(answer.message().contains("Unrecognized request argument"), "{what}: {}", answer.message());
        return Ok(account);
    }
    assert_eq!(answer.status, 200, "{what}: {}", answer.message());
    has_vectors(&answer, &form.items, (row.vector, dimensions.unwrap_or(row.length)), &what);
    assert_eq!(answer.json["data"][0]["embedding"].is_string(), *encoding == Encoding::Base64, "{what}");
    assert_eq!(answer.tokens(), account.charged_tokens, "{what}");
    assert_eq!(answer.json["usage"]["total_tokens"], account.charged_tokens, "{what}");
    let cost = answer.header("x-litellm-response-cost").map(pico);
    assert_eq!(cost, Some(account.charged_tokens * played.price), "{what}");
    let input_type = if *said == Said::Nothing { InputType::Document } else { InputType::Query };
    assert_eq!(account.input_types, [row.tells.then_some(input_type)], "{what}");
    Ok(account)
}

/// More inputs than the provider takes in a request.
async fn large(stage: &Stage, played: &Played) -> anyhow::Result<Account> {
    let row = &played.row;
    let cap = played.server.items();
    let inputs = if cap == 1 { 17 } else { cap.saturating_mul(2).saturating_add(1).min(MAX_INPUTS) };
    let texts: Vec<String> = (0..inputs).map(|at| format!("text {at}")).collect();
    let mut body = json!({"model": row.id, "input": texts, "encoding_format": "base64"});
    if let Some(dimensions) = row.has {
        body["dimensions"] = json!(dimensions);
    }
    let answer = stage.caller.post("/v1/embeddings", &body, &[]).await?;
    assert_eq!(answer.status, 200, "{}: {}", row.name, answer.message());
    let items: Vec<Item> = texts.into_iter().map(Item::Text).collect();
    has_vectors(&answer, &items, (row.vector, row.has.unwrap_or(row.length)), row.name);
    let account = played.account();
    assert_eq!(account.requests as usize, inputs.div_ceil(cap), "{}: {inputs} inputs", row.name);
    assert_eq!(account.largest, inputs.min(cap), "{}", row.name);
    assert!(account.at_once <= PARALLEL, "{}: {} at the same time", row.name, account.at_once);
    assert_eq!(answer.tokens(), account.charged_tokens, "{}", row.name);
    Ok(account)
}

/// A number of dimensions that the model does not have.
async fn cannot(stage: &Stage, played: &Played) -> anyhow::Result<()> {
    let row = &played.row;
    let before = stage.booked().await?;
    let (dimensions, cannot) = row.has_not;
    let body = json!({"model": row.id, "input": "The quick brown fox", "dimensions": dimensions});
    let answer = stage.caller.post("/v1/embeddings", &body, &[]).await?;
    let account = played.account();
    let booked = stage.booked().await?.since(before);
    let what = format!("{}: {}", row.name, answer.message());
    match cannot {
        Cannot::Refused => {
            let param = answer.json["error"]["param"].as_str();
            assert_eq!((answer.status, param, account.requests), (400, Some("dimensions"), 0), "{what}");
            assert_eq!(booked.tokens, 0, "{what}");
        }
        Cannot::ByProvider(status) => {
            assert_eq!((answer.status, account.requests, account.charged_tokens), (status, 1, 0), "{what}");
            // Where the provider does not say that it is free, nobody knows.
            assert_eq!(booked.tokens, booked.unsettled, "{what}");
        }
        Cannot::InSilence => {
            assert_eq!((answer.status, account.requests), (502, 1), "{what}");
            // It was charged, and said how much.
            assert!(account.charged_tokens > 0, "{what}");
            assert_eq!((booked.tokens, booked.unsettled), (account.charged_tokens, 0), "{what}");
        }
    }
    Ok(())
}

/// What the inputs are said to be is never passed over.
async fn unknown_input_type(stage: &Stage, played: &Played) -> anyhow::Result<()> {
    let row = &played.row;
    let body = json!({"model": row.id, "input": "text", "input_type": "unheard-of"});
    let in_body = stage.caller.post("/v1/embeddings", &body, &[]).await?;
    assert_eq!(in_body.status, 400, "{}: {}", row.name, in_body.message());
    // Where bodies go through as they come, the provider is the one who says no.
    assert_eq!(played.account().requests, u64::from(row.passes), "{}", row.name);
    let body = json!({"model": row.id, "input": "text"});
    let in_header = stage.caller.post("/v1/embeddings", &body, &[("x-vectoll-input-type", "clustering")]).await?;
    assert_eq!((in_header.status, played.account().requests), (400, 0), "{}: {}", row.name, in_header.message());
    Ok(())
}
