//! The page in a real browser: with 10,000 keys, by keyboard, in both colours, on a narrow window, with spend and refusals, and with names
//! that would like to be more than text. Pictures for people: `target/tmp/page`.

#![allow(clippy::indexing_slicing, clippy::print_stdout, reason = "a test")]

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};
use vectoll_tests::{
    browser::Browser,
    caller::Caller,
    manifest::{api_key, builtin, file, key_value, resource, team},
    page::{Large, ON_A_FREE_PORT, address, client},
    pair::{Pair, Setup, poll},
    store::Store,
};

const KEYS: usize = 10_000;
const ESCAPE: &str = "\u{e00c}";
const ENTER: &str = "\u{e007}";
const TAB: &str = "\u{e004}";
/// What would run, were it taken for more than text.
const EVIL: &str = "<img src=x onerror=\"document.title='evil'\"><script>document.title='evil'</script>";

/// Promised to people who look, in milliseconds: five times as much is allowed here, where builds are quick ones and other tests run beside.
const FIRST_PAINT: f64 = 1_000.0;
const SORT: f64 = 300.0;
const ALLOWANCE: f64 = 5.0;

fn picture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page").join(name)
}

/// 10,000 keys whose values are elsewhere, so that none has to be made.
fn many() -> String {
    let mut all = vec![builtin("m", &["m"]), team("search", json!({"displayName": EVIL}))];
    all.extend((0..KEYS).map(|n| {
        let hash = format!("sha256:{n:064x}");
        let user = format!("user-{}", n % 97);
        let budget = json!({"limit": format!("{}.00", 1 + n % 50), "period": "Monthly"});
        resource(
            "ApiKey",
            &format!("key-{n:05}"),
            json!({"teamRef": {"name": "search"}, "keyHash": hash, "user": user, "budget": budget}),
        )
    }));
    all.push(resource(
        "ApiKey",
        "lost",
        json!({"teamRef": {"name": "nowhere"}, "keyHash": format!("sha256:{KEYS:064x}")}),
    ));
    file(all)
}

/// How long it takes from a click on a column's title to rows in the new order, in milliseconds, as the browser measures it.
const SORT_BY_NAME: &str = r#"
    const done = arguments[arguments.length - 1];
    const began = performance.now();
    const observer = new MutationObserver(() => {
        observer.disconnect();
        requestAnimationFrame(() => done(performance.now() - began));
    });
    observer.observe(document.getElementById("body"), { childList: true });
    document.querySelector('#head [data-sort="name"]').click();
"#;

const ROWS: &str = "return document.querySelectorAll('#body tr').length";
const HAS_ROWS: &str = "return document.querySelectorAll('#body tr').length > 0";

