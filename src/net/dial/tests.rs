//! Servers and proxies on loopback, with certificates of the moment.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::Secret;
use super::*;

/// Certificates made by the test, and the folder that their files are in.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of the test");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path
    }

    /// The file of its own certificate.
    fn file(&self) -> PathBuf {
        self.write("ca.pem", &self.issuer.pem())
    }

    /// A certificate for a name, and its key.
    fn sign(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages.push(purpose);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn client_files(&self) -> ClientFiles {
        let (certificate, key) = self.sign("client", ExtendedKeyUsagePurpose::ClientAuth);
        ClientFiles {
            certificate: self.write("client.pem", &certificate.pem()),
            key: self.write("client.key", &key.serialize_pem()),
        }
    }

    /// What a server of this name needs, which asks its clients who they are or not.
    fn server(&self, name: &str, asks: bool) -> TlsAcceptor {
        let (certificate, key) = self.sign(name, ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
    }
}

/// A server that answers one WebSocket with the headers that it saw, then echoes; with TLS or
/// without. Returns its port.
async fn serve(tls: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let transport: Box<dyn Transport> = match &tls {
                None => Box::new(stream),
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Box::new(stream),
                    Err(_) => continue,
                },
            };
            tokio::spawn(echo(transport));
        }
    });
    port
}

async fn echo(transport: Box<dyn Transport>) {
    let mut seen = String::new();
    #[expect(clippy::result_large_err, reason = "the shape is the library's")]
    let look = |request: &Request, response: Response| {
        for name in ["authorization", "x-client", "host"] {
            let value = request.headers().get(name).map(|value| value.to_str().unwrap());
            seen.push_str(&format!("{name}={};", value.unwrap_or("-")));
        }
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(transport, look).await else { return };
    if socket.send(Message::text(seen)).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.next().await {
        if !message.is_close() && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// A proxy that tunnels every name to loopback where the user is right; counts tunnels.
async fn proxy(user: Option<&'static str>) -> (SocketAddr, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tunnels = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let (mut target, mut authorised) = (String::new(), user.is_none());
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                if let Some(rest) = line.strip_prefix("CONNECT ") {
                    target = rest.split(' ').next().unwrap().to_owned();
                }
                if let Some(value) = line.strip_prefix("Proxy-Authorization: ") {
                    authorised |= user.is_some_and(|user| value.trim() == user);
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            tunnels.lock().unwrap().push(target.clone());
            if !authorised {
                let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
                stream.write_all(refusal).await.unwrap();
                continue;
            }
            let port: u16 = target.rsplit_once(':').unwrap().1.parse().unwrap();
            let mut peer = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut stream, &mut peer).await });
        }
    });
    (address, asked)
}

fn options() -> DialOptions {
    DialOptions {
        tls: TlsFiles::default(),
        headers: Vec::new(),
        proxies: Proxies::default(),
        connect_timeout: Duration::from_secs(30),
        handshake_timeout: Duration::from_secs(30),
        message_bytes_max: 1 << 20,
    }
}

fn trusting(authority: &Authority) -> DialOptions {
    DialOptions { tls: TlsFiles { authorities: Some(authority.file()), client: None }, ..options() }
}

fn through(proxy: &str) -> Proxies {
    let variables = [("ALL_PROXY".to_owned(), proxy.to_owned())];
    Proxies::from_variables(&variables.into()).unwrap()
}

async fn dial(options: DialOptions, url: &str) -> Result<Socket, DialError> {
    let url: WebSocketUrl = url.parse().unwrap();
    Dialer::new(options, url.endpoint().encrypted).unwrap().dial(&url).await
}

/// The first message of a server.
async fn greeting(mut socket: Socket) -> String {
    socket.next().await.unwrap().unwrap().into_text().unwrap().to_string()
}

fn refused(outcome: Result<Socket, DialError>) -> DialError {
    outcome.err().expect("a connection that must not come about")
}

