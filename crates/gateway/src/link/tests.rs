//! Against a server that says exactly what it is told to.

use super::*;
use futures::StreamExt;
use http::header::HOST;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What a connection does after a request came.
#[derive(Clone, Copy)]
enum Act {
    Send(&'static str),
    Wait(u64),
    Close,
}

const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const BEGUN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n";
const END: &str = "0\r\n\r\n";

/// A server, how many connections it has taken, and which of them the other end has closed.
struct Server {
    links: Links,
    taken: Arc<AtomicUsize>,
    closed: mpsc::UnboundedReceiver<usize>,
}

/// Plays `acts` for each request, on whatever connection.
async fn serve(acts: &'static [Act]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let (tell, closed) = mpsc::unbounded_channel();
    let count = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (number, tell) = (count.fetch_add(1, Ordering::SeqCst), tell.clone());
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                    for act in acts {
                        match act {
                            Act::Send(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                            Act::Wait(ms) => sleep(Duration::from_millis(*ms)).await,
                            Act::Close => return,
                        }
                    }
                }
                let _ = tell.send(number);
            });
        }
    });
    Server { links: Links::new(origin, Duration::from_secs(3)).unwrap(), taken, closed }
}

impl Server {
    async fn ask(&self) -> Result<Answer, ChatError> {
        let request = Request::post("/v1/chat?a=b").header(HOST, "provider").body(Full::from("{}")).unwrap();
        self.links.send(request).await
    }

    async fn read(&self) -> Result<String, ChatError> {
        let (mut answer, mut text) = (self.ask().await?, Vec::new());
        while let Some(bytes) = answer.body.next().await {
            text.extend_from_slice(&bytes?);
        }
        Ok(String::from_utf8(text).unwrap())
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn what_was_read_to_its_end_serves_the_next() {
    for (acts, text) in [(&[Act::Send(WHOLE)] as &[Act], "hello"), (&[Act::Send(BEGUN), Act::Wait(5), Act::Send(END)], "onetwo")] {
        let server = serve(acts.to_vec().leak()).await;
        for _ in 0..20 {
            assert_eq!(server.read().await.unwrap(), text);
        }
        assert_eq!(server.taken(), 1);
        let (first, second) = tokio::join!(server.ask(), server.ask());
        assert!(first.is_ok() && second.is_ok() && server.taken() == 2, "one each at a time");
    }
}

#[tokio::test]
async fn an_end_mark_that_nobody_reads_is_read_all_the_same() {
    let server = serve(&[Act::Send(BEGUN), Act::Wait(10), Act::Send(END)]).await;
    for _ in 0..5 {
        let mut answer = server.ask().await.unwrap();
        assert!(answer.body.next().await.unwrap().is_ok());
        drop(answer);
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.taken(), 1);
}

#[tokio::test]
async fn an_answer_that_goes_on_is_broken_off() {
    let mut server = serve(&[Act::Send(BEGUN), Act::Wait(400)]).await;
    drop(server.ask().await.unwrap());
    assert_eq!(timeout(Duration::from_secs(5), server.closed.recv()).await.unwrap(), Some(0));
    assert!(server.ask().await.is_ok() && server.taken() == 2);
    // One that has not begun is closed with its future.
    let slow = serve(&[Act::Wait(100), Act::Send(WHOLE)]).await;
    assert!(timeout(Duration::from_millis(30), slow.ask()).await.is_err());
    assert!(lock(&slow.links.idle).is_empty());
}

#[tokio::test]
async fn what_the_other_end_has_closed_is_not_used_again() {
    let server = serve(&[Act::Send(WHOLE), Act::Wait(20), Act::Close]).await;
    for count in 1..=5 {
        assert_eq!(server.read().await.unwrap(), "hello");
        assert_eq!(server.taken(), count);
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn breaks_are_told_apart() {
    let cut = serve(&[Act::Send(BEGUN), Act::Close]).await;
    assert!(matches!(cut.read().await, Err(ChatError::Interrupted { .. })));
    let mute = serve(&[Act::Close]).await;
    assert!(matches!(mute.read().await, Err(ChatError::Interrupted { .. })));
    assert_eq!(mute.taken(), 1, "it may have been heard: that is not for a connection to decide");
    let nobody = Links::new("http://127.0.0.1:1/".parse().unwrap(), Duration::from_secs(3)).unwrap();
    let request = Request::post("/").header(HOST, "nobody").body(Full::default()).unwrap();
    assert!(matches!(nobody.send(request).await, Err(ChatError::Connect { .. })));
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_let_go() {
    let server = serve(&[Act::Send(WHOLE)]).await;
    assert_eq!(server.read().await.unwrap(), "hello");
    assert_eq!(lock(&server.links.idle).len(), 1);
    sleep(IDLE_TIME * 2).await;
    assert!(lock(&server.links.idle).is_empty());
}
