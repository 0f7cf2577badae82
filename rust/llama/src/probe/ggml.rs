//! The functions of ggml that the eval callback calls.

use std::ffi::{CStr, c_char, c_void};

use crate::api::Library;
use crate::error::{Error, Result};

/// Function pointers into the ggml that `libllama` is linked with; `Api` holds that library open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ggml {
    pub(crate) get_name: unsafe extern "C-unwind" fn(*const c_void) -> *const c_char,
    pub(crate) n_elements: unsafe extern "C-unwind" fn(*const c_void) -> i64,
    pub(crate) n_rows: unsafe extern "C-unwind" fn(*const c_void) -> i64,
    pub(crate) n_bytes: unsafe extern "C-unwind" fn(*const c_void) -> usize,
    pub(crate) is_contiguous: unsafe extern "C-unwind" fn(*const c_void) -> bool,
    pub(crate) tensor_get: unsafe extern "C-unwind" fn(*const c_void, *mut c_void, usize, usize),
    pub(crate) tensor_set: unsafe extern "C-unwind" fn(*mut c_void, *const c_void, usize, usize),
}

impl Ggml {
    /// # Errors
    /// [`Error::MissingSymbol`].
    pub(crate) fn resolve(library: &Library, path: &str) -> Result<Self> {
        macro_rules! symbol {
            ($name:ident) => {
                // SAFETY: the signature is that of ggml.h or ggml-backend.h, and the library stays
                // open as long as the `Api` that this value is part of.
                unsafe {
                    *library.get(concat!(stringify!($name), "\0").as_bytes()).map_err(|_| {
                        Error::MissingSymbol {
                            path: path.to_owned(),
                            symbol: stringify!($name).to_owned(),
                        }
                    })?
                }
            };
        }
        Ok(Self {
            get_name: symbol!(ggml_get_name),
            n_elements: symbol!(ggml_nelements),
            n_rows: symbol!(ggml_nrows),
            n_bytes: symbol!(ggml_nbytes),
            is_contiguous: symbol!(ggml_is_contiguous),
            tensor_get: symbol!(ggml_backend_tensor_get),
            tensor_set: symbol!(ggml_backend_tensor_set),
        })
    }

    /// The name of a tensor.
    ///
    /// # Safety
    /// `tensor` must be a live `ggml_tensor` of this ggml, here and below; the name lives as long.
    pub(crate) unsafe fn name<'a>(&self, tensor: *const c_void) -> &'a [u8] {
        // SAFETY: ggml stores a NUL-terminated name inside the tensor.
        unsafe { CStr::from_ptr((self.get_name)(tensor)) }.to_bytes()
    }

    /// Number of values, if they are f32 (or as wide) without gaps.
    ///
    /// # Safety
    /// See [`Self::name`].
    pub(crate) unsafe fn n_values(&self, tensor: *const c_void) -> Option<usize> {
        // SAFETY: by contract.
        let (n, n_bytes, contiguous) = unsafe {
            (
                (self.n_elements)(tensor) as usize,
                (self.n_bytes)(tensor),
                (self.is_contiguous)(tensor),
            )
        };
        (contiguous && n_bytes == n * size_of::<f32>()).then_some(n)
    }

    /// Number of rows.
    ///
    /// # Safety
    /// See [`Self::name`].
    pub(crate) unsafe fn n_rows(&self, tensor: *const c_void) -> usize {
        // SAFETY: by contract.
        unsafe { (self.n_rows)(tensor) as usize }
    }

    /// Copy values out of a computed tensor, from `offset` values on.
    ///
    /// # Safety
    /// See [`Self::name`]; `offset + values.len()` is at most [`Self::n_values`].
    pub(crate) unsafe fn get(&self, tensor: *const c_void, offset: usize, values: &mut [f32]) {
        // SAFETY: the range lies inside the tensor by contract.
        unsafe {
            (self.tensor_get)(
                tensor,
                values.as_mut_ptr().cast(),
                offset * size_of::<f32>(),
                size_of_val(values),
            );
        }
    }

    /// Overwrite values of a computed tensor, from `offset` values on.
    ///
    /// # Safety
    /// See [`Self::get`].
    pub(crate) unsafe fn set(&self, tensor: *mut c_void, offset: usize, values: &[f32]) {
        // SAFETY: the range lies inside the tensor by contract.
        unsafe {
            (self.tensor_set)(
                tensor,
                values.as_ptr().cast(),
                offset * size_of::<f32>(),
                size_of_val(values),
            );
        }
    }
}
