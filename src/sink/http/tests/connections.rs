//! Connections that the other side closes, and the address that they lead to.

use super::*;
use crate::sink::http::client::Request;
use ::http::Response;
use hyper::body::Incoming;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};

#[test]
fn a_connection_is_used_again_after_every_small_answer() {
    let replies = vec![
        ok(),
        answer("500 Oh No", "", "sorry"),
        answer("204 No Content", "", ""),
        ok(),
    ];
    let server = Server::new(replies);
    let mut bench = Bench::new(&server, RequestForm::Notification);
    let results: Vec<_> = (0..10).map(|_| bench.notification().is_ok()).collect();
    assert_eq!(results.iter().filter(|ok| !**ok).count(), 1);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_connection_that_is_to_be_closed_is_not_used_again() {
    let last = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let server = Server::new(vec![Reply::Last(last.to_vec())]);
    let mut bench = Bench::new(&server, RequestForm::Notification);
    for _ in 0..3 {
        assert_eq!(bench.notification(), Ok(()));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

/// Every receiver closes a connection some time, and nothing has failed then.
#[test]
fn what_was_not_sent_over_a_closed_connection_goes_over_another_one() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = client(&format!("http://{}/in", listener.local_addr().unwrap()));
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut stream: Option<TcpStream> = None;
    for _ in 0..3 {
        // The end of the last one has arrived before the next request is made.
        drop(stream.take());
        let server = std::thread::spawn({
            let listener = listener.try_clone().unwrap();
            move || {
                let (mut stream, _) = listener.accept().expect("another connection");
                receiver::read(&mut BufReader::new(&stream)).expect("a request");
                stream
                    .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                    .expect("there");
                stream
            }
        });
        let response: Response<Incoming> = runtime.block_on(async {
            // The runtime looks at its sockets.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let request = Request::new(http_body_util::Full::new("{}".into()));
            let (response, connection) = client.request(request).await.expect("an answer");
            connection.keep();
            response
        });
        assert_eq!(response.status(), 204);
        stream = Some(server.join().unwrap());
    }
}

/// A receiver that answers by the head alone left the rest of a large request in the way of the next one.
#[test]
fn a_connection_whose_request_is_not_read_is_in_nobodys_way() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = client(&format!("http://{}/in", listener.local_addr().unwrap()));
    let server = std::thread::spawn(move || {
        let answer = |stream: &mut TcpStream| {
            let mut line = String::new();
            let mut reader = BufReader::with_capacity(1, &*stream);
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).expect("a request");
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).expect("there");
        };
        [0, 1].map(|_| {
            let (mut stream, _) = listener.accept().expect("another connection");
            answer(&mut stream);
            stream
        })
    });
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        for length in [64 << 20, 2] {
            let body = "1".repeat(length).into();
            let request = Request::new(http_body_util::Full::new(body));
            let sent = tokio::time::timeout(Duration::from_secs(30), client.request(request));
            let (_, connection) = sent.await.expect("in time").expect("an answer");
            connection.keep();
        }
    });
    server.join().unwrap();
}

fn client(url: &str) -> Client {
    let address = Address::parse(url).expect("an address");
    Client::new(&options(url), address).expect("a client")
}

#[test]
fn an_address_is_taken_apart_for_the_request() {
    let cases = [
        ("http://a.example", "a.example", "/"),
        ("http://a.example:80/in?key=1", "a.example", "/in?key=1"),
        ("https://a.example:443/", "a.example", "/"),
        ("https://a.example:80/", "a.example:80", "/"),
        ("http://user:word@a.example:8080?x", "a.example:8080", "/?x"),
        ("http://[::1]:9/", "[::1]:9", "/"),
    ];
    for (url, host, target) in cases {
        let address = Address::parse(url).expect(url);
        assert_eq!(address.host().expect(url), host, "{url}");
        assert_eq!(address.target().to_string(), target, "{url}");
    }
    for url in ["ftp://a.example/", "/in", "a.example", "http:///in", ""] {
        assert!(Address::parse(url).is_none(), "{url}");
    }
}
