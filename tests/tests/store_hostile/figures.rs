//! What the store holds of each Team, key, user and sidecar, in bytes.

use anyhow::{Context, ensure};
use jiff::Timestamp;
use redis::{aio::MultiplexedConnection, cmd};
use vectoll_config::{
    Uid,
    store::{Library, team_prefix},
};
use vectoll_tests::store::Store;

use crate::stage::exchange;

/// What the store takes for what it holds: with the places of its keys, without buffers.
async fn used(admin: &mut MultiplexedConnection) -> anyhow::Result<u64> {
    let info: String = cmd("INFO").arg("memory").query_async(admin).await?;
    let number = |name: &str| -> anyhow::Result<u64> {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(value.with_context(|| format!("no {name}"))?.trim().parse()?)
    };
    Ok(number("used_memory")? - number("mem_clients_normal")? - number("mem_aof_buffer")?)
}

/// Tells of spend and holds of so many accounts, a thousand at a time. Returns by how many bytes the store grew.
async fn book(
    admin: &mut MultiplexedConnection,
    number: &mut u64,
    (month, period): (&str, &str),
    accounts: &[(String, String)],
) -> anyhow::Result<u64> {
    let before = used(admin).await?;
    let end = (Timestamp::now().as_millisecond() + 20 * 86_400_000).to_string();
    for part in accounts.chunks(1_000) {
        *number += 1;
        let (last, this) = ((*number - 1).to_string(), number.to_string());
        let head = ["one", "1", &this, &last, "0", "2000", "4000", "1000000", "0", "0", &last, &this];
        let mut words: Vec<String> = head.map(str::to_owned).to_vec();
        words.push(part.len().to_string());
        for (account, _) in part {
            words.extend([account, "1", period, &end, "123456789012"].map(str::to_owned));
        }
        words.push(part.len().to_string());
        for (_, field) in part {
            words.extend([month, field, "12", "123456", "123456789012"].map(str::to_owned));
        }
        words.extend(["0", "0"].map(str::to_owned));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        exchange(admin, &words).await?;
    }
    Ok(used(admin).await?.saturating_sub(before))
}

/// The figures of the table in the chart's page on sizing. `-- --nocapture` prints them.
#[tokio::test]
async fn what_the_store_holds_of_each_is_as_large_as_the_readme_says() -> anyhow::Result<()> {
    let store = Store::start().await?;
    store.load_functions(Library::current().code()).await?;
    let (mut admin, mut number) = (store.admin().await?, 0);
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let month = |back: i64| now.date().saturating_sub(jiff::Span::new().months(back)).strftime("%Y-%m").to_string();
    let (this, last) = (month(0), month(1));
    let uuid = |n: usize| format!("00000000-0000-4000-8000-{n:012}");
    let team = [("t".to_owned(), "t".to_owned())];
    let keys: Vec<_> = (0..2_000).map(uuid).map(|key| (format!("k:{key}"), format!("k:{key}"))).collect();
    let users: Vec<_> = (0..20_000)
        .map(|n| format!("user-{n}@example.com"))
        .map(|user| (format!("tu:{user}"), format!("u:{user}")))
        .collect();
    let period = "Monthly/Europe/Berlin/1793487600";
    book(&mut admin, &mut number, (&this, period), &team).await?;
    let mut base = 0_u64;
    let names: Vec<String> = cmd("KEYS").arg("*").query_async(&mut admin).await?;
    for name in names {
        base += cmd("MEMORY").arg("USAGE").arg(name).query_async::<u64>(&mut admin).await?;
    }
    let mut each = async |of: &[(String, String)], month: &str, period: &str| -> anyhow::Result<u64> {
        Ok(book(&mut admin, &mut number, (month, period), of).await? / of.len() as u64)
    };
    let (key, key_month) = (each(&keys, &this, period).await?, each(&keys, &last, period).await?);
    let (user, user_month) = (each(&users, &this, period).await?, each(&users, &last, period).await?);
    // Sidecars that book and go, each under a name as the journal makes it.
    let (sidecars, before) = (1_000, used(&mut admin).await?);
    for n in 0..sidecars {
        let name = format!("{n:032x}");
        let held = ["1", "t", "Total/UTC/0", "", "5"];
        for (number, last, amount) in [("1", "0", "5"), ("2", "1", "0")] {
            let mut words =
                vec![name.as_str(), "1", number, last, "0", "2000", "4000", "5", "0", "0", last, number, "0", "0"];
            words.extend(&held[..4]);
            words.extend([amount, "0"]);
            exchange(&mut admin, &words).await?;
        }
    }
    let there = (used(&mut admin).await?.saturating_sub(before)) / sidecars;
    cmd("UNLINK").arg(format!("{}live", team_prefix(&Uid::new("t1")))).query_async::<()>(&mut admin).await?;
    let sidecar = (used(&mut admin).await?.saturating_sub(before)) / sidecars;
    println!(
        "figure: bytes in the store: a Team {base}, a key with a budget {key}, each further month of it {key_month}, a user with a \
         budget {user}, each further month of it {user_month}, a sidecar {there}, one that is gone {sidecar}"
    );
    let year = |first: u64, month: u64| first + 11 * month;
    let rest = 256 * 1024 * 1024 / 100 * 95 - 50 * base - 5_000 * year(key, key_month);
    println!("figure: 256 MB hold 50 Teams, 5000 keys and {} users of a year", rest / year(user, user_month));
    for (what, bytes, most) in [
        ("Team", base, 4_000),
        ("key", key, 1_250),
        ("month of a key", key_month, 500),
        ("user", user, 1_250),
        ("month of a user", user_month, 450),
        ("sidecar", there, 700),
        ("sidecar that is gone", sidecar, 500),
    ] {
        ensure!(bytes > 50 && bytes <= most, "{what}: {bytes} bytes, the table says {most}");
    }
    Ok(())
}
