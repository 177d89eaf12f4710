//! Where the list of prices is read from: a file that may change at any time, be missing, or be wrong.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use super::{Pricing, VendorDiscount, list::PriceList};

/// The largest file that is read: what a `ConfigMap` holds.
const MAX_FILE_BYTES: usize = 1024 * 1024;

/// The file, as it was read.
#[derive(Debug, PartialEq, Eq)]
enum PriceFile {
    /// It could not be read.
    Unreadable,
    /// It was not there.
    Missing,
    Content(Vec<u8>),
}

/// Reads the list again and again.
#[derive(Debug)]
pub struct PriceSource {
    file: Option<PathBuf>,
    /// How it was read last.
    last_read: PriceFile,
    pricing: Arc<Pricing>,
    /// What is wrong with it, if something is.
    trouble: Option<String>,
}

impl PriceSource {
    /// Settings and, in a file, prices that go before the built-in ones. Days: after which an entry is old; 0: never.
    pub fn new(file: Option<PathBuf>, discounts: &[VendorDiscount], max_age_days: u32) -> Self {
        let discounts: BTreeMap<_, _> = discounts.iter().map(|one| (one.vendor, one.discount)).collect();
        let pricing =
            Pricing { discounts, max_age_days: Some(max_age_days).filter(|days| *days > 0), ..Pricing::default() };
        Self { file, last_read: PriceFile::Missing, pricing: Arc::new(pricing), trouble: None }
    }

    /// Reads the file if there is one, and tells the log what has changed. What cannot be read leaves the last good list in force;
    /// after a start that is the built-in one.
    pub fn refresh(&mut self) -> &Arc<Pricing> {
        let Some(file) = &self.file else { return &self.pricing };
        let shown = file.display();
        let read = match std::fs::read(file) {
            Ok(bytes) => PriceFile::Content(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => PriceFile::Missing,
            Err(error) => {
                let trouble = format!("failed to read {shown}: {error}");
                self.last_read = PriceFile::Unreadable;
                self.trouble_with(trouble);
                return &self.pricing;
            }
        };
        if self.last_read == read {
            return &self.pricing;
        }
        let list = match &read {
            PriceFile::Content(bytes) => listed(bytes).map(|own| PriceList::built_in().with(own)),
            PriceFile::Missing | PriceFile::Unreadable => Ok(PriceList::built_in()),
        };
        match list {
            Ok(list) => {
                tracing::info!(file = %shown, is_there = read != PriceFile::Missing, "the list of prices was read");
                self.pricing = Arc::new(Pricing { list, ..(*self.pricing).clone() });
                self.trouble = None;
            }
            Err(error) => {
                let trouble = format!("{shown}: {error}");
                self.trouble_with(trouble);
            }
        }
        self.last_read = read;
        &self.pricing
    }

    /// What was read last.
    pub fn last(&self) -> &Arc<Pricing> {
        &self.pricing
    }

    /// Whether the file cannot be used as it is.
    pub fn is_stale(&self) -> bool {
        self.trouble.is_some()
    }

    fn trouble_with(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::error!(error = trouble, "the list of prices cannot be used: what was read last counts");
        }
        self.trouble = Some(trouble);
    }
}

fn listed(bytes: &[u8]) -> Result<PriceList, String> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(format!("has more than {MAX_FILE_BYTES} bytes"));
    }
    PriceList::read(std::str::from_utf8(bytes).map_err(|error| error.to_string())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::fs;

    use super::*;

    #[test]
    fn a_file_may_come_change_be_wrong_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prices.yaml");
        let mut source = PriceSource::new(Some(file.clone()), &["openAI=10".parse().unwrap()], 0);
        let small = |source: &mut PriceSource| {
            let pricing = source.refresh().clone();
            assert_eq!(pricing.max_age_days(), None, "0 is never");
            (pricing.listed("text-embedding-3-small").unwrap().price.to_string(), source.is_stale())
        };
        let is = |price: &str, is_stale: bool| (price.to_owned(), is_stale);
        assert_eq!(small(&mut source), is("0.02", false), "it is not there");
        fs::write(&file, "text-embedding-3-small: {inputPerMillionTokens: '0.03', date: 2027-01-02}\n").unwrap();
        assert_eq!(small(&mut source), is("0.03", false));
        fs::write(&file, "text-embedding-3-small: {inputPerMillionTokens: free, date: 2027-01-02}\n").unwrap();
        assert_eq!(small(&mut source), is("0.03", true), "the last good one");
        fs::write(&file, vec![b'#'; MAX_FILE_BYTES + 1]).unwrap();
        assert_eq!(small(&mut source), is("0.03", true));
        fs::write(&file, "text-embedding-3-small: {inputPerMillionTokens: '0.04', date: 2027-01-02}\n").unwrap();
        assert_eq!(small(&mut source), is("0.04", false));
        fs::remove_file(&file).unwrap();
        assert_eq!(small(&mut source), is("0.02", false), "the built-in one again");
        fs::create_dir(&file).unwrap();
        assert_eq!(small(&mut source), is("0.02", true));
        fs::remove_dir(&file).unwrap();
        assert_eq!(small(&mut source), is("0.02", false), "as it was before");
    }
}
