//! When the folder of models is worth a look.
//!
//! Owns what was seen there last. Promises that a version which was refused is tried again only
//! when it has changed: a copy that is still being made is refused once for each look in between,
//! and a broken one once. Never loads anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::engine::model::{ModelChoice, locate};

/// A watch over the newest version of a model.
pub(super) struct ModelWatch {
    config: ModelChoice,
    seen: Option<Sight>,
}

/// A folder and what tells a change of its files.
#[derive(Debug, PartialEq, Eq)]
struct Sight {
    folder: PathBuf,
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
}

impl ModelWatch {
    /// A watch that takes what is there now for known.
    pub(super) fn begin(config: ModelChoice) -> Self {
        let mut watch = Self { config, seen: None };
        watch.has_news();
        watch
    }

    /// A watch that takes what is there now for news, unless it runs.
    pub(super) fn begin_beside(config: ModelChoice, runs: impl Fn(&Path) -> bool) -> Self {
        let watch = Self::begin(config);
        let is_known = watch.seen.as_ref().is_none_or(|sight| runs(&sight.folder));
        if is_known { watch } else { Self { seen: None, ..watch } }
    }

    /// Whether the version to run, or one of its files, is another one than at the last look.
    pub(super) fn has_news(&mut self) -> bool {
        let ModelChoice { root, name, version, .. } = &self.config;
        // A folder that cannot be read now may be read at the next look.
        let Ok(folder) = locate(root, name, version) else { return false };
        let sight = Some(look(&folder));
        let news = self.seen != sight;
        self.seen = sight;
        news
    }
}

fn look(folder: &Path) -> Sight {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((entry.path(), metadata.len(), metadata.modified().ok()))
        })
        .collect();
    files.sort();
    Sight { folder: folder.to_owned(), files }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_each_change_once() {
        let root = tempfile::tempdir().unwrap();
        let file = |version: &str, name: &str| {
            let folder = root.path().join("m").join(version);
            fs::create_dir_all(&folder).unwrap();
            folder.join(name)
        };
        let config = ModelChoice {
            root: root.path().to_owned(),
            name: "m".to_owned(),
            version: "latest".to_owned(),
            mode: None,
            watch: true,
        };
        let mut early = ModelWatch::begin(config.clone());
        assert!(!early.has_news(), "there is no version");
        fs::write(file("1", "manifest.json"), "1").unwrap();
        assert!(early.has_news() && !early.has_news());
        let mut watch = ModelWatch::begin(config);
        assert!(!watch.has_news(), "what was there is no news");
        fs::write(file("2", "manifest.json"), "1").unwrap();
        assert!(watch.has_news() && !watch.has_news());
        fs::write(file("2", "model.onnx"), "part").unwrap();
        assert!(watch.has_news(), "the copy goes on");
        fs::write(file("2", "model.onnx"), "part and rest").unwrap();
        assert!(watch.has_news() && !watch.has_news());
        fs::write(file("1", "model.onnx"), "old").unwrap();
        assert!(!watch.has_news(), "another version than the newest");
    }
}
