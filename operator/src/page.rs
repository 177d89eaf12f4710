//! The page: what the operator knows of Teams, keys, users, models and routes, for whoever may list them.
//!
//! | file | what |
//! |---|---|
//! | `facts` | what the page is made of; whoever serves it gathers that: the cluster's caches, or a folder of manifests |
//! | `state`, `budget`, `rows` | the pure core: facts become rows of cells |
//! | `table`, `cell`, `query`, `select`, `csv`, `detail` | the pure core: columns, search, sort, pages, a file for spreadsheets, one row in full |
//! | `grants` | which namespaces a reader may see: nothing of another namespace passes it |
//! | `readers` | asks the API server who sends a token, and what they may list |
//! | `server`, `layers`, `listener` | the edge: HTTP |
//! | `assets` | the files that a browser loads: no other address is contacted |
//!
//! Rows are made at most every two seconds, however many look. Nothing here changes anything.

mod answer;
mod assets;
mod budget;
mod cell;
mod csv;
mod detail;
mod facts;
mod grants;
mod layers;
mod listener;
mod months;
mod query;
mod readers;
mod rows;
#[cfg(test)]
mod sample;
mod select;
mod server;
mod state;
mod table;
mod view;

pub(crate) use self::{
    facts::{Facts, KeyValue, ResourceFacts, Source, Stated},
    listener::serve,
    readers::Readers,
    server::{Access, Page, router},
};
