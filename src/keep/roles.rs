//! Which model has which seat, over restarts.
//!
//! Owns the file of roles, with the versions of models that take turns in a seat. Promises that it
//! is whole or as it was before, that a role which was given by hand survives a restart, and that a
//! configuration which was changed since goes before it. Never gives a role.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::files::read_regular_file;
use crate::engine::pipeline::Role;

const SCHEMA: &str = "tickcast.roles.v1";

const FILE: &str = "roles.json";

/// What a write that was cut short leaves behind.
const DRAFT: &str = "roles.draft";

const BYTES_MAX: usize = 1 << 20;

/// A model as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfiguredRole {
    /// Its name in the configuration.
    pub name: String,
    /// The seat that it has or is a shadow of.
    pub seat: usize,
    /// Its role there.
    pub role: Role,
}

/// The roles of the models of a configuration, and where those are kept that were given since.
#[derive(Clone, Debug)]
pub struct RoleStore {
    /// `None` where nothing is kept.
    folder: Option<PathBuf>,
    configured: Vec<ConfiguredRole>,
}

/// What was found of roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The configuration says who is live.
    Configured,
    /// These models are live, each named, instead of those of the configuration.
    Given(Vec<String>),
    /// There were others, and the configuration was changed since, so it says who is live.
    Outdated,
}

#[derive(Serialize, Deserialize)]
struct Content {
    schema: String,
    /// The digest of the roles in the configuration that they were given beside.
    configured_sha256: String,
    /// The live models.
    live: Vec<String>,
    /// The versions of the models that take turns, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    versions: BTreeMap<String, String>,
}

impl RoleStore {
    /// Roles that are kept in a folder, where there is one.
    pub fn new(folder: Option<PathBuf>, configured: Vec<ConfiguredRole>) -> Self {
        Self { folder, configured }
    }

    /// Whether a role that is given survives a restart.
    pub fn is_kept(&self) -> bool {
        self.folder.is_some()
    }

    /// The roles to begin with.
    ///
    /// # Errors
    /// Where there is a file that cannot be read or is none of ours.
    pub fn load(&self) -> io::Result<Found> {
        Ok(match self.read()? {
            None => Found::Configured,
            Some(content) if content.configured_sha256 != self.digest() => Found::Outdated,
            Some(content) => Found::Given(content.live),
        })
    }

    /// The versions to begin with, of models that take turns.
    ///
    /// # Errors
    /// As [`RoleStore::load`].
    pub fn versions(&self) -> io::Result<BTreeMap<String, String>> {
        let content = self.read()?.filter(|content| content.configured_sha256 == self.digest());
        Ok(content.map(|content| content.versions).unwrap_or_default())
    }

    /// What the file says, where there is one.
    fn read(&self) -> io::Result<Option<Content>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let bytes = match read_regular_file(&folder.join(FILE), BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            outcome => outcome?,
        };
        let content: Content = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
        if content.schema != SCHEMA {
            return Err(io::Error::other(format!("it is no {SCHEMA}")));
        }
        Ok(Some(content))
    }

    /// Keeps who is live from here on, and in which version where models take turns, where anything
    /// is kept.
    ///
    /// # Errors
    /// Where the file cannot be written; what it said before it still says.
    pub fn save(&self, live: Vec<String>, versions: BTreeMap<String, String>) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let (schema, configured_sha256) = (SCHEMA.to_owned(), self.digest());
        let content = Content { schema, configured_sha256, live, versions };
        let bytes = serde_json::to_vec(&content).map_err(io::Error::other)?;
        fs::create_dir_all(folder)?;
        let draft = folder.join(DRAFT);
        fs::write(&draft, bytes)?;
        File::open(&draft)?.sync_all()?;
        fs::rename(&draft, folder.join(FILE))?;
        File::open(folder)?.sync_all()
    }

    /// Tells the roles of this configuration from those of another one.
    fn digest(&self) -> String {
        let text = serde_json::to_vec(&self.configured).expect("plain texts and numbers encode");
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(first: &str) -> Vec<ConfiguredRole> {
        let role = |name: &str, role| ConfiguredRole { name: name.to_owned(), seat: 0, role };
        vec![role(first, Role::Live), role("next", Role::Shadow)]
    }

    #[test]
    fn a_role_survives_until_the_configuration_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let store = |first: &str| RoleStore::new(Some(path.clone()), configured(first));
        assert_eq!(store("a").load().unwrap(), Found::Configured);
        store("a").save(vec!["next".to_owned()], BTreeMap::new()).unwrap();
        assert_eq!(store("a").load().unwrap(), Found::Given(vec!["next".to_owned()]));
        assert_eq!(store("b").load().unwrap(), Found::Outdated);
        let versions = BTreeMap::from([("a".to_owned(), "2".to_owned())]);
        store("a").save(vec!["next".to_owned()], versions.clone()).unwrap();
        assert_eq!(store("a").versions().unwrap(), versions);
        assert!(store("b").versions().unwrap().is_empty(), "the configuration was changed");
        store("a").save(vec!["a".to_owned()], BTreeMap::new()).unwrap();
        assert_eq!(store("a").load().unwrap(), Found::Given(vec!["a".to_owned()]));
        fs::write(path.join(FILE), "{").unwrap();
        store("a").load().unwrap_err();
        fs::write(path.join(FILE), r#"{"schema":"x","configured_sha256":"","live":[]}"#).unwrap();
        assert!(store("a").load().unwrap_err().to_string().contains(SCHEMA));
    }

    #[test]
    fn without_a_folder_the_configuration_says_who_is_live() {
        let store = RoleStore::new(None, configured("a"));
        store.save(vec!["next".to_owned()], BTreeMap::new()).unwrap();
        assert_eq!((store.is_kept(), store.load().unwrap()), (false, Found::Configured));
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = RoleStore::new(Some(folder.path().to_owned()), configured("a"));
        store.save(vec!["next".to_owned()], BTreeMap::new()).unwrap();
        // A folder in the way of the draft.
        fs::create_dir(folder.path().join(DRAFT)).unwrap();
        store.save(vec!["a".to_owned()], BTreeMap::new()).unwrap_err();
        assert_eq!(store.load().unwrap(), Found::Given(vec!["next".to_owned()]));
    }
}
