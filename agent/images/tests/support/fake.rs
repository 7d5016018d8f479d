//! Registries that misbehave as a test wants it.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use skep_agent_images::{Reference, RegistryConfig};

use super::{TestImage, digest, quick};

/// A registry written by hand, for answers that a good one never gives:
/// `answer` gets path and headers of each request, and a stream to write to.
pub struct Fake {
    pub address: SocketAddr,
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub fn start(
        answer: impl Fn(&str, &BTreeMap<String, String>, &mut TcpStream) + Send + Sync + 'static,
    ) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || {
                    if let Some((path, headers)) = read_request(&mut stream) {
                        seen.lock().unwrap().push(path.clone());
                        answer(&path, &headers, &mut stream);
                    }
                });
            }
        });
        Fake { address, requests }
    }

    pub fn name(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }

    pub fn config(&self) -> RegistryConfig {
        RegistryConfig {
            insecure: vec![self.address.to_string()],
            ..quick()
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<(String, BTreeMap<String, String>)> {
    use std::io::{BufRead, BufReader};
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(':') {
            Some((key, value)) => headers.insert(key.to_ascii_lowercase(), value.trim().to_owned()),
            None => return Some((path, headers)),
        };
    }
}

/// Writes one answer and lets the connection end.
pub fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

/// Serves an image as a registry would, whole and at once.
pub fn serve(image: &TestImage, path: &str, stream: &mut TcpStream) {
    if path.contains("/manifests/") {
        let manifest = serde_json::to_vec(&image.manifest(false)).unwrap();
        return answer(stream, "200 OK", "", &manifest);
    }
    let wanted = path.rsplit('/').next().unwrap();
    let blobs = image
        .layers
        .iter()
        .map(|layer| &layer.blob)
        .chain([&image.config]);
    match blobs
        .into_iter()
        .find(|blob| digest(blob).as_str() == wanted)
    {
        Some(blob) => answer(stream, "200 OK", "", blob),
        None => answer(stream, "404 Not Found", "", b""),
    }
}
