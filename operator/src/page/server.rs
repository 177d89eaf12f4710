//! The edge of the page: from a request to an answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, Semaphore},
    task::spawn_blocking,
};

use super::{
    answer,
    assets::{self, Asset},
    csv::csv,
    detail::{Detail, detail},
    facts::Facts,
    grants::Grants,
    layers, months,
    query::{Query, QueryError, id},
    readers::{Readers, Refused},
    select::select,
    table::Table,
    view::View,
};
use crate::{
    ledger::{History, HistoryError},
    reviews::bearer,
};

/// For so long rows count as the present ones: the store is not read more often than every five seconds.
const VIEW_TTL: Duration = Duration::from_secs(2);
/// For so long they are kept when nobody looks: thousands of keys take tens of MiB.
const VIEW_KEPT: Duration = Duration::from_mins(1);
/// Answers that are made at a time: each goes through all rows.
const MAX_CONCURRENT_ANSWERS: usize = 4;
/// Rows of a file for spreadsheets.
const MAX_FILE_ROWS: usize = 100_000;

/// Who may read.
#[derive(Clone)]
pub(crate) enum Access {
    /// Whoever is on this machine: for a folder of manifests, served on loopback only.
    Loopback,
    /// Whoever sends a token that the API server knows: what they may list.
    Reviewed(Readers),
}

/// What the page is made of.
pub(crate) struct Page {
    /// Gathers what is known now. It may take a while, and is not called on a thread that others wait for.
    pub(crate) gather: Arc<dyn Fn() -> Facts + Send + Sync>,
    /// Who may read.
    pub(crate) access: Access,
    /// Where months come from: the first that reads the store now. None: there is no store.
    pub(crate) history: Vec<History>,
}

/// The rows that were made last, and when.
type HeldView = Arc<Mutex<Option<(Instant, Arc<View>)>>>;

struct Shared {
    page: Page,
    view: HeldView,
    working: Semaphore,
}

type Handle = State<Arc<Shared>>;

/// The page and what it asks for.
pub(crate) fn router(page: Page) -> Router {
    let on_loopback = matches!(page.access, Access::Loopback);
    let shared = Shared { page, view: Arc::default(), working: Semaphore::new(MAX_CONCURRENT_ANSWERS) };
    let mut router = Router::new();
    for Asset { path, kind, text } in assets::ASSETS {
        let file = get(move || async move { ([(header::CONTENT_TYPE, kind)], text) });
        router = router.route(&format!("/page/{path}"), file);
    }
    router
        .route("/", get(async || Redirect::to("/page/")))
        .route("/page", get(async || Redirect::to("/page/")))
        .route("/page/api/about", get(about))
        .route("/page/api/{table}", get(rows))
        .route("/page/api/{table}/rows.csv", get(file_of_rows))
        .route("/page/api/{table}/detail", get(one))
        .route("/page/api/{table}/months", get(months_of_one))
        .fallback(async || Problem::NotFound)
        .with_state(Arc::new(shared))
        // The last one is the first that a request meets: whatever is answered has the headers of `harden`.
        .layer(from_fn_with_state(on_loopback, layers::guard))
        .layer(from_fn(layers::harden))
}

/// Why there is no answer.
#[derive(Debug)]
enum Problem {
    NoToken,
    Refused(Refused),
    Query(QueryError),
    NotFound,
    TooManyRows,
    Failed,
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::NoToken => (
                StatusCode::UNAUTHORIZED,
                "a token of yours is needed (Authorization: Bearer), as kubectl create token prints one".to_owned(),
            ),
            Self::Refused(Refused::Unauthenticated) => {
                (StatusCode::UNAUTHORIZED, "the API server does not know this token: it may have expired".to_owned())
            }
            Self::Refused(Refused::Busy) => {
                (StatusCode::SERVICE_UNAVAILABLE, "too many tokens are being looked at: try again".to_owned())
            }
            Self::Refused(Refused::Failed) => {
                (StatusCode::SERVICE_UNAVAILABLE, "the API server could not be asked who you are".to_owned())
            }
            Self::Query(error) => (StatusCode::BAD_REQUEST, error.to_string()),
            Self::NotFound => (StatusCode::NOT_FOUND, "there is nothing of this name that you may list".to_owned()),
            Self::TooManyRows => (
                StatusCode::BAD_REQUEST,
                format!("a file has at most {MAX_FILE_ROWS} rows: search for less, or name a namespace"),
            ),
            Self::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "see the operator's log".to_owned()),
        };
        let mut response = (status, Json(json!({"error": message}))).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Who reads.
struct Seen {
    name: Option<String>,
    grants: Grants,
}

