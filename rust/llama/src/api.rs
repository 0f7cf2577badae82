//! The C functions this crate calls, taken from the library that is already loaded.

use std::ffi::{c_char, c_void};
use std::mem::{offset_of, size_of};
use std::path::Path;

use crate::error::{Error, Result};
use crate::probe::Ggml;

/// `llama_batch` of llama.h: one row per token.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) n_tokens: i32,
    pub(crate) token: *mut i32,
    pub(crate) embd: *mut f32,
    pub(crate) pos: *mut i32,
    pub(crate) n_seq_id: *mut i32,
    pub(crate) seq_id: *mut *mut i32,
    pub(crate) logits: *mut i8,
}

/// Size and offsets of `llama_batch` in the installed llama-cpp-python, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLayout {
    /// `sizeof(llama_batch)`.
    pub size: usize,
    /// Offset of `token`.
    pub token: usize,
    /// Offset of `pos`.
    pub pos: usize,
    /// Offset of `seq_id`.
    pub seq_id: usize,
    /// Offset of `logits`.
    pub logits: usize,
}

impl BatchLayout {
    /// The layout compiled into this crate.
    pub(crate) const COMPILED: Self = Self {
        size: size_of::<Batch>(),
        token: offset_of!(Batch, token),
        pos: offset_of!(Batch, pos),
        seq_id: offset_of!(Batch, seq_id),
        logits: offset_of!(Batch, logits),
    };

    /// # Errors
    /// [`Error::Layout`] names the first size or offset that differs from [`Self::COMPILED`].
    pub fn check(&self) -> Result<()> {
        let expected = Self::COMPILED;
        for (field, actual, expected) in [
            ("its size", self.size, expected.size),
            ("the offset of token", self.token, expected.token),
            ("the offset of pos", self.pos, expected.pos),
            ("the offset of seq_id", self.seq_id, expected.seq_id),
            ("the offset of logits", self.logits, expected.logits),
        ] {
            if actual != expected {
                return Err(Error::Layout { field, actual, expected });
            }
        }
        Ok(())
    }
}

/// What llama.cpp calls while it computes, to learn whether to stop.
pub(crate) type AbortCallback = unsafe extern "C" fn(*mut c_void) -> bool;

macro_rules! api {
    ($($name:ident: fn($($argument:ty),*) $(-> $output:ty)?;)*) => {
        /// Function pointers into `libllama`; holds the library open. They may unwind: llama.cpp is C++,
        /// and an exception of its own must pass through frames that expect one.
        #[derive(Debug)]
        pub struct Api {
            $(pub(crate) $name: unsafe extern "C-unwind" fn($($argument),*) $(-> $output)?,)*
            pub(crate) ggml: Ggml,
            /// None in tests, whose functions are Rust's own.
            #[expect(dead_code, reason = "held open, never asked")]
            pub(crate) library: Option<Library>,
        }

        impl Api {
            fn resolve(library: Library, path: &str) -> Result<Self> {
                $(
                    // SAFETY: the signature is that of llama.h; `Api` keeps the library open for
                    // as long as the pointer can be called.
                    let $name = unsafe {
                        *library.get(concat!(stringify!($name), "\0").as_bytes()).map_err(|_| {
                            Error::MissingSymbol {
                                path: path.to_owned(),
                                symbol: stringify!($name).to_owned(),
                            }
                        })?
                    };
                )*
                let ggml = ggml(&library)?;
                Ok(Self { $($name,)* ggml, library: Some(library) })
            }
        }
    };
}

