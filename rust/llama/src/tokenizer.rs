//! Text to tokens with the model's own vocabulary.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

use crate::api::Api;
use crate::error::{Error, Result};
use crate::handle::Model;

/// A token whose text is matched whole when special tokens are parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    /// Token id.
    pub id: i32,
    /// The text it stands for.
    pub text: String,
    /// Whitespace before it is swallowed.
    pub strips_left: bool,
    /// Whitespace after it is swallowed.
    pub strips_right: bool,
}

/// The vocabulary of a loaded model.
#[derive(Debug)]
pub struct Tokenizer {
    model: Arc<Model>,
    vocab: *const c_void,
}

// SAFETY: a llama_vocab is immutable after loading; llama.cpp documents its functions as thread-safe.
unsafe impl Send for Tokenizer {}
// SAFETY: as above.
unsafe impl Sync for Tokenizer {}

// Bits of `enum llama_token_attr` in llama.h.
const ATTR_UNKNOWN: i32 = 1;
const ATTR_CONTROL: i32 = 1 << 3;
const ATTR_USER_DEFINED: i32 = 1 << 4;
const ATTR_LSTRIP: i32 = 1 << 7;
const ATTR_RSTRIP: i32 = 1 << 8;

impl Tokenizer {
    /// The vocabulary of a model.
    #[must_use]
    pub fn new(model: Arc<Model>) -> Self {
        // SAFETY: live model.
        let vocab = unsafe { (model.api().llama_model_get_vocab)(model.address()) };
        Self { model, vocab }
    }

    fn api(&self) -> &Api {
        self.model.api()
    }

    /// Number of tokens.
    #[must_use]
    pub fn n_vocab(&self) -> usize {
        // SAFETY: `vocab` is part of the model; so in every call below.
        unsafe { (self.api().llama_vocab_n_tokens)(self.vocab) as usize }
    }

    /// The beginning-of-sequence id (-1 if there is none) and whether the model wants it added.
    #[must_use]
    pub fn bos(&self) -> (i32, bool) {
        // SAFETY: see `n_vocab`.
        unsafe {
            (
                (self.api().llama_vocab_bos)(self.vocab),
                (self.api().llama_vocab_get_add_bos)(self.vocab),
            )
        }
    }

    /// True if a token ends the model's turn.
    #[must_use]
    pub fn ends_generation(&self, id: i32) -> bool {
        // SAFETY: see `n_vocab`; the range is checked first.
        id >= 0
            && (id as usize) < self.n_vocab()
            && unsafe { (self.api().llama_vocab_is_eog)(self.vocab, id) }
    }

    /// Token ids of a text; nothing is added at either end.
    ///
    /// # Errors
    /// [`Error::Tokenize`].
    pub fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<i32>> {
        // More tokens than bytes happen only for the space that some vocabularies put in front.
        let mut ids = vec![0_i32; text.len() + 8];
        let mut code = self.tokenize(text, &mut ids, parse_special);
        if code < 0 && code != i32::MIN {
            ids.resize(code.unsigned_abs() as usize, 0);
            code = self.tokenize(text, &mut ids, parse_special);
        }
        let n = usize::try_from(code).map_err(|_| Error::Tokenize { n_bytes: text.len(), code })?;
        ids.truncate(n);
        Ok(ids)
    }

    fn tokenize(&self, text: &str, ids: &mut [i32], parse_special: bool) -> i32 {
        let (Ok(n_bytes), Ok(capacity)) = (i32::try_from(text.len()), i32::try_from(ids.len()))
        else {
            return i32::MIN;
        };
        // SAFETY: text and ids are valid for the lengths given; llama.cpp writes at most `capacity` ids.
        unsafe {
            (self.api().llama_tokenize)(
                self.vocab,
                text.as_ptr().cast::<c_char>(),
                n_bytes,
                ids.as_mut_ptr(),
                capacity,
                false,
                parse_special,
            )
        }
    }

    /// The bytes that a token adds to a text; special tokens by their names.
    #[must_use]
    pub fn piece(&self, id: i32) -> Vec<u8> {
        let mut bytes = vec![0_u8; 64];
        let mut n = self.token_to_piece(id, &mut bytes);
        if n < 0 {
            bytes.resize(n.unsigned_abs() as usize, 0);
            n = self.token_to_piece(id, &mut bytes);
        }
        bytes.truncate(usize::try_from(n).unwrap_or(0));
        bytes
    }

    fn token_to_piece(&self, id: i32, bytes: &mut [u8]) -> i32 {
        if id < 0 || id as usize >= self.n_vocab() {
            return 0;
        }
        // SAFETY: the id is inside the vocabulary and the buffer is valid for its length.
        unsafe {
            (self.api().llama_token_to_piece)(
                self.vocab,
                id,
                bytes.as_mut_ptr().cast::<c_char>(),
                bytes.len() as i32,
                0,
                true,
            )
        }
    }

    /// The tokens that llama.cpp matches as whole strings when special tokens are parsed.
    #[must_use]
    pub fn special_tokens(&self) -> Vec<SpecialToken> {
        (0..self.n_vocab() as i32).filter_map(|id| self.special_token(id)).collect()
    }

    fn special_token(&self, id: i32) -> Option<SpecialToken> {
        // SAFETY: the id is inside the vocabulary; the text is a C string that the vocabulary owns.
        let (attr, text) = unsafe {
            let text = (self.api().llama_vocab_get_text)(self.vocab, id);
            if text.is_null() {
                return None;
            }
            ((self.api().llama_vocab_get_attr)(self.vocab, id), CStr::from_ptr(text))
        };
        let special = attr & (ATTR_UNKNOWN | ATTR_CONTROL | ATTR_USER_DEFINED) != 0;
        let text = text.to_string_lossy().into_owned();
        (special && !text.is_empty()).then_some(SpecialToken {
            id,
            text,
            strips_left: attr & ATTR_LSTRIP != 0,
            strips_right: attr & ATTR_RSTRIP != 0,
        })
    }
}
