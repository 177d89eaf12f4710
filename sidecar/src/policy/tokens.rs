//! What a call weighs at a backend, in tokens of what that backend is sent: token arrays as they are, or the text that they are of.

use std::borrow::Cow;

use vectoll_config::v1::{Encoding, TokenBound};

use super::Backend;
use crate::{
    call::{Call, CountKey},
    compute::Compute,
    tokenizer,
};
use vectoll_api::request::{Input, Shape};
use vectoll_upstream::{
    provider::{Provider, dialect::extension::text_beside},
    tokens,
};

impl Backend {
    /// Whether token arrays become text before they are sent there. The built-in model is sent nothing, and charges for the tokens that
    /// it was given.
    pub fn takes_text_only(&self) -> bool {
        match &self.provider {
            Provider::Remote(remote) => !remote.passes(),
            Provider::Builtin | Provider::Cache | Provider::Unusable(_) => false,
        }
    }

    /// What token arrays are of, in a call to a model of this public name: what the route says, or what clients of the model cut texts
    /// with. None: nobody knows.
    pub fn encoding_of_arrays(&self, public: &str) -> Option<Encoding> {
        self.token_arrays.or_else(|| tokens::encoding_of(public))
    }

    /// What its model takes of one input at most, and the tokenizer that tells; none: one of the two is not known, or it takes any number.
    pub fn input_bound(&self, public: &str) -> Option<(Encoding, u64)> {
        let TokenBound::Encoding(encoding) = self.tokens else { return None };
        let most = self.max_input_tokens.map(u64::from).or_else(|| tokens::max_input_of(self.model_of(public)))?;
        Some((encoding, most))
    }

    /// Whether it takes any number of tokens of an input.
    pub fn takes_any_length(&self) -> bool {
        matches!(self.provider, Provider::Builtin)
    }

    /// Whether it is sent text where the call has token arrays.
    fn gets_text_of_arrays(&self, call: &Call) -> bool {
        call.request.shape.is_tokens && self.takes_text_only()
    }

    /// The measure of what it is sent, with what goes along with each input. Arrays whose text nobody can tell are refused before they
    /// are sent: they stay as they came.
    pub fn sent(&self, call: &Call) -> Shape {
        let inputs = self.inputs(call);
        let beside = self.texts_beside(call).map(|text| text.len() as u64).sum::<u64>();
        Shape { bytes: inputs.bytes.saturating_add(inputs.items.saturating_mul(beside)), ..inputs }
    }

    /// The measure of the inputs alone.
    fn inputs(&self, call: &Call) -> Shape {
        call.text_of_arrays.filter(|_| self.gets_text_of_arrays(call)).unwrap_or(call.request.shape)
    }

    /// Texts that a provider reads, and may charge for, beside each input.
    fn texts_beside<'a>(&self, call: &'a Call) -> impl Iterator<Item = String> + 'a {
        let is_asked = self.takes_text_only();
        call.request.others().filter_map(move |(name, json)| is_asked.then(|| text_beside(name, json)).flatten())
    }

    /// The most tokens that a call can be, without a tokenizer.
    pub fn most_tokens(&self, call: &Call) -> u64 {
        tokens::bound(&self.sent(call), &self.tokens)
    }

    /// The fewest.
    pub fn fewest_tokens(&self, call: &Call) -> u64 {
        tokens::least(&self.inputs(call), &self.tokens)
    }

    /// The exact number, where the tokenizer is at hand. It takes its time for much text, the first time; and where the tokenizer is still
    /// to be loaded.
    pub fn count_tokens(&self, call: &Call) -> Option<u64> {
        let key = CountKey {
            tokenizer: CountKey::tokenizer_of(&self.tokens)?,
            arrays_are_of: self.gets_text_of_arrays(call).then(|| self.encoding_of_arrays(&call.model)).flatten(),
            with_texts_beside: self.takes_text_only(),
        };
        call.token_counts.get_or_count(key, || self.count_anew(call))
    }

    fn count_anew(&self, call: &Call) -> Option<u64> {
        let of_inputs = self.count_inputs(call)?;
        let beside =
            self.texts_beside(call).map(|text| tokens::count_text(&text, &self.tokens)).sum::<Option<u64>>()?;
        Some(of_inputs.saturating_add(call.request.shape.items.saturating_mul(beside)))
    }

    fn count_inputs(&self, call: &Call) -> Option<u64> {
        if !self.gets_text_of_arrays(call) {
            return tokens::count(&call.request.input().ok()?, &self.tokens);
        }
        let encoding = self.encoding_of_arrays(&call.model)?;
        // Measured before: it is not longer than a body may be.
        call.text_of_arrays?;
        let arrays = call.request.token_arrays()?;
        let texts: Option<Vec<Cow<'_, str>>> =
            arrays.iter().map(|tokens| tokens::text_of(tokens, encoding).map(Cow::Owned)).collect();
        tokens::count(&Input::Texts(texts?), &self.tokens)
    }

    /// The exact number of tokens, where the text is little and the tokenizer loaded: see [`Self::load_tokenizer`].
    pub fn count_few_tokens(&self, call: &Call) -> Option<u64> {
        if self.is_little(call) && self.counts_at_once(call) { self.count_tokens(call) } else { None }
    }

    /// What a call takes of the backend's own limits: counted where they ask for it and it is soon done, else at most.
    pub fn load_tokens(&self, call: &Call) -> u64 {
        let exact = if self.weighs_tokens() { self.count_few_tokens(call) } else { None };
        exact.unwrap_or_else(|| self.most_tokens(call))
    }

    /// Whether its text is counted where nobody may wait.
    pub fn is_little(&self, call: &Call) -> bool {
        self.sent(call).bytes <= tokens::LITTLE_TEXT
    }

    /// Whether a count of a call's tokens needs no tokenizer that is still to be loaded.
    fn counts_at_once(&self, call: &Call) -> bool {
        let has_texts = !call.request.shape.is_tokens || self.gets_text_of_arrays(call);
        !has_texts || tokens::is_loaded(&self.tokens)
    }

    /// Has the tokenizer loaded that a count of a call's tokens needs: once in the life of the process that takes its time, which is not
    /// the event loop's.
    pub async fn load_tokenizer(&self, call: &Call, compute: &Compute) {
        if !self.counts_at_once(call) {
            // Once in the life of the process: no call's future is to be larger for it.
            Box::pin(tokenizer::load(&self.tokens, compute)).await;
        }
    }
}