#[tokio::test]
async fn an_own_authority_is_trusted_and_the_name_is_checked() {
    let authority = Authority::new();
    let port = serve(Some(authority.server("localhost", false))).await;
    let socket = dial(trusting(&authority), &format!("wss://localhost:{port}/x?y=z")).await;
    assert_eq!(
        greeting(socket.unwrap()).await,
        format!("authorization=-;x-client=-;host=localhost:{port};")
    );
    // The same server under a name that its certificate has not.
    let error = refused(dial(trusting(&authority), &format!("wss://127.0.0.1:{port}")).await);
    assert!(matches!(&error, DialError::Tls { .. }), "{error}");
    // A stranger's certificate under the right name.
    let error =
        refused(dial(trusting(&Authority::new()), &format!("wss://localhost:{port}")).await);
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn a_connection_alone_has_the_same_tls_and_proxy() {
    let authority = Authority::new();
    let port = serve(Some(authority.server("venue.test", false))).await;
    let (address, asked) = proxy(None).await;
    let url: WebSocketUrl = format!("wss://venue.test:{port}").parse().unwrap();
    let connect = |options: DialOptions| {
        let url = url.clone();
        async move { Dialer::new(options, true).unwrap().connect(&url.endpoint()).await }
    };
    let proxies = through(&format!("http://{address}"));
    let known = DialOptions { proxies: proxies.clone(), ..trusting(&authority) };
    let transport = connect(known).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async("ws://venue.test", transport).await.unwrap();
    assert!(greeting(socket).await.ends_with("host=venue.test;"));
    assert_eq!(*asked.lock().unwrap(), [format!("venue.test:{port}")]);
    let stranger = Authority::new();
    let unknown = DialOptions { proxies, ..trusting(&stranger) };
    let error = connect(unknown).await.err().expect("a stranger's certificate");
    assert!(matches!(&error, DialError::Tls { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_shown_a_certificate() {
    let authority = Authority::new();
    let url = format!("wss://localhost:{}", serve(Some(authority.server("localhost", true))).await);
    let mut known = trusting(&authority);
    known.tls.client = Some(authority.client_files());
    assert!(greeting(dial(known, &url).await.unwrap()).await.contains("host=localhost"));
    // In TLS 1.3 the refusal comes behind the handshake, with the upgrade.
    let error = refused(dial(trusting(&authority), &url).await);
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
}

#[tokio::test]
async fn headers_and_the_user_of_an_address_go_with_the_handshake() {
    let port = serve(None).await;
    let header = |name: &str, value: &str| Header {
        name: name.to_owned(),
        value: Secret::new(value.to_owned()),
    };
    let with = |headers| DialOptions { headers, ..options() };
    let url = format!("ws://user:pass@127.0.0.1:{port}");
    let socket = dial(with(vec![header("X-Client", "tickcast")]), &url).await.unwrap();
    let expected =
        format!("authorization=Basic dXNlcjpwYXNz;x-client=tickcast;host=127.0.0.1:{port};");
    assert_eq!(greeting(socket).await, expected);
    // A header that is set counts more than the address.
    let socket = dial(with(vec![header("Authorization", "Bearer t")]), &url).await.unwrap();
    assert!(greeting(socket).await.starts_with("authorization=Bearer t;"));
}

#[tokio::test]
async fn a_proxy_is_gone_through_with_tls_inside_and_its_user_is_sent() {
    let authority = Authority::new();
    let port = serve(Some(authority.server("venue.test", false))).await;
    let (address, asked) = proxy(Some("Basic dXNlcjpwQHNz")).await;
    let with = |proxy: String| DialOptions { proxies: through(&proxy), ..trusting(&authority) };
    let url = format!("wss://venue.test:{port}/stream");
    // The name is the proxy's to look up: nobody else knows it.
    let socket = dial(with(format!("http://user:p%40ss@{address}")), &url).await.unwrap();
    assert!(greeting(socket).await.contains(&format!("host=venue.test:{port}")));
    assert_eq!(*asked.lock().unwrap(), [format!("venue.test:{port}")]);
    let error = refused(dial(with(format!("http://user:s3cret@{address}")), &url).await);
    let text = format!("{error} {error:?}");
    assert!(text.contains("wants another user") && !text.contains("s3cret"), "{text}");
    // Loopback needs none: the tunnels stay two.
    let url = format!("ws://127.0.0.1:{}", serve(None).await);
    assert!(dial(with(format!("http://{address}")), &url).await.is_ok());
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn every_success_of_a_proxy_is_a_tunnel_and_nothing_else_is() {
    let venue = "ws://venue.test/stream";
    for (answer, why) in [
        ("HTTP/1.1 200 Connection established", None),
        ("HTTP/1.1 200", None),
        ("HTTP/1.0 204 No Content", None),
        ("HTTP/1.1 299 Tunnel", None),
        ("HTTP/1.1 300 Elsewhere", Some("refuses: HTTP/1.1 300 Elsewhere")),
        ("HTTP/1.1 199 Wait", Some("refuses: HTTP/1.1 199 Wait")),
        ("HTTP/1.1 20 Short", Some("refuses: HTTP/1.1 20 Short")),
        ("HTTP/1.1 2000 Long", Some("refuses: HTTP/1.1 2000 Long")),
        ("HTTP/1.1 2xx Any", Some("refuses: HTTP/1.1 2xx Any")),
        ("HTTP/1.1 502 Bad\x1b[2J", Some("refuses: HTTP/1.1 502 Bad\\u{1b}[2J")),
        ("ICY 200 OK", Some("does not speak HTTP: ICY 200 OK")),
    ] {
        // The venue's refusal shows that the tunnel was taken.
        let proxy =
            says_in_turn(vec![format!("{answer}\r\n\r\n"), "HTTP/1.1 418 Tea\r\n\r\n".into()]);
        let proxies = through(&format!("http://{}", proxy.await));
        let error = refused(dial(DialOptions { proxies, ..options() }, venue).await);
        match (why, &error) {
            (None, DialError::Refused { status: 418, .. }) => {}
            (Some(why), DialError::Proxy { .. }) if error.to_string().contains(why) => {}
            _ => panic!("{answer}: {error:?}"),
        }
    }
}

/// A server that gives these answers on each connection, one after each request, and no more.
async fn says_in_turn(answers: Vec<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            for answer in &answers {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    address
}

async fn says(answer: &str) -> String {
    format!("ws://{}", says_in_turn(vec![answer.to_owned()]).await)
}

#[tokio::test]
async fn a_refusal_says_how_long_to_stay_away() {
    for (answer, status, wait, rate_limit) in [
        ("HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\n\r\nwait", 429, Some(7), true),
        ("HTTP/1.1 418 Banned\r\nRetry-After: 999999\r\n\r\n", 418, Some(3600), true),
        ("HTTP/1.1 503 Busy\r\nRetry-After: soon\r\n\r\n", 503, None, false),
        ("HTTP/1.1 301 Moved\r\nLocation: wss://x\r\n\r\n", 301, None, false),
    ] {
        let error = refused(dial(options(), &says(answer).await).await);
        assert_eq!(error.retry_after(), wait.map(Duration::from_secs), "{error}");
        assert_eq!(error.is_rate_limit(), rate_limit, "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
    let date = "Wed, 25 Nov 2026 00:00:00 GMT";
    let now = 1_795_564_800.0;
    assert_eq!(retry_after_of(date, now - 90.0), Some(Duration::from_secs(90)));
    assert_eq!(retry_after_of(date, now + 90.0), Some(Duration::ZERO));
    assert_eq!(retry_after_of("-1", now), None);
}

#[tokio::test]
async fn what_is_no_handshake_fails_as_one() {
    for answer in ["", "SSH-2.0-x\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "\0\0\0\0"] {
        let error = refused(dial(options(), &says(answer).await).await);
        assert!(matches!(&error, DialError::Handshake(_)), "{answer:?}: {error}");
    }
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = refused(dial(options(), &url).await);
    assert!(matches!(&error, DialError::Unreachable { .. }), "{error}");
    let error = refused(dial(options(), "ws://no-such-host.invalid").await);
    assert!(error.to_string().starts_with("cannot reach no-such-host.invalid:80: "), "{error}");
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_left_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hasty = || DialOptions { handshake_timeout: Duration::from_millis(50), ..options() };
    let error = refused(dial(hasty(), &format!("ws://{address}")).await);
    assert_eq!(error.to_string(), "no handshake within 0.05 s");
    // The same through a proxy that never answers, which is a stage of its own.
    let silent = format!("http://{address}");
    let hasty = DialOptions {
        connect_timeout: Duration::from_millis(50),
        proxies: through(&silent),
        ..options()
    };
    let error = refused(dial(hasty, "ws://venue.test").await);
    assert_eq!(error.to_string(), "no connection within 0.05 s");
}

#[test]
fn files_that_hold_no_certificate_are_named() {
    let authority = Authority::new();
    let new = |tls| Dialer::new(DialOptions { tls, ..options() }, true).err().unwrap().to_string();
    let missing = PathBuf::from("no/such/file.pem");
    let empty = authority.write("empty.pem", "");
    for path in [missing, empty] {
        let error = new(TlsFiles { authorities: Some(path.clone()), client: None });
        assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
    }
    let ClientFiles { certificate, .. } = authority.client_files();
    let (_, stranger) = authority.sign("other", ExtendedKeyUsagePurpose::ClientAuth);
    let key = authority.write("other.key", &stranger.serialize_pem());
    let client = Some(ClientFiles { certificate: certificate.clone(), key });
    let error = new(TlsFiles { authorities: Some(authority.file()), client });
    assert!(error.contains("client.pem"), "{error}");
}
