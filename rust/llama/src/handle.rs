//! Models and contexts that llama-cpp-python has made, owned from then on.
//!
//! Raw addresses come in here and nowhere else. The only possible check is against null: callers of
//! [`Model::adopt`] and [`Context::adopt`] must pass addresses of live objects.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::Api;
use crate::error::{Error, Result};
use crate::probe::{Ablation, Site, Watcher, within};

/// A loaded model, freed when the last of its contexts and tokenizers is gone.
#[derive(Debug)]
pub struct Model {
    api: Arc<Api>,
    address: *mut c_void,
}

// SAFETY: llama.cpp changes a model only when it loads and frees it.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    /// Take over what `llama_model_load_from_file` of this very library has returned; nobody else frees
    /// it, and it is adopted once.
    ///
    /// # Errors
    /// [`Error::NullAddress`].
    pub fn adopt(api: Arc<Api>, address: usize) -> Result<Self> {
        Ok(Self { api, address: present("model", address)? })
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
                (self.api.llama_model_n_layer)(self.address) as usize,
                (self.api.llama_model_n_embd)(self.address) as usize,
                (self.api.llama_model_n_head)(self.address) as usize,
            ]
        }
    }

    /// The live `llama_model`.
    pub(crate) fn address(&self) -> *const c_void {
        self.address
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: owned, and every context and tokenizer holds this value.
        unsafe { (self.api.llama_model_free)(self.address) };
    }
}

/// A context, freed when the last of its users is gone; they take turns.
#[derive(Debug)]
pub struct Context {
    model: Arc<Model>,
    address: *mut c_void,
    watcher: Option<Watcher>,
    turn: Mutex<()>,
}

// SAFETY: whoever lets llama.cpp touch the context holds its turn.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Take over what `llama_init_from_model` has returned for this model; nobody else frees it, and it
    /// is adopted once. Where its parameters name a callback, it is that of `watcher`.
    ///
    /// # Errors
    /// [`Error::NullAddress`], [`Error::ForeignContext`].
    pub fn adopt(model: Arc<Model>, address: usize, watcher: Option<Watcher>) -> Result<Self> {
        let address = present("context", address)?;
        // SAFETY: live context.
        if unsafe { (model.api.llama_get_model)(address) } != model.address() {
            return Err(Error::ForeignContext);
        }
        Ok(Self { model, address, watcher, turn: Mutex::new(()) })
    }

    /// Replace a head's output at every position with `values`, or zeros, in every decode from now on. The
    /// cache must hold no earlier tokens.
    ///
    /// # Errors
    /// [`Error::Unwatched`], [`Error::OutOfRange`].
    pub fn ablate(&self, layer: usize, head: usize, values: Option<Vec<f32>>) -> Result<()> {
        let watcher = self.watcher.as_ref().ok_or(Error::Unwatched)?;
        let [n_layer, _, n_head] = self.model.sizes();
        within("ablation", 0, "layer", layer, 0..n_layer)?;
        within("ablation", 0, "head", head, 0..n_head)?;
        watcher.ablate(Site::Heads.node(layer), Ablation { head, n_head, values });
        Ok(())
    }

    /// Wait until nobody else uses the context, and keep it.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The live `llama_context`.
    pub(crate) fn address(&self) -> *mut c_void {
        self.address
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
        // SAFETY: owned; model and watcher are dropped after this.
        unsafe { (self.model.api.llama_free)(self.address) };
    }
}

fn present(what: &'static str, address: usize) -> Result<*mut c_void> {
    if address == 0 { Err(Error::NullAddress { what }) } else { Ok(address as *mut c_void) }
}
