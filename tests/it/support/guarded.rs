//! A broker whose doors are guarded: by certificates, by passwords and by tokens.
//!
//! Owns its certificates, its users and how each is spoken of in a configuration. One broker with
//! several listeners serves all tests of security; its plain one is the harness's own way in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;

use super::broker::{Broker, Extras};

/// The user that may log in, by any way.
pub(crate) const USER: &str = "tickcast";
/// The password of PLAIN.
pub(crate) const PLAIN_PASSWORD: &str = "plain-hunter2";
/// The password of SCRAM.
pub(crate) const SCRAM_PASSWORD: &str = "scram-hunter2";
/// A user whose credentials a test takes away.
pub(crate) const LEAVING_USER: &str = "leaving";

/// SASL over TLS.
pub(crate) const SECURE: &str = "SECURE";
/// TLS on both sides.
pub(crate) const MUTUAL: &str = "MUTUAL";
/// TLS with a certificate that has expired.
pub(crate) const EXPIRED: &str = "EXPIRED";

/// How often those who log in have to do it again.
const LOGIN_AGAIN_MS: u32 = 3000;

/// The last year in which a certificate is good.
const GOOD: i32 = 2049;
const PAST: i32 = 2020;

/// The broker, and the certificates around it.
pub(crate) struct Guarded {
    broker: Broker,
    folder: TempDir,
}

/// Who signs certificates.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Guarded {
    /// The one of this process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Guarded> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(&folder.path().join("trusted"));
        authority.issue("broker", GOOD);
        authority.issue("expired-broker", PAST);
        authority.issue("client", GOOD);
        authority.issue("expired-client", PAST);
        Authority::new(&folder.path().join("foreign")).issue("client", GOOD);
        let scram = |user: &str| format!("SCRAM-SHA-512=[name={user},password={SCRAM_PASSWORD}]");
        let broker = Broker::start_with(Extras {
            doors: &[(SECURE, "SASL_SSL"), (MUTUAL, "SSL"), (EXPIRED, "SSL")],
            settings: settings(&authority),
            format: &["--add-scram", &scram(USER), "--add-scram", &scram(LEAVING_USER)],
        });
        Self { broker, folder }
    }

    /// The broker; the harness's clients go through its plain listener.
    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Settings of TLS that trust the authority of this name, `trusted` or `foreign`.
    pub(crate) fn trusting(&self, authority: &str) -> String {
        let path = self.path(&format!("{authority}/authority.pem"));
        format!("kafka.options.'ssl.ca.location' = '{path}'\n")
    }

    /// Settings of a client's own certificate.
    pub(crate) fn showing(&self, authority: &str, name: &str) -> String {
        let path = self.path(&format!("{authority}/{name}"));
        format!(
            "kafka.options.'security.protocol' = 'SSL'\n\
             kafka.options.'ssl.certificate.location' = '{path}.pem'\n\
             kafka.options.'ssl.key.location' = '{path}.key'\n"
        )
    }

    /// Takes away what a user logs in with. The admin clients at hand cannot, so this says it in
    /// the protocol's own bytes: AlterUserScramCredentials, version 0.
    pub(crate) fn delete_scram_user(&self, user: &str) {
        let mut request = Vec::new();
        // Key, version, correlation, a client's name of length 0, no tagged fields.
        request.extend([0, 51, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        // One deletion: the name, the mechanism SCRAM-SHA-512; lengths are one more than they are.
        request.extend([2, u8::try_from(user.len()).unwrap() + 1]);
        request.extend(user.as_bytes());
        // The mechanism, no tagged fields; no upsertions; no tagged fields.
        request.extend([2, 0, 1, 0]);
        let answer = self.broker.ask(&request);
        // Correlation and a tag, the throttle time, the count and the user's name come first.
        let error = &answer[5 + 4 + 2 + user.len()..][..2];
        assert_eq!(error, [0, 0], "the answer {answer:?}");
    }
}

/// Settings of SASL over TLS, without the secret.
pub(crate) fn login(mechanism: &str, user: &str) -> String {
    format!(
        "kafka.options.'security.protocol' = 'SASL_SSL'\n\
         kafka.options.'sasl.mechanism' = '{mechanism}'\n\
         kafka.options.'sasl.username' = '{user}'\n"
    )
}

/// Settings of a token that stands in a file.
pub(crate) fn token_login(path: &Path) -> String {
    format!(
        "kafka.options.'security.protocol' = 'SASL_SSL'\n\
         kafka.options.'sasl.mechanism' = 'OAUTHBEARER'\n\
         kafka.options.'sasl.oauthbearer.token_file' = '{}'\n",
        path.display()
    )
}

/// An unsigned token of a user that is good for so many seconds; negative: that has been expired
/// for as long.
pub(crate) fn token(seconds: i64) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    let claims = format!(
        r#"{{"sub":"{USER}","iat":{},"exp":{}}}"#,
        (now - 1).min(now + seconds),
        now + seconds
    );
    format!("{}.{}.", base64_url(br#"{"alg":"none"}"#), base64_url(claims.as_bytes()))
}

fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for letter in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * letter)) as usize & 63]));
        }
    }
    text
}

/// The broker's side of all that.
fn settings(authority: &Authority) -> String {
    let certificate = |door: &str, name: &str| {
        let path = authority.folder.join(format!("{name}.both.pem"));
        format!(
            "listener.name.{door}.ssl.keystore.type=PEM\n\
             listener.name.{door}.ssl.keystore.location={}\n",
            path.display()
        )
    };
    let module = |mechanism: &str, module: &str, words: &str| {
        format!(
            "listener.name.secure.{mechanism}.sasl.jaas.config=\
             org.apache.kafka.common.security.{module} required {words};\n\
             listener.name.secure.{mechanism}.connections.max.reauth.ms={LOGIN_AGAIN_MS}\n"
        )
    };
    [
        certificate("secure", "broker"),
        certificate("mutual", "broker"),
        certificate("expired", "expired-broker"),
        format!(
            "listener.name.mutual.ssl.client.auth=required\n\
             listener.name.mutual.ssl.truststore.type=PEM\n\
             listener.name.mutual.ssl.truststore.location={}\n",
            authority.folder.join("authority.pem").display()
        ),
        "listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512,OAUTHBEARER\n".to_owned(),
        module("plain", "plain.PlainLoginModule", &format!("user_{USER}=\"{PLAIN_PASSWORD}\"")),
        module("scram-sha-512", "scram.ScramLoginModule", ""),
        module(
            "oauthbearer",
            "oauthbearer.OAuthBearerLoginModule",
            "unsecuredLoginStringClaim_sub=\"broker\"",
        ),
    ]
    .concat()
}

impl Authority {
    /// A new one, with its own folder.
    fn new(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "authority");
        let issuer =
            CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("authority.pem"), issuer.pem()).unwrap();
        Self { issuer, folder: folder.to_owned() }
    }

    /// A certificate and its key, also as one file.
    fn issue(&self, name: &str, last_year: i32) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let (key, certificate) = (key.serialize_pem(), certificate.pem());
        let write = |end: &str, text: &str| {
            fs::write(self.folder.join(format!("{name}.{end}")), text).unwrap();
        };
        write("key", &key);
        write("pem", &certificate);
        write("both.pem", &(key + &certificate));
    }
}
