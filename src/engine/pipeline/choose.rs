//! Which version of the model a start runs.
//!
//! Owns the way from a choice to a bundle. Promises that `latest` gives the newest version that
//! proves itself and that no other entry names, with the reason for every newer one, and that a
//! version which was named is never replaced by another. Never logs: whoever asks tells what was
//! refused.

use super::{PipelineSettings, Prover, Unproven};
use crate::engine::model::{
    Bundle, ModelChoice, RefusedVersion, StoreError, candidates, version_of,
};

/// The version that runs, and those that were preferred to it.
#[derive(Debug)]
pub struct Chosen {
    /// Its bundle.
    pub bundle: Bundle,
    /// Versions that did not prove themselves, the newest first.
    pub refused: Vec<RefusedVersion>,
    /// Newer versions that were passed over because another entry names them.
    pub taken: Vec<TakenVersion>,
}

/// A version that another entry names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenVersion {
    /// The version.
    pub version: String,
    /// The entry.
    pub by: String,
}

/// The versions that entries name, each with the name of its entry.
pub type Named<'c> = [(&'c str, &'c ModelChoice)];

/// Why no version can run.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// There is none.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The only one is refused, or a proof was interrupted.
    #[error(transparent)]
    Unproven(#[from] Unproven),
    /// Every one is refused.
    #[error("no version of model `{name}` proves itself:{}", lines(refused))]
    All {
        /// The model.
        name: String,
        /// All versions, the newest first.
        refused: Vec<RefusedVersion>,
    },
    /// Other entries name every one that is not refused.
    #[error(
        "no version of model `{name}` is left for version = \"latest\":{}{}",
        taken_lines(taken),
        lines(refused)
    )]
    Taken {
        /// The model.
        name: String,
        /// Versions that other entries name, the newest first.
        taken: Vec<TakenVersion>,
        /// The others, the newest first.
        refused: Vec<RefusedVersion>,
    },
}

/// Finds the version to run: the first that proves itself.
///
/// # Errors
/// [`ChoiceError`] with every reason.
pub fn choose(
    choice: &ModelChoice,
    prover: &dyn Prover,
    settings: &PipelineSettings,
) -> Result<Chosen, ChoiceError> {
    choose_beside(choice, &[], prover, settings)
}

/// As [`choose`], beside entries that name their versions: `latest` passes these over, because a
/// model runs once.
///
/// # Errors
/// [`ChoiceError`] with every reason.
pub fn choose_beside(
    choice: &ModelChoice,
    others: &Named<'_>,
    prover: &dyn Prover,
    settings: &PipelineSettings,
) -> Result<Chosen, ChoiceError> {
    let ModelChoice { root, name, version, .. } = choice;
    let folders = candidates(root, name, version)?;
    let (is_only, mut refused, mut taken) = (folders.len() == 1, Vec::new(), Vec::new());
    for folder in folders {
        let found = version_of(&folder);
        let names = |other: &&(_, &ModelChoice)| other.1.name == *name && other.1.version == found;
        if version == "latest"
            && let Some((by, _)) = others.iter().find(names)
        {
            taken.push(TakenVersion { version: found, by: (*by).to_owned() });
            continue;
        }
        match prover.prove(&folder, settings, &|| true) {
            Ok(bundle) => return Ok(Chosen { bundle, refused, taken }),
            Err(Unproven::Refused(reason)) if !is_only => {
                refused.push(RefusedVersion::new(&folder, reason));
            }
            Err(unproven) => return Err(unproven.into()),
        }
    }
    let name = name.clone();
    Err(match taken.is_empty() {
        true => ChoiceError::All { name, refused },
        false => ChoiceError::Taken { name, taken, refused },
    })
}

fn taken_lines(taken: &[TakenVersion]) -> String {
    let line = |TakenVersion { version, by }: &TakenVersion| {
        format!("\n  {version}: the entry `{by}` names it")
    };
    taken.iter().map(line).collect()
}