async fn number(browser: &Browser, script: &str) -> anyhow::Result<f64> {
    browser.run(script).await?.as_f64().with_context(|| format!("no number: {script}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_with_ten_thousand_keys_is_quick_and_is_used_by_keyboard() -> anyhow::Result<()> {
    let page = Large::start(&many(), KEYS + 1).await?;
    let url = &page.url;
    let browser = Browser::start().await?;
    browser.open(&format!("{url}#table=keys")).await?;
    browser.until("rows", HAS_ROWS).await?;
    let paint =
        number(&browser, "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 1e9").await?;
    let rows = number(&browser, "return performance.getEntriesByName('rows')[0]?.startTime ?? 1e9").await?;
    let mut sorts = Vec::new();
    for _ in 0..5 {
        sorts.push(browser.run_until_done(SORT_BY_NAME).await?.as_f64().context("no time")?);
    }
    let slowest = sorts.iter().copied().fold(0.0, f64::max);
    println!("{KEYS} keys: first paint {paint:.0} ms, first rows {rows:.0} ms, sorts {sorts:.0?} ms");
    ensure!(paint < ALLOWANCE * FIRST_PAINT && rows < ALLOWANCE * FIRST_PAINT, "paint {paint} ms, rows {rows} ms");
    ensure!(slowest < ALLOWANCE * SORT, "sorts took {sorts:?} ms");
    ensure!(browser.run(ROWS).await? == 50);
    let status = browser.run("return document.getElementById('status').textContent").await?;
    ensure!(status.as_str().is_some_and(|status| status.replace('\u{202f}', "").starts_with("10001 keys")), "{status}");
    // The sorted column says so to who cannot see its arrow.
    let sorted =
        browser.run("return document.querySelectorAll('#head [aria-sort]:not([aria-sort=none])').length").await?;
    ensure!(sorted == 1, "{sorted}");
    browser.screenshot(&picture("keys.png")).await?;
    // By keyboard: to the search, to the one row, into it, and back.
    browser.press("/").await?;
    browser.press("key-00007").await?;
    browser.until("one row", "return document.querySelectorAll('#body tr').length === 1").await?;
    ensure!(browser.run("return location.hash.includes('q=key-00007')").await? == true, "a search can be shared");
    for _ in 0..30 {
        browser.press(TAB).await?;
        let outline =
            number(&browser, "return parseFloat(getComputedStyle(document.activeElement).outlineWidth)").await?;
        ensure!(outline >= 2.0, "where the focus is cannot be seen: {outline}");
        if browser.run("return document.activeElement.closest('#body th') !== null").await? == true {
            break;
        }
    }
    browser.press(ENTER).await?;
    browser.until("the details", "return !document.getElementById('detail').hidden").await?;
    browser.until("the focus in them", "return document.activeElement.id === 'detail-title'").await?;
    let text = browser.run("return document.getElementById('detail').textContent").await?;
    ensure!(text.as_str().is_some_and(|text| text.contains("Conditions") && text.contains("keyHash")), "{text}");
    browser.press(ESCAPE).await?;
    browser.until("the table again", "return !document.getElementById('list').hidden").await?;
    // What has failed is one press away.
    browser.open(&format!("{url}#table=keys")).await?;
    browser.until("states", "return document.querySelector('[data-state=Failed] .count')?.textContent === '1'").await?;
    browser.run("document.querySelector('[data-state=Failed]').click()").await?;
    browser.until("one row", "return document.querySelectorAll('#body tr').length === 1").await?;
    ensure!(browser.run("return location.hash.includes('state=Failed')").await? == true);
    ensure!(browser.complaints().await?.is_empty(), "{:?}", browser.complaints().await?);
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_stay_text_links_lead_to_the_same_view_and_colours_are_ones_own() -> anyhow::Result<()> {
    let lost = resource("ApiKey", "lost", json!({"teamRef": {"name": "nowhere"}}));
    let mut all = vec![team("search", json!({"displayName": EVIL})), lost];
    all.extend(api_key("alice", "search", json!({"user": EVIL})));
    let setup = Setup { operator_arguments: vec![ON_A_FREE_PORT.to_owned()], ..Setup::built()? };
    let pair = Pair::operator_only(setup, &[("all.yaml", file(all))]).await?;
    let url = address(&pair).await?;
    let browser = Browser::start().await?;
    browser.prefer("dark").await?;
    browser.open(&format!("{url}#table=teams")).await?;
    browser.until("rows", HAS_ROWS).await?;
    let text = browser.run("return document.getElementById('body').textContent").await?;
    ensure!(text.as_str().is_some_and(|text| text.contains(EVIL)), "{text}");
    ensure!(browser.run("return document.querySelectorAll('#main img, #main script').length").await? == 0);
    ensure!(browser.run("return document.title").await? != "evil");
    // A link to what is wrong.
    browser.open(&format!("{url}#table=keys&q=lost")).await?;
    browser.until("the key", "return document.querySelector('#body tr')?.textContent.includes('TeamNotFound')").await?;
    let row = browser.run("return document.querySelector('#body tr').textContent").await?;
    ensure!(row.as_str().is_some_and(|row| row.contains("lost") && row.contains("Failed")), "{row}");
    let search = browser.run("return document.getElementById('search').value").await?;
    ensure!(search == "lost", "{search}");
    // The switch: what the system says, light, dark.
    let ground = "return getComputedStyle(document.body).backgroundColor";
    let system = browser.run(ground).await?;
    browser.run("document.getElementById('theme').click()").await?;
    let light = browser.run(ground).await?;
    browser.run("document.getElementById('theme').click()").await?;
    let dark = browser.run(ground).await?;
    ensure!(light == "rgb(245, 246, 248)" && dark != light && dark == system, "{system} {light} {dark}");
    // A token that is handed over behind the # is wiped from there.
    browser.open(&format!("{url}#token=abc.def")).await?;
    browser.until("the token", "return sessionStorage.getItem('vectoll-token') === 'abc.def'").await?;
    ensure!(browser.run("return location.href").await? == json!(url));
    // What is not there is told, and the page goes on.
    browser.open(&format!("{url}#table=keys&id=default/none")).await?;
    browser
        .until("an error", "return document.getElementById('error').textContent.includes('there is nothing')")
        .await?;
    // Every field has a label, and every table a caption.
    let unlabelled =
        "return [...document.querySelectorAll('input, select')].filter((field) => field.labels.length === 0).length";
    ensure!(browser.run(unlabelled).await? == 0);
    ensure!(browser.run("return document.querySelectorAll('table:not(:has(caption))').length").await? == 0);
    browser.close().await
}

/// Names that people might give: Teams with their budgets, and keys with their owners.
const TEAMS: [(&str, &str, &str); 5] = [
    ("search", "25.00", "Monthly"),
    ("recommendations", "100.00", "Monthly"),
    ("support-assistant", "40.00", "Weekly"),
    ("fraud-detection", "250.00", "Quarterly"),
    ("catalog", "15.00", "Daily"),
];
const OWNERS: [&str; 6] = ["ada", "grace", "linus", "barbara", "edsger", "margaret"];
const PLACES: [&str; 3] = ["batch", "web", "dev"];

/// A token of the built-in model costs a cent.
fn company() -> String {
    let backend = json!({"name": "builtin", "builtin": {}, "price": {"inputPerMillionTokens": "10000"}});
    let mut all = vec![resource(
        "ModelRoute",
        "embeddings",
        json!({"models": ["text-embedding-small", "text-embedding-large"],
            "backends": [backend]}),
    )];
    for (at, (name, limit, period)) in TEAMS.iter().enumerate() {
        let budget = json!({"limit": limit, "period": period, "warnAtPercent": 80});
        all.push(team(name, json!({"displayName": name.replace('-', " "), "budget": budget})));
        for (number, place) in PLACES.iter().enumerate() {
            let limit = [json!({"limit": "9.00", "period": "Monthly"}), json!({"limit": "1.00", "period": "Daily"})];
            let mut spec = json!({"user": OWNERS[(at + 2 * number) % OWNERS.len()]});
            if number < 2 {
                spec["budget"] = limit[number].clone();
            } else {
                spec["suspended"] = json!(at == 3);
            }
            all.extend(api_key(&format!("{name}-{place}"), name, spec));
        }
    }
    all.extend(api_key("old-importer", "data-platform", json!({"user": "ken"})));
    file(all)
}

/// What a few months before might have been, in the store where the sidecars would have booked it.
async fn months_before(admin: &mut MultiplexedConnection) -> anyhow::Result<()> {
    let keys: Vec<String> = admin.keys("*month:*").await?;
    ensure!(!keys.is_empty(), "no month is booked");
    for key in keys {
        let (before, present) = key.rsplit_once("month:").context("no month")?;
        let (year, month) = present.split_once('-').context("no month")?;
        let (year, month): (i64, i64) = (year.parse()?, month.parse()?);
        let fields: Vec<(String, u64)> = admin.hgetall(&key).await?;
        for ago in 1..=9_i64 {
            let at = 12 * year + month - 1 - ago;
            let name = format!("{before}month:{}-{:02}", at.div_euclid(12), at.rem_euclid(12) + 1);
            for (field, value) in &fields {
                let part = [7, 9, 6, 8, 5, 6, 3, 4, 1][usize::try_from(ago - 1)?];
                admin.hset::<_, _, _, ()>(&name, field, value * part / 3).await?;
            }
        }
    }
    Ok(())
}

/// Calls of each key, more of some; those of one come to its budget's end. Returns how many were refused.
async fn calls(pair: &Pair) -> anyhow::Result<usize> {
    let mut refused = 0;
    for (at, (name, ..)) in TEAMS.iter().enumerate() {
        for (number, place) in PLACES.iter().enumerate() {
            let caller = Caller::new(&pair.base_url(), &key_value(&format!("{name}-{place}")))?;
            let words = "word ".repeat(5 + 37 * at + 11 * number);
            for call in 0..4 + at {
                let model = ["text-embedding-small", "text-embedding-large"][call % 2];
                let answer = caller.embed(model, json!(words.trim())).await?;
                refused += usize::from(answer.status == 429);
            }
        }
    }
    Ok(refused)
}

/// The least contrast of text that is seen with what is behind it (WCAG 2), and that text. What cannot be pressed is exempt.
const CONTRAST: &str = r#"
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgb = (color) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
        return context.getImageData(0, 0, 1, 1).data;
    };
    const light = (color) => {
        const [r, g, b] = [...color].slice(0, 3).map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        for (let at = element; at !== null; at = at.parentElement) {
            const color = rgb(getComputedStyle(at).backgroundColor);
            if (color[3] === 255) return color;
        }
        return rgb("white");
    };
    const worst = { contrast: 99, text: "" };
    for (const element of document.querySelectorAll("body *")) {
        const text = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data.trim()).join("");
        if (text === "" || element.matches(":disabled, :disabled *, .unseen, .skip, option") || !element.checkVisibility()) continue;
        const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < worst.contrast) Object.assign(worst, { contrast, text });
    }
    return worst;
