//! Models and contexts that llama-cpp-python has made, owned from then on.
//!
//! Raw addresses come in here and nowhere else.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::panic::catch_unwind;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::Api;
use crate::error::{Error, Result};
use crate::probe::{Ablation, Site, Watcher, within};
use crate::turn::Turn;

/// Says whether the work on this thread is to stop, as after Ctrl-C. It is asked for every node of the
/// graph, so it must be quick.
pub type Interrupted = fn() -> bool;

/// Addresses that are owned: no object is adopted twice.
static ADOPTED: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// A loaded model, freed when the last of its contexts and tokenizers is gone.
#[derive(Debug)]
pub struct Model {
    api: Arc<Api>,
    address: NonNull<c_void>,
}

// SAFETY: llama.cpp changes a model only when it loads and frees it.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    /// Take over what `llama_model_load_from_file` of this very library has returned.
    ///
    /// # Safety
    /// `address` is null or that of a live model of this library, which nobody else frees.
    ///
    /// # Errors
    /// [`Error::NullAddress`], [`Error::AdoptedTwice`].
    pub unsafe fn adopt(api: Arc<Api>, address: usize) -> Result<Self> {
        Ok(Self { api, address: adopted("model", address)? })
    }

    /// The functions of the library.
    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// Layers, width of the residual stream, attention heads.
    pub(crate) fn sizes(&self) -> [usize; 3] {
        // SAFETY: live model.
        unsafe {
            [
                (self.api.llama_model_n_layer)(self.address()) as usize,
                (self.api.llama_model_n_embd)(self.address()) as usize,
                (self.api.llama_model_n_head)(self.address()) as usize,
            ]
        }
    }

    /// The live `llama_model`.
    pub(crate) fn address(&self) -> *const c_void {
        self.address.as_ptr()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        released(self.address);
        // SAFETY: owned, and every context and tokenizer holds this value.
        unsafe { (self.api.llama_model_free)(self.address.as_ptr()) };
    }
}

/// The live `llama_context`, and how often its cache has been taken.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) address: NonNull<c_void>,
    pub(crate) epoch: u64,
}

// SAFETY: llama.cpp ties no context to a thread.
unsafe impl Send for Raw {}

/// Sizes of a context.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "llama.cpp's names")]
pub(crate) struct Capacity {
    pub(crate) n_vocab: usize,
    pub(crate) n_batch: usize,
    pub(crate) n_seq_max: usize,
    pub(crate) n_ctx: usize,
    pub(crate) n_threads: usize,
}

/// A context, freed when the last of its users is gone; they take turns.
#[derive(Debug)]
pub struct Context {
    raw: Mutex<Raw>,
    model: Arc<Model>,
    watcher: Option<Watcher>,
    interrupted: Interrupted,
    capacity: Capacity,
}

impl Context {
    /// Take over what `llama_init_from_model` has returned for this model. Where its parameters name a
    /// callback, it is that of `watcher`, which serves no other context. What it computes stops as soon as
    /// `interrupted` says so.
    ///
    /// # Safety
    /// `address` is null or that of a live context of the model's library, which nobody else frees or
    /// uses.
    ///
    /// # Errors
    /// [`Error::NullAddress`], [`Error::ForeignContext`], [`Error::AdoptedTwice`],
    /// [`Error::WatcherTaken`].
    pub unsafe fn adopt(
        model: Arc<Model>,
        address: usize,
        watcher: Option<Watcher>,
        interrupted: Interrupted,
    ) -> Result<Self> {
        let raw = present("context", address)?;
        let api = model.api();
        // SAFETY: live context.
        if unsafe { (api.llama_get_model)(raw.as_ptr()) } != model.address() {
            return Err(Error::ForeignContext);
        }
        let address = adopted("context", address)?;
        if watcher.as_ref().is_some_and(|watcher| !watcher.claim()) {
            released(address);
            return Err(Error::WatcherTaken);
        }
        // SAFETY: live context; the callback gets the function that it calls.
        let capacity = unsafe {
            (api.llama_set_abort_callback)(raw.as_ptr(), abort, interrupted as *mut c_void);
            let vocab = (api.llama_model_get_vocab)(model.address());
            Capacity {
                n_vocab: (api.llama_vocab_n_tokens)(vocab) as usize,
                n_batch: (api.llama_n_batch)(raw.as_ptr()) as usize,
                n_seq_max: (api.llama_n_seq_max)(raw.as_ptr()) as usize,
                n_ctx: (api.llama_n_ctx)(raw.as_ptr()) as usize,
                n_threads: (api.llama_n_threads)(raw.as_ptr()).max(1) as usize,
            }
        };
        let raw = Mutex::new(Raw { address, epoch: 0 });
        Ok(Self { raw, model, watcher, interrupted, capacity })
    }

    /// Replace a head's output at every position with `values`, or zeros, in every decode from now on.
    /// The cache is emptied: it must hold nothing from before.
    ///
    /// # Errors
    /// [`Error::Unwatched`], [`Error::OutOfRange`].
    pub fn ablate(&self, layer: usize, head: usize, values: Option<Vec<f32>>) -> Result<()> {
        let watcher = self.watcher.as_ref().ok_or(Error::Unwatched)?;
        let [n_layer, _, n_head] = self.model.sizes();
        within("ablation", 0, "layer", layer, 0..n_layer)?;
        within("ablation", 0, "head", head, 0..n_head)?;
        let _emptied = Turn::taken(self);
        watcher.ablate(Site::Heads.node(layer), Ablation { head, n_head, values });
        Ok(())
    }

    /// Wait until nobody else uses the context, and keep it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Raw> {
        self.raw.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it can hold.
    pub(crate) fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// True if the work on this thread is to stop.
    pub(crate) fn is_interrupted(&self) -> bool {
        (self.interrupted)()
    }

    /// Its model.
    pub(crate) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The watcher behind its callback.
    pub(crate) fn watcher(&self) -> Option<&Watcher> {
        self.watcher.as_ref()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let address = self.raw.get_mut().unwrap_or_else(PoisonError::into_inner).address;
        released(address);
        // SAFETY: owned; model and watcher are dropped after this.
        unsafe { (self.model.api.llama_free)(address.as_ptr()) };
    }
}

/// llama.cpp's question, between nodes of the graph, whether to stop.
///
/// # Safety
/// `interrupted` is an [`Interrupted`].
unsafe extern "C" fn abort(interrupted: *mut c_void) -> bool {
    // SAFETY: by contract.
    let interrupted = unsafe { std::mem::transmute::<*mut c_void, Interrupted>(interrupted) };
    catch_unwind(interrupted).unwrap_or(true)
}

fn present(what: &'static str, address: usize) -> Result<NonNull<c_void>> {
    NonNull::new(address as *mut c_void).ok_or(Error::NullAddress { what })
}

fn adopted(what: &'static str, address: usize) -> Result<NonNull<c_void>> {
    let found = present(what, address)?;
    let is_new = ADOPTED.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
    if is_new { Ok(found) } else { Err(Error::AdoptedTwice { what }) }
}

/// Forget an address before it is freed: another object may then be made in its place.
fn released(address: NonNull<c_void>) {
    ADOPTED.lock().unwrap_or_else(PoisonError::into_inner).remove(&address.as_ptr().addr());
}
