//! What was spent.
//!
//! Every call is written to the [`journal`] before it is sent and again when it has its end; with the end it is booked in the [`books`],
//! once, by key, team, user and model. A [`checkpoint`] is a copy of books and budgets, so that a start need not read all of the journal.
//! Money is integer pico-USD; how sure a charge is, is a [`books::Certainty`].
//!
//! It knows nothing of HTTP, providers or limits: whoever keeps the money of budgets hands it over as [`balance::Balances`].
//!
//! Where to begin: [`journal::Journal::intend`] and [`journal::Journal::settle`], then [`checkpoint::CheckpointWriter::resume`].

mod atomic_file;
pub mod balance;
pub mod books;
pub mod charge;
pub mod checkpoint;
pub mod journal;
pub mod used;