impl Shared {
    /// What is known now, and what of it whoever sent the request may see.
    async fn open(&self, headers: &HeaderMap, only: Option<&str>) -> Result<(Arc<View>, Seen), Problem> {
        match &self.page.access {
            Access::Loopback => Ok((self.view().await?, Seen { name: None, grants: Grants::everything() })),
            Access::Reviewed(readers) => {
                let token = bearer(headers).ok_or(Problem::NoToken)?;
                // First of all: for nobody nothing is gathered.
                let reader = readers.identify(token).await?;
                let view = self.view().await?;
                let grants = readers.grants(&reader, &view.namespaces, only).await?;
                Ok((view, Seen { name: reader.name().map(str::to_owned), grants }))
            }
        }
    }

    /// The rows, made anew where they are old. Whoever comes meanwhile waits for the same.
    async fn view(&self) -> Result<Arc<View>, Problem> {
        let mut held = self.view.lock().await;
        if let Some((made, view)) = &*held
            && made.elapsed() < VIEW_TTL
        {
            return Ok(view.clone());
        }
        let gather = self.page.gather.clone();
        let view = blocking(move || Arc::new(View::of(gather()))).await?;
        *held = Some((Instant::now(), view.clone()));
        tokio::spawn(forget_when_old(self.view.clone()));
        Ok(view)
    }

    /// The row that a request names, for whoever may see it.
    async fn detail(&self, word: &str, uri: &Uri, headers: &HeaderMap) -> Result<Detail, Problem> {
        let table = table(word)?;
        let id = id(uri.query().unwrap_or_default())?;
        let (view, seen) = self.open(headers, Some(namespace_of(&id))).await?;
        self.work(move || detail(&view, table, &id, &seen.grants)).await?.ok_or(Problem::NotFound)
    }

    /// Makes an answer, beside the threads on which others wait.
    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        // The semaphore is never closed.
        let _place = self.working.acquire().await;
        blocking(work).await
    }
}

/// Lets the rows go that were made last, unless newer ones have come.
async fn forget_when_old(held: HeldView) {
    tokio::time::sleep(VIEW_KEPT).await;
    let mut held = held.lock().await;
    if held.as_ref().is_some_and(|(made, _)| made.elapsed() >= VIEW_KEPT) {
        *held = None;
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "an answer of the page could not be made");
        Problem::Failed
    })
}

fn table(word: &str) -> Result<Table, Problem> {
    Table::read(word).ok_or(Problem::NotFound)
}

async fn about(State(shared): Handle, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    let (view, seen) = shared.open(&headers, None).await?;
    Ok(Json(answer::about(&view, seen.name.as_deref(), &seen.grants)))
}

async fn rows(
    State(shared): Handle,
    Path(word): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let table = table(&word)?;
    let query = Query::read(table, uri.query().unwrap_or_default())?;
    let (view, seen) = shared.open(&headers, query.namespace.as_deref()).await?;
    shared.work(move || answer::table(&view, table, &query, &seen.grants)).await.map(Json)
}

async fn file_of_rows(
    State(shared): Handle,
    Path(word): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let table = table(&word)?;
    let query = Query::read(table, uri.query().unwrap_or_default())?;
    let (view, seen) = shared.open(&headers, query.namespace.as_deref()).await?;
    let day = view.facts.at.strftime("%Y-%m-%d").to_string();
    let text = shared
        .work(move || {
            let rows = select(table, view.rows(table), &query, &seen.grants);
            (rows.len() <= MAX_FILE_ROWS).then(|| csv(table, &rows, &seen.grants))
        })
        .await?
        .ok_or(Problem::TooManyRows)?;
    let disposition = format!("attachment; filename=\"vectoll-{}-{day}.csv\"", table.word());
    let headers =
        [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, text).into_response())
}

async fn one(
    State(shared): Handle,
    Path(word): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    Ok(Json(shared.detail(&word, &uri, &headers).await?.json))
}

async fn months_of_one(
    State(shared): Handle,
    Path(word): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let found = shared.detail(&word, &uri, &headers).await?;
    let none = || Json(json!({"months": null, "note": "The operator reads no months of this."}));
    let Some((team, series)) = found.counted else { return Ok(none()) };
    let mut answer = none();
    for history in &shared.page.history {
        answer = match history.months(&team, &series, Timestamp::now()).await {
            Ok(read) => return Ok(Json(months::months(&read))),
            Err(error @ HistoryError::NotHere) => Json(months::unavailable(&error)),
            Err(error) => return Ok(Json(months::unavailable(&error))),
        };
    }
    Ok(answer)
}

/// Every id begins with `namespace/`.
fn namespace_of(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
