//! `serve` from its file: an application is protected, and what the process had is given back when it stops.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use doorward_core::clock::{Clock, SystemClock};
use doorward_core::entropy::SystemEntropy;
use doorward_server::serve::init::{FirstAdministrator, init};
use doorward_server::serve::{self, Server, StartError};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A folder with a file for two free ports of this machine.
struct Place {
    folder: tempfile::TempDir,
    api: SocketAddr,
    apps: SocketAddr,
}

impl Place {
    fn new(settings: &str) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (api, apps) = (free(), free());
        let (api, apps) = (api.local_addr().unwrap(), apps.local_addr().unwrap());
        let place = Place { folder: tempfile::tempdir().unwrap(), api, apps };
        let text = format!(
            "[server]\napi_url = 'http://{api}'\napi = {{ listen = '{api}' }}\napps = {{ listen = '{apps}' }}\n\
             [audit]\nsink = [{{ kind = 'file', path = 'audit.jsonl' }}]\n\
             [[app]]\nname = 'wiki'\nhost = 'wiki.test'\nto = 'http://127.0.0.1:9'\nallow = ['user:ann@example.com']\n{settings}"
        );
        std::fs::write(place.file(), text).unwrap();
        place
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("doorward.toml")
    }

    async fn init(&self) {
        let config = serve::read(&self.file()).unwrap();
        let prepared = init(&config, FirstAdministrator::Token, Arc::new(SystemEntropy), SystemClock.now()).await;
        prepared.unwrap().finish().await.unwrap();
    }

    async fn start(&self) -> Result<Server, StartError> {
        serve::start(serve::read(&self.file()).unwrap(), Arc::new(SystemEntropy), Arc::new(SystemClock)).await
    }
}

async fn get(address: SocketAddr, host: &str, path: &str) -> (StatusCode, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(path).header("host", host).body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_file_says_is_served_and_the_second_start_changes_nothing() {
    let place = Place::new("settings = { doorward_settings = { forward_credential = true } }\n");
    place.init().await;
    let sink = place.folder.path().join("audit.jsonl");
    for _ in 0..2 {
        let server = place.start().await.unwrap();
        let (status, keys) = get(place.api, &place.api.to_string(), "/www.googleapis.com/oauth2/v3/certs").await;
        assert_eq!((status, keys.contains("\"kid\"")), (StatusCode::OK, true), "{keys}");
        // Whoever brings nothing is sent to sign in.
        assert_eq!(get(place.apps, "wiki.test", "/").await.0, StatusCode::FOUND);
        assert!(matches!(place.start().await, Err(StartError::State(_))), "one instance at a time");
        server.stop().await;
        assert!(TcpStream::connect(place.api).await.is_err(), "nothing listens any more");
    }
    let record = std::fs::read_to_string(&sink).unwrap();
    // What is said => how often in both starts together.
    let said = [("CreateApplication", 1), ("SetIamPolicy", 1), ("UpdateIapSettings", 1), ("AuthorizeUser\"", 2)];
    for (method, times) in said {
        assert_eq!(record.matches(method).count(), times, "{method}: {record}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_be_says_what_to_do() {
    let place = Place::new("");
    let missing = place.start().await.err().unwrap();
    assert!(missing.to_string().contains("doorward init"), "{missing}");
    place.init().await;
    let other = TcpListener::bind(place.apps).unwrap();
    let taken = place.start().await.err().unwrap();
    assert!(matches!(taken, StartError::Listen { name: "server.apps", .. }), "{taken}");
    drop(other);
    place.start().await.unwrap().stop().await;
}
