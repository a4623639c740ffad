//! Where ONNX Runtime's shared library may lie.
//!
//! Owns the search order and the advice when nothing is found. Promises that an explicit choice is
//! never silently replaced. Never loads anything.

use std::path::{Path, PathBuf};

/// The names of the library in the order of preference, on this platform.
const LIBRARY_NAMES: [&str; 2] = if cfg!(target_os = "macos") {
    ["libonnxruntime.dylib", "libonnxruntime.1.dylib"]
} else if cfg!(target_os = "windows") {
    ["onnxruntime.dll", "onnxruntime.dll"]
} else {
    ["libonnxruntime.so", "libonnxruntime.so.1"]
};

/// Why the library could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// Somebody named a file that is not there.
    #[error("{origin} names `{path}`, which does not exist")]
    Missing {
        /// The option, setting or variable that names it.
        origin: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The loader or the version check refused it.
    #[error(
        "cannot load ONNX Runtime (1.31 or later): {0}; get it with `make setup`, or `pip download \
         --no-deps onnxruntime` and unzip onnxruntime/capi/libonnxruntime.so.*, then name it with \
         --onnxruntime PATH or ORT_DYLIB_PATH"
    )]
    Load(String),
}

/// Chooses the library: the first that somebody names, in the order of `named`, each with what
/// names it; then beside the executable, then whatever the system's loader finds under the usual
/// name.
///
/// `exists` says whether a file is there, so that the order can be tested without files.
///
/// # Errors
/// [`LibraryError::Missing`] where an explicitly named file is not there.
pub fn locate_library(
    named: &[(&'static str, Option<&Path>)],
    executable_folder: Option<&Path>,
    exists: impl Fn(&Path) -> bool,
) -> Result<PathBuf, LibraryError> {
    for (origin, path) in named {
        if let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) {
            if exists(path) {
                return Ok(path.to_owned());
            }
            return Err(LibraryError::Missing { origin, path: path.to_owned() });
        }
    }
    let beside = executable_folder
        .into_iter()
        .flat_map(|folder| LIBRARY_NAMES.map(|name| folder.join(name)))
        .find(|path| exists(path));
    Ok(beside.unwrap_or_else(|| PathBuf::from(LIBRARY_NAMES[0])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_choice_wins_and_is_never_replaced() {
        let flag = Path::new("/a/flag.so");
        let variable = Path::new("/b/variable.so");
        let folder = Path::new("/opt/bin");
        let all = |_: &Path| true;
        let find = |flag, variable, folder, exists: &dyn Fn(&Path) -> bool| {
            let named = [("--onnxruntime", flag), ("ORT_DYLIB_PATH", variable)];
            locate_library(&named, folder, exists).map_err(|error| error.to_string())
        };
        assert_eq!(find(Some(flag), Some(variable), Some(folder), &all), Ok(flag.into()));
        assert_eq!(find(None, Some(variable), Some(folder), &all), Ok(variable.into()));
        let beside = folder.join(LIBRARY_NAMES[0]);
        assert_eq!(find(None, None, Some(folder), &all), Ok(beside));
        let none = |_: &Path| false;
        assert_eq!(find(None, None, Some(folder), &none), Ok(LIBRARY_NAMES[0].into()));
        let refused = find(Some(flag), Some(variable), None, &|path| path == variable);
        assert_eq!(refused, Err("--onnxruntime names `/a/flag.so`, which does not exist".into()));
    }
}