"#;

async fn is_readable(browser: &Browser, what: &str) -> anyhow::Result<()> {
    let worst = browser.run(CONTRAST).await?;
    ensure!(worst["contrast"].as_f64().is_some_and(|contrast| (4.5..99.0).contains(&contrast)), "{what}: {worst}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spend_and_refusals_are_seen_on_any_window_in_both_colours() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let mut operator_arguments = store.operator_arguments()?;
    operator_arguments.push(ON_A_FREE_PORT.to_owned());
    let setup = Setup { operator_arguments, ..Setup::built()? };
    let pair = Pair::start_with(setup, &[("all.yaml", company())]).await?;
    let url = address(&pair).await?;
    ensure!(calls(&pair).await? > 0, "nothing was refused");
    let mut admin = store.admin().await?;
    let client = client()?;
    poll::until("users and what was spent", Duration::from_mins(1), async || {
        let users: Value = client.get(format!("{url}api/users")).send().await?.json().await?;
        let keys: Value = client.get(format!("{url}api/keys?state=Refusing")).send().await?.json().await?;
        Ok((users["total"].as_u64() >= Some(5) && keys["total"].as_u64() >= Some(1)).then_some(()))
    })
    .await?;
    months_before(&mut admin).await?;
    let browser = Browser::start().await?;
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await?;
        for (width, height) in [(1280, 860), (400, 860)] {
            browser.resize(width, height).await?;
            for (name, view) in [
                ("teams", "#table=teams&sort=used&order=desc"),
                ("keys", "#table=keys&sort=used&order=desc"),
                ("users", "#table=users&sort=total&order=desc"),
                ("models", "#table=models"),
                ("routes", "#table=routes"),
                ("team", "#table=teams&id=default/search"),
                ("key", "#table=keys&id=default/recommendations-web"),
            ] {
                let what = format!("{name}-{scheme}-{width}");
                browser.open("about:blank").await?;
                browser.open(&format!("{url}{view}")).await?;
                let is_one = name == "team" || name == "key";
                let shown = if is_one { "return document.querySelector('#detail figure') !== null" } else { HAS_ROWS };
                browser.until(&what, shown).await.with_context(|| what.clone())?;
                browser.screenshot(&picture(&format!("{what}.png"))).await?;
                is_readable(&browser, &what).await?;
                let wide = number(&browser, "return document.scrollingElement.scrollWidth").await?;
                ensure!(wide <= f64::from(width), "{what}: the page is {wide} px wide");
                // Nothing but a table of many columns is pushed aside.
                if width == 1280 && !is_one {
                    let hidden =
                        "const box = document.querySelector('.scroll'); return box.scrollWidth - box.clientWidth";
                    ensure!(number(&browser, hidden).await? <= 1.0, "{what}: columns are out of sight");
                }
            }
        }
    }
    let text = browser.run("return document.getElementById('detail').textContent").await?;
    ensure!(text.as_str().is_some_and(|text| text.contains("A call was refused at a limit of 1.00 USD")), "{text}");
    ensure!(browser.complaints().await?.is_empty(), "{:?}", browser.complaints().await?);
    browser.close().await
}