fn lines(refused: &[RefusedVersion]) -> String {
    let line =
        |RefusedVersion { version, reason }: &RefusedVersion| format!("\n  {version}: {reason}");
    refused.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::super::InProcess;
    use super::*;
    use crate::engine::model::manifest::Mode;
    use crate::engine::test_support::{NullRuntime, Weights, draft, manifest};

    fn seal(root: &Path, version: &str, modes: &[Mode]) {
        let mut manifest = manifest(modes);
        manifest.version = version.to_owned();
        draft(manifest, Weights::default()).seal(root, &NullRuntime).unwrap();
    }

    /// Changes a file of a version.
    fn edit(root: &Path, version: &str, file: &str, change: impl FnOnce(String) -> String) {
        let path = root.join("null").join(version).join(file);
        let bytes = std::fs::read(&path).unwrap();
        // Every byte as a character of its own, so that any file comes back as it was.
        let text = change(bytes.iter().map(|byte| char::from(*byte)).collect());
        std::fs::write(&path, text.chars().map(|letter| letter as u8).collect::<Vec<_>>()).unwrap();
    }

    fn choice(root: &Path, version: &str) -> ModelChoice {
        ModelChoice {
            root: root.to_owned(),
            name: "null".to_owned(),
            version: version.to_owned(),
            mode: None,
            watch: false,
        }
    }

    fn chosen(root: &Path, version: &str) -> Result<(String, Vec<RefusedVersion>), ChoiceError> {
        let settings = PipelineSettings::of_tests();
        let prover = InProcess(Arc::new(NullRuntime));
        let Chosen { bundle, refused, .. } = choose(&choice(root, version), &prover, &settings)?;
        Ok((bundle.manifest().version.clone(), refused))
    }

    #[test]
    fn the_newest_version_that_proves_itself_runs() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for version in ["v8", "v9", "v10", "v11", "v12"] {
            seal(root, version, &[Mode::Full, Mode::Sliding]);
        }
        assert_eq!(chosen(root, "latest").unwrap(), ("v12".to_owned(), vec![]));
        edit(root, "v12", "model.onnx", |text| text + " ");
        // A hash that fits and an output that does not: the golden vectors tell.
        let folder = root.join("null/v11");
        let golden = std::fs::read_to_string(folder.join("golden.json")).unwrap();
        let mut golden: serde_json::Value = serde_json::from_str(&golden).unwrap();
        golden["cases"][0]["output"][0] = 0.75.into();
        let golden = golden.to_string();
        let sha256 = {
            use sha2::{Digest, Sha256};
            Sha256::digest(&golden).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        std::fs::write(folder.join("golden.json"), golden).unwrap();
        edit(root, "v11", "manifest.json", |text| {
            let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
            manifest["golden_sha256"] = sha256.into();
            manifest.to_string()
        });
        edit(root, "v10", "manifest.json", |_| "{".to_owned());
        let (version, refused) = chosen(root, "latest").unwrap();
        assert_eq!(version, "v9");
        let reasons: Vec<_> =
            refused.iter().map(|refused| (&*refused.version, &*refused.reason)).collect();
        assert_eq!(
            reasons.iter().map(|(version, _)| *version).collect::<Vec<_>>(),
            ["v12", "v11", "v10"]
        );
        assert!(reasons[0].1.contains("onnx_sha256"), "{reasons:?}");
        assert!(reasons[1].1.contains("golden.json: cases[0]: output[0]"), "{reasons:?}");
        assert!(reasons[2].1.contains("manifest.json"), "{reasons:?}");
        assert!(reasons.iter().all(|(_, reason)| !reason.contains('\n')), "{reasons:?}");
    }

    #[test]
    fn a_version_that_was_named_is_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        seal(root, "1", &[Mode::Full]);
        seal(root, "2", &[Mode::Full]);
        edit(root, "2", "model.onnx", |text| text + " ");
        let error = chosen(root, "2").unwrap_err();
        assert!(matches!(error, ChoiceError::Unproven(Unproven::Refused(_))), "{error}");
        assert_eq!(chosen(root, "latest").unwrap().0, "1");
    }

    #[test]
    fn a_version_that_does_not_serve_the_mode_is_passed_over_by_name() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        seal(root, "1", &[Mode::Full, Mode::Sliding]);
        seal(root, "2", &[Mode::Full]);
        let settings =
            PipelineSettings { mode: Some(Mode::Sliding), ..PipelineSettings::of_tests() };
        let prover = InProcess(Arc::new(NullRuntime));
        let chosen = choose(&choice(root, "latest"), &prover, &settings).unwrap();
        assert_eq!(chosen.bundle.manifest().version, "1");
        assert!(chosen.refused[0].reason.contains("model.mode"), "{:?}", chosen.refused);
    }

    #[test]
    fn the_latest_version_that_no_other_entry_names_runs() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for version in ["2", "3", "4"] {
            seal(root, version, &[Mode::Full]);
        }
        let prover = InProcess(Arc::new(NullRuntime));
        let beside = |version: &str, names: &[(&str, &str)]| {
            let named: Vec<_> =
                names.iter().map(|(by, version)| (*by, choice(root, version))).collect();
            let named: Vec<_> = named.iter().map(|(by, choice)| (*by, choice)).collect();
            let choice = choice(root, version);
            choose_beside(&choice, &named, &prover, &PipelineSettings::of_tests())
        };
        let version = |chosen: &Chosen| chosen.bundle.manifest().version.clone();
        let taken = |version: &str, by: &str| TakenVersion {
            version: version.to_owned(),
            by: by.to_owned(),
        };
        let way_back = &[("old", "3"), ("vol", "latest")];
        let chosen = beside("latest", way_back).unwrap();
        assert_eq!((version(&chosen), &*chosen.taken), ("4".to_owned(), &[][..]));
        // The newest is damaged, and the next is the way back, which runs as another entry.
        edit(root, "4", "model.onnx", |text| text + " ");
        let chosen = beside("latest", way_back).unwrap();
        assert_eq!(version(&chosen), "2");
        assert_eq!(chosen.taken, [taken("3", "old")]);
        let refused: Vec<_> = chosen.refused.iter().map(|refused| &*refused.version).collect();
        assert_eq!(refused, ["4"], "a version that is taken is not refused");
        // What is named is not passed over: whether it may run twice is another question.
        assert_eq!(version(&beside("3", way_back).unwrap()), "3");
        let told = beside("latest", &[("old", "3"), ("older", "2")]).unwrap_err().to_string();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "no version of model `null` is left for version = \"latest\":",
                "  3: the entry `old` names it",
                "  2: the entry `older` names it",
            ]
        );
        assert!(lines[3].starts_with("  4: ") && lines.len() == 4, "{told}");
    }

    #[test]
    fn where_none_proves_itself_every_reason_is_told() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for version in ["1", "2"] {
            seal(root, version, &[Mode::Full]);
            edit(root, version, "golden.json", |text| text + " ");
        }
        let told = chosen(root, "latest").unwrap_err().to_string();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines[0], "no version of model `null` proves itself:");
        assert!(lines[1].starts_with("  2: ") && lines[2].starts_with("  1: "), "{told}");
        assert!(lines[1..].iter().all(|line| line.contains("golden_sha256")), "{told}");
    }
}
