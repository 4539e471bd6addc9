use crate::support::{PATIENCE, Server, Setup, eventually};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Writes a fresh self-signed certificate for 127.0.0.1 and its key; the certificate.
pub(super) fn certify(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

fn setup(folder: &Path, more: &str) -> Setup {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    Setup::hash().config(&format!("[server]\n{more}[server.tls]\ncert_file = {cert:?}\nkey_file = {key:?}\n"))
}

fn tcp(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.base.trim_start_matches("https://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One request; the answer, and the certificate that the server showed.
fn exchange(server: &Server, trusted: &[CertificateDer<'static>], request: &str) -> std::io::Result<(String, CertificateDer<'static>)> {
    let mut roots = RootCertStore::empty();
    trusted.iter().for_each(|certificate| roots.add(certificate.clone()).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("127.0.0.1").unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, tcp(server));
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    // The server may close without a TLS farewell once it has said everything.
    let _ = stream.read_to_end(&mut bytes);
    let shown = stream.conn.peer_certificates().unwrap()[0].clone().into_owned();
    Ok((String::from_utf8_lossy(&bytes).into_owned(), shown))
}

const READY: &str = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn what_is_served_is_served_over_tls_and_a_new_certificate_needs_no_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = certify(folder.path());
    let server = setup(folder.path(), "").start();
    assert!(server.base.starts_with("https://"), "{}", server.base);
    let (answer, shown) = exchange(&server, std::slice::from_ref(&first), READY).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(shown, first);
    let second = certify(folder.path());
    assert!(exchange(&server, std::slice::from_ref(&second), READY).is_err(), "not in force yet");
    let hang_up = || rustix::process::kill_process(pid(&server), rustix::process::Signal::HUP).unwrap();
    hang_up();
    let both = [first, second.clone()];
    eventually(|| exchange(&server, &both, READY).unwrap().1 == second);
    // What can't be used is reported, and the old one stays.
    std::fs::write(folder.path().join("cert.pem"), "nonsense").unwrap();
    hang_up();
    let (answer, shown) = exchange(&server, &both, READY).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && shown == second, "{answer}");
}

fn pid(server: &Server) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(server.pid().try_into().unwrap()).unwrap()
}

#[test]
fn plain_and_silent_clients_get_nothing_and_cost_little() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certify(folder.path());
    let server = setup(folder.path(), "header_timeout_s = 1\n").start();
    for request in [READY, ""] {
        let mut stream = tcp(&server);
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // Ends: by an alert, or by the deadline of the handshake.
        let _ = stream.read_to_end(&mut bytes);
        assert!(!String::from_utf8_lossy(&bytes).contains("HTTP"), "{request:?}");
    }
    assert!(exchange(&server, &[certificate], READY).is_ok());
}

#[test]
fn the_command_line_trusts_the_file_it_is_given_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let server = setup(folder.path(), "").start();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(crate::support::program());
        command.args(["ingest", "--json", "--server", &server.base]).args(arguments).env_remove("RAGSTONE_API_KEY");
        let output = command.current_dir(folder.path()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    std::fs::write(folder.path().join("lamp.txt"), "the lamp burns oil").unwrap();
    let (ok, summary, said) = run(&["--ca-file", "cert.pem", "lamp.txt"]);
    assert!(ok, "{said}");
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["ready"], json!(1), "{summary}");
    let (ok, _, said) = run(&["lamp.txt"]);
    assert!(!ok, "{said}");
    let (ok, _, said) = run(&["--ca-file", "nowhere.pem", "lamp.txt"]);
    assert!(!ok && said.contains("nowhere.pem"), "{said}");
}

#[test]
fn a_certificate_that_cannot_be_used_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    std::fs::write(folder.path().join("key.pem"), "nonsense").unwrap();
    let config = folder.path().join("ragstone.toml");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let text = format!("[embedding]\nmodel = \"test-hash\"\n[server.tls]\ncert_file = {cert:?}\nkey_file = {key:?}\n");
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(crate::support::program());
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&config).arg("--data-dir").arg(folder.path().join("data"));
    let output = command.env_remove("RAGSTONE_API_KEY").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("server.tls") && said.contains("key.pem"), "{said}");
}
