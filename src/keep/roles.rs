//! Which model has which seat, over restarts.
//!
//! Owns the file of roles, with the versions of models that take turns in a seat, and which models
//! may have a seat at all. Promises that the file is whole or as it was before, that a role which
//! was given by hand survives a restart, and that a configuration which was changed since goes
//! before it. Never gives a role.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::snapshot::Disk;
use crate::core::domain::SymbolPatterns;
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
    /// Its role there. Of two models that take turns, the listed one is live and the other one is
    /// vacant, whatever a promotion has made of them.
    pub role: Role,
    /// The symbols that it wants. Not a part of the digest: a promotion outlives a change of them,
    /// unless the model may not have the seat any more.
    #[serde(skip)]
    pub symbols: SymbolPatterns,
    /// Whether its entry asks for a promotion by the verdict against the live model of its seat.
    /// Not a part of the digest either.
    #[serde(skip)]
    pub by_rule: bool,
}

/// The roles of the models of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfiguredRoles(pub Vec<ConfiguredRole>);

/// The roles of a configuration, and the disk that keeps those that were given since.
pub struct RoleStore {
    /// `None` where nothing is kept.
    disk: Option<Box<dyn Disk>>,
    configured: ConfiguredRoles,
}

/// What was found of roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The configuration says who is live.
    Configured,
    /// These instead of those of the configuration.
    Given(GivenRoles),
    /// There were others, and the configuration was changed since, so it says who is live.
    Outdated,
}

/// What is kept of the models for a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenRoles {
    /// The live models, by name.
    pub live: Vec<String>,
    /// The versions of the models that take turns, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, String>,
}

/// What the file of roles was before a write.
#[derive(Debug)]
#[must_use = "a change that fails later has to be taken back"]
pub struct Before(Option<Vec<u8>>);