api! {
    llama_model_free: fn(*mut c_void);
    llama_free: fn(*mut c_void);
    llama_model_get_vocab: fn(*const c_void) -> *const c_void;
    llama_vocab_n_tokens: fn(*const c_void) -> i32;
    llama_vocab_get_text: fn(*const c_void, i32) -> *const c_char;
    llama_vocab_get_attr: fn(*const c_void, i32) -> i32;
    llama_vocab_bos: fn(*const c_void) -> i32;
    llama_vocab_get_add_bos: fn(*const c_void) -> bool;
    llama_tokenize: fn(*const c_void, *const c_char, i32, *mut i32, i32, bool, bool) -> i32;
    llama_token_to_piece: fn(*const c_void, i32, *mut c_char, i32, i32, bool) -> i32;
    llama_get_model: fn(*const c_void) -> *const c_void;
    llama_n_ctx: fn(*const c_void) -> u32;
    llama_n_batch: fn(*const c_void) -> u32;
    llama_n_seq_max: fn(*const c_void) -> u32;
    llama_n_threads: fn(*mut c_void) -> i32;
    llama_set_abort_callback: fn(*mut c_void, AbortCallback, *mut c_void);
    llama_get_memory: fn(*const c_void) -> *mut c_void;
    llama_memory_clear: fn(*mut c_void, bool);
    llama_memory_seq_rm: fn(*mut c_void, i32, i32, i32) -> bool;
    llama_memory_seq_cp: fn(*mut c_void, i32, i32, i32, i32);
    llama_decode: fn(*mut c_void, Batch) -> i32;
    llama_get_logits_ith: fn(*mut c_void, i32) -> *const f32;
    llama_vocab_is_eog: fn(*const c_void, i32) -> bool;
    llama_model_n_layer: fn(*const c_void) -> i32;
    llama_model_n_embd: fn(*const c_void) -> i32;
    llama_model_n_head: fn(*const c_void) -> i32;
}

impl Api {
    /// Open the library file that is already loaded; never loads a second copy.
    ///
    /// # Errors
    /// [`Error::Layout`], [`Error::NotLoaded`] or [`Error::MissingSymbol`].
    pub fn open(path: &Path, layout: &BatchLayout) -> Result<Self> {
        layout.check()?;
        let name = path.display().to_string();
        let library = already_loaded(path)
            .map_err(|error| Error::NotLoaded { path: name.clone(), reason: error.to_string() })?;
        Self::resolve(library, &name)
    }
}

/// The ggml that `libllama` is linked with.
fn ggml(library: &Library) -> Result<Ggml> {
    #[cfg(unix)]
    return Ggml::resolve(library, "libllama");
    // Windows looks a symbol up in the one library only, not in those that it was linked with.
    #[cfg(windows)]
    return {
        let _ = library;
        Library::open_already_loaded("ggml-base.dll")
            .map_err(|error| Error::NotLoaded {
                path: "ggml-base.dll".to_owned(),
                reason: error.to_string(),
            })
            .and_then(|library| {
                let ggml = Ggml::resolve(&library, "ggml-base.dll");
                std::mem::forget(library);
                ggml
            })
    };
}

#[cfg(unix)]
pub(crate) use libloading::os::unix::Library;
#[cfg(windows)]
pub(crate) use libloading::os::windows::Library;

#[cfg(unix)]
fn already_loaded(path: &Path) -> std::result::Result<Library, libloading::Error> {
    #[cfg(target_os = "macos")]
    const RTLD_NOLOAD: i32 = 0x10;
    #[cfg(not(target_os = "macos"))]
    const RTLD_NOLOAD: i32 = 0x4;
    let flags = libloading::os::unix::RTLD_NOW | RTLD_NOLOAD;
    // SAFETY: RTLD_NOLOAD runs no initialiser: the library has been initialised by whoever loaded it.
    unsafe { Library::open(Some(path), flags) }
}

#[cfg(windows)]
fn already_loaded(path: &Path) -> std::result::Result<Library, libloading::Error> {
    Library::open_already_loaded(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_layout_is_named() {
        let mut layout = BatchLayout::COMPILED;
        assert_eq!(layout.check(), Ok(()));
        layout.pos += 8;
        let expected = BatchLayout::COMPILED.pos;
        assert_eq!(
            layout.check(),
            Err(Error::Layout { field: "the offset of pos", actual: expected + 8, expected })
        );
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri asks for no library")]
    fn a_library_that_is_not_loaded_is_not_opened() {
        let error =
            Api::open(Path::new("/nowhere/libllama.so"), &BatchLayout::COMPILED).unwrap_err();
        assert!(matches!(error, Error::NotLoaded { .. }));
    }
}
