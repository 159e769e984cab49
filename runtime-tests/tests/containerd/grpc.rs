//! gRPC on containerd's socket: one connection and one request a call.
//!
//! What there is of CRI clients for Rust generates its code with protoc when it
//! is built. This is HTTP/2 of a library and a protocol of a page.

use std::fmt;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Request, Version};
use tokio::net::UnixStream;

/// Of containerd and its plugins.
pub const SOCKET: &str = "/run/containerd/containerd.sock";

/// No call takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// A failed call.
#[derive(Debug)]
pub struct Status {
    /// One of gRPC's numbers: 4 is a time that is over, 5 something not found.
    pub code: u32,
    pub message: String,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}

/// What goes wrong below gRPC is nothing a test looks at.
impl<E: std::error::Error> From<E> for Status {
    fn from(e: E) -> Self {
        Self { code: 14, message: format!("no answer: {e}") }
    }
}

/// Calls a method with a message; gives the message that is the answer.
pub fn call(service: &str, method: &str, message: &[u8]) -> Result<Bytes, Status> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let path = format!("http://localhost/{service}/{method}");
    runtime.block_on(async { tokio::time::timeout(LIMIT, exchange(&path, message)).await? })
}

async fn exchange(uri: &str, message: &[u8]) -> Result<Bytes, Status> {
    let (client, connection) = h2::client::handshake(UnixStream::connect(SOCKET).await?).await?;
    tokio::spawn(connection);
    let request = Request::post(uri).version(Version::HTTP_2);
    let request = request.header("content-type", "application/grpc").header("te", "trailers").body(())?;
    let (answer, mut body) = client.ready().await?.send_request(request, false)?;
    body.send_data(framed(message), true)?;
    let answer = answer.await?;
    // A call that fails at once has no body: what would follow it is in its head.
    if answer.headers().contains_key("grpc-status") {
        outcome(answer.headers())?;
    }
    let mut body = answer.into_body();
    let data = all(&mut body).await?;
    outcome(&body.trailers().await?.unwrap_or_default())?;
    unframed(data)
}

/// Not compressed, and its length.
fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a short message"));
    frame.put_slice(message);
    frame.freeze()
}

fn unframed(mut data: Bytes) -> Result<Bytes, Status> {
    let whole = data.len() >= 5 && data.get_u8() == 0 && data.get_u32() as usize == data.remaining();
    if whole { Ok(data) } else { Err(Status { code: 13, message: "not one message".to_owned() }) }
}

async fn all(body: &mut RecvStream) -> Result<Bytes, Status> {
    let mut data = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        data.put(chunk);
    }
    Ok(data.freeze())
}

fn outcome(headers: &HeaderMap) -> Result<(), Status> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match text("grpc-status").parse() {
        Ok(0) => Ok(()),
        Ok(code) => Err(Status { code, message: plain(text("grpc-message")) }),
        Err(_) => Err(Status { code: 13, message: "an answer without a status".to_owned() }),
    }
}

/// Without percent signs for what a header may not have in it.
fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend(before.bytes());
        let byte = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(b'%'));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes.extend(rest.bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn messages_of_errors_are_made_plain() {
    assert_eq!(plain("exec: %22/no%22: %E2%82%AC 5%"), "exec: \"/no\": € 5%");
}

#[test]
fn frames_have_a_length() {
    assert_eq!(&framed(b"ab")[..], b"\0\0\0\0\x02ab");
    assert_eq!(&unframed(framed(b"ab")).expect("a frame")[..], b"ab");
    assert!(unframed(framed(b"ab").slice(..6)).is_err());
}