/// Why roles could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum Unsaved {
    /// The file says what it said before.
    #[error("the roles could not be kept for a restart: {0}")]
    Unchanged(io::Error),
    /// It may say either.
    #[error(
        "the roles could not be kept for a restart: {error}, nor put back: {back}; a restart may \
         begin with the new ones"
    )]
    Uncertain {
        /// Why the new ones could not be kept.
        error: io::Error,
        /// Why the old ones could not be put back.
        back: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Content {
    schema: String,
    /// The digest of the roles in the configuration that they were given beside.
    configured_sha256: String,
    #[serde(flatten)]
    given: GivenRoles,
}

impl ConfiguredRoles {
    /// Why a model may not have the seat that it is a shadow of; `None` where it may.
    pub fn refusal(&self, name: &str) -> Option<String> {
        let model = self.0.iter().find(|model| model.name == name)?;
        let is_live = |other: &&ConfiguredRole| other.role == Role::Live;
        let live = self.0.iter().filter(is_live).find(|other| other.seat == model.seat)?;
        let mut of_seat = self.0.iter().filter(|other| other.seat == model.seat);
        if model.role == Role::Shadow && of_seat.any(|other| other.role == Role::Vacant) {
            return Some(format!(
                "`{name}` cannot get the seat of `{}`: the versions of that model take turns there \
                 (promote); promote one of its versions, or leave promote out",
                live.name
            ));
        }
        (!model.symbols.covers(&live.symbols)).then(|| {
            format!(
                "`{name}` cannot get the seat of `{}`: it does not want every symbol of it, so the \
                 others would have no live forecast; give both the same symbols",
                live.name
            )
        })
    }

    /// Whether a model gets its seat when its verdict against the live one is `better`: where its
    /// entry says so, and, for the one that the configuration has in the seat, where the entry of
    /// any other model of the seat says so, which may have taken its place.
    pub fn by_rule(&self, name: &str) -> bool {
        let Some(model) = self.0.iter().find(|model| model.name == name) else { return false };
        let mut of_seat = self.0.iter().filter(|other| other.seat == model.seat);
        model.by_rule || (model.role == Role::Live && of_seat.any(|other| other.by_rule))
    }

    /// What a file in a folder that another process may have says.
    ///
    /// # Errors
    /// Where there is a file that cannot be read or is none of ours.
    pub fn look(&self, folder: &Path) -> io::Result<Found> {
        self.found(read_regular_file(&folder.join(FILE), BYTES_MAX))
    }

    fn found(&self, content: io::Result<Vec<u8>>) -> io::Result<Found> {
        let bytes = match content {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Configured),
            outcome => outcome?,
        };
        let content: Content = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
        if content.schema != SCHEMA {
            return Err(io::Error::other(format!("not a {SCHEMA} file")));
        }
        let is_refused = |name: &String| self.refusal(name).is_some();
        let Content { configured_sha256, given, .. } = content;
        if configured_sha256 != self.digest() || given.live.iter().any(is_refused) {
            return Ok(Found::Outdated);
        }
        Ok(Found::Given(given))
    }

    /// Tells the roles of this configuration from those of another one. The version of a model is
    /// no part of it: a promoted entry gets its next version without losing the seat.
    fn digest(&self) -> String {
        let text = serde_json::to_vec(&self.0).expect("plain texts and numbers encode");
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl RoleStore {
    /// Roles that are kept on a disk, where there is one.
    pub fn new(disk: Option<Box<dyn Disk>>, configured: ConfiguredRoles) -> Self {
        Self { disk, configured }
    }

    /// Whether a role that is given survives a restart.
    pub fn is_kept(&self) -> bool {
        self.disk.is_some()
    }

    /// The roles of the configuration.
    pub fn configured(&self) -> &ConfiguredRoles {
        &self.configured
    }

    /// The roles to begin with.
    ///
    /// # Errors
    /// Where there is a file that cannot be read or is none of ours.
    pub fn load(&self) -> io::Result<Found> {
        match &self.disk {
            Some(disk) => self.configured.found(disk.read(FILE)),
            None => Ok(Found::Configured),
        }
    }

    /// Has the configuration decide from here on, also where it becomes again what it was when
    /// other roles were given.
    ///
    /// # Errors
    /// Where the file cannot be removed for good.
    pub fn reset(&mut self) -> io::Result<()> {
        self.put_back(Before(None))
    }

    /// Keeps who is live from here on, and in which version where models take turns, where anything
    /// is kept.
    ///
    /// # Errors
    /// [`Unsaved`].
    pub fn save(&mut self, given: GivenRoles) -> Result<Before, Unsaved> {
        let Self { disk: Some(disk), configured } = self else { return Ok(Before(None)) };
        let before = match disk.read(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            outcome => Some(outcome.map_err(Unsaved::Unchanged)?),
        };
        let (schema, configured_sha256) = (SCHEMA.to_owned(), configured.digest());
        let content = serde_json::to_vec(&Content { schema, configured_sha256, given })
            .expect("plain texts encode");
        write(&mut **disk, &content).map_err(Unsaved::Unchanged)?;
        // From here on the file may say the new roles, whatever becomes of its name.
        let Err(error) = disk.sync_names() else { return Ok(Before(before)) };
        Err(match self.put_back(Before(before)) {
            Ok(()) => Unsaved::Unchanged(error),
            Err(back) => Unsaved::Uncertain { error, back },
        })
    }

    /// Puts back what the file was before a write.
    ///
    /// # Errors
    /// Where a restart may find the new roles.
    pub fn put_back(&mut self, Before(content): Before) -> io::Result<()> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        match content {
            Some(content) => write(&mut **disk, &content)?,
            None => disk.remove(FILE)?,
        }
        disk.sync_names()
    }
}

/// Gives the file this content, whose name is not waited for.
fn write(disk: &mut dyn Disk, content: &[u8]) -> io::Result<()> {
    // Left behind by a write that was cut short; where it cannot be removed, making it says why.
    let _ = disk.remove(DRAFT);
    disk.create(DRAFT, content)?;
    disk.sync(DRAFT)?;
    disk.rename(DRAFT, FILE)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::{Arc, Mutex};

    use super::super::snapshot::Folder;
    use super::*;

    fn configured(first: &str) -> ConfiguredRoles {
        let role = |name: &str, role| ConfiguredRole {
            name: name.to_owned(),
            seat: 0,
            role,
            symbols: SymbolPatterns::default(),
            by_rule: false,
        };
        ConfiguredRoles(vec![role(first, Role::Live), role("next", Role::Shadow)])
    }

    fn live(name: &str) -> GivenRoles {
        GivenRoles { live: vec![name.to_owned()], ..GivenRoles::default() }
    }

    fn given(name: &str) -> Found {
        Found::Given(live(name))
    }

    #[test]
    fn a_role_survives_until_the_configuration_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let disk = Folder::open(&path).unwrap();
        let store = |first: &str| RoleStore::new(Some(Box::new(disk.clone())), configured(first));
        assert_eq!(store("a").load().unwrap(), Found::Configured);
        let _ = store("a").save(live("next")).unwrap();
        assert_eq!(store("a").load().unwrap(), given("next"));
        assert_eq!(configured("a").look(&path).unwrap(), given("next"));
        assert_eq!(store("b").load().unwrap(), Found::Outdated);
        let versions = BTreeMap::from([("a".to_owned(), "2".to_owned())]);
        let in_turn = GivenRoles { versions, ..live("next") };
        let _ = store("a").save(in_turn.clone()).unwrap();
        assert_eq!(store("a").load().unwrap(), Found::Given(in_turn));
        assert_eq!(store("b").load().unwrap(), Found::Outdated, "the configuration was changed");
        let _ = store("a").save(live("a")).unwrap();
        assert_eq!(store("a").load().unwrap(), given("a"));
        fs::write(path.join(FILE), "{").unwrap();
        store("a").load().unwrap_err();
        fs::write(path.join(FILE), r#"{"schema":"x","configured_sha256":"","live":[]}"#).unwrap();
        assert!(store("a").load().unwrap_err().to_string().contains(SCHEMA));
    }

    #[test]
    fn a_configuration_that_was_put_back_brings_no_promotion_back() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        let store = |first: &str| RoleStore::new(Some(Box::new(disk.clone())), configured(first));
        let _ = store("a").save(live("next")).unwrap();
        let mut changed = store("b");
        assert_eq!(changed.load().unwrap(), Found::Outdated);
        changed.reset().unwrap();
        assert_eq!(changed.load().unwrap(), Found::Configured, "and no warning at each start");
        assert_eq!(store("a").load().unwrap(), Found::Configured);
    }

    #[test]
    fn without_a_disk_the_configuration_says_who_is_live() {
        let mut store = RoleStore::new(None, configured("a"));
        let before = store.save(live("next")).unwrap();
        store.put_back(before).unwrap();
        assert_eq!((store.is_kept(), store.load().unwrap()), (false, Found::Configured));
    }

    #[test]
    fn a_rule_is_about_the_models_of_its_seat() {
        let mut roles = configured("a");
        let beside = |name: &str, seat| ConfiguredRole {
            name: name.to_owned(),
            seat,
            ..configured("a").0[1].clone()
        };
        roles.0.extend([beside("other", 0), beside("elsewhere", 1)]);
        let all = |roles: &ConfiguredRoles| {
            ["a", "next", "other", "elsewhere", "none"].map(|name| roles.by_rule(name))
        };
        assert_eq!(all(&roles), [false; 5]);
        let digest = roles.digest();
        roles.0[1].by_rule = true;
        // The one that the configuration has there may come back.
        assert_eq!(all(&roles), [true, true, false, false, false]);
        assert_eq!(roles.digest(), digest, "a promotion outlives a change of the rule");
    }

    #[test]
    fn a_model_of_fewer_symbols_may_not_have_the_seat() {
        let of = |live: &[&str], shadow: &[&str]| {
            let mut roles = configured("a");
            for (role, symbols) in roles.0.iter_mut().zip([live, shadow]) {
                role.symbols = SymbolPatterns::new(symbols.iter().copied()).unwrap();
            }
            roles
        };
        for (live, shadow) in [(&[][..], &[][..]), (&["A", "B*"], &["B*", "A"]), (&["A"], &[])] {
            let roles = of(live, shadow);
            // The one that the configuration has there may always have it back.
            assert_eq!((roles.refusal("next"), roles.refusal("a")), (None, None));
        }
        let narrow = of(&[], &["A"]);
        let reason = narrow.refusal("next").unwrap();
        assert!(reason.starts_with("`next` cannot get the seat of `a`: "), "{reason}");
        assert_eq!(narrow.refusal("a"), None);
        // A seat in which versions take turns is theirs alone.
        let mut of_turns = of(&[], &[]);
        let other = ConfiguredRole { name: "a.other".to_owned(), ..of_turns.0[0].clone() };
        of_turns.0.push(ConfiguredRole { role: Role::Vacant, ..other });
        let reason = of_turns.refusal("next").unwrap();
        assert!(reason.contains("the versions of that model take turns there"), "{reason}");
        assert_eq!((of_turns.refusal("a"), of_turns.refusal("a.other")), (None, None));
        // Given while it had all of them, and narrowed since.
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        let store = |roles| RoleStore::new(Some(Box::new(disk.clone())), roles);
        let _ = store(of(&[], &[])).save(live("next")).unwrap();
        assert_eq!(store(of(&[], &[])).load().unwrap(), given("next"));
        assert_eq!(store(narrow).load().unwrap(), Found::Outdated);
    }

    /// A folder of which a step fails, by its place among those that change something.
    #[derive(Clone)]
    struct Failing {
        folder: Folder,
        steps: Arc<Mutex<Vec<usize>>>,
        done: Arc<Mutex<usize>>,
    }

    impl Failing {
        fn step(&self) -> io::Result<()> {
            let mut done = self.done.lock().unwrap();
            *done += 1;
            match self.steps.lock().unwrap().contains(&*done) {
                true => Err(io::Error::other(format!("step {done} fails"))),
                false => Ok(()),
            }
        }

        /// The steps from here on that fail.
        fn fail(&self, steps: &[usize]) {
            *self.steps.lock().unwrap() = steps.to_vec();
            *self.done.lock().unwrap() = 0;
        }
    }

    impl Disk for Failing {
        fn list(&self) -> io::Result<Vec<String>> {
            self.folder.list()
        }

        fn read(&self, name: &str) -> io::Result<Vec<u8>> {
            self.folder.read(name)
        }

        fn create(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
            self.step()?;
            self.folder.create(name, content)
        }

        fn sync(&mut self, name: &str) -> io::Result<()> {
            self.step()?;
            self.folder.sync(name)
        }

        fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
            self.step()?;
            self.folder.rename(from, to)
        }

        fn sync_names(&mut self) -> io::Result<()> {
            self.step()?;
            self.folder.sync_names()
        }

        fn remove(&mut self, name: &str) -> io::Result<()> {
            // A draft that is not there is no step.
            self.folder.remove(name)
        }
    }

    #[test]
    fn a_write_that_fails_at_any_step_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let (steps, done) = Default::default();
        let disk = Failing { folder: Folder::open(folder.path()).unwrap(), steps, done };
        let mut store = RoleStore::new(Some(Box::new(disk.clone())), configured("a"));
        // Where there was no file, and where there was one; the last step is the name's.
        for before in [Found::Configured, given("next")] {
            for step in 1..=4 {
                disk.fail(&[step]);
                let unsaved = store.save(live("a")).unwrap_err();
                assert!(matches!(unsaved, Unsaved::Unchanged(_)), "{unsaved}");
                let told = unsaved.to_string();
                assert!(told.ends_with(&format!(": step {step} fails")), "{told}");
                assert_eq!(store.load().unwrap(), before, "step {step}");
            }
            disk.fail(&[]);
            let _ = store.save(live("next")).unwrap();
        }
        // Neither the new name nor the old one can be waited for.
        disk.fail(&[4, 8]);
        let unsaved = store.save(live("a")).unwrap_err();
        let told = unsaved.to_string();
        assert!(told.ends_with("a restart may begin with the new ones"), "{told}");
        disk.fail(&[]);
        let before = store.save(live("a")).unwrap();
        store.put_back(before).unwrap();
        assert_eq!(store.load().unwrap(), given("next"));
    }
}
